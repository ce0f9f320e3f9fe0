//! What the stage that finds out who is who keeps from one batch to the next. All of it may be forgotten: it only saves questions.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher as _,
};

use crate::domain::actor::{device::Device, evidence::Evidence, pace::Pace};

/// Actors of whom it is known what is known of them, in each of two generations: 40 bytes each.
const SETTLED_MAX: usize = 200_000;
/// Kinds of devices whose judgement is kept; there are some thousand user agents.
const DEVICES_MAX: usize = 8_192;

/// What was found lately.
#[derive(Default)]
pub struct KnownActors {
    /// With both halves, two names do not meet by accident, nor by anybody's design.
    halves: [RandomState; 2],
    younger: HashMap<u128, u32>,
    older: HashMap<u128, u32>,
    devices: HashMap<u64, Device>,
    pace: Option<(String, u64, Pace)>,
}

impl KnownActors {
    /// By what a name of this sort is known here.
    pub fn key(&self, sort: &str, name: &str) -> u128 {
        let [low, high] = self.halves.each_ref().map(|half| u128::from(half.hash_one((sort, name))));
        high << 64 | low
    }

    /// Notes that this evidence is on record; whether it was noted already.
    pub fn settle(&mut self, key: u128, evidence: Evidence) -> bool {
        let bit = 1_u32 << evidence as u32;
        if !self.younger.contains_key(&key) {
            if self.younger.len() >= SETTLED_MAX {
                self.older = std::mem::take(&mut self.younger);
            }
            let earlier = self.older.get(&key).copied().unwrap_or(0);
            self.younger.insert(key, earlier);
        }
        let Some(settled) = self.younger.get_mut(&key) else { return false };
        let was_settled = *settled & bit != 0;
        *settled |= bit;
        was_settled
    }

    /// To be called when something is on record no longer, or somebody else may have written.
    pub fn unsettle(&mut self) {
        self.younger = HashMap::new();
        self.older = HashMap::new();
    }

    /// What a message's library and user agent come to.
    pub fn device(&mut self, library: Option<&str>, user_agent: Option<&str>) -> Device {
        let key = self.halves[0].hash_one((library, user_agent));
        if self.devices.len() >= DEVICES_MAX {
            self.devices.clear();
        }
        *self.devices.entry(key).or_insert_with(|| Device::of(library, user_agent))
    }

    /// The pace of everybody in this input, if it is known up to this offset.
    pub fn take_pace(&mut self, input: &str, next: u64) -> Option<Pace> {
        self.pace.take().filter(|(of, up_to, _)| of == input && *up_to == next).map(|(_, _, pace)| pace)
    }

    /// Keeps the pace of everybody in this input up to this offset.
    pub fn keep_pace(&mut self, input: &str, next: u64, pace: Pace) {
        self.pace = Some((input.to_owned(), next, pace));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_settled_lately_is_known_and_each_evidence_for_itself() {
        let mut known = KnownActors::default();
        let (ada, bob) = (known.key("user_id", "ada"), known.key("user_id", "bob"));
        assert_ne!(known.key("anonymous_id", "ada"), ada);
        assert!(!known.settle(ada, Evidence::Named) && known.settle(ada, Evidence::Named));
        assert!(!known.settle(ada, Evidence::AutomatedDevice) && !known.settle(bob, Evidence::Named));
        for number in 0..3 * SETTLED_MAX as u128 {
            known.settle(number, Evidence::Visited);
            if number % 1_000 == 0 {
                assert!(known.settle(ada, Evidence::Named), "who is asked for stays");
            }
        }
        assert!(!known.settle(bob, Evidence::Named), "the others are forgotten");
        known.unsettle();
        assert!(!known.settle(ada, Evidence::Named));
    }
}
