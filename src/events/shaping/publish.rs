//! Shaping as a part of publishing: records of what came in become the records that go on.
//!
//! Everything that came of a batch goes on in one commit: what is kept aside too, as a fact of its own, `event.kept_aside.v1`. So it is
//! neither lost nor doubled, and can be found, and sent again, where all facts are.

use serde::Deserialize;

use super::{GoesOn, Received, Shaped, apply};
use crate::{
    domain::{
        event::{Actor, Event, Fact},
        id::{Id, SourceKind},
        json::Json,
        time::Timestamp,
    },
    log::Record,
    world::{ORGANIZATION, StageError, World, record, shapes::Shapes},
};

/// The records to publish in place of these, in their order. What is no customer's event, or of a source for whose events nothing is to
/// be done, is not even read.
pub async fn shaped(world: &World, records: Vec<Record>, now: Timestamp) -> Result<Vec<Record>, StageError> {
    let shapes = world.shapes(now).await?;
    if shapes.is_empty() {
        return Ok(records);
    }
    let events: Vec<_> = records.iter().map(|record| event(record, &shapes)).collect();
    let received = |event: &Event| match &event.fact {
        Fact::EventReceived { source, message, .. } => Some((*source, message.clone())),
        _ => None,
    };
    let messages: Vec<_> = events.iter().flatten().filter_map(received).collect();
    let batch: Vec<_> = messages.iter().map(|(source, message)| Received { source: *source, message }).collect();
    let mut shaped = apply(world, &batch, now).await?.into_iter();
    let mut published = Vec::with_capacity(records.len());
    for (record, event) in records.into_iter().zip(events) {
        match event.and_then(|event| Some((event, shaped.next()?))) {
            Some((event, shaped)) => put(world, &mut published, record, event, shaped),
            None => published.push(record),
        }
    }
    Ok(published)
}

/// The event, if it is a customer's and something is to be done with it.
fn event(record: &Record, shapes: &Shapes) -> Option<Event> {
    #[derive(Deserialize)]
    struct Head<'r> {
        r#type: &'r str,
        #[serde(borrow)]
        data: Data<'r>,
    }
    #[derive(Deserialize)]
    struct Data<'r> {
        source: Option<&'r str>,
    }
    let head: Head<'_> = serde_json::from_slice(&record.payload).ok()?;
    let source: Id<SourceKind> = head.data.source.filter(|_| head.r#type == Fact::EVENT_RECEIVED)?.parse().ok()?;
    shapes.of(source)?;
    serde_json::from_slice(&record.payload).ok()
}

/// Appends what came of one event.
fn put(world: &World, published: &mut Vec<Record>, whole: Record, event: Event, shaped: Shaped) {
    let Event { id, at, actor, fact: Fact::EventReceived { source, .. } } = event else {
        return published.push(whole);
    };
    match shaped.goes_on {
        GoesOn::Itself => published.push(whole),
        GoesOn::These(messages) => {
            let is_one = messages.len() == 1;
            for message in messages {
                // One event that was changed is still that event.
                let id = if is_one { id } else { world.id(at) };
                published.push(keyed(&Event { id, at, actor: actor.clone(), fact: received(source, message) }));
            }
        }
    }
    let by_us = |fact| keyed(&Event { id: world.id(at), at, actor: Actor::Deputy, fact });
    published.extend(shaped.violations.into_iter().map(|message| by_us(received(source, message))));
    published.extend(shaped.aside.into_iter().map(|kept| {
        let message_id = message_id(&kept.message);
        let reason = kept.reason.as_str().to_owned();
        by_us(Fact::EventKeptAside { source, message_id, reason, detail: kept.detail, message: kept.message })
    }));
}

fn received(source: Id<SourceKind>, message: Json) -> Fact {
    Fact::EventReceived { source, message_id: message_id(&message), message }
}

fn message_id(message: &Json) -> String {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Named {
        message_id: String,
    }
    serde_json::from_str(message.as_str()).map(|Named { message_id }| message_id).unwrap_or_default()
}

/// All that goes on is in one order.
fn keyed(event: &Event) -> Record {
    Record::new(ORGANIZATION.as_bytes(), record(event).payload, event.at)
}
