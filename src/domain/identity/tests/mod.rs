//! Identity against an oracle that applies the rules one by one, and in cases that a person can follow.

mod cases;
mod oracle;
mod properties;

use std::collections::{BTreeMap, BTreeSet};

use super::{
    external_id::ExternalId,
    graph::{Cause, Change, Graph, ProfileId},
    resolve::{Resolution, Subject, Weight, resolve},
    rules::{RuleSettings, Rules},
    split::{Merge, SplitError, take_away, unmerge},
};
use crate::domain::{profile::Collection, time::Timestamp};

/// A log that is applied event by event, and what has come of it.
struct Course {
    rules: Rules,
    graph: Graph,
    next_offset: u64,
    /// All ids that were ever in an event.
    ids: BTreeSet<ExternalId>,
    /// The merges that are in force.
    merges: Vec<Merge>,
}

/// The groups of ids that are one, each under the profile that stands for it.
type Partition = BTreeMap<ProfileId, BTreeSet<ExternalId>>;

impl Course {
    fn new(settings: RuleSettings) -> Course {
        let rules = Rules::new(settings).expect("the test's rules are valid");
        Course { rules, graph: Graph::default(), next_offset: 0, ids: BTreeSet::new(), merges: Vec::new() }
    }

    fn event(&mut self, at: Timestamp, ids: &[ExternalId]) -> Resolution {
        for id in ids {
            if !self.graph.knows(id) {
                self.graph.note_unmapped(id.clone());
            }
        }
        let subject = Subject { ids: ids.to_vec(), weight: Weight::Binding };
        let cause = self.cause(at);
        let resolution = resolve(&self.graph, &self.rules, &cause, 0, &subject);
        self.ids.extend(ids.iter().cloned());
        self.note(&cause, &resolution.changes);
        if let Some(resolved) = resolution.profile {
            assert_eq!(self.graph.canonical(resolved.home), resolved.canonical, "what was promised is what came");
        }
        resolution
    }

    /// An event of these ids, `type:value` each, at the beginning of time.
    fn users(&mut self, ids: &[&str]) -> Resolution {
        self.event(Timestamp(0), &ids.iter().map(|text| id(text)).collect::<Vec<_>>())
    }

    fn unmerge(&mut self, offset: u64, id: &ExternalId) -> Result<Change, SplitError> {
        let change = unmerge(&self.graph, &self.merges, offset, id)?;
        let cause = self.cause(Timestamp(0));
        self.note(&cause, std::slice::from_ref(&change));
        Ok(change)
    }

    fn take_away(&mut self, id: &ExternalId) -> Result<Change, SplitError> {
        let change = take_away(&self.graph, id)?;
        let cause = self.cause(Timestamp(0));
        self.note(&cause, std::slice::from_ref(&change));
        Ok(change)
    }

    /// The canonical profile of an id.
    fn profile(&self, text: &str) -> Option<ProfileId> {
        self.graph.home(&id(text)).map(|home| self.graph.canonical(home))
    }

    fn partition(&self) -> Partition {
        let mut partition = Partition::new();
        for id in &self.ids {
            if let Some(home) = self.graph.home(id) {
                partition.entry(self.graph.canonical(home)).or_default().insert(id.clone());
            }
        }
        partition
    }

    fn cause(&mut self, at: Timestamp) -> Cause {
        self.next_offset += 1;
        Cause { offset: self.next_offset - 1, at, source: "test".to_owned(), message_id: format!("m{}", self.next_offset) }
    }

    fn note(&mut self, cause: &Cause, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Merged { edge, .. } => self.merges.push(Merge { offset: cause.offset, edge: edge.clone() }),
                Change::Unmerged { edge_offset, edge, .. } => {
                    self.merges.retain(|merge| merge.offset != *edge_offset || merge.edge.id != edge.id);
                }
                Change::Created { .. } | Change::Mapped { .. } | Change::TakenAway { .. } => {}
            }
        }
        self.graph.apply(cause, changes);
    }
}

fn id(text: &str) -> ExternalId {
    ExternalId::parse(Collection::Users, text).expect("the test writes ids")
}
