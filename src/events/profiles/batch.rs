//! What a batch of events comes to, worked out in memory: who is who, what their states become, and which audiences they enter.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::{
    replay::{Before, Fate},
    taken::Taken,
};
use crate::{
    domain::{
        audience::{self, Memberships, Move},
        event::{Actor, Event, Fact},
        id::{Id, PredictedTraitKind},
        identity::{
            graph::{Cause, Change, Graph, ProfileId},
            resolve::{Weight, resolve},
            rules::Rules,
        },
        profile::{Collection, Definitions, ProfileState},
        time::Timestamp,
    },
    storage::{
        StorageError, Tx, identities, outbox, predictions,
        profile_states::{self, EventPlace, Stored},
    },
    world::{
        World,
        profiles::{KnownProfiles, KnownStates},
    },
};

/// A batch under way.
pub(super) struct Batch {
    graph: Graph,
    states: KnownStates,
    partition: u16,
    pub definitions: Arc<Definitions>,
    now: Timestamp,
    decided: Vec<(Cause, Vec<Change>)>,
    /// Which event is whose: its place in the batch, and its home.
    touches: Vec<(usize, ProfileId, Collection)>,
    /// The same of events that were taken in before.
    touches_again: Vec<(usize, ProfileId, Collection)>,
    /// Of which profile a model says something: its place in the batch.
    predicted: Vec<(usize, ProfileId)>,
    /// Profiles that did not exist before: nothing is stored of them.
    created: BTreeSet<ProfileId>,
    changed: BTreeSet<ProfileId>,
    /// The states that events have changed, as they are to be written.
    texts: Vec<(ProfileId, String)>,
    links: Vec<(ProfileId, ProfileId, Timestamp)>,
    memberships: Vec<(ProfileId, Memberships, Option<Timestamp>)>,
    facts: Vec<Fact>,
    places: Vec<(ProfileId, EventPlace)>,
}

/// What is to be written in one transaction.
pub(super) struct Written {
    decided: Vec<(Cause, Vec<Change>)>,
    states: Vec<(ProfileId, String)>,
    places: Vec<(ProfileId, EventPlace)>,
    links: Vec<(ProfileId, ProfileId, Timestamp)>,
    memberships: Vec<(ProfileId, Memberships, Option<Timestamp>)>,
    events: Vec<Event>,
    to_predict: Vec<(Id<PredictedTraitKind>, ProfileId)>,
    now: Timestamp,
}

impl Batch {
    pub(super) fn new(graph: Graph, states: KnownStates, partition: u16, definitions: Arc<Definitions>, now: Timestamp) -> Batch {
        Batch {
            graph,
            states,
            partition,
            definitions,
            now,
            decided: Vec::new(),
            touches: Vec::new(),
            touches_again: Vec::new(),
            predicted: Vec::new(),
            created: BTreeSet::new(),
            changed: BTreeSet::new(),
            texts: Vec::new(),
            links: Vec::new(),
            memberships: Vec::new(),
            facts: Vec::new(),
            places: Vec::new(),
        }
    }

    /// Finds out whose the events are, one after the other: each sees what those before it have changed.
    pub(super) fn resolve(&mut self, taken: &[Taken], rules: &Rules, before: &Before) {
        for (index, event) in taken.iter().enumerate() {
            let mut named: Vec<ProfileId> = Vec::with_capacity(2);
            for (ordinal, subject) in (0..).zip(&event.subjects) {
                if let Some(fate) = before.of(index, ordinal) {
                    if let Fate::TakenInBy(home) = fate {
                        self.touches_again.push((index, home, subject.ids[0].collection()));
                    }
                    continue;
                }
                let resolution = resolve(&self.graph, rules, &event.cause, ordinal, subject);
                metrics::counter!("deputy_identity_dropped_ids_total").increment(resolution.dropped.len() as u64);
                if !resolution.changes.is_empty() {
                    self.graph.apply(&event.cause, &resolution.changes);
                    self.note_created(&resolution.changes);
                    self.decided.push((event.cause.clone(), resolution.changes));
                }
                let Some(resolved) = resolution.profile else { continue };
                let collection = subject.ids[0].collection();
                self.touches.push((index, resolved.home, collection));
                self.places.push((resolved.home, EventPlace { offset: event.cause.offset, partition: self.partition }));
                if subject.weight == Weight::Binding {
                    named.push(resolved.home);
                }
            }
            // Of somebody who was deleted in the meantime nothing is said any longer.
            if let Some(prediction) = event.prediction.as_ref().filter(|prediction| self.graph.has(prediction.profile)) {
                self.predicted.push((index, prediction.profile));
            }
            if let [one, other] = named[..] {
                self.links.push((one, other, event.cause.at));
            }
        }
    }

    fn note_created(&mut self, changes: &[Change]) {
        let created = changes.iter().filter_map(|change| match change {
            Change::Created { profile, .. } => Some(*profile),
            _ => None,
        });
        self.created.extend(created);
    }

    /// The homes of the batch's events whose state has to be read.
    pub(super) fn missing_states(&self) -> BTreeSet<ProfileId> {
        let touched = self.touches.iter().chain(&self.touches_again).map(|(_, home, _)| *home);
        self.missing(touched.chain(self.predicted.iter().map(|(_, profile)| *profile)))
    }

    /// The parts of touched profiles whose state has to be read.
    pub(super) fn missing_parts(&self) -> BTreeSet<ProfileId> {
        self.missing(self.touched_members().into_iter())
    }

    fn missing(&self, profiles: impl Iterator<Item = ProfileId>) -> BTreeSet<ProfileId> {
        profiles.filter(|profile| !self.states.has(*profile) && !self.created.contains(profile)).collect()
    }

    /// Takes in what was read; who is missing there has no state yet.
    pub(super) fn take_states(&mut self, states: Vec<Stored>) {
        for Stored { profile, state, bytes } in states {
            self.states.insert(profile, state, bytes);
        }
    }

    /// Lets every event have its effect.
    pub(super) fn apply(&mut self, taken: &[Taken]) {
        for (index, home, collection) in &self.touches {
            let state = self.states.change(*home);
            state.apply(&taken[*index].impression(*collection), &self.definitions);
            self.changed.insert(*home);
        }
        for (index, home, collection) in &self.touches_again {
            let state = self.states.change(*home);
            if state.count_again(&taken[*index].impression(*collection), &self.definitions) {
                self.changed.insert(*home);
            }
        }
        for (index, profile) in &self.predicted {
            if let Some(prediction) = &taken[*index].prediction {
                let state = self.states.change(*profile);
                state.write(&prediction.key, prediction.written.clone());
                self.changed.insert(*profile);
            }
        }
        self.write_out();
    }

    /// States may be long: they become text here, and not while others wait for the transaction.
    fn write_out(&mut self) {
        let defined = self.definitions.computed_ids();
        for profile in &self.changed {
            let state = self.states.change(*profile);
            state.forget_deleted(&defined);
            let text = profile_states::text_of(state);
            self.states.note_bytes(*profile, text.len());
            self.texts.push((*profile, text));
        }
    }

    /// The profiles that events have changed, each with the models that are to be asked about it; what models say is no such change.
    fn to_predict(&self) -> BTreeSet<(Id<PredictedTraitKind>, ProfileId)> {
        let models = &self.definitions.predicted_traits;
        if models.is_empty() {
            return BTreeSet::new();
        }
        let touched = self.touches.iter().flat_map(|(_, home, collection)| {
            let asked = models.iter().filter(|model| model.collection == *collection);
            asked.map(|model| (model.id, self.graph.canonical(*home)))
        });
        touched.collect()
    }

    /// As if every profile of the graph had been touched.
    pub(super) fn touch_all(&mut self) {
        self.changed.extend(self.graph.profiles());
    }

    /// All parts of the profiles that were touched.
    pub(super) fn touched_members(&self) -> BTreeSet<ProfileId> {
        let components = self.changed.iter().map(|profile| self.graph.component(*profile));
        components.flat_map(|component| component.members.iter().map(|member| member.id)).collect()
    }

    /// Compares the audiences that the touched profiles belong to, part by part, with those that they belong to now as a whole.
    pub(super) fn reckon(&mut self, held: Vec<(ProfileId, Memberships)>) {
        let held: HashMap<ProfileId, Memberships> = held.into_iter().collect();
        let canonicals: BTreeSet<ProfileId> = self.changed.iter().map(|profile| self.graph.canonical(*profile)).collect();
        for canonical in canonicals {
            let component = self.graph.component(canonical);
            let mut whole = ProfileState::default();
            let mut memberships = Memberships::new();
            for member in &component.members {
                if let Some(state) = self.states.get(member.id) {
                    whole.add(state, &self.definitions);
                }
                let Some(earlier) = held.get(&member.id) else { continue };
                for (audience, since) in earlier {
                    memberships.entry(*audience).and_modify(|known| *known = (*known).min(*since)).or_insert(*since);
                }
                if member.id != canonical {
                    self.memberships.push((member.id, Memberships::new(), None));
                }
            }
            let moves = audience::moves(&mut memberships, &whole, component.collection, &self.definitions, self.now);
            self.facts.extend(moves.into_iter().map(|(audience, moved)| match moved {
                Move::Entered => Fact::AudienceEntered { audience, profile: canonical },
                Move::Left => Fact::AudienceLeft { audience, profile: canonical },
            }));
            let changes_at = whole.changes_at(&self.definitions, self.now);
            if changes_at.is_some() || !memberships.is_empty() || held.contains_key(&canonical) {
                self.memberships.push((canonical, memberships, changes_at));
            }
        }
    }

    /// What is to be written, and what is known once it is.
    pub(super) fn finish(self, world: &World) -> (Written, KnownProfiles) {
        let to_predict = self.to_predict().into_iter().collect();
        let event = |fact| world.event(self.now, Actor::Deputy, fact);
        let written = Written {
            decided: self.decided,
            // What changes without an event is in audiences alone.
            states: self.texts,
            to_predict,
            now: self.now,
            places: self.places,
            links: self.links,
            memberships: self.memberships,
            events: self.facts.into_iter().map(event).collect(),
        };
        (written, KnownProfiles { graph: self.graph, states: self.states })
    }
}

impl Written {
    /// Writes everything; the caller has made sure of the cursor.
    pub(super) async fn write(self, tx: &mut Tx) -> Result<(), StorageError> {
        identities::write_changes(tx, &self.decided).await?;
        profile_states::put(tx, &self.states).await?;
        profile_states::note_events(tx, &self.places).await?;
        profile_states::note_links(tx, &self.links).await?;
        profile_states::put_memberships(tx, &self.memberships).await?;
        predictions::note_changed(tx, &self.to_predict, self.now).await?;
        for event in &self.events {
            outbox::put(tx, event).await?;
        }
        Ok(())
    }
}
