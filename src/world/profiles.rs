//! What the profiles stage keeps from one batch to the next. Where this process alone writes, it is exact; else it is thrown away.

use std::{collections::HashMap, sync::Arc};

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

/// The part of the identity graph and the states that were last needed.
#[derive(Default)]
pub struct KnownProfiles {
    pub graph: Graph,
    pub states: HashMap<ProfileId, Arc<ProfileState>>,
}

impl KnownProfiles {
    /// Keeps within the bounds.
    pub fn bounded(mut self) -> KnownProfiles {
        if self.graph.len() > KEPT_IDS_MAX {
            self.graph = Graph::default();
        }
        if self.states.len() > KEPT_STATES_MAX {
            self.states = HashMap::new();
        }
        self
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
