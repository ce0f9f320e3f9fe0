//! The events of a profile: storage knows where they are, the log has them.
//!
//! What retention has deleted there is left out, and so is what somebody who is in it has asked to be left out.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{Part, Profile};
use crate::{
    domain::{
        event::{Event, Fact},
        identity::{external_id::ExternalId, fact, rules::Rules},
        profile::Collection,
        time::Timestamp,
    },
    events::{
        profiles::forgotten::Forgotten,
        topic::{self, Topic},
    },
    log::{Entry, LogError},
    storage::{
        StorageError, definitions,
        interventions::Place,
        profile_states::{self, EventPlace},
    },
    world::{OWN_SOURCE, StageError, World},
};

/// Places that one question looks at, at most; whoever asks goes on from there.
const PLACES_MAX: usize = 1_000;
/// Places that are looked at together.
const CHUNK: i64 = 200;

/// Which events are asked for.
#[derive(Debug, Clone)]
pub struct Asked {
    /// By when they were received.
    pub start: Timestamp,
    pub end: Timestamp,
    /// The names that count; all, if there are none.
    pub include: BTreeSet<String>,
    pub exclude: BTreeSet<String>,
    pub order: Order,
    /// Where the part before ended.
    pub after: Option<u64>,
    pub limit: usize,
}

/// Which comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    OldestFirst,
    LatestFirst,
}

/// Reads events of a profile.
pub async fn list(world: &World, profile: &Profile, asked: &Asked) -> Result<Part<Value>, StageError> {
    let elsewhere = || LogError::Unavailable("the events are in the log of another process".to_owned());
    let log = topic::events_shown::<StageError>(world).await?.ok_or_else(elsewhere)?;
    let rules = world.storage.read(|tx| Box::pin(async move { definitions::rules(tx).await })).await?;
    let mut at = match (asked.after, asked.order) {
        (Some(after), Order::OldestFirst) => after.saturating_add(1),
        (Some(after), Order::LatestFirst) => after,
        (None, Order::OldestFirst) => first_at(&log, asked.start).await?,
        (None, Order::LatestFirst) => u64::MAX,
    };
    let (mut items, mut looked_at) = (Vec::new(), 0);
    loop {
        let places = places(world, profile, at, asked.order).await?;
        let is_last = places.len() < CHUNK as usize;
        for place in places {
            looked_at += 1;
            at = if asked.order == Order::OldestFirst { place.offset.saturating_add(1) } else { place.offset };
            let Some(entry) = entry(&log, place).await? else { continue };
            let is_beyond = match asked.order {
                Order::OldestFirst => entry.at > asked.end,
                Order::LatestFirst => entry.at < asked.start,
            };
            if is_beyond {
                return Ok(Part { items, next: None });
            }
            if entry.at < asked.start || entry.at > asked.end {
                continue;
            }
            if let Some(view) = view(world, &entry, profile.component.collection, asked, &rules).await? {
                items.push(view);
            }
            if items.len() >= asked.limit || looked_at >= PLACES_MAX {
                return Ok(Part { items, next: Some(place.offset.to_string()) });
            }
        }
        if is_last {
            return Ok(Part { items, next: None });
        }
    }
}

/// The first offset that may hold an event of the time; the partitions are looked at together.
async fn first_at(log: &Topic, time: Timestamp) -> Result<u64, LogError> {
    let mut first = u64::MAX;
    for partition in 0..log.partitions().await? {
        first = first.min(log.offset_at(partition, time).await?);
    }
    Ok(first)
}

/// The next places of all parts together.
async fn places(world: &World, profile: &Profile, at: u64, order: Order) -> Result<Vec<EventPlace>, StorageError> {
    let members = profile.members.clone();
    let load = world.storage.read(move |tx| {
        Box::pin(async move {
            let mut places = BTreeSet::new();
            for member in members {
                places.extend(match order {
                    Order::OldestFirst => profile_states::events_from(tx, member, at, CHUNK).await?,
                    Order::LatestFirst => profile_states::events_before(tx, member, at, CHUNK).await?,
                });
            }
            Ok::<_, StorageError>(places)
        })
    });
    let places: BTreeSet<EventPlace> = load.await?;
    let few = CHUNK as usize;
    Ok(match order {
        Order::OldestFirst => places.into_iter().take(few).collect(),
        Order::LatestFirst => places.into_iter().rev().take(few).collect(),
    })
}

/// What the log has at a place; nothing, if retention has deleted it.
async fn entry(log: &Topic, place: EventPlace) -> Result<Option<Entry>, LogError> {
    match log.read(place.partition, place.offset, 1).await {
        Ok(batch) => Ok(batch.entries.into_iter().find(|entry| entry.offset == place.offset)),
        Err(LogError::Trimmed { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// An event as the Profile API tells it, if it is asked for.
async fn view(
    world: &World,
    entry: &Entry,
    collection: Collection,
    asked: &Asked,
    rules: &Rules,
) -> Result<Option<Value>, StorageError> {
    let Ok(event) = serde_json::from_slice::<Event>(&entry.payload) else { return Ok(None) };
    let subjects = fact::subjects(&event, rules);
    let ids = || subjects.iter().flat_map(|subject| &subject.ids);
    let all: Vec<ExternalId> = ids().cloned().collect();
    let told = told(&event);
    let name = told["event"].as_str().or(told["type"].as_str()).unwrap_or_default();
    let is_asked_for = (asked.include.is_empty() || asked.include.contains(name)) && !asked.exclude.contains(name);
    let place = Place { offset: entry.offset, at: event.at };
    if !is_asked_for || Forgotten::of(world, ids()).await?.covers(&all, place) {
        return Ok(None);
    }
    let spell = |id: &ExternalId| json!({"id": id.value(), "type": id.id_type().as_str(), "collection": id.collection(), "encoding": "none"});
    let mut view = told;
    view["external_ids"] = ids().filter(|id| id.collection() == collection).map(spell).collect();
    let others = |of: Collection| ids().filter(|id| id.collection() == of && of != collection).map(spell).collect::<Vec<_>>();
    let related = Collection::ALL.into_iter().map(|of| (of.as_str().to_owned(), Value::from(others(of))));
    view["related"] = related.filter(|(_, ids)| ids.as_array().is_some_and(|ids| !ids.is_empty())).collect::<Map<_, _>>().into();
    Ok(Some(view))
}

/// What an event says of itself.
fn told(event: &Event) -> Value {
    if let Fact::EventReceived { source, message_id, message } = &event.fact {
        let message: Value = serde_json::from_str(message.as_str()).unwrap_or_default();
        let member = |name: &str| message.get(name).cloned().unwrap_or_default();
        let named = if message["event"].is_string() { member("event") } else { member("name") };
        return json!({
            "type": member("type"), "event": named, "properties": member("properties"), "context": member("context"),
            "timestamp": member("timestamp"), "message_id": message_id, "source_id": source,
        });
    }
    let fact = serde_json::to_value(&event.fact).unwrap_or_default();
    json!({
        "type": "track", "event": fact["type"], "properties": fact["data"], "context": null,
        "timestamp": event.at.to_iso_8601(), "message_id": event.id, "source_id": OWN_SOURCE,
    })
}
