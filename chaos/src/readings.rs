//! What producers write: readings that say themselves who wrote them, in which batch, at which place.
//!
//! A producer's batch follows from its number and its sequence, so it needs no spool: it makes any
//! batch again when it has to be sent again. Each batch has readings of three series:
//!
//! - `chaos/pN/ordered`: timestamps in order;
//! - `chaos/pN/shuffled`: the same timestamps, shuffled over thousands: late and out of order;
//! - `chaos/pN/register`: always the same timestamp, so each batch replaces what the one before wrote.
//!
//! A batch that is applied twice shows in a series' count of readings; one that is applied late, in
//! the register. [`Tally`] holds what is read back against what was written.

use anyhow::{Context, Result};
use bytes::Bytes;
use column_codec::encode;
use sensor_model::{Columns, Kind, SeriesDescription, SeriesPath, TimeRange, Timestamp, Values};
use store_wire::batch::BatchBuilder;

/// Readings of each of the first two series in a batch.
pub const RUN: u64 = 6;
/// Readings in a batch.
pub const BATCH_READINGS: u64 = 2 * RUN + 1;
/// The timestamp before all others: 2026-01-01.
const BASE_NANOS: i64 = 1_767_225_600_000_000_000;
/// Between two timestamps of a series.
const STEP_NANOS: i64 = 1_000_000_000;
/// Timestamps are shuffled within the batches of a block.
const BLOCK_BATCHES: u64 = 512;
const BLOCK: u64 = BLOCK_BATCHES * RUN;
/// Prime and no divisor of a block, so that multiplying by it permutes one.
const STRIDE: u64 = 1913;
/// Bits of a value that tell the place in the batch, and the sequence.
const PLACE_BITS: u32 = 8;
const SEQUENCE_BITS: u32 = 40;

/// The series of a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Track {
    /// Timestamps in order.
    Ordered,
    /// The same timestamps out of order.
    Shuffled,
    /// One timestamp, replaced by each batch.
    Register,
}

/// One producer's readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Script {
    /// The producer's number, from 0.
    pub producer: u32,
}

impl Track {
    /// All of them, in the order of their numbers in a batch.
    pub const ALL: [Self; 3] = [Self::Ordered, Self::Shuffled, Self::Register];

    const fn name(self) -> &'static str {
        match self {
            Self::Ordered => "ordered",
            Self::Shuffled => "shuffled",
            Self::Register => "register",
        }
    }

    /// How many readings of it each batch has.
    pub const fn run(self) -> u64 {
        match self {
            Self::Ordered | Self::Shuffled => RUN,
            Self::Register => 1,
        }
    }
}

impl Script {
    /// The path of a series.
    pub fn path(self, track: Track) -> String {
        format!("chaos/p{}/{}", self.producer, track.name())
    }

    /// The producer and the track of a path.
    pub fn of_path(path: &str) -> Option<(Self, Track)> {
        let (producer, track) = path.strip_prefix("chaos/p")?.split_once('/')?;
        let producer = producer.parse().ok()?;
        let track = Track::ALL.into_iter().find(|known| known.name() == track)?;
        Some((Self { producer }, track))
    }

    /// What the numbers of a batch stand for.
    ///
    /// # Errors
    /// Never; a path that is none would be a mistake here.
    pub fn declarations(self) -> Result<Vec<(u32, SeriesDescription)>> {
        let mut declared = Vec::new();
        for (number, track) in (0..).zip(Track::ALL) {
            let path = SeriesPath::new(self.path(track))?;
            declared.push((number, SeriesDescription::new(path, Kind::I64)));
        }
        Ok(declared)
    }

    /// The bytes of batch `sequence`, from 1.
    ///
    /// # Errors
    /// Never; a batch that breaks a bound would be a mistake here.
    pub fn batch(self, sequence: u64) -> Result<Bytes> {
        let mut builder = BatchBuilder::new();
        for (number, track) in (0..).zip(Track::ALL) {
            let places = 0..track.run();
            let columns = Columns {
                times: places.clone().map(|p| time(track, sequence, p)).collect(),
                values: Values::I64(places.map(|p| self.value(sequence, p)).collect()),
            };
            let mut chunk = Vec::new();
            encode(&columns, &mut chunk)?;
            builder.add(number, &chunk, track.run())?;
        }
        Ok(builder.finish())
    }

    /// The value at `place` in batch `sequence`.
    pub fn value(self, sequence: u64, place: u64) -> i64 {
        let producer = u64::from(self.producer) << (PLACE_BITS + SEQUENCE_BITS);
        let number = producer | (sequence << PLACE_BITS) | place;
        i64::try_from(number).expect("a producer's number has less than 15 bits")
    }

    /// The sequence and the place of a value that this producer wrote.
    pub fn origin(self, value: i64) -> Option<(u64, u64)> {
        let number = u64::try_from(value).ok()?;
        let sequence = (number >> PLACE_BITS) & ((1 << SEQUENCE_BITS) - 1);
        let place = number & ((1 << PLACE_BITS) - 1);
        (self.value(sequence, place) == value && sequence > 0).then_some((sequence, place))
    }
}

/// The range of time in which batches `from..=through` of a series in order lie. Those of the other
/// series lie in it, too, where `from` is as [`range_from`] says and `through` is large enough.
///
/// # Errors
/// When `from` is greater than `through`.
pub fn range(from: u64, through: u64) -> Result<TimeRange> {
    let (first, last) = (
        time(Track::Ordered, from, 0),
        time(Track::Ordered, through, RUN - 1),
    );
    TimeRange::new(
        Timestamp::from_nanos(first),
        Timestamp::from_nanos(last + 1),
    )
    .context("batches in the wrong order")
}

/// The first batch, at or before `sequence`, from which on a range of time holds whole batches of `track`.
pub const fn range_from(track: Track, sequence: u64) -> u64 {
    match track {
        Track::Ordered => sequence,
        Track::Shuffled => (sequence - 1) / BLOCK_BATCHES * BLOCK_BATCHES + 1,
        Track::Register => 1,
    }
}

/// The timestamp of `place` in batch `sequence`, in ns.
pub fn time(track: Track, sequence: u64, place: u64) -> i64 {
    let index = match track {
        Track::Ordered => (sequence - 1) * RUN + place,
        Track::Shuffled => shuffled((sequence - 1) * RUN + place),
        Track::Register => 0,
    };
    BASE_NANOS + i64::try_from(index).expect("small") * STEP_NANOS
}

fn shuffled(index: u64) -> u64 {
    let within = index % BLOCK;
    index - within + within * STRIDE % BLOCK
}

/// What was read of one series, held against what is written to it.
#[derive(Debug, Clone)]
pub struct Tally {
    script: Script,
    track: Track,
    /// The first sequence that was asked for.
    from: u64,
    /// For each sequence from `from` on, how many of its readings were seen.
    seen: Vec<u8>,
    rows: u64,
    /// The first thing that cannot be.
    oddity: Option<String>,
}

/// What a [`Tally`] comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Every batch from the first asked for to this one is there; one less than that if none is.
    pub through: u64,
    /// The last sequence of which anything is there.
    pub last: u64,
    /// How many readings.
    pub rows: u64,
    /// The first thing that cannot be, if there is one: an invented reading, a hole.
    pub oddity: Option<String>,
}

impl Tally {
    /// Nothing yet, of the series of `script`, where batches from `from` on were asked for.
    pub const fn new(script: Script, track: Track, from: u64) -> Self {
        Self {
            script,
            track,
            from,
            seen: Vec::new(),
            rows: 0,
            oddity: None,
        }
    }

    /// Takes a reading.
    pub fn add(&mut self, time_nanos: i64, value: i64) {
        self.rows += 1;
        let path = self.script.path(self.track);
        let Some((sequence, place)) = self.script.origin(value) else {
            return self.odd(format!("{path} has {value:#x}, which nobody wrote"));
        };
        if place >= self.track.run() || time(self.track, sequence, place) != time_nanos {
            return self.odd(format!(
                "{path} has the reading {place} of batch {sequence} at {time_nanos}, where it is not from"
            ));
        }
        if sequence < self.from {
            return self.odd(format!(
                "{path} answers batch {sequence}, which was not asked for"
            ));
        }
        let Ok(at) = usize::try_from(sequence - self.from) else {
            return self.odd(format!("{path} has batch {sequence}"));
        };
        if self.track == Track::Register {
            // All before it were replaced.
            self.seen = vec![1; at + 1];
            return;
        }
        if self.seen.len() <= at {
            self.seen.resize(at + 1, 0);
        }
        self.seen[at] += 1;
    }

    fn odd(&mut self, what: String) {
        self.oddity.get_or_insert(what);
    }

    /// What it comes to.
    pub fn found(mut self) -> Found {
        let whole = u8::try_from(self.track.run()).expect("few");
        let complete = self.seen.iter().take_while(|n| **n == whole).count();
        let through = self.from - 1 + complete as u64;
        let last = self.from - 1 + self.seen.len() as u64;
        if last > through {
            let (path, count) = (self.script.path(self.track), self.seen[complete]);
            self.odd(format!(
                "{path} has batch {last}, but {count} of {whole} readings of batch {}",
                through + 1
            ));
        }
        Found {
            through,
            last,
            rows: self.rows,
            oddity: self.oddity,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: Script = Script { producer: 3 };

    fn tally(from: u64, batches: &[u64]) -> Tally {
        let mut tally = Tally::new(SCRIPT, Track::Ordered, from);
        for sequence in batches {
            for place in 0..RUN {
                tally.add(
                    time(Track::Ordered, *sequence, place),
                    SCRIPT.value(*sequence, place),
                );
            }
        }
        tally
    }

    #[test]
    fn a_value_tells_where_it_is_from() {
        let value = SCRIPT.value(77, 5);
        assert_eq!(SCRIPT.origin(value), Some((77, 5)));
        assert_eq!(Script { producer: 2 }.origin(value), None);
        assert_eq!(SCRIPT.origin(-1), None);
        for track in Track::ALL {
            assert_eq!(Script::of_path(&SCRIPT.path(track)), Some((SCRIPT, track)));
        }
        assert_eq!(Script::of_path("chaos/put-1"), None);
    }

    #[test]
    fn shuffled_timestamps_are_the_same_ones_in_another_order() {
        let mut indexes: Vec<u64> = (0..2 * BLOCK).map(shuffled).collect();
        assert!(!indexes.is_sorted());
        indexes.sort_unstable();
        assert!(indexes.into_iter().eq(0..2 * BLOCK));
    }

    #[test]
    fn a_prefix_is_found_as_such() {
        let found = tally(5, &[5, 6, 7]).found();
        assert_eq!((found.through, found.last, found.rows), (7, 7, 3 * RUN));
        assert_eq!(found.oddity, None);
        let nothing = tally(5, &[]).found();
        assert_eq!((nothing.through, nothing.oddity), (4, None));
    }

    #[test]
    fn a_hole_is_odd() {
        let found = tally(1, &[1, 2, 4]).found();
        assert_eq!((found.through, found.last), (2, 4));
        assert!(found.oddity.unwrap().contains("batch 4, but 0 of 6"));
    }

    #[test]
    fn half_a_batch_is_odd() {
        let mut tally = tally(1, &[1]);
        tally.add(time(Track::Ordered, 2, 0), SCRIPT.value(2, 0));
        assert!(tally.found().oddity.unwrap().contains("1 of 6"));
    }

    #[test]
    fn what_nobody_wrote_is_odd() {
        for (time, value) in [
            (
                time(Track::Ordered, 1, 0),
                Script { producer: 1 }.value(1, 0),
            ),
            (time(Track::Ordered, 1, 1), SCRIPT.value(1, 0)),
            (time(Track::Ordered, 1, 0), SCRIPT.value(1, RUN)),
        ] {
            let mut tally = Tally::new(SCRIPT, Track::Ordered, 1);
            tally.add(time, value);
            assert!(tally.found().oddity.is_some(), "{time} {value:#x}");
        }
    }

    #[test]
    fn a_register_shows_the_latest_batch() {
        let mut tally = Tally::new(SCRIPT, Track::Register, 1);
        tally.add(time(Track::Register, 1, 0), SCRIPT.value(9, 0));
        assert_eq!(tally.found().through, 9);
    }

    #[test]
    fn a_range_of_shuffled_timestamps_begins_with_a_block() {
        for sequence in [1, 511, 512, 513, 2000] {
            let from = range_from(Track::Shuffled, sequence);
            let whole = range(from, from + 10 * BLOCK_BATCHES).unwrap();
            let holds = |sequence| {
                let times = (0..RUN).map(|place| time(Track::Shuffled, sequence, place));
                times
                    .map(Timestamp::from_nanos)
                    .filter(|at| whole.contains(*at))
                    .count()
            };
            assert!(from <= sequence);
            assert_eq!(holds(sequence) as u64, RUN);
            assert!(from == 1 || holds(from - 1) == 0, "{from}");
        }
    }

    #[test]
    fn a_range_holds_its_batches_and_no_other() {
        let range = range(4, 5).unwrap();
        let within = |sequence, place| {
            range.contains(Timestamp::from_nanos(time(Track::Ordered, sequence, place)))
        };
        assert!(within(4, 0) && within(5, RUN - 1));
        assert!(!within(3, RUN - 1) && !within(6, 0));
    }
}
