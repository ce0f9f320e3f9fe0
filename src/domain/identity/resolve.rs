//! Whose event is it: an event's external ids become one profile, by creating it, adding to it, or merging several into one.
//!
//! The ids are tried together. While a rule is in the way, the least telling id of the event is dropped and the rest is tried again;
//! so two people who share a tablet stay two. Where a profile has reached its size, the event still finds it and nothing is added.

use serde::Serialize;

use super::{
    external_id::{ExternalId, ExternalIdType},
    graph::{Bar, Cause, Change, Component, Edge, Graph, ProfileId},
    rules::{MAPPINGS_MAX, MERGES_MAX, Rules},
};
use crate::domain::{id::Id, profile::Collection, time::Timestamp};

/// Somebody whom an event names: ids of one collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    pub ids: Vec<ExternalId>,
    pub weight: Weight,
}

/// What an event's word is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Whoever is unknown becomes a profile, and what is named together is one.
    Binding,
    /// Nothing proves it, as in a refused request: it finds a profile that exists and changes nothing.
    Hint,
}

/// Whose the event is, and what is different for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// Nobody, if no id of the event may name somebody.
    pub profile: Option<Resolved>,
    /// In the order in which they happen; empty for most events.
    pub changes: Vec<Change>,
    /// The ids that stay in the event and are mapped to nobody on its account.
    pub dropped: Vec<Dropped>,
}

/// The profile of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resolved {
    /// The profile that stands for it now.
    pub canonical: ProfileId,
    /// The profile that it stays with if what is merged is taken apart: what is counted is counted here, and summed on reading.
    pub home: ProfileId,
}

/// An id that an event could not bind, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dropped {
    #[serde(serialize_with = "as_text")]
    pub id: ExternalId,
    #[serde(flatten)]
    pub why: Why,
}

/// What was in the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "why", content = "type", rename_all = "snake_case")]
pub enum Why {
    /// The value names nobody.
    Blocked,
    /// A profile would have too many ids of this type.
    Limit(ExternalIdType),
    /// An operator took apart what this would join.
    KeptApart,
    /// The profile has been merged as often as one may be.
    MergesMax,
    /// The profile has as many ids as one may have.
    MappingsMax,
}

/// Decides whose the event is. `ordinal` counts the subjects of one event, so that each may become a profile of its own.
///
/// # Panics
/// If an id of the subject is not known to the graph, or is of another collection than the rest.
pub fn resolve(graph: &Graph, rules: &Rules, cause: &Cause, ordinal: u8, subject: &Subject) -> Resolution {
    let mut dropped = Vec::new();
    let mut kept: Vec<&ExternalId> = Vec::with_capacity(subject.ids.len());
    for id in &subject.ids {
        assert!(id.collection() == subject.ids[0].collection(), "a subject is of one collection");
        if rules.blocks(id) {
            dropped.push(Dropped { id: id.clone(), why: Why::Blocked });
        } else if !kept.contains(&id) {
            kept.push(id);
        }
    }
    kept.sort_unstable_by(|one, other| rules.order(one, other));
    if subject.weight == Weight::Hint {
        let home = kept.into_iter().find_map(|id| graph.home(id));
        return Resolution { profile: home.map(|home| found(graph, home)), changes: Vec::new(), dropped };
    }
    while !kept.is_empty() {
        let touched = Touched::by(graph, &kept);
        match touched.fit(rules, cause.at, &kept) {
            Fit::Allowed => {
                let (profile, changes) = touched.settle(cause, ordinal, &kept);
                return Resolution { profile: Some(profile), changes, dropped };
            }
            Fit::Full { home, why } => {
                let profile = found(graph, home);
                let others =
                    kept.into_iter().filter(|id| graph.home(id).is_none_or(|home| graph.canonical(home) != profile.canonical));
                dropped.extend(others.map(|id| Dropped { id: id.clone(), why: why.clone() }));
                return Resolution { profile: Some(profile), changes: Vec::new(), dropped };
            }
            Fit::Refused(why) => {
                let least = kept.pop().expect("the loop goes on while there is one");
                dropped.push(Dropped { id: least.clone(), why });
            }
        }
    }
    Resolution { profile: None, changes: Vec::new(), dropped }
}

fn found(graph: &Graph, home: ProfileId) -> Resolved {
    Resolved { canonical: graph.canonical(home), home }
}

/// Whether the ids of an event can become one profile.
enum Fit {
    Allowed,
    /// One of the ids is too many.
    Refused(Why),
    /// The profile of the most telling id has reached its size.
    Full {
        home: ProfileId,
        why: Why,
    },
}

/// What the ids of an event meet in the graph.
struct Touched<'a> {
    /// One of each component, in the order of the ids that lead there.
    known: Vec<Known<'a>>,
    fresh: Vec<&'a ExternalId>,
}

/// A component, and the most telling id of the event that leads to it.
struct Known<'a> {
    component: &'a Component,
    id: &'a ExternalId,
    home: ProfileId,
}

impl Known<'_> {
    fn holds(&self, profile: ProfileId) -> bool {
        self.component.members.iter().any(|member| member.id == profile)
    }
}

impl<'a> Touched<'a> {
    fn by(graph: &'a Graph, kept: &[&'a ExternalId]) -> Touched<'a> {
        let mut touched = Touched { known: Vec::with_capacity(1), fresh: Vec::new() };
        for &id in kept {
            let Some(home) = graph.home(id) else {
                touched.fresh.push(id);
                continue;
            };
            let component = graph.component(home);
            if !touched.known.iter().any(|known| std::ptr::eq(known.component, component)) {
                touched.known.push(Known { component, id, home });
            }
        }
        touched
    }

    fn exceeds_merges(&self) -> bool {
        let members: usize = self.known.iter().map(|known| known.component.members.len()).sum();
        self.known.len() > 1 && members - 1 > MERGES_MAX
    }

    fn exceeds_mappings(&self) -> bool {
        let mappings: usize = self.known.iter().map(|known| known.component.mappings.len()).sum();
        mappings + self.fresh.len() > MAPPINGS_MAX
    }

    /// Merges are counted first. Ids are counted last: who is another by the rules is not taken for a profile that is full.
    fn fit(&self, rules: &Rules, at: Timestamp, kept: &[&ExternalId]) -> Fit {
        let Some(first) = self.known.first() else { return self.exceeded(rules, at).map_or(Fit::Allowed, Fit::Refused) };
        if self.known.len() == 1 && self.fresh.is_empty() {
            return Fit::Allowed;
        }
        if self.exceeds_merges() {
            return Fit::Full { home: first.home, why: Why::MergesMax };
        }
        if self.is_kept_apart(kept) {
            return Fit::Refused(Why::KeptApart);
        }
        if let Some(why) = self.exceeded(rules, at) {
            return Fit::Refused(why);
        }
        if self.exceeds_mappings() { Fit::Full { home: first.home, why: Why::MappingsMax } } else { Fit::Allowed }
    }

    /// The first limit that the union would exceed, in the order of the types.
    fn exceeded(&self, rules: &Rules, at: Timestamp) -> Option<Why> {
        let mut types: Vec<&ExternalIdType> = self.fresh.iter().map(|id| id.id_type()).collect();
        if self.known.len() > 1 {
            types.extend(self.known.iter().flat_map(|known| known.component.mappings.iter().map(|mapping| mapping.id.id_type())));
        }
        types.sort_unstable_by(|one, other| rules.order_of_types(one, other));
        types.dedup();
        types.into_iter().find(|id_type| self.exceeds(rules, at, id_type)).cloned().map(Why::Limit)
    }

    /// Only growth is refused: a profile that had too many before the limit was set may keep them.
    fn exceeds(&self, rules: &Rules, at: Timestamp, id_type: &ExternalIdType) -> bool {
        let limit = rules.limit(id_type);
        let start = limit.window.start(at);
        let of_type = |known: &Known<'_>| {
            known.component.mappings.iter().filter(|mapping| mapping.id.id_type() == id_type && mapping.at > start).count()
        };
        let (mut total, mut largest) = (self.fresh.iter().filter(|id| id.id_type() == id_type).count(), 0);
        for count in self.known.iter().map(of_type) {
            total += count;
            largest = largest.max(count);
        }
        total > limit.values_max as usize && total > largest
    }

    fn is_kept_apart(&self, kept: &[&ExternalId]) -> bool {
        let bars = self.known.iter().flat_map(|known| known.component.bars.iter().map(move |(_, bar)| (known, bar)));
        let mut broken = bars.filter(|(known, bar)| match bar {
            Bar::Profile(profile) => {
                self.known.iter().any(|other| !std::ptr::eq(other.component, known.component) && other.holds(*profile))
            }
            Bar::ExternalId(id) => kept.contains(&id) || self.known.iter().any(|other| other.component.maps(id)),
        });
        broken.next().is_some()
    }

    fn settle(&self, cause: &Cause, ordinal: u8, kept: &[&ExternalId]) -> (Resolved, Vec<Change>) {
        let Some(first) = self.known.first() else { return create(cause, ordinal, kept) };
        let winner = self.known.iter().min_by_key(|known| known.component.canonical()).unwrap_or(first);
        let canonical = winner.component.canonical().id;
        let losers = self.known.iter().filter(|known| !std::ptr::eq(known.component, winner.component));
        let merged = losers.map(|loser| Change::Merged {
            winner: canonical,
            loser: loser.component.canonical().id,
            edge: Edge { id: loser.id.clone(), home: loser.home, with: winner.id.clone(), with_home: winner.home },
        });
        let mapped = self.fresh.iter().map(|&id| Change::Mapped { id: id.clone(), home: first.home, with: Some(first.id.clone()) });
        (Resolved { canonical, home: first.home }, merged.chain(mapped).collect())
    }
}

/// The profile that comes into being with an event's subject, if one does. Its id follows from its place in the log: a replica, and a
/// replay, give it the same.
pub fn created_by(cause: &Cause, ordinal: u8) -> ProfileId {
    let mut place = [0; 10];
    place[1] = ordinal;
    place[2..].copy_from_slice(&cause.offset.to_be_bytes());
    Id::new(cause.at, place)
}

/// A new profile of all these ids.
fn create(cause: &Cause, ordinal: u8, kept: &[&ExternalId]) -> (Resolved, Vec<Change>) {
    let profile = created_by(cause, ordinal);
    let collection: Collection = kept[0].collection();
    let mapped = kept.iter().enumerate().map(|(number, &id)| Change::Mapped {
        id: id.clone(),
        home: profile,
        with: (number > 0).then(|| kept[0].clone()),
    });
    let changes = std::iter::once(Change::Created { profile, collection }).chain(mapped).collect();
    (Resolved { canonical: profile, home: profile }, changes)
}

fn as_text<S: serde::Serializer>(id: &ExternalId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}
