//! Random histories, on two replicas that do their jobs at different moments, against a model.
//!
//! `TIDEMARK_TEST_CASES` says how many histories there are; a hundred thousand take some minutes.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index;
use sensor_model::{BoardName, Pattern, TimeRange, Timestamp};
use store_node::archive::plan::plan;
use store_node::command::Seal;
use store_node::segments::manifest::{ManifestId, RetentionRule, SegmentId};
use store_wire::message::RangeQuestion;

use super::replica::{Replica, check_catalogue};
use crate::state_model::history::{self, Log, SPAN};
use crate::state_model::model::Model;
use crate::state_model::{everything, questions};

/// What comes next.
#[derive(Debug, Clone)]
enum Act {
    Append(history::Step),
    Delete(Pattern, TimeRange),
    Seal(Seal),
    /// What the leader's plan says, once the first replica has nothing left to do.
    CompactAsPlanned,
    /// Any of the segments that ever were.
    Compact(Vec<Index>),
    SetRetention(Vec<RetentionRule>),
    /// One of few boards, by somebody who knows its revision or not.
    SetBoard(BoardName, Known, Option<&'static str>),
    Jobs(Which, u8),
    /// The second replica applies what there is; the first always has.
    CatchUp,
    Reopen(Which, End),
    /// The second replica takes over the manifest of the first.
    Install,
    /// The second replica takes over what jobs came to on the first.
    TakeOver,
    Ask(Which, RangeQuestion),
}

#[derive(Debug, Clone, Copy)]
enum Which {
    First,
    Second,
}

/// Which revision somebody takes a board to have.
#[derive(Debug, Clone, Copy)]
enum Known {
    Newest,
    Other(u64),
}

/// How a process ended.
#[derive(Debug, Clone, Copy)]
enum End {
    Killed,
    PowerCut,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let which = || prop_oneof![Just(Which::First), Just(Which::Second)];
    let end = prop_oneof![Just(End::Killed), Just(End::PowerCut)];
    let act = prop_oneof![
        16 => history::step().prop_map(Act::Append),
        5 => (patterns(), ranges()).prop_map(|(pattern, range)| Act::Delete(pattern, range)),
        8 => seals().prop_map(Act::Seal),
        4 => Just(Act::CompactAsPlanned),
        3 => proptest::collection::vec(any::<Index>(), 1..5).prop_map(Act::Compact),
        1 => rules().prop_map(Act::SetRetention),
        3 => boards(),
        8 => (which(), 1_u8..6).prop_map(|(which, count)| Act::Jobs(which, count)),
        2 => Just(Act::CatchUp),
        3 => (which(), end).prop_map(|(which, end)| Act::Reopen(which, end)),
        1 => Just(Act::Install),
        1 => Just(Act::TakeOver),
        4 => (which(), questions()).prop_map(|(which, question)| Act::Ask(which, question)),
    ];
    proptest::collection::vec(act, 0..60)
}

fn patterns() -> impl Strategy<Value = Pattern> {
    let pattern = prop_oneof![
        3 => Just("**"),
        2 => Just("line/*"),
        2 => Just("line/f"),
        1 => Just("other/t"),
        1 => Just("none/**"),
    ];
    pattern.prop_map(|text| Pattern::new(text).unwrap())
}

fn ranges() -> impl Strategy<Value = TimeRange> {
    let between = |from, to| TimeRange {
        from: Timestamp::from_nanos(from),
        to: Timestamp::from_nanos(to),
    };
    prop_oneof![
        1 => Just(TimeRange::EVERYTHING),
        // What retention deletes.
        2 => (0..SPAN).prop_map(move |to| between(i64::MIN, to)),
        5 => (-10..SPAN, 1..SPAN / 2).prop_map(move |(from, width)| between(from, from + width)),
    ]
}

fn seals() -> impl Strategy<Value = Seal> {
    let window = prop_oneof![
        4 => Just(2_000_u64),
        2 => Just(500_u64),
        1 => 1_u64..200,
        1 => Just(u64::MAX),
    ];
    let chunk_readings = prop_oneof![
        3 => 1_u32..200,
        1 => Just(4_096),
        1 => Just(65_536),
    ];
    (window, chunk_readings).prop_map(|(window, chunk_readings)| Seal {
        window,
        chunk_readings,
    })
}

fn rules() -> impl Strategy<Value = Vec<RetentionRule>> {
    let rule =
        (patterns(), 1_u64..1 << 60).prop_map(|(pattern, keep)| RetentionRule { pattern, keep });
    proptest::collection::vec(rule, 0..3)
}

fn boards() -> impl Strategy<Value = Act> {
    let name = prop_oneof![Just("hall-1"), Just("hall-2"), Just("press")];
    let known = prop_oneof![3 => Just(Known::Newest), 1 => (0_u64..40).prop_map(Known::Other)];
    let content = prop_oneof![2 => Just(Some("one")), 1 => Just(Some("two")), 1 => Just(None)];
    let set = |(name, known, content)| Act::SetBoard(BoardName::new(name).unwrap(), known, content);
    (name, known, content).prop_map(set)
}

/// A history as it unfolds.
struct World {
    log: Log,
    model: Model,
    first: Replica,
    second: Replica,
    /// Every segment that ever was on the first replica.
    ids: Vec<SegmentId>,
    /// The bytes of every manifest that any replica has stored.
    manifests: BTreeMap<ManifestId, Vec<u8>>,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            log: Log::opened(),
            model: Model::default(),
            first: Replica::new(),
            second: Replica::new(),
            ids: Vec::new(),
            manifests: BTreeMap::new(),
        };
        world.applied(0);
        world
    }

    fn take(&mut self, act: Act) {
        let before = self.log.last();
        match act {
            Act::Append(step) => self.log.take(&step),
            Act::Delete(pattern, range) => self.log.delete(pattern, range),
            Act::Seal(seal) => self.log.seal(seal),
            Act::CompactAsPlanned => self.compact_as_planned(),
            Act::Compact(named) => self.compact(&named),
            Act::SetRetention(rules) => self.log.set_retention(&rules),
            Act::SetBoard(name, known, content) => {
                let newest = self.model.boards().get(&name);
                let expected = match known {
                    Known::Newest => newest.map_or(0, |(revision, _)| *revision),
                    Known::Other(revision) => revision,
                };
                self.log.set_board(name, expected, content);
            }
            Act::Jobs(which, count) => self.jobs(which, count),
            Act::CatchUp => self.second.catch_up(&self.log),
            Act::Reopen(which, end) => self.reopen(which, end),
            Act::Install => self.install(),
            Act::TakeOver => self.take_over(),
            Act::Ask(which, question) => self.ask(which, &question),
        }
        self.applied(before);
    }

    /// The first replica and the model apply what came after entry `before`.
    fn applied(&mut self, before: u64) {
        for index in before + 1..=self.log.last() {
            self.model.apply(index, self.log.meaning(index));
        }
        self.first.catch_up(&self.log);
    }

    fn compact_as_planned(&mut self) {
        self.first.settle(&self.log).unwrap();
        self.note_segments();
        let segments = self.first.state().segments().to_vec();
        if let Some(planned) = plan(&segments) {
            self.log.compact(&planned);
        }
    }

    fn compact(&mut self, named: &[Index]) {
        if self.ids.is_empty() {
            return;
        }
        let named = named.iter().map(|index| *index.get(&self.ids));
        let mut named: Vec<SegmentId> = named.collect();
        named.sort();
        named.dedup();
        self.log.compact(&named);
    }

    fn jobs(&mut self, which: Which, count: u8) {
        for _ in 0..count {
            self.replica(which).do_next(&self.log).unwrap();
            self.note_manifest(which);
        }
        self.note_segments();
    }

    fn note_segments(&mut self) {
        for entry in self.first.state().segments() {
            if !self.ids.contains(&entry.id()) {
                self.ids.push(entry.id());
            }
        }
    }

    /// Replicas have the same manifest, byte for byte, for the same id.
    fn note_manifest(&mut self, which: Which) {
        let Some(manifest) = self.replica(which).archive.manifest() else {
            return;
        };
        let bytes = manifest.encode();
        let known = self
            .manifests
            .entry(manifest.id())
            .or_insert_with(|| bytes.clone());
        if *known != bytes {
            let known = store_node::segments::manifest::Manifest::decode(known).unwrap();
            panic!(
                "two manifests {}: {known:#?}\nand {manifest:#?}",
                manifest.id()
            );
        }
    }

    fn reopen(&mut self, which: Which, end: End) {
        let replica = self.replica(which);
        let disk = match end {
            End::Killed => replica.disk.restart(),
            End::PowerCut => replica.disk.power_cut(),
        };
        let replica = replica.reopened(disk, &self.log);
        match which {
            Which::First => self.first = replica,
            Which::Second => self.second = replica,
        }
    }

    fn install(&mut self) {
        let Some(manifest) = self.first.archive.manifest() else {
            return;
        };
        if manifest.position.index > self.second.applied() {
            self.second.install(&self.first).unwrap();
            self.note_manifest(Which::Second);
        }
    }

    fn take_over(&mut self) {
        if self.first.archive.manifest().is_some() {
            self.second.catch_up(&self.log);
            self.second.take_over(&self.first, &self.log).unwrap();
            self.note_manifest(Which::Second);
        }
    }

    fn ask(&mut self, which: Which, question: &RangeQuestion) {
        self.second.catch_up(&self.log);
        let answer = self.replica(which).ask(&self.log, question).unwrap();
        assert_eq!(answer, self.model.answer(question), "{question:?}");
        let catalogue = self.replica(which).catalogue(&self.log).unwrap();
        check_catalogue(&catalogue, &self.model);
        self.replica(which).check_boards(&self.model);
    }

    const fn replica(&self, which: Which) -> &Replica {
        match which {
            Which::First => &self.first,
            Which::Second => &self.second,
        }
    }

    /// In the end nothing tells the replicas apart.
    fn end(mut self, questions: &[RangeQuestion]) {
        self.ask(Which::First, &everything());
        self.ask(Which::Second, &everything());
        self.take(Act::Seal(Seal::default()));
        self.second.catch_up(&self.log);
        for which in [Which::First, Which::Second] {
            while self.replica(which).do_next(&self.log).unwrap() {
                self.note_manifest(which);
            }
            assert!(self.replica(which).state().is_settled());
            self.replica(which).assert_tidy();
        }
        assert_eq!(self.first.files(), self.second.files());
        self.reopen(Which::Second, End::PowerCut);
        for which in [Which::First, Which::Second] {
            for question in questions {
                self.ask(which, question);
            }
            for entry in self.replica(which).state().segments() {
                let library = self.replica(which).archive.library();
                library.segment(entry).unwrap().verify().unwrap();
            }
        }
    }
}

fn cases() -> u32 {
    let told = std::env::var("TIDEMARK_TEST_CASES").ok();
    told.map_or(2_000, |told| {
        told.parse().expect("TIDEMARK_TEST_CASES is a number")
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn whatever_is_sealed_when_answers_are_those_of_the_model(
        acts in acts(),
        questions in proptest::collection::vec(questions(), 1..6),
    ) {
        let mut world = World::new();
        for act in acts {
            world.take(act);
        }
        world.end(&questions);
    }
}
