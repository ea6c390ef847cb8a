//! The rules of the line over random histories, and the waiting around it.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::line::{Arrival, Line};
use super::*;

const CAPACITY: u64 = 100;
const WAITING_MAX: u64 = 60;
const NAMES: [&str; 4] = ["device/a", "device/b", "device/c", "device/d"];

/// What is done to a line.
#[derive(Debug, Clone)]
enum Step {
    /// A name asks for units.
    Ask(usize, u64),
    /// One of the shares under way is given back.
    GiveBack(usize),
    /// One of those who wait goes away.
    Leave(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => (0..NAMES.len(), 1..40_u64).prop_map(|(name, units)| Step::Ask(name, units)),
        3 => (0..100_usize).prop_map(Step::GiveBack),
        1 => (0..100_usize).prop_map(Step::Leave),
    ];
    prop::collection::vec(step, 1..200)
}

/// What must be so, kept in the plainest way: everyone who asked and is not told yet, in order.
#[derive(Debug, Default)]
struct Model {
    waiting: Vec<Asked>,
    held: Vec<(usize, u64)>,
    asked: u64,
}

#[derive(Debug, Clone, Copy)]
struct Asked {
    number: u64,
    name: usize,
    units: u64,
    ticket: u64,
}

impl Model {
    fn held_by(&self, name: usize) -> u64 {
        let own = self.held.iter().filter(|(holder, _)| *holder == name);
        own.map(|(_, units)| units).sum()
    }

    fn waiting_of(&self, name: usize) -> u64 {
        let own = self.waiting.iter().filter(|asked| asked.name == name);
        own.map(|asked| asked.units).sum()
    }

    fn held_in_all(&self) -> u64 {
        self.held.iter().map(|(_, units)| units).sum()
    }

    fn waiting_in_all(&self) -> u64 {
        self.waiting.iter().map(|asked| asked.units).sum()
    }

    /// Who is next: least held, then longest waiting.
    fn next(&self) -> Option<Asked> {
        let waiting = self.waiting.iter().copied();
        waiting.min_by_key(|asked| (self.held_by(asked.name), asked.number))
    }

    /// Takes over what the line says became of asks, holding each against the rules.
    fn follow(&mut self, line: &mut Line<u64>) {
        for number in line.refused() {
            let at = self.waiting.iter().position(|asked| asked.number == number);
            let refused = self.waiting[at.expect("it was waiting")];
            let most = (0..NAMES.len()).map(|name| self.waiting_of(name)).max();
            assert_eq!(
                Some(self.waiting_of(refused.name)),
                most,
                "another had more in the line: {self:?}"
            );
            let newest = self
                .waiting
                .iter()
                .filter(|asked| asked.name == refused.name);
            assert_eq!(newest.map(|asked| asked.number).max(), Some(number));
            self.waiting.remove(at.expect("it was waiting"));
        }
        for granted in line.granted() {
            let next = self.next().expect("somebody waits");
            assert_eq!(granted.waiter, next.number, "not the one whose turn it was");
            assert_eq!(granted.units, next.units);
            self.waiting.retain(|asked| asked.number != next.number);
            self.held.push((next.name, next.units));
        }
        assert_eq!(line.held(), self.held_in_all());
        assert_eq!(line.waiting(), self.waiting_in_all());
        assert!(line.held() <= CAPACITY && line.waiting() <= WAITING_MAX);
        if let Some(next) = self.next() {
            assert!(
                line.held() + next.units > CAPACITY,
                "{next:?} waits for nothing"
            );
        }
    }

    fn apply(&mut self, line: &mut Line<u64>, step: &Step) {
        match *step {
            Step::Ask(name, units) => {
                let number = self.asked;
                self.asked += 1;
                self.waiting.push(Asked {
                    number,
                    name,
                    units,
                    ticket: 0,
                });
                let arrival = line.arrive(&NAMES[name].into(), units, number);
                if let Arrival::Waits { ticket } = arrival
                    && let Some(asked) = self.waiting.last_mut()
                {
                    asked.ticket = ticket;
                }
                // Grants before refusals of the same arrival: the model takes them apart.
                self.follow_arrival(line);
            }
            Step::GiveBack(which) if !self.held.is_empty() => {
                let (name, units) = self.held.swap_remove(which % self.held.len());
                line.release(&NAMES[name].into(), units);
                self.follow(line);
            }
            Step::Leave(which) if !self.waiting.is_empty() => {
                let left = self.waiting.remove(which % self.waiting.len());
                line.leave(&NAMES[left.name].into(), left.ticket);
                self.follow(line);
            }
            Step::GiveBack(_) | Step::Leave(_) => {}
        }
    }

    /// An arrival may be granted at once, or make somebody give way, which may let others be granted.
    fn follow_arrival(&mut self, line: &mut Line<u64>) {
        // Whoever is granted before anybody gives way is the newcomer alone: nobody else fitted before.
        let newcomer = self.waiting.last().map(|asked| asked.number);
        let next = self.next();
        if let Some(next) = next
            && Some(next.number) == newcomer
            && self.held_in_all() + next.units <= CAPACITY
        {
            let granted = line.granted();
            assert_eq!(granted.len(), 1);
            assert_eq!(granted[0].waiter, next.number);
            self.waiting.pop();
            self.held.push((next.name, next.units));
        }
        self.follow(line);
    }
}

proptest! {
    #[test]
    fn shares_are_bounded_fair_and_never_idle(steps in steps()) {
        let mut line = Line::new(CAPACITY, WAITING_MAX);
        let mut model = Model::default();
        for step in &steps {
            model.apply(&mut line, step);
        }
        while !model.held.is_empty() {
            model.apply(&mut line, &Step::GiveBack(0));
        }
        prop_assert!(model.waiting.is_empty(), "somebody waits for ever");
        prop_assert_eq!((line.held(), line.waiting()), (0, 0));
        prop_assert!(!line.is_overloaded());
    }

    /// However many asks a greedy name has in the line, one that holds nothing is served before any of
    /// them, and is never refused.
    #[test]
    fn a_small_name_waits_for_no_ask_of_a_greedy_one(
        greedy in prop::collection::vec(1..40_u64, 5..50),
        small in 1..10_u64,
    ) {
        let mut line = Line::new(CAPACITY, WAITING_MAX);
        let (many, one): (Arc<str>, Arc<str>) = (NAMES[0].into(), NAMES[1].into());
        let mut under_way = VecDeque::new();
        for (number, units) in (0_u64..).zip(&greedy) {
            line.arrive(&many, *units, number);
            under_way.extend(line.granted().into_iter().map(|granted| granted.units));
        }
        line.refused();
        line.arrive(&one, small, u64::MAX);
        prop_assert!(!line.refused().contains(&u64::MAX));
        // What is under way is given back one after the other.
        let mut granted = line.granted();
        while granted.is_empty() {
            let units = under_way.pop_front().expect("it is served before all is given back");
            line.release(&many, units);
            granted = line.granted();
        }
        prop_assert_eq!(granted[0].waiter, u64::MAX);
    }
}

/// Two names that both want all there is, one with many asks and large ones: what is done for each,
/// when things are done in the order of being begun, comes to the same.
#[test]
fn what_is_done_for_each_is_equal_however_much_each_asks_for() {
    let mut line: Line<()> = Line::new(CAPACITY, 1_000);
    let names: [Arc<str>; 3] = [NAMES[0].into(), NAMES[1].into(), NAMES[2].into()];
    let (units, asks) = ([20, 5, 2], [40, 8, 10]);
    let mut under_way: VecDeque<(Arc<str>, u64)> = VecDeque::new();
    let mut done: BTreeMap<Arc<str>, u64> = BTreeMap::new();
    for ((name, units), asks) in names.iter().zip(units).zip(asks) {
        for _ in 0..asks {
            line.arrive(name, units, ());
        }
    }
    for _ in 0..20_000 {
        let granted = line.granted().into_iter();
        under_way.extend(granted.map(|granted| (granted.name, granted.units)));
        let (name, units) = under_way.pop_front().unwrap();
        *done.entry(Arc::clone(&name)).or_default() += units;
        line.release(&name, units);
        line.arrive(&name, units, ());
    }
    let least = *done.values().min().unwrap();
    let most = *done.values().max().unwrap();
    // The one with the smallest asks can have 10 of 2 units under way: 20 of 100, which is all it asks
    // for. The other two share the rest.
    assert_eq!(done[&names[2]], least);
    #[expect(clippy::cast_precision_loss, reason = "a ratio")]
    let ratio = most as f64 / done[&names[1]] as f64;
    assert!((0.9..1.2).contains(&ratio), "{done:?}");
}

#[test]
fn the_last_unit_of_capacity_and_line_is_given_and_one_more_refused() {
    let mut line: Line<u8> = Line::new(10, 5);
    let name: Arc<str> = "device/a".into();
    assert_eq!(line.arrive(&name, 10, 1), Arrival::Settled);
    assert_eq!(line.granted().len(), 1);
    assert!(matches!(line.arrive(&name, 5, 2), Arrival::Waits { .. }));
    assert!(line.refused().is_empty());
    assert_eq!(line.arrive(&name, 1, 3), Arrival::Settled);
    assert_eq!(line.refused(), [3]);
    line.release(&name, 10);
    assert_eq!(line.granted()[0].waiter, 2);
    assert_eq!(
        line.arrive(&name, 11, 4),
        Arrival::Settled,
        "more than there can be in the line"
    );
    assert_eq!(line.refused(), [4]);
}

#[test]
fn one_ask_for_more_than_there_is_gets_all_of_it() {
    let mut line: Line<u8> = Line::new(10, 5);
    assert_eq!(line.arrive(&"device/a".into(), 11, 1), Arrival::Settled);
    assert_eq!(line.granted()[0].units, 10);
}

#[test]
fn it_is_overloaded_from_nine_tenths_until_below_seven() {
    let mut line: Line<()> = Line::new(100, 100);
    let name: Arc<str> = "device/a".into();
    line.arrive(&name, 89, ());
    assert!(!line.is_overloaded());
    line.arrive(&name, 1, ());
    assert!(line.is_overloaded());
    line.release(&name, 20);
    assert!(line.is_overloaded(), "at seven tenths it still is");
    line.release(&name, 1);
    assert!(!line.is_overloaded());
    line.arrive(&name, 20, ());
    assert!(!line.is_overloaded(), "on the way up it begins at nine");
    line.arrive(&name, 50, ());
    assert!(line.is_overloaded() || line.waiting() > 0);
}

#[test]
fn what_the_node_takes_for_itself_is_never_refused_and_is_counted() {
    let shares = FairShare::new(10, 5);
    let own = shares.take("node", 12);
    assert_eq!(shares.held(), 12);
    assert!(shares.is_overloaded());
    drop(own);
    assert_eq!(shares.held(), 0);
}

#[tokio::test]
async fn who_waits_is_served_when_something_is_given_back_and_who_goes_loses_the_place() {
    let shares = FairShare::new(10, 100);
    let first = shares.acquire("device/a", 10).await.unwrap();
    {
        let mut left = std::pin::pin!(shares.acquire("device/b", 10));
        assert!(futures::poll!(&mut left).is_pending());
        assert_eq!(shares.waiting(), 10);
    }
    assert_eq!(shares.waiting(), 0, "it went away");
    let mut waits = std::pin::pin!(shares.acquire("device/c", 4));
    assert!(futures::poll!(&mut waits).is_pending());
    drop(first);
    {
        // Given, and nobody took it: it comes back.
        let mut other = std::pin::pin!(shares.acquire("device/d", 10));
        assert!(futures::poll!(&mut other).is_pending());
        drop(waits.await.unwrap());
        assert_eq!(shares.held(), 10);
    }
    shares.settled().await;
    assert_eq!((shares.held(), shares.waiting()), (0, 0));
}

#[test]
fn the_hint_is_about_the_time_after_which_there_is_room() {
    let mut pace = Pace::default();
    let begin = Instant::now();
    assert_eq!(
        pace.time_for(1 << 40, begin),
        RETRY_AFTER_MAX,
        "nothing is known yet"
    );
    // 1,000 units a second are given back for a while.
    let mut at = begin;
    for _ in 0..30 {
        pace.note(100, at);
        at += Duration::from_millis(100);
    }
    let hint = pace.time_for(500, at).as_secs_f64();
    assert!((0.4..0.6).contains(&hint), "{hint} s for 500 units");
    assert_eq!(pace.time_for(0, at), RETRY_AFTER_MIN);
    assert_eq!(pace.time_for(1 << 40, at), RETRY_AFTER_MAX);
}
