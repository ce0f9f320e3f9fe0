//! How fast somebody can be: a person's own device tells of so many events in a second and no more.
//!
//! Seconds are the sender's own: a telephone that was away for a day sends all of it at once, and that is nothing against anybody.
//! Counts live as long as a window of arrivals, so that memory is bounded; a window is a stretch of the log, so whoever reads the log
//! from where a window begins comes to the same counts. What comes late counts in the window that is running, but in a long one no
//! longer: that was begun by a clock that was ahead, and would run until that time.

use std::collections::HashMap;

use super::super::time::Timestamp;

/// Events in one second that no person causes: a page that tells of every frame while it is scrolled stays below.
pub const EVENTS_IN_SECOND_MAX: u16 = 100;
/// How long a window of arrivals is, in milliseconds.
const WINDOW_MS: i64 = 10_000;
/// How far a window reaches in the log before what is earlier begins a new one, in offsets.
const WINDOW_OFFSETS_MAX: u64 = 100_000;

/// What has come within the window that is running.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Pace {
    window: i64,
    since: u64,
    /// The second that each sender told of last, and how many events in it.
    counts: HashMap<u128, (i64, u16)>,
}

impl Pace {
    /// Counts an event that stands at this offset, came `at` and happened in this second, since the epoch, of the sender's clock.
    /// `true` for the one that is too many, once in a second.
    pub fn note(&mut self, sender: u128, second: i64, at: Timestamp, offset: u64) -> bool {
        let window = at.0.div_euclid(WINDOW_MS);
        let is_long = offset.saturating_sub(self.since) >= WINDOW_OFFSETS_MAX;
        if window > self.window || (is_long && window < self.window) {
            *self = Pace { window, since: offset, counts: HashMap::new() };
        }
        let (known, count) = self.counts.entry(sender).or_insert((second, 0));
        if *known != second {
            (*known, *count) = (second, 0);
        }
        *count = count.saturating_add(1);
        *count == EVENTS_IN_SECOND_MAX + 1
    }

    /// The offset at which the window began: who reads from there on knows all counts.
    pub fn since(&self) -> u64 {
        self.since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_is_too_many_is_told_once() {
        let mut pace = Pace::default();
        let too_many: Vec<u64> = (0..500).filter(|offset| pace.note(7, 100, Timestamp(100_000), *offset)).collect();
        assert_eq!(too_many, [u64::from(EVENTS_IN_SECOND_MAX)]);
        assert!((0..500).all(|offset| !pace.note(8, i64::try_from(offset / 50).expect("small"), Timestamp(100_000), offset)));
    }

    #[test]
    fn a_clock_that_was_ahead_once_is_forgotten_before_long() {
        let mut pace = Pace::default();
        pace.note(0, 0, Timestamp(1_000_000_000), 0);
        let mut senders_max = 0;
        for offset in 1..300_000 {
            let at = Timestamp(1_000_000 + 20 * i64::try_from(offset).expect("small"));
            pace.note(u128::from(offset), 0, at, offset);
            senders_max = senders_max.max(pace.counts.len());
        }
        assert!(pace.since() > 299_000, "a window of ten seconds has 500 of them: {}", pace.since());
        assert!(senders_max <= 100_000, "{senders_max}");
    }

    #[test]
    fn who_begins_where_the_window_began_knows_as_much() {
        let events: Vec<(u128, i64, Timestamp, u64)> = (0..5_000_u64)
            .map(|offset| {
                (
                    u128::from(offset % 3),
                    i64::try_from(offset / 900).expect("small"),
                    Timestamp(1_000_000 + 20 * i64::try_from(offset).expect("small")),
                    offset,
                )
            })
            .collect();
        let mut pace = Pace::default();
        for (index, (sender, second, at, offset)) in events.iter().enumerate() {
            pace.note(*sender, *second, *at, *offset);
            if index % 777 == 0 {
                let mut again = Pace::default();
                let since = usize::try_from(pace.since()).expect("small");
                for (sender, second, at, offset) in &events[since..=index] {
                    again.note(*sender, *second, *at, *offset);
                }
                assert_eq!(again, pace);
            }
        }
    }
}
