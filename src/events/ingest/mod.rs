//! Where customer events come in: the [Tracking API](https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/)
//! without HTTP.
//!
//! One request is one append to the log, or two where one does not hold it, and it is answered when all of it is durable. Where that
//! fails, its sender sends it again, and dedup makes one of what may have arrived twice. What is too much at once is told to come
//! again, with a wait that no SDK runs out of; nothing here ever answers in a way that makes an SDK throw away events that could be
//! taken later.

/// Which source a request is for, and whether it may speak for it.
pub mod authority;
/// The bytes of a request, as they were before they were compressed.
pub mod body;
/// One message: read, judged, brought into one form.
pub mod message;
/// Calls of other services.
pub mod webhook;
/// Rows of other databases.
pub mod warehouse;
/// Room for what is taken in at once.
pub mod place;
/// What a batch says for all its messages.
mod merge;
/// Whether every reader can take what the ingest only copies.
mod soundness;

use std::{borrow::Cow, time::Duration};

use serde::Serialize;
use serde_json::value::RawValue;

use self::{
    authority::Caller,
    message::{Batch, Common, Envelope, Item, MESSAGE_BYTES_MAX, Message, Unfit},
};
use crate::{
    domain::{
        call::Call,
        event::{Actor, received_subject},
        id::{EventKind, Id, SourceKind},
        refusal::{OAuthError, TRACKING_BUSY, TRACKING_JSON, TRACKING_TOO_LARGE},
        sighting::Sighting,
        source::Producer,
        time::Timestamp,
    },
    events::watch::Accepted,
    log::{APPEND_BYTES_MAX, LogError, Record},
    world::{RECEIVED, World, viewers::Watched},
};

/// The most messages of a batch; the specification has it so.
const BATCH_MESSAGES_MAX: usize = 2_500;
/// What all messages of a request may take up in the log. What a batch says for all of them is kept with each, and so makes much of
/// little: 2,500 messages with 2 KB that are said for all still fit.
const RECORDS_BYTES_MAX: usize = 2 * APPEND_BYTES_MAX;
/// What the log adds to each record, at most, and what an event adds to its message.
const RECORD_BYTES: usize = 64;
const EVENT_BYTES: usize = 1024;
/// What most records take up; a larger one grows.
const PAYLOAD_BYTES: usize = 1536;
/// For how long an SDK is told to stay away. Shorter waits use up the tries that it has; from 300 s on, they are cut to that.
const WAIT_S: std::ops::RangeInclusive<u32> = 60..=300;

/// What a producer sent.
pub struct Request<'r> {
    /// The one call that the path is for; `None` for a batch.
    pub call: Option<Call>,
    pub caller: Caller,
    /// As it was before it was compressed.
    pub body: &'r [u8],
    /// From where it came.
    pub address: std::net::IpAddr,
}

/// For how long a producer should stay away: another time for each, as all that waits comes back at its end.
pub fn wait(world: &World) -> Duration {
    let span = WAIT_S.end() - WAIT_S.start() + 1;
    Duration::from_secs(u64::from(WAIT_S.start() + u32::from_be_bytes(world.entropy.bytes()) % span))
}

/// Takes a request in. When it is answered, every message in it that makes sense is durable.
pub async fn accept(world: &World, request: Request<'_>, now: Timestamp) -> Result<(), OAuthError> {
    let text = std::str::from_utf8(request.body).map_err(|_| TRACKING_JSON)?;
    let (mut outer, items) = match request.call {
        Some(_) => (serde_json::from_str(text).map_err(|error| malformed(&error))?, None),
        None => {
            let Batch { outer, items } = serde_json::from_str(text).map_err(|error| malformed(&error))?;
            (outer, Some(items.ok_or_else(|| TRACKING_JSON.because("The request has no batch."))?))
        }
    };
    let source = authority::source(world, &request.caller, write_key(&outer, items.as_deref()).as_deref(), now).await?;
    let watched = world.memory.viewers.of(source.id);
    let address = request.address.to_canonical().to_string();
    let is_batch = items.is_some();
    let said_for_all = [outer.context, outer.integrations].into_iter().flatten().map(|object| object.get().len()).sum::<usize>();
    let count = items.as_ref().map_or(1, Vec::len).min(BATCH_MESSAGES_MAX);
    // Before anything is kept. Each message would be too large by what is said for all, or together they would.
    let is_too_much = text.len() + count * (said_for_all + EVENT_BYTES + RECORD_BYTES) > RECORDS_BYTES_MAX;
    if is_batch && (said_for_all > MESSAGE_BYTES_MAX || is_too_much) {
        return Err(TRACKING_TOO_LARGE);
    }
    let common = Common {
        call: request.call,
        received_at: now,
        received_at_text: &now.to_iso_8601(),
        sent_at: outer.sent_at.filter(|_| is_batch).map(|sent_at| (sent_at, message::time(sent_at))),
        context: outer.context.take_if(|_| is_batch),
        integrations: outer.integrations.take_if(|_| is_batch),
        browser_address: (source.producer == Producer::Browser).then_some(address.as_str()),
        address: &address,
    };
    let items = items.unwrap_or_else(|| vec![Item(Some(outer))]);
    let written = Written {
        actor: raw(&match &request.caller {
            Caller::Client(client) => Actor::Client(client.clone()),
            Caller::Nobody | Caller::WriteKey(_) => Actor::Source(source.id),
        }),
        source: raw(&source.id),
        source_id: source.id,
        trouble: if soundness::is_plain(text) { Trouble::None } else { Trouble::Possible },
    };
    let taken = take(world, &written, items, &common, watched.as_ref()).await;
    if let (Some(watched), Err(refusal)) = (&watched, &taken) {
        watched.show(now, || Some(Sighting::refused(now, refusal)));
    }
    taken
}

/// Makes what came in durable, whatever way it came.
async fn append(world: &World, records: Vec<Record>, source: Id<SourceKind>, now: Timestamp) -> Result<(), LogError> {
    if records.is_empty() {
        return Ok(());
    }
    let count = records.len() as u64;
    let accepted = world.memory.viewers.of(source).map(|watched| Accepted::of(watched, &records));
    world.log.append(RECEIVED, records).await?;
    metrics::counter!("deputy_messages_received_total").increment(count);
    if let Some(accepted) = accepted {
        accepted.show(now);
    }
    Ok(())
}

/// What a sender is told of what is not durable.
fn untaken(error: LogError) -> OAuthError {
    match error {
        LogError::Busy => TRACKING_BUSY,
        error => error.into(),
    }
}

fn malformed(error: &serde_json::Error) -> OAuthError {
    // The words of the library may quote what was sent; where it is says enough.
    TRACKING_JSON.because(format!("The request body is not JSON of this API: line {}, column {}.", error.line(), error.column()))
}

/// The write key that the body names: beside the batch, or, as some old SDKs have it, in its messages.
fn write_key<'m>(outer: &Envelope<'m>, items: Option<&[Item<'m>]>) -> Option<Cow<'m, str>> {
    let of = |envelope: &Envelope<'m>| message::identifier(envelope.write_key).ok().flatten();
    of(outer).or_else(|| items?.first()?.0.as_ref().and_then(of))
}

/// Makes durable what makes sense of the messages; the others are counted. One append comes after the other, so that no more than one is
/// held in memory.
///
/// # Errors
/// `tracking.too_large` if the only message is more than a message may be; or else an append failed, and what came before it is there.
async fn take(
    world: &World,
    written: &Written,
    items: Vec<Item<'_>>,
    common: &Common<'_>,
    watched: Option<&Watched>,
) -> Result<(), OAuthError> {
    let now = common.received_at;
    let first_id: Id<EventKind> = world.id(now);
    let mut records = Vec::with_capacity(items.len().min(BATCH_MESSAGES_MAX));
    let mut bytes = 0;
    for (place, item) in items.into_iter().enumerate() {
        let id = first_id.nth(place as u64);
        let made = if place < BATCH_MESSAGES_MAX { record(id, written, item, common) } else { Err(Unfit::Surplus) };
        match made {
            Ok(record) => {
                let record_bytes = record.payload.len() + RECORD_BYTES;
                if bytes + record_bytes > APPEND_BYTES_MAX {
                    append(world, std::mem::take(&mut records), written.source_id, now).await.map_err(untaken)?;
                    bytes = 0;
                }
                bytes += record_bytes;
                records.push(record);
            }
            Err(Unfit::TooLarge) if common.call.is_some() => return Err(TRACKING_TOO_LARGE),
            Err(unfit) => {
                metrics::counter!("deputy_messages_unfit_total", "reason" => unfit.as_str()).increment(1);
                if let Some(watched) = watched {
                    let which = || format!("message {} of the request", place + 1);
                    watched.show(now, || Some(Sighting::unfit(now, which(), unfit.as_str())));
                }
            }
        }
    }
    append(world, records, written.source_id, now).await.map_err(untaken)
}

/// What all records of a request say alike, and so is written once.
struct Written {
    actor: Box<RawValue>,
    source: Box<RawValue>,
    source_id: Id<SourceKind>,
    trouble: Trouble,
}

/// Whether a reader could stumble over what was sent, so that each message has to be read for a trial.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trouble {
    None,
    Possible,
}

fn raw(value: &impl Serialize) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).expect("our own types serialise to JSON")
}

/// The message as the log carries it: the form of `domain::event::Event`, written without reading the message again.
fn record(id: Id<EventKind>, written: &Written, item: Item<'_>, common: &Common<'_>) -> Result<Record, Unfit> {
    #[derive(Serialize)]
    struct Received<'r, 'm> {
        id: Id<EventKind>,
        at: Timestamp,
        actor: &'r RawValue,
        r#type: &'static str,
        data: Data<'r, 'm>,
    }
    #[derive(Serialize)]
    struct Data<'r, 'm> {
        source: &'r RawValue,
        message_id: &'r str,
        message: &'r Message<'m>,
    }
    let Item(Some(envelope)) = item else { return Err(Unfit::Form) };
    let mut message = Message::of(envelope, common)?;
    if message.message_id.is_empty() {
        message.message_id = Cow::Owned(id.to_string());
    }
    let data = Data { source: &written.source, message_id: &message.message_id, message: &message };
    let received = Received { id, at: common.received_at, actor: &written.actor, r#type: "event.received.v1", data };
    let mut payload = Vec::with_capacity(PAYLOAD_BYTES);
    serde_json::to_writer(&mut payload, &received).expect("what was read as JSON serialises to JSON");
    if payload.len() > MESSAGE_BYTES_MAX + EVENT_BYTES {
        return Err(Unfit::TooLarge);
    }
    if written.trouble == Trouble::Possible && !soundness::is_readable(&payload) {
        return Err(Unfit::Unreadable);
    }
    Ok(Record::new(received_subject(written.source_id, &message.message_id).as_bytes(), payload, common.received_at))
}
