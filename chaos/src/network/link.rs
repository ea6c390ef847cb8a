//! One direction between two parties: what becomes of each packet. No I/O and no clock of its own.

use std::time::Duration;

use rand::RngExt;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tokio::time::Instant;

/// A link whose bandwidth is bounded holds packets for so long at most; later ones are dropped.
const QUEUE_MAX: Duration = Duration::from_millis(500);

/// How a link treats packets.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Weather {
    /// Whether nothing passes.
    pub is_cut: bool,
    /// The part of packets that is lost, 0 to 1.
    pub loss: f64,
    /// The part of packets that arrives twice, 0 to 1.
    pub duplication: f64,
    /// How much later a packet arrives.
    pub delay: Duration,
    /// How much later still, at most: each packet for itself, so that they overtake each other.
    pub jitter: Duration,
    /// How many bytes pass a second; any number when `None`.
    pub bytes_per_second: Option<u32>,
}

impl Weather {
    /// Nothing passes.
    pub fn cut() -> Self {
        Self {
            is_cut: true,
            ..Self::default()
        }
    }
}

/// One direction between two parties.
#[derive(Debug)]
pub struct Link {
    /// How it treats packets from now on.
    pub weather: Weather,
    chance: ChaCha8Rng,
    /// When what is on its way has passed, where the bandwidth is bounded.
    free_at: Option<Instant>,
}

impl Link {
    /// A link in fair weather whose chances follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            weather: Weather::default(),
            chance: ChaCha8Rng::seed_from_u64(seed),
            free_at: None,
        }
    }

    /// When a packet of `bytes` bytes that is sent at `now` arrives: never, once or twice.
    pub fn carry(&mut self, now: Instant, bytes: usize) -> [Option<Instant>; 2] {
        let weather = self.weather;
        if weather.is_cut || self.happens(weather.loss) {
            return [None, None];
        }
        let Some(passed) = self.pass(now, bytes) else {
            return [None, None];
        };
        let first = passed + self.lateness();
        let second = self
            .happens(weather.duplication)
            .then(|| passed + self.lateness());
        [Some(first), second]
    }

    /// When a packet has passed the narrowest place; `None` where too many wait there.
    fn pass(&mut self, now: Instant, bytes: usize) -> Option<Instant> {
        let Some(rate) = self.weather.bytes_per_second else {
            self.free_at = None;
            return Some(now);
        };
        let begin = self.free_at.map_or(now, |free_at| free_at.max(now));
        if begin > now + QUEUE_MAX {
            return None;
        }
        let takes = Duration::from_secs_f64(bytes as f64 / f64::from(rate.max(1)));
        self.free_at = Some(begin + takes);
        self.free_at
    }

    fn lateness(&mut self) -> Duration {
        let Weather { delay, jitter, .. } = self.weather;
        if jitter.is_zero() {
            return delay;
        }
        delay + jitter.mul_f64(self.chance.random())
    }

    fn happens(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.chance.random_bool(probability.min(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(link: &mut Link, packets: usize) -> Vec<[Option<Instant>; 2]> {
        let now = Instant::now();
        (0..packets).map(|_| link.carry(now, 1000)).collect()
    }

    #[test]
    fn fair_weather_brings_every_packet_once_and_at_once() {
        let mut link = Link::new(1);
        let now = Instant::now();
        assert_eq!(link.carry(now, 1000), [Some(now), None]);
    }

    #[test]
    fn a_cut_link_brings_nothing() {
        let mut link = Link::new(1);
        link.weather = Weather::cut();
        assert_eq!(link.carry(Instant::now(), 1), [None, None]);
    }

    #[test]
    fn loss_and_duplication_are_about_as_asked() {
        let mut link = Link::new(7);
        link.weather = Weather {
            loss: 0.3,
            duplication: 0.1,
            ..Weather::default()
        };
        let arrivals = arrivals(&mut link, 10_000);
        let lost = arrivals.iter().filter(|times| times[0].is_none()).count();
        let doubled = arrivals.iter().filter(|times| times[1].is_some()).count();
        assert!((2_700..3_300).contains(&lost), "{lost}");
        assert!((550..850).contains(&doubled), "{doubled}");
    }

    #[test]
    fn jitter_lets_packets_overtake_each_other_within_its_bound() {
        let mut link = Link::new(3);
        let (delay, jitter) = (Duration::from_millis(5), Duration::from_millis(20));
        link.weather = Weather {
            delay,
            jitter,
            ..Weather::default()
        };
        let now = Instant::now();
        let times: Vec<Instant> = (0..100).filter_map(|_| link.carry(now, 100)[0]).collect();
        assert!(!times.is_sorted());
        assert!(
            times
                .iter()
                .all(|at| (now + delay..=now + delay + jitter).contains(at))
        );
    }

    #[test]
    fn a_narrow_link_spaces_packets_out_and_drops_what_would_wait_too_long() {
        let mut link = Link::new(1);
        link.weather.bytes_per_second = Some(10_000);
        let now = Instant::now();
        let times: Vec<Option<Instant>> = (0..20).map(|_| link.carry(now, 1000)[0]).collect();
        assert_eq!(times[0], Some(now + Duration::from_millis(100)));
        assert_eq!(times[1], Some(now + Duration::from_millis(200)));
        // 500 ms of packets wait, one is passing.
        assert_eq!(times.iter().flatten().count(), 6);
    }

    #[test]
    fn the_same_seed_gives_the_same_chances() {
        let mut links = [Link::new(5), Link::new(5)];
        let now = Instant::now();
        let fates = links.each_mut().map(|link| {
            link.weather.loss = 0.5;
            (0..100).map(|_| link.carry(now, 1)).collect::<Vec<_>>()
        });
        assert_eq!(fates[0], fates[1]);
    }
}
