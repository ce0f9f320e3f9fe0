//! What the profiles stage keeps from one batch to the next. Where this process alone writes, it is exact; else it is thrown away.

use std::collections::HashMap;

use crate::{
    domain::{
        identity::graph::{Graph, ProfileId},
        profile::ProfileState,
    },
    storage::profile_states::EventPlace,
};

/// External ids and states that are kept; with more, all are forgotten and read again as they are needed.
const KEPT_IDS_MAX: usize = 500_000;
const KEPT_STATES_MAX: usize = 100_000;
/// The same for the length of the states as JSON, for whoever sends events says how long they are. In memory it is about three times that.
const KEPT_STATE_BYTES_MAX: usize = 128 << 20;

/// The part of the identity graph and the states that were last needed.
#[derive(Default)]
pub struct KnownProfiles {
    pub graph: Graph,
    pub states: KnownStates,
}

/// States, and how long they are as JSON.
#[derive(Default)]
pub struct KnownStates {
    kept: HashMap<ProfileId, Kept>,
    /// Of all together.
    bytes: usize,
}

#[derive(Default)]
struct Kept {
    state: ProfileState,
    bytes: usize,
}

impl KnownProfiles {
    /// Keeps within the bounds.
    pub fn bounded(mut self) -> KnownProfiles {
        if self.graph.len() > KEPT_IDS_MAX {
            self.graph = Graph::default();
        }
        if self.states.kept.len() > KEPT_STATES_MAX || self.states.bytes > KEPT_STATE_BYTES_MAX {
            self.states = KnownStates::default();
        }
        self
    }
}

impl KnownStates {
    pub fn has(&self, profile: ProfileId) -> bool {
        self.kept.contains_key(&profile)
    }

    pub fn get(&self, profile: ProfileId) -> Option<&ProfileState> {
        self.kept.get(&profile).map(|kept| &kept.state)
    }

    /// The state of a profile, empty if it had none, to be changed. Whoever does says afterwards how long it is.
    pub fn change(&mut self, profile: ProfileId) -> &mut ProfileState {
        &mut self.kept.entry(profile).or_default().state
    }

    /// Notes how long a state is now.
    pub fn note_bytes(&mut self, profile: ProfileId, bytes: usize) {
        if let Some(kept) = self.kept.get_mut(&profile) {
            self.bytes = self.bytes - kept.bytes + bytes;
            kept.bytes = bytes;
        }
    }

    /// Takes in a state as it was read.
    pub fn insert(&mut self, profile: ProfileId, state: ProfileState, bytes: usize) {
        *self.change(profile) = state;
        self.note_bytes(profile, bytes);
    }
}

/// How far this node is in forgetting which events were whose: at the end of a walk for which nothing was to be forgotten.
pub struct Forgetting {
    /// Where each partition of the log began when the walk did.
    pub starts: Vec<EventPlace>,
    /// The profile that was looked at last.
    pub after: Option<ProfileId>,
    pub is_done: bool,
}

impl Default for Forgetting {
    fn default() -> Forgetting {
        Forgetting { starts: Vec::new(), after: None, is_done: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_kept_up_to_so_many_bytes_however_few_they_are() {
        let of = |byte| ProfileId::from_bytes([byte; 16]);
        let mut known = KnownProfiles::default();
        for _ in 0..3 {
            known.states.insert(of(1), ProfileState::default(), KEPT_STATE_BYTES_MAX - 10);
            known.states.insert(of(2), ProfileState::default(), 10);
            known = known.bounded();
            assert!(known.states.has(of(1)) && known.states.has(of(2)), "what is written again counts once");
        }
        known.states.change(of(2));
        known.states.note_bytes(of(2), 11);
        known = known.bounded();
        assert!(!known.states.has(of(1)) && known.states.get(of(2)).is_none());
    }
}
