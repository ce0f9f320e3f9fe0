//! The part of the identity graph that is in memory: who is mapped where, what is joined, and what was taken apart.
//!
//! A graph is as complete as its caller makes it. Whoever asks about an external id has first said of it that it is mapped
//! ([`Graph::insert`]) or that it is not ([`Graph::note_unmapped`]); asking about another is a mistake of the caller's, and panics.

use std::collections::HashMap;

use super::external_id::ExternalId;
use crate::domain::{
    id::{Id, ProfileKind},
    profile::Collection,
    time::Timestamp,
};

/// The id of a profile. A profile that was merged into another keeps its own.
pub type ProfileId = Id<ProfileKind>;

/// A profile as part of a component. The smaller is the earlier, and the earliest is the canonical one: two replicas agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// The offset of the event that it came into being with.
    pub created: u64,
    pub id: ProfileId,
}

/// That an external id is mapped to a profile, and since when.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mapping {
    pub id: ExternalId,
    pub home: ProfileId,
    pub at: Timestamp,
}

/// What an operator has taken from a profile, so that it does not come back.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bar {
    /// Another profile; the other has a bar against this one.
    Profile(ProfileId),
    ExternalId(ExternalId),
}

/// Profiles that are one, with everything that is mapped to any of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    pub collection: Collection,
    /// Sorted, never empty.
    pub members: Vec<Member>,
    pub mappings: Vec<Mapping>,
    pub bars: Vec<(ProfileId, Bar)>,
}

impl Component {
    /// The profile that stands for all.
    pub fn canonical(&self) -> Member {
        self.members[0]
    }

    /// Whether the id is mapped to one of the profiles.
    pub fn maps(&self, id: &ExternalId) -> bool {
        self.mappings.iter().any(|mapping| mapping.id == *id)
    }
}

/// What an event says of two external ids: that they are of one. Edges are never forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// The id that was joined, and the profile that was its home.
    pub id: ExternalId,
    pub home: ProfileId,
    /// The id that it was joined with, and the profile that was its home: the same if the first was new.
    pub with: ExternalId,
    pub with_home: ProfileId,
}

/// Where a change comes from: an event at its place in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    pub offset: u64,
    /// When the event was received.
    pub at: Timestamp,
    /// The id of the source, `deputy` for our own facts.
    pub source: String,
    pub message_id: String,
}

/// What is different after an event or an operator's intervention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Created {
        profile: ProfileId,
        collection: Collection,
    },
    /// An id that was not mapped is now; `with` is the id it came with, none if it is the first of a new profile.
    Mapped {
        id: ExternalId,
        home: ProfileId,
        with: Option<ExternalId>,
    },
    /// `winner` stands for what `loser` stood for until now.
    Merged {
        winner: ProfileId,
        loser: ProfileId,
        edge: Edge,
    },
    /// `restored` stands again for these members of what `winner` stands for, and the two ends of the edge are kept apart.
    Unmerged {
        winner: ProfileId,
        restored: ProfileId,
        members: Vec<ProfileId>,
        edge_offset: u64,
        edge: Edge,
    },
    /// An id is no longer mapped, and is kept away from what was its home.
    TakenAway {
        id: ExternalId,
        home: ProfileId,
    },
}

/// Components, and the way from external ids and profiles to them.
#[derive(Debug, Default)]
pub struct Graph {
    /// `None` is known to be unmapped.
    homes: HashMap<ExternalId, Option<ProfileId>>,
    /// From each member to the canonical profile.
    labels: HashMap<ProfileId, ProfileId>,
    components: HashMap<ProfileId, Component>,
}

impl Graph {
    /// Whether anything can be said of the id.
    pub fn knows(&self, id: &ExternalId) -> bool {
        self.homes.contains_key(id)
    }

    /// Every profile that is here.
    pub fn profiles(&self) -> impl Iterator<Item = ProfileId> {
        self.labels.keys().copied()
    }

    /// Whether the profile's component is here.
    pub fn has(&self, profile: ProfileId) -> bool {
        self.labels.contains_key(&profile)
    }

    /// How much is here, in external ids: what a cache is bounded by.
    pub fn len(&self) -> usize {
        self.homes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.homes.is_empty()
    }

    /// Says that the id is mapped to nobody.
    pub fn note_unmapped(&mut self, id: ExternalId) {
        self.homes.insert(id, None);
    }

    /// Adds a component as it was stored.
    pub fn insert(&mut self, mut component: Component) {
        component.members.sort_unstable();
        self.homes.extend(component.mappings.iter().map(|mapping| (mapping.id.clone(), Some(mapping.home))));
        let canonical = component.canonical().id;
        self.labels.extend(component.members.iter().map(|member| (member.id, canonical)));
        self.components.insert(canonical, component);
    }

    /// The profile that the id is mapped to, if it is mapped.
    ///
    /// # Panics
    /// If nothing can be said of the id: it was not loaded.
    pub fn home(&self, id: &ExternalId) -> Option<ProfileId> {
        *self.homes.get(id).expect("an id is loaded before it is asked for")
    }

    /// The component that a profile of this graph belongs to.
    ///
    /// # Panics
    /// If it was not loaded.
    pub fn component(&self, profile: ProfileId) -> &Component {
        &self.components[&self.labels[&profile]]
    }

    /// The profile that stands for this one; itself, if it was not merged.
    ///
    /// # Panics
    /// If it was not loaded.
    pub fn canonical(&self, profile: ProfileId) -> ProfileId {
        self.labels[&profile]
    }

    /// Brings the graph to the state after the changes, which were decided on this state.
    pub fn apply(&mut self, cause: &Cause, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Created { profile, collection } => self.insert(Component {
                    collection: *collection,
                    members: vec![Member { created: cause.offset, id: *profile }],
                    mappings: Vec::new(),
                    bars: Vec::new(),
                }),
                Change::Mapped { id, home, .. } => {
                    let mapping = Mapping { id: id.clone(), home: *home, at: cause.at };
                    self.component_mut(*home).mappings.push(mapping);
                    self.homes.insert(id.clone(), Some(*home));
                }
                Change::Merged { winner, loser, .. } => self.merge(*winner, *loser),
                Change::Unmerged { winner, members, edge, .. } => self.split(*winner, members, edge),
                Change::TakenAway { id, home } => self.take_away(id, *home),
            }
        }
    }

    fn merge(&mut self, winner: ProfileId, loser: ProfileId) {
        let joined = self.components.remove(&loser).expect("a change fits the graph that it was decided on");
        self.labels.extend(joined.members.iter().map(|member| (member.id, winner)));
        let component = self.component_mut(winner);
        component.members.extend(joined.members);
        component.members.sort_unstable();
        component.mappings.extend(joined.mappings);
        component.bars.extend(joined.bars);
        assert!(component.canonical().id == winner, "the earliest profile stands for all");
    }

    fn split(&mut self, winner: ProfileId, members: &[ProfileId], edge: &Edge) {
        let component = self.component_mut(winner);
        component.bars.extend([(edge.home, Bar::Profile(edge.with_home)), (edge.with_home, Bar::Profile(edge.home))]);
        let restored = Component {
            collection: component.collection,
            members: component.members.extract_if(.., |member| members.contains(&member.id)).collect(),
            mappings: component.mappings.extract_if(.., |mapping| members.contains(&mapping.home)).collect(),
            bars: component.bars.extract_if(.., |(profile, _)| members.contains(profile)).collect(),
        };
        self.insert(restored);
    }

    fn take_away(&mut self, id: &ExternalId, home: ProfileId) {
        self.homes.insert(id.clone(), None);
        let component = self.component_mut(home);
        component.mappings.retain(|mapping| mapping.id != *id);
        component.bars.push((home, Bar::ExternalId(id.clone())));
    }

    fn component_mut(&mut self, profile: ProfileId) -> &mut Component {
        let canonical = self.labels.get(&profile).expect("a change fits the graph that it was decided on");
        self.components.get_mut(canonical).expect("every label leads to a component")
    }
}
