//! Profiles: what is known of a person, an agent or a group, put together from the events about them.
//!
//! A state belongs to one profile as it was created. When profiles are found to be one, each keeps its state, new events go to the
//! one that stands for all, and a reader adds the states up: so a merge can be taken back, and nothing was lost by it.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    audience::Audience,
    computed_trait::{Aggregate, ComputedTrait, Observed},
    id::{ComputedTraitKind, Id},
    predicted_trait::PredictedTrait,
    time::Timestamp,
};

/// Traits that one profile has at most; new names beyond are left out.
pub const TRAITS_MAX: usize = 500;
/// Bytes of a trait's name and value together, as JSON; a longer one is left out.
pub const TRAIT_BYTES_MAX: usize = 4_096;

/// Two kinds of things never become one: they are linked by what they do for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Collection {
    /// People.
    Users,
    /// Groups that people belong to.
    Accounts,
    /// Software that acts for people, or for itself.
    Agents,
}

impl Collection {
    pub const ALL: [Collection; 3] = [Collection::Users, Collection::Accounts, Collection::Agents];

    /// The word in addresses and columns.
    pub const fn as_str(self) -> &'static str {
        match self {
            Collection::Users => "users",
            Collection::Accounts => "accounts",
            Collection::Agents => "agents",
        }
    }

    pub fn parse(text: &str) -> Option<Collection> {
        Collection::ALL.into_iter().find(|collection| collection.as_str() == text)
    }
}

/// A value with its last writer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trait {
    /// Null after the trait was taken away; such a one is not shown, but an older value does not come back.
    #[serde(rename = "v")]
    pub value: Value,
    /// The source whose event wrote it, or the model that predicted it.
    #[serde(rename = "s")]
    pub source: String,
    #[serde(rename = "t")]
    pub at: Timestamp,
    /// Where the event stands in the log: of two writers at the same time the later one stays.
    #[serde(rename = "o")]
    pub offset: u64,
    /// How sure a model is of what it predicted, from 0 to 1.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
}

/// What the events of one profile add up to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ProfileState {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub traits: BTreeMap<String, Trait>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub computed: BTreeMap<Id<ComputedTraitKind>, Aggregate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<Seen>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Seen>,
}

/// An event that was the first or the last of a profile, in the order of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    #[serde(rename = "m")]
    pub message_id: String,
    #[serde(rename = "s")]
    pub source: String,
    /// When it was received.
    #[serde(rename = "t")]
    pub at: Timestamp,
    #[serde(rename = "o")]
    pub offset: u64,
}

/// An event as profiles take it in.
#[derive(Debug, Clone)]
pub struct Impression<'e> {
    pub message_id: &'e str,
    pub source: &'e str,
    /// When it happened, by the sender's clock as we corrected it.
    pub at: Timestamp,
    pub received_at: Timestamp,
    pub offset: u64,
    /// What an identify or group call says about its subject.
    pub traits: Option<&'e Map<String, Value>>,
    /// The name of a track call, or of a page or screen, and its properties.
    pub event: Option<(&'e str, &'e Map<String, Value>)>,
}

/// What operators have defined, as it is when an event is applied.
#[derive(Debug, Clone, Default)]
pub struct Definitions {
    pub computed_traits: Vec<ComputedTrait>,
    pub audiences: Vec<Audience>,
    pub predicted_traits: Vec<PredictedTrait>,
    /// The offset from which on a computed trait counts all events; absent until the first batch that it is held against.
    pub counted_from: BTreeMap<Id<ComputedTraitKind>, u64>,
}

impl Definitions {
    /// The computed traits that count events from now on and have not noted since when.
    pub fn not_begun(&self) -> Vec<Id<ComputedTraitKind>> {
        let ids = self.computed_traits.iter().map(|definition| definition.id);
        ids.filter(|id| !self.counted_from.contains_key(id)).collect()
    }

    /// All computed traits.
    pub fn computed_ids(&self) -> BTreeSet<Id<ComputedTraitKind>> {
        self.computed_traits.iter().map(|definition| definition.id).collect()
    }

    /// Whether what is defined changes by an event of this name.
    pub fn watch(&self, event: &str) -> bool {
        self.computed_traits.iter().any(|definition| definition.over.event == event)
    }
}

impl ProfileState {
    /// Takes an event in. Says whether anything that a reader could see has changed, beside the last event.
    pub fn apply(&mut self, impression: &Impression<'_>, definitions: &Definitions) -> bool {
        let mut is_changed = false;
        for (name, value) in impression.traits.into_iter().flatten() {
            let written = Trait {
                value: value.clone(),
                source: impression.source.to_owned(),
                at: impression.at,
                offset: impression.offset,
                confidence: None,
            };
            is_changed |= self.write(name, written);
        }
        is_changed |= self.count(impression, definitions.computed_traits.iter());
        let seen = Seen {
            message_id: impression.message_id.to_owned(),
            source: impression.source.to_owned(),
            at: impression.received_at,
            offset: impression.offset,
        };
        // In a replay an event may come after later ones.
        if self.first.as_ref().is_none_or(|first| seen.offset < first.offset) {
            self.first = Some(seen.clone());
        }
        if self.last.as_ref().is_none_or(|last| last.offset <= seen.offset) {
            self.last = Some(seen);
        }
        is_changed
    }

    /// Takes an event in that was taken in before: what was defined later counts it, and nothing else changes. Says whether it did.
    pub fn count_again(&mut self, impression: &Impression<'_>, definitions: &Definitions) -> bool {
        let is_later = |definition: &&ComputedTrait| {
            definitions.counted_from.get(&definition.id).is_some_and(|from| impression.offset < *from)
        };
        self.count(impression, definitions.computed_traits.iter().filter(is_later))
    }

    fn count<'d>(&mut self, impression: &Impression<'_>, definitions: impl Iterator<Item = &'d ComputedTrait>) -> bool {
        let Some((event, properties)) = impression.event else { return false };
        let observed = Observed { event, properties, at: impression.at, offset: impression.offset };
        let mut is_changed = false;
        for definition in definitions.filter(|definition| definition.over.event == event) {
            let aggregate = self.computed.entry(definition.id).or_default();
            is_changed |= definition.observe(aggregate, &observed);
            definition.forget_old(aggregate, impression.received_at);
        }
        self.computed.retain(|_, aggregate| !aggregate.is_empty());
        is_changed
    }

    /// Forgets what was computed for definitions that are not among these any longer.
    pub fn forget_deleted(&mut self, defined: &BTreeSet<Id<ComputedTraitKind>>) {
        self.computed.retain(|id, _| defined.contains(id));
    }

    /// Writes a trait, unless a later one stands there or it is beyond the limits. Says whether it did.
    pub fn write(&mut self, name: &str, written: Trait) -> bool {
        if name.is_empty() || name.len() + written.value.to_string().len() > TRAIT_BYTES_MAX {
            return false;
        }
        let is_full = self.traits.len() >= TRAITS_MAX;
        match self.traits.entry(name.to_owned()) {
            Entry::Vacant(free) if !is_full => {
                free.insert(written);
                true
            }
            Entry::Occupied(mut known) if (known.get().at, known.get().offset) <= (written.at, written.offset) => {
                known.insert(written);
                true
            }
            _ => false,
        }
    }

    /// Puts another state to this one, of a profile that is the same person, agent or group.
    pub fn add(&mut self, other: &ProfileState, definitions: &Definitions) {
        for (name, written) in &other.traits {
            self.write(name, written.clone());
        }
        for definition in &definitions.computed_traits {
            if let Some(aggregate) = other.computed.get(&definition.id) {
                self.computed.entry(definition.id).or_default().add(aggregate, &definition.function);
            }
        }
        let firsts = [self.first.take(), other.first.clone()].into_iter().flatten();
        self.first = firsts.min_by_key(|seen| seen.offset);
        let lasts = [self.last.take(), other.last.clone()].into_iter().flatten();
        self.last = lasts.max_by_key(|seen| seen.offset);
    }

    /// What stands under a name at `now`: a trait that was written, else one that is computed.
    pub fn value(&self, name: &str, definitions: &Definitions, now: Timestamp) -> Option<Value> {
        if let Some(written) = self.traits.get(name).filter(|written| !written.value.is_null()) {
            return Some(written.value.clone());
        }
        let definition = definitions.computed_traits.iter().find(|definition| definition.key == name)?;
        definition.value(self.computed.get(&definition.id)?, now)
    }

    /// When something changes without an event, because a day leaves a window.
    pub fn changes_at(&self, definitions: &Definitions, now: Timestamp) -> Option<Timestamp> {
        let aggregates =
            definitions.computed_traits.iter().filter_map(|definition| Some((definition, self.computed.get(&definition.id)?)));
        aggregates.filter_map(|(definition, aggregate)| definition.changes_at(aggregate, now)).min()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().expect("an object").clone()
    }

    fn impression<'e>(offset: u64, at: i64, traits: &'e Map<String, Value>) -> Impression<'e> {
        Impression {
            message_id: "m",
            source: "src",
            at: Timestamp(at),
            received_at: Timestamp(at),
            offset,
            traits: Some(traits),
            event: None,
        }
    }

    #[test]
    fn the_last_writer_by_time_stays() {
        let mut state = ProfileState::default();
        let none = Definitions::default();
        assert!(state.apply(&impression(1, 50, &object(json!({"plan": "pro", "city": "Oslo"}))), &none));
        assert!(!state.apply(&impression(2, 40, &object(json!({"plan": "free"}))), &none), "it arrived late");
        assert!(state.apply(&impression(3, 50, &object(json!({"city": null}))), &none));
        let value = |name| state.value(name, &none, Timestamp(60));
        assert_eq!((value("plan"), value("city"), value("name")), (Some(json!("pro")), None, None));
        let (first, last) = (state.first.clone().map(|seen| seen.offset), state.last.clone().map(|seen| seen.offset));
        assert_eq!((first, last), (Some(1), Some(3)));
    }

    #[test]
    fn traits_beyond_the_limits_are_left_out() {
        let mut state = ProfileState::default();
        let none = Definitions::default();
        let many: Map<_, _> = (0..TRAITS_MAX + 3).map(|n| (format!("t{n:04}"), json!(n))).collect();
        state.apply(&impression(1, 1, &many), &none);
        assert_eq!(state.traits.len(), TRAITS_MAX);
        assert!(state.apply(&impression(2, 2, &object(json!({"t0000": "new"}))), &none), "a known name still changes");
        assert!(!ProfileState::default().apply(&impression(1, 1, &object(json!({"long": "x".repeat(TRAIT_BYTES_MAX)}))), &none));
    }

    #[test]
    fn a_state_survives_being_stored() {
        let mut state = ProfileState::default();
        state.apply(&impression(1, 50, &object(json!({"plan": "pro", "n": {"deep": [1, 2.5]}}))), &Definitions::default());
        let text = serde_json::to_string(&state).expect("it serialises");
        assert_eq!(serde_json::from_str::<ProfileState>(&text).expect("and back"), state);
    }

    proptest! {
        /// Whoever writes in which profile: put together, it is as if there had been one.
        #[test]
        fn states_add_up_to_the_whole(writes in prop::collection::vec((0..2usize, 0..4u8, 0..5i64, 0..9u8), 0..40)) {
            let none = Definitions::default();
            let (mut whole, mut parts) = (ProfileState::default(), [ProfileState::default(), ProfileState::default()]);
            for (offset, (part, name, at, value)) in (0..).zip(writes) {
                let traits = object(json!({format!("t{name}"): value}));
                whole.apply(&impression(offset, at, &traits), &none);
                parts[part].apply(&impression(offset, at, &traits), &none);
            }
            let [mut one, other] = parts.clone();
            one.add(&other, &none);
            let [second, mut first] = parts;
            first.add(&second, &none);
            prop_assert_eq!(&one, &whole);
            prop_assert_eq!(&first, &whole);
        }
    }
}
