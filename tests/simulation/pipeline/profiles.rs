//! Who the events are about, and what they add up to: worked out one event after the other, without storage, batches or faults.
//!
//! A group of ids that were named together is one; the simulation's producers keep to few enough that of all limits only one counts:
//! a profile has one user id, and an event that would give it another leaves its visitor alone.

use std::collections::{BTreeMap, BTreeSet};

use deputy::{
    domain::{
        event::{Event, Fact},
        identity::{
            external_id::{ExternalId, ExternalIdType},
            fact,
            resolve::{Subject, Weight},
            rules::Rules,
        },
        profile::Collection,
        time::Timestamp,
    },
    events::profiles::read::Profile,
};
use serde_json::{Map, Value, json};

use crate::simulation::model::{Checked, ensure};

/// Orders that make somebody a buyer.
pub const BUYER_ORDERS: u64 = 3;

#[derive(Default)]
pub struct Profiles {
    groups: Vec<Group>,
    /// Of each id, its group.
    of: BTreeMap<String, usize>,
    /// Groups that events were about since the last look.
    touched: BTreeSet<usize>,
    rules: Rules,
}

/// What is known of somebody.
#[derive(Debug, Default)]
pub struct Group {
    pub ids: BTreeSet<String>,
    /// Where their events are in the log.
    pub offsets: BTreeSet<u64>,
    traits: BTreeMap<String, Written>,
    orders: u64,
    spent: u64,
    /// The total of the last order.
    latest: Option<Written>,
    first: Option<(u64, String)>,
    last: Option<(u64, String)>,
}

/// Of two the later one stays.
#[derive(Debug, Clone, PartialEq)]
struct Written {
    at: Timestamp,
    offset: u64,
    value: Value,
}

impl Group {
    /// By what it can be asked for.
    pub fn name(&self) -> (Collection, &str) {
        let spelled = self.ids.first().expect("a group has an id");
        let (collection, id) = spelled.split_once('/').expect("an id is spelled with its collection");
        (Collection::parse(collection).expect("it is one of ours"), id)
    }

    /// Holds a profile against what it has to be.
    pub fn check(&self, profile: &Profile, offsets: &BTreeSet<u64>, now: Timestamp) -> Checked {
        let tell = |what: &str, is: String| format!("{what} of {:?} is {is}, and should follow from {self:?}", self.name());
        let ids: BTreeSet<String> = profile.component.mappings.iter().map(|mapping| spelled(&mapping.id)).collect();
        ensure(ids == self.ids, || tell("the list of ids", format!("{ids:?}")))?;
        ensure(*offsets == self.offsets, || tell("the list of events", format!("{offsets:?}")))?;
        let told: Map<String, Value> = profile.traits(now).into_iter().map(|told| (told.name, told.value)).collect();
        let due = self.told();
        ensure(is_same(&told, &due), || tell("what is told", format!("{told:?} and not {due:?}")))?;
        let ends = [&profile.state.first, &profile.state.last]
            .map(|seen| seen.as_ref().map(|seen| (seen.offset, seen.message_id.clone())));
        ensure(ends == [self.first.clone(), self.last.clone()], || tell("the first or the last event", format!("{ends:?}")))
    }

    /// Its traits, as they are told.
    fn told(&self) -> Map<String, Value> {
        let written = self.traits.iter().filter(|(_, written)| !written.value.is_null());
        let mut told: Map<String, Value> = written.map(|(name, written)| (name.clone(), written.value.clone())).collect();
        if self.orders > 0 {
            told.extend([("orders".to_owned(), self.orders.into()), ("spent".to_owned(), self.spent.into())]);
        }
        told.extend(self.latest.iter().map(|latest| ("latest".to_owned(), latest.value.clone())));
        if self.is_buyer() {
            told.insert("buyer".to_owned(), true.into());
        }
        told
    }

    pub fn is_buyer(&self) -> bool {
        self.orders >= BUYER_ORDERS && self.name().0 == Collection::Users
    }

    fn absorb(&mut self, other: Group) {
        self.ids.extend(other.ids);
        self.offsets.extend(other.offsets);
        other.traits.into_iter().for_each(|(name, written)| self.write(name, written));
        self.orders += other.orders;
        self.spent += other.spent;
        self.latest = [self.latest.take(), other.latest].into_iter().flatten().max_by_key(|written| (written.at, written.offset));
        self.first = [self.first.take(), other.first].into_iter().flatten().min();
        self.last = [self.last.take(), other.last].into_iter().flatten().max();
    }

    fn write(&mut self, name: String, written: Written) {
        let known = self.traits.entry(name).or_insert_with(|| written.clone());
        if (known.at, known.offset) <= (written.at, written.offset) {
            *known = written;
        }
    }

    /// Takes an event in.
    fn learn(&mut self, told: &Told, collection: Collection, offset: u64) {
        self.offsets.insert(offset);
        let written = |value: Value| Written { at: told.at, offset, value };
        for (name, value) in told.traits.iter().filter(|(of, _)| *of == collection).flat_map(|(_, traits)| traits) {
            self.write(name.clone(), written(value.clone()));
        }
        if let Some(total) = &told.order {
            self.orders += 1;
            self.spent += total.as_u64().expect("totals are whole");
            let latest = [self.latest.take(), Some(written(total.clone()))];
            self.latest = latest.into_iter().flatten().max_by_key(|written| (written.at, written.offset));
        }
        let seen = (offset, told.message_id.clone());
        self.first.get_or_insert_with(|| seen.clone());
        self.last = Some(seen);
    }
}

/// What an event says of whom it names.
struct Told {
    message_id: String,
    at: Timestamp,
    traits: Option<(Collection, Map<String, Value>)>,
    /// The total, if it is an order.
    order: Option<Value>,
}

impl Profiles {
    /// The next event of the log.
    pub fn learn(&mut self, event: &Event, offset: u64) {
        let told = Told::of(event);
        for subject in fact::subjects(event, &self.rules) {
            if let Some(group) = self.find(&subject) {
                self.groups[group].learn(&told, subject.ids[0].collection(), offset);
                self.touched.insert(group);
            }
        }
    }

    /// The groups that events were about since the last time that this was asked.
    pub fn take_touched(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.touched).into_iter().collect()
    }

    /// All groups there are.
    pub fn all(&self) -> Vec<usize> {
        self.of.values().copied().collect::<BTreeSet<_>>().into_iter().collect()
    }

    pub fn group(&self, index: usize) -> &Group {
        &self.groups[index]
    }

    /// External ids in all.
    pub fn ids_count(&self) -> usize {
        self.of.len()
    }

    /// Whose the event is: a group that is there, a new one, or several that become one by it.
    fn find(&mut self, subject: &Subject) -> Option<usize> {
        let mut ids: Vec<&ExternalId> = subject.ids.iter().collect();
        if subject.weight == Weight::Hint {
            return ids.iter().find_map(|id| self.of.get(&spelled(id)).copied());
        }
        // The least telling comes last, and is left out first.
        ids.sort_by_key(|id| *id.id_type() != ExternalIdType::USER_ID);
        while self.users(&ids) > 1 {
            ids.pop();
        }
        let known: BTreeSet<usize> = ids.iter().filter_map(|id| self.of.get(&spelled(id)).copied()).collect();
        let group = known.first().copied().unwrap_or(self.groups.len());
        if known.is_empty() {
            self.groups.push(Group::default());
        }
        for other in known.into_iter().skip(1) {
            let other_group = std::mem::take(&mut self.groups[other]);
            self.touched.remove(&other);
            self.of.values_mut().filter(|of| **of == other).for_each(|of| *of = group);
            self.groups[group].absorb(other_group);
        }
        for id in ids {
            self.of.insert(spelled(id), group);
            self.groups[group].ids.insert(spelled(id));
        }
        Some(group)
    }

    /// How many people the ids would make one of.
    fn users(&self, ids: &[&ExternalId]) -> usize {
        let known = ids.iter().filter_map(|id| self.of.get(&spelled(id))).flat_map(|group| &self.groups[*group].ids).cloned();
        let all: BTreeSet<String> = known.chain(ids.iter().map(|id| spelled(id))).collect();
        all.iter().filter(|id| id.starts_with("users/user_id:")).count()
    }
}

impl Told {
    fn of(event: &Event) -> Told {
        let Fact::EventReceived { message_id, message, .. } = &event.fact else {
            let traits = match &event.fact {
                Fact::ClientRegistered { name, origin, .. } => {
                    let traits = json!({"name": name, "origin": origin});
                    traits.as_object().cloned().map(|traits| (Collection::Agents, traits))
                }
                _ => None,
            };
            return Told { message_id: event.id.to_string(), at: event.at, traits, order: None };
        };
        let message: Value = serde_json::from_str(message.as_str()).unwrap_or_default();
        let happened_at = message["timestamp"].as_str().and_then(Timestamp::parse_iso_8601).unwrap_or(event.at);
        let collection = match message["type"].as_str() {
            Some("identify") => Some(Collection::Users),
            Some("group") => Some(Collection::Accounts),
            _ => None,
        };
        Told {
            message_id: message_id.clone(),
            // Nobody writes in the future.
            at: happened_at.min(event.at),
            traits: collection.zip(message["traits"].as_object().cloned()),
            order: (message["event"] == "Order").then(|| message["properties"]["total"].clone()),
        }
    }
}

fn spelled(id: &ExternalId) -> String {
    format!("{}/{id}", id.collection().as_str())
}

/// Whether both say the same; a number may be written in two ways.
fn is_same(told: &Map<String, Value>, due: &Map<String, Value>) -> bool {
    let is_same_value = |one: &Value, other: &Value| match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    };
    told.len() == due.len() && due.iter().all(|(name, due)| told.get(name).is_some_and(|told| is_same_value(told, due)))
}
