//! The oracle: the rules as the product's documentation states them, applied one by one to a list of profiles. No graph, no labels,
//! no ids of profiles but the offsets they were created at; slow, and short enough to be seen to be right.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{
    identity::{
        external_id::{ExternalId, ExternalIdType},
        rules::RuleSettings,
    },
    time::Timestamp,
};

pub struct Oracle {
    settings: RuleSettings,
    types: BTreeSet<ExternalIdType>,
    pub profiles: Vec<Profile>,
}

#[derive(Clone)]
pub struct Profile {
    pub created: u64,
    merges: usize,
    pub ids: BTreeMap<ExternalId, Timestamp>,
}

/// The profile that stands for the event, by the offset of its creation, and the ids that were dropped, the first first.
pub type Answer = (Option<u64>, Vec<ExternalId>);

impl Oracle {
    pub fn new(settings: RuleSettings) -> Oracle {
        Oracle { settings, types: BTreeSet::new(), profiles: Vec::new() }
    }

    pub fn event(&mut self, offset: u64, at: Timestamp, ids: &[ExternalId]) -> Answer {
        let mut ids: Vec<ExternalId> = ids.iter().collect::<BTreeSet<_>>().into_iter().cloned().collect();
        let blocked = ids.extract_if(.., |id| self.settings.blocked_values.iter().any(|value| value == id.value())).collect();
        self.types.extend(ids.iter().map(|id| id.id_type().clone()));
        let numbers = self.numbers();
        ids.sort_by_key(|id| (numbers[id.id_type()], id.value().to_owned()));
        self.attempt(offset, at, ids, blocked)
    }

    /// Priorities as numbers: those that the operator set, then all types that were ever seen, numbered anew each time.
    fn numbers(&self) -> BTreeMap<ExternalIdType, usize> {
        let others = self.types.iter().filter(|id_type| !self.settings.priority.contains(id_type));
        self.settings.priority.iter().chain(others).cloned().zip(1..).collect()
    }

    fn attempt(&mut self, offset: u64, at: Timestamp, mut ids: Vec<ExternalId>, mut dropped: Vec<ExternalId>) -> Answer {
        if ids.is_empty() {
            return (None, dropped);
        }
        let matches = |profile: &Profile| ids.iter().any(|id| profile.ids.contains_key(id));
        let matched: Vec<&Profile> = self.profiles.iter().filter(|profile| matches(profile)).collect();
        let mut union = Profile { created: offset, merges: matched.len().saturating_sub(1), ids: BTreeMap::new() };
        for profile in &matched {
            union.created = union.created.min(profile.created);
            union.merges += profile.merges;
            union.ids.extend(profile.ids.clone());
        }
        for id in &ids {
            union.ids.entry(id.clone()).or_insert(at);
        }
        let is_allowed = self.types.iter().all(|id_type| {
            let count = |profile: &Profile| self.count(profile, id_type, at);
            let most = matched.iter().map(|profile| count(profile)).max().unwrap_or(0);
            count(&union) <= self.limit(id_type) || count(&union) == most
        });
        if !is_allowed {
            dropped.extend(ids.pop());
            return self.attempt(offset, at, ids, dropped);
        }
        let created = union.created;
        self.profiles.retain(|profile| !ids.iter().any(|id| profile.ids.contains_key(id)));
        self.profiles.push(union);
        (Some(created), dropped)
    }

    fn count(&self, profile: &Profile, id_type: &ExternalIdType, at: Timestamp) -> usize {
        let start = self.settings.limits.get(id_type).unwrap_or(&self.settings.other_limit).window.start(at);
        profile.ids.iter().filter(|(id, mapped)| id.id_type() == id_type && **mapped > start).count()
    }

    fn limit(&self, id_type: &ExternalIdType) -> usize {
        self.settings.limits.get(id_type).unwrap_or(&self.settings.other_limit).values_max as usize
    }
}
