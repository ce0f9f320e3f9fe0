//! Habits: how somebody usually behaves, learned from what was seen, and what is unlike it.
//!
//! Nothing is unusual before enough was learned: a new agent is not a dangerous one.

use serde::{Deserialize, Serialize};

use super::SignalKind;
use crate::domain::{network::Network, time::Timestamp};

/// How long a rate, or the networks, are learned before one can be unusual.
const HOURS_LEARNED_MIN: i64 = 24;
/// Tokens in one hour that are never too many.
const ISSUED_MIN: u32 = 50;
/// How many times the usual is unusual.
const JUMP: u32 = 10;
/// The share of the last hour in what is usual, as a divisor.
const USUAL_SHARE: u32 = 8;
/// Hours after which nothing is left of what was usual.
const USUAL_HOURS_MAX: i64 = 200;
/// Active days before an hour can be unusual.
const DAYS_LEARNED_MIN: u16 = 7;
/// An hour is unusual if it, and those beside it, were active on less than this part of the active days, as a divisor.
const RARE_DAYS: u16 = 20;
/// With so many active days all counts are halved, so that habits may change.
const DAYS_MAX: u16 = 56;
/// Whoever comes from more networks is at home in none, and a new one says nothing.
const NETWORKS_MAX: usize = 16;

/// What comes late is not as late as this. So a last hour that is further ahead was told by a clock that was ahead, once.
const LATE_HOURS_MAX: i64 = 24;

/// How an agent gets its tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Habits {
    rate: Rate,
    hours: Hours,
    networks: Networks,
}

impl Habits {
    /// Takes in that it got a token; answers what is unusual about that.
    pub fn note(&mut self, at: Timestamp, network: Option<&Network>) -> impl Iterator<Item = SignalKind> {
        let rate = self.rate.note(at).then_some(SignalKind::RateJumped);
        let hours = self.hours.note(at).then_some(SignalKind::OffHours);
        let is_new = network.is_some_and(|network| self.networks.note(at, network));
        [rate, hours, is_new.then_some(SignalKind::NewNetwork)].into_iter().flatten()
    }

    /// The hour since the epoch in which it was last active.
    pub(super) fn last_hour(&self) -> i64 {
        self.hours.hour
    }
}

/// How many tokens come in an hour, and how many usually do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Rate {
    /// The hour since the epoch in which the first came.
    since_hour: Option<i64>,
    hour: i64,
    issued: u32,
    /// Thousandths of a token in an hour.
    usual_thousandths: u32,
}

impl Rate {
    /// Counts a token; whether it is the one that is too many for its hour.
    fn note(&mut self, at: Timestamp) -> bool {
        let hour = hour_of(at);
        if was_ahead(self.hour, hour) {
            // What was usual was lost on the way there, and is learned anew.
            *self = Rate { hour, ..Rate::default() };
        }
        let since_hour = *self.since_hour.get_or_insert(hour);
        if hour > self.hour {
            self.finish_hours(hour);
        }
        self.issued = self.issued.saturating_add(1);
        // Stands as long as the hour does, so it is met once.
        let bound = ISSUED_MIN.max(self.usual_thousandths.saturating_mul(JUMP) / 1000);
        hour - since_hour >= HOURS_LEARNED_MIN && self.issued == bound
    }

    fn finish_hours(&mut self, hour: i64) {
        for _ in 0..(hour - self.hour).min(USUAL_HOURS_MAX) {
            let issued = std::mem::take(&mut self.issued).saturating_mul(1000);
            self.usual_thousandths = self.usual_thousandths - self.usual_thousandths / USUAL_SHARE + issued / USUAL_SHARE;
        }
        self.hour = hour;
    }
}

/// At which hours of the day, in UTC, something usually happens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Hours {
    /// The last active hour, since the epoch.
    hour: i64,
    days: u16,
    /// On how many of those days each hour was active.
    by_hour: [u16; 24],
}

impl Hours {
    /// Counts an hour once; whether it is an unusual one.
    fn note(&mut self, at: Timestamp) -> bool {
        let hour = hour_of(at);
        if was_ahead(self.hour, hour) {
            self.hour = hour - 1;
        }
        if hour <= self.hour {
            return false;
        }
        if hour.div_euclid(24) > self.hour.div_euclid(24) {
            self.days += 1;
        }
        self.hour = hour;
        let place = usize::try_from(hour.rem_euclid(24)).expect("less than 24");
        let near: u16 = [place, (place + 1) % 24, (place + 23) % 24].into_iter().map(|near| self.by_hour[near]).sum();
        // Today is one of the days.
        let is_unusual = self.days > DAYS_LEARNED_MIN && near * RARE_DAYS < self.days;
        self.by_hour[place] += 1;
        if self.days >= DAYS_MAX {
            self.days /= 2;
            self.by_hour.iter_mut().for_each(|days| *days /= 2);
        }
        is_unusual
    }
}

/// From which networks somebody usually comes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Networks {
    /// The hour since the epoch in which the first was seen.
    since_hour: Option<i64>,
    /// The last used at the end.
    known: Vec<Network>,
}

impl Networks {
    /// Remembers a network; whether it is a new one for somebody whose networks are known.
    pub(super) fn note(&mut self, at: Timestamp, network: &Network) -> bool {
        let hour = hour_of(at);
        let since_hour = self.since_hour.filter(|since_hour| !was_ahead(*since_hour, hour)).unwrap_or(hour);
        self.since_hour = Some(since_hour);
        if self.known.last() == Some(network) {
            return false;
        }
        let place = self.known.iter().position(|known| known == network);
        let is_wanderer = self.known.len() == NETWORKS_MAX;
        if let Some(place) = place.or(is_wanderer.then_some(0)) {
            self.known.remove(place);
        }
        self.known.push(network.clone());
        place.is_none() && !is_wanderer && hour - since_hour >= HOURS_LEARNED_MIN
    }
}

fn hour_of(at: Timestamp) -> i64 {
    at.seconds().div_euclid(3600)
}

/// Whether an hour that was noted lies so far beyond this one that it was not that hour.
fn was_ahead(noted: i64, hour: i64) -> bool {
    noted - hour > LATE_HOURS_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_hour(hour: i64) -> Timestamp {
        Timestamp::from_seconds(hour * 3600)
    }

    #[test]
    fn a_rate_jumps_once_an_hour_and_only_when_the_usual_is_known() {
        // Tokens an hour for some hours, then so many in one hour: which of those is the signal, if one is.
        for (usual, hours, burst, jumped_at) in
            [(1, 2, 500, None), (1, 48, 49, None), (1, 48, 500, Some(50)), (20, 72, 190, None), (20, 72, 500, Some(200))]
        {
            let mut rate = Rate::default();
            for hour in 0..hours {
                assert!((0..usual).all(|_| !rate.note(at_hour(hour))), "the usual is no signal");
            }
            let signals: Vec<usize> = (1..=burst).filter(|_| rate.note(at_hour(hours))).collect();
            assert_eq!(signals.first().copied(), jumped_at, "{usual} for {hours} hours");
            assert!(signals.len() <= 1);
        }
    }

    #[test]
    fn an_hour_is_unusual_when_days_are_known_and_it_is_rare() {
        // Active hours of a day, for so many days, then this hour: whether it is off.
        for (usual, days, hour, is_off) in [
            (vec![9, 17], 3, 3, false),
            (vec![9, 17], 20, 3, true),
            (vec![9, 17], 20, 18, false),
            (vec![9, 17], 20, 8, false),
            (vec![0], 20, 23, false),
            ((0..24).collect(), 20, 3, false),
            (vec![9], 400, 3, true),
        ] {
            let mut hours = Hours::default();
            for day in 1..=days {
                assert!(usual.iter().all(|hour| !hours.note(at_hour(day * 24 + hour))), "the usual is no signal");
            }
            let at = at_hour((days + 1) * 24 + hour);
            assert_eq!(hours.note(at), is_off, "{hour} after {days} days of {usual:?}");
            assert!(!hours.note(at), "it is told once");
        }
    }

    #[test]
    fn a_clock_that_was_ahead_once_is_forgotten() {
        const YEAR_HOURS: i64 = 365 * 24;
        let network = |name: &str| Network(name.to_owned());
        for ahead_on in [1, 20] {
            let mut habits = Habits::default();
            let mut note = |hour: i64, from: &str| habits.note(at_hour(hour), Some(&network(from))).collect::<Vec<_>>();
            for day in 1..=40 {
                if day == ahead_on {
                    note(day * 24 + YEAR_HOURS, "home");
                }
                note(day * 24 + 9, "home");
            }
            let evening = 42 * 24 + 21;
            assert_eq!(note(evening, "abroad"), [SignalKind::OffHours, SignalKind::NewNetwork], "ahead on day {ahead_on}");
            let jumped: Vec<_> = (0..500).flat_map(|_| note(evening, "abroad")).collect();
            assert_eq!(jumped, [SignalKind::RateJumped], "ahead on day {ahead_on}");
        }
    }

    #[test]
    fn a_network_is_new_to_whoever_is_at_home_somewhere() {
        let network = |name: &str| Network(name.to_owned());
        let mut networks = Networks::default();
        assert!(["home", "work", "home"].iter().all(|name| !networks.note(at_hour(0), &network(name))), "they are learned");
        for (name, is_new) in [("work", false), ("abroad", true), ("abroad", false), ("home", false)] {
            assert_eq!(networks.note(at_hour(24), &network(name)), is_new, "{name}");
        }
        let met = (0..100).filter(|number| networks.note(at_hour(25), &network(&number.to_string()))).count();
        assert_eq!(met, NETWORKS_MAX - 3, "then it is a wanderer");
        assert_eq!(networks.known.len(), NETWORKS_MAX);
    }
}
