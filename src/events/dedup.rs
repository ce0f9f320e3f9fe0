//! Dedup: of the facts that come in, each goes on once, however often it was sent.
//!
//! Our own facts are read from the topic `facts`, customers' from `received`; those whose id was not there before within the window go
//! on to the topic `events`, in one commit with the cursor that says how far the input is done with. That cursor is the truth, and the
//! index of seen ids is a cache: before a batch is judged, the index is told of all input of the window before the cursor that it does
//! not know yet, and it is told of the batch only after the commit. So a crash anywhere publishes a fact neither twice nor never; and
//! whoever wakes up late finds its claim taken, and commits nothing.
//!
//! Each of the two topics has a stage of its own, so that our own facts never wait for customers' programs. They share the index and
//! nothing else: an id of ours is never a customer's, so neither needs to know what the other is about.
//!
//! An id counts within its organisation and source only: nobody can send somebody else's ids first, and so have theirs dropped. An id
//! that comes again with another payload is not dropped in silence: it goes on as a fact of its own, `event.kept_aside.v1`, with hashes
//! of both. When the window has passed what went on under such an id, an index that is made anew may know the id by a payload that was
//! kept aside, and judge what comes after by that one: nothing goes on twice for it, and everything is on record.

use std::{borrow::Cow, collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{
    shaping::{self, GoesOn, Shaped},
    topic::tell_trimmed,
    watch,
};
use crate::{
    domain::{
        event::{Actor, Event, Fact, Head, Received},
        id::{Id, SourceKind},
        json::Json,
        sighting::Stage,
        time::Timestamp,
    },
    log::{
        APPEND_BYTES_MAX, Batch, Claim, Entry, LogError, Record,
        seen::{Candidate, Fingerprints, Key, SeenError, Verdict},
    },
    world::{
        EVENTS, ORGANIZATION, OWN_SOURCE, Progress, RECEIVED, StageError, World,
        seen::{SeenIndex, firsts},
    },
};

/// Who reads, as its cursor names it.
pub const CONSUMER: &str = "dedup";
/// What one batch reads: with what is added to it, it still fits one commit.
const READ_BYTES_MAX: usize = 2 << 20;
/// How far before the cursor a record tells of what time it is. More than the offsets that a shared log spends on no records.
const NEAR_RECORDS: u64 = 1_000;
/// What the log adds to each record, at most.
const RECORD_BYTES: usize = 64;
/// What is said of a message that is kept aside for its id, besides the message, at most.
const CONFLICT_BYTES: usize = 1024;
/// Why a payload is kept aside that came under the id of another one.
pub(super) const CONFLICT: &str = "conflict";

/// Moves the next facts of every partition of the topic that is this node's.
pub async fn step(world: &World, topic: &'static str, now: Timestamp) -> Result<Progress, StageError> {
    let mut progress = Progress::Idle;
    let mut trouble = None;
    for claim in world.log.claims(CONSUMER, topic).await? {
        match advance(world, &Input::of(topic, claim), now).await {
            Ok(Progress::Advanced) => progress = Progress::Advanced,
            Ok(Progress::CaughtUp) if progress == Progress::Idle => progress = Progress::CaughtUp,
            Ok(Progress::CaughtUp | Progress::Idle) => {}
            // One that cannot be read holds up no other.
            Err(error) => _ = trouble.get_or_insert(error),
        }
    }
    match trouble {
        Some(error) if progress != Progress::Advanced => Err(error),
        Some(error) => {
            tracing::warn!(%error, "a partition stands still; the others go on");
            Ok(progress)
        }
        None => Ok(progress),
    }
}

/// A partition to read, and the number that the index knows it by.
struct Input {
    topic: &'static str,
    claim: Claim,
    number: u16,
}

impl Input {
    fn of(topic: &'static str, claim: Claim) -> Input {
        // Odd and even: no topic has more than half of all numbers for partitions.
        let number = claim.partition * 2 + u16::from(topic == RECEIVED);
        Input { topic, claim, number }
    }
}

/// Judges and publishes one batch.
async fn advance(world: &World, input: &Input, now: Timestamp) -> Result<Progress, StageError> {
    let Input { topic, claim, number } = input;
    let (start, end) = world.log.bounds(topic, claim.partition).await?;
    let reached = world.log.cursor(CONSUMER, &claim.input).await?.unwrap_or(start);
    if reached > end {
        return Err(ends_before(topic, claim, reached, end));
    }
    if reached.max(start) >= end {
        return Ok(Progress::Idle);
    }
    if !is_caught_up(world, input, start, reached, now).await? {
        return Ok(Progress::Advanced);
    }
    if reached < start {
        tell_trimmed(claim, start - reached);
    }

    let batch = world.log.read(topic, claim.partition, reached.max(start), READ_BYTES_MAX).await?;
    let Some(judged) = judge(world, input, reached, batch.entries, now).await? else { return Ok(Progress::Advanced) };
    let next = judged.until.unwrap_or(batch.next);
    world.log.commit(EVENTS, judged.outputs, claim.at(next)).await?;
    judged.seen.show(now);
    metrics::counter!("deputy_dedup_total", "verdict" => "first").increment(judged.firsts.len() as u64);
    metrics::counter!("deputy_dedup_total", "verdict" => "duplicate").increment(judged.duplicates);
    metrics::counter!("deputy_dedup_total", "verdict" => "conflict").increment(judged.conflicts);
    let number = *number;
    aside(world, move |seen| seen.add(&judged.firsts, number, reached, next)).await?;
    Ok(if next < end { Progress::Advanced } else { Progress::CaughtUp })
}

/// A log that was restored from an older copy without its cursors, or a topic that was made anew. What came in since stands where the
/// cursor has passed.
fn ends_before(topic: &str, claim: &Claim, cursor: u64, end: u64) -> StageError {
    let partition = claim.partition;
    tracing::error!(topic, partition, cursor, end, "the log ends before what dedup has read of it");
    LogError::Invalid("the log ends before what was read of it: restore it whole, or restart on an empty one").into()
}

/// Whether the index knows all input before the cursor: what was published, or was a duplicate, in another life. If it does not, it
/// is told of a batch of it, and of the next one at the next step: meanwhile the other partitions go on.
async fn is_caught_up(world: &World, input: &Input, start: u64, cursor: u64, now: Timestamp) -> Result<bool, StageError> {
    let Input { topic, claim, number } = input;
    let (partition, number) = (claim.partition, *number);
    let mut reached = aside(world, move |seen| seen.reached(number)).await?;
    // Another stage may do the same at this moment, and both begin anew then: what is told in between is told again.
    // What stands behind the cursor is not published: an index that knows it is of another log, or of a later state of this one.
    if reached > cursor {
        tracing::warn!(topic, partition, reached, cursor, "the index of seen ids is ahead of the log, and is made anew");
        aside(world, SeenIndex::forget_all).await?;
        reached = 0;
    }
    if reached >= cursor {
        return Ok(true);
    }
    let mut batch = world.log.read(topic, partition, reached.max(start), READ_BYTES_MAX).await?;
    let window = World::seconds(world.settings.dedup_window_s);
    let held = batch.entries.first().map_or(window, |first| now.since(first.at));
    if reached < start && held < window {
        let (held_s, window_s) = (held.as_secs(), window.as_secs());
        tracing::warn!(
            topic,
            partition,
            held_s,
            window_s,
            "retention has deleted events of the dedup window before the index knew them: if they are sent again, they count again"
        );
    }
    if held > window {
        let begin = begin(world, input, start, cursor, window).await?;
        if begin > batch.next {
            batch = Batch { entries: Vec::new(), next: begin };
        }
    }
    batch.entries.retain(|entry| entry.offset < cursor);
    let next = batch.next.min(cursor);
    aside(world, move |seen| {
        let candidates: Vec<_> = batch.entries.iter().map(|entry| candidate(entry, seen.fingerprints())).collect();
        seen.tell(&candidates, number, reached, next)
    })
    .await?;
    Ok(next >= cursor)
}

/// Where the input begins that is within the window, as seen from what was read last: the index too goes by the time of records.
async fn begin(world: &World, input: &Input, start: u64, cursor: u64, window: Duration) -> Result<u64, StageError> {
    let (topic, partition) = (input.topic, input.claim.partition);
    let near = world.log.read(topic, partition, cursor.saturating_sub(NEAR_RECORDS).max(start), 1).await?;
    let Some(near) = near.entries.first() else { return Ok(start) };
    Ok(world.log.offset_at(topic, partition, near.at.minus(window)).await?.clamp(start, cursor))
}

/// What becomes of a batch.
struct Judged {
    outputs: Vec<Record>,
    firsts: Vec<Candidate>,
    duplicates: u64,
    conflicts: u64,
    /// The offset of the first that there was no time or no room for, if there is one: the next batch begins there.
    until: Option<u64>,
    /// For those who look on.
    seen: watch::Judged,
}

/// Judges what stands behind `reached`. `None` if the index does not know any longer what stands before it.
async fn judge(
    world: &World,
    input: &Input,
    reached: u64,
    entries: Vec<Entry>,
    now: Timestamp,
) -> Result<Option<Judged>, StageError> {
    let number = input.number;
    let (mut entries, candidates, verdicts) = aside(world, move |seen| {
        let candidates: Vec<_> = entries.iter().map(|entry| candidate(entry, seen.fingerprints())).collect();
        let verdicts = seen.probe(&candidates, number, reached)?;
        Ok((entries, candidates, verdicts))
    })
    .await?;
    let Some(verdicts) = verdicts else { return Ok(None) };
    let Shapings { mut of_each, done } = match input.topic {
        RECEIVED => shape(world, &entries, &verdicts, now).await?,
        // Nobody has a program for what is ours.
        _ => Shapings { of_each: HashMap::new(), done: entries.len() },
    };
    let until = entries.get(done).map(|entry| entry.offset);
    entries.truncate(done);
    let (outputs, seen) = (Vec::with_capacity(done), watch::Judged::default());
    let mut judged = Judged { outputs, firsts: Vec::new(), duplicates: 0, conflicts: 0, until, seen };
    let is_watched = world.memory.viewers.is_any();
    let (mut judged_count, mut room_bytes) = (0, APPEND_BYTES_MAX);
    for (place, (entry, verdict)) in entries.into_iter().zip(&verdicts).enumerate() {
        let shaped = of_each.remove(&place);
        let bytes = output_bytes(&entry, verdict, shaped.as_deref());
        // Programs may make much of little; what comes of one event always fits.
        if bytes > room_bytes && place > 0 {
            judged.until = Some(entry.offset);
            break;
        }
        (judged_count, room_bytes) = (place + 1, room_bytes.saturating_sub(bytes));
        if is_watched {
            look_on(world, &mut judged.seen, &entry, verdict, shaped.as_deref(), now);
        }
        match (verdict, shaped) {
            (Verdict::First, None) => judged.outputs.push(output(entry.payload, entry.at)),
            (Verdict::First, Some(outputs)) => judged.outputs.extend(outputs),
            (Verdict::Again, _) => judged.duplicates += 1,
            (Verdict::Conflict { first_print }, _) => {
                judged.conflicts += 1;
                let prints = [candidates[place].print, *first_print];
                judged.outputs.extend(conflict(&entry, prints).map(|fact| by_us(world, fact, entry.at, now)));
            }
        }
    }
    judged.firsts = firsts(&candidates, &verdicts[..judged_count]);
    Ok(Some(judged))
}

/// What is published of an entry, in bytes of a commit, at most.
fn output_bytes(entry: &Entry, verdict: &Verdict, shaped: Option<&[Record]>) -> usize {
    match (verdict, shaped) {
        (Verdict::Again, _) => 0,
        (Verdict::First, Some(outputs)) => outputs.iter().map(|record| record.payload.len() + RECORD_BYTES).sum(),
        (Verdict::First, None) => entry.payload.len() + RECORD_BYTES,
        (Verdict::Conflict { .. }, _) => entry.payload.len() + RECORD_BYTES + CONFLICT_BYTES,
    }
}

/// Notes what becomes of a message, for those who look on at its source.
fn look_on(world: &World, seen: &mut watch::Judged, entry: &Entry, verdict: &Verdict, shaped: Option<&[Record]>, now: Timestamp) {
    let Some(Received { source, message_id, .. }) = Head::of(&entry.payload).and_then(|head| head.received) else { return };
    let Ok(source) = source.parse() else { return };
    match (verdict, shaped) {
        (Verdict::First, Some(outputs)) => seen.first(world, source, &message_id, outputs, now),
        (Verdict::First, None) => seen.plainly(world, source, &message_id, Stage::Published, now),
        (Verdict::Again, _) => seen.plainly(world, source, &message_id, Stage::Duplicate, now),
        (Verdict::Conflict { .. }, _) => seen.conflict(world, source, &message_id, now),
    }
}

/// What the sources' programs and plans make of a batch.
struct Shapings {
    /// What is published of those messages that do not go on as they came, by their places.
    of_each: HashMap<usize, Vec<Record>>,
    /// How many entries there was time for.
    done: usize,
}

/// What the sources' programs and plans make of the messages that are new.
async fn shape(world: &World, entries: &[Entry], verdicts: &[Verdict], now: Timestamp) -> Result<Shapings, StageError> {
    let shapes = world.shapes(now).await?;
    if shapes.is_empty() {
        return Ok(Shapings { of_each: HashMap::new(), done: entries.len() });
    }
    let mut events = Vec::new();
    for (place, (entry, verdict)) in entries.iter().zip(verdicts).enumerate() {
        let (Verdict::First, Some(Received { source, .. })) = (verdict, Head::of(&entry.payload).and_then(|head| head.received))
        else {
            continue;
        };
        let source = source.parse::<Id<SourceKind>>().ok().filter(|source| shapes.of(*source).is_some());
        let event = serde_json::from_slice::<Event>(&entry.payload).ok();
        if let (Some(source), Some(event)) = (source, event.filter(|event| shaping::Received::of(&event.fact).is_some())) {
            events.push((place, source, event));
        }
    }
    let received: Vec<_> = events.iter().filter_map(|(_, _, event)| shaping::Received::of(&event.fact)).collect();
    let shaped = shaping::apply(world, &received, now).await?;
    // What stands between those that were shaped is done with as well, up to the first that was not.
    let done = events.get(shaped.len()).map_or(entries.len(), |(place, ..)| *place);
    let of_each = events.iter().zip(shaped).filter_map(|((place, source, event), shaped)| {
        let is_untouched = shaped.goes_on == GoesOn::Itself && shaped.violations.is_empty() && shaped.aside.is_empty();
        if is_untouched { None } else { Some((*place, outputs(world, &entries[*place], *source, event, shaped, now))) }
    });
    Ok(Shapings { of_each: of_each.collect(), done })
}

/// What is published of one event.
fn outputs(world: &World, entry: &Entry, source: Id<SourceKind>, event: &Event, shaped: Shaped, now: Timestamp) -> Vec<Record> {
    let Shaped { goes_on, violations, aside } = shaped;
    let mut outputs = match goes_on {
        GoesOn::Itself => vec![output(entry.payload.clone(), entry.at)],
        GoesOn::These(messages) => {
            let is_one = messages.len() == 1;
            let made = messages.into_iter().map(|message| {
                // One event that was changed is still that event.
                let id = if is_one { event.id } else { world.id(now) };
                output_of(&Event { id, at: event.at, actor: event.actor.clone(), fact: received(source, message) })
            });
            made.collect()
        }
    };
    outputs.extend(violations.into_iter().map(|message| by_us(world, received(source, message), entry.at, now)));
    outputs.extend(aside.into_iter().map(|kept| {
        let (message_id, reason) = (message_id(&kept.message), kept.reason.as_str().to_owned());
        let (detail, message) = (Some(kept.detail), kept.message);
        let fact = Fact::EventKeptAside { source, message_id, reason, detail, print: None, first_print: None, message };
        by_us(world, fact, entry.at, now)
    }));
    outputs
}

/// The index reads files: never on a thread that serves requests.
async fn aside<T: Send + 'static>(
    world: &World,
    work: impl FnOnce(&SeenIndex) -> Result<T, SeenError> + Send + 'static,
) -> Result<T, StageError> {
    let seen = Arc::clone(&world.seen);
    let done = tokio::task::spawn_blocking(move || work(&seen)).await;
    Ok(done.map_err(|error| LogError::Unavailable(error.to_string()))??)
}

/// A payload that came under the id of another one, with the prints of both. Two facts of our own never have one id.
fn conflict(entry: &Entry, prints: [u64; 2]) -> Option<Fact> {
    let event: Event = serde_json::from_slice(&entry.payload).ok()?;
    let Fact::EventReceived { source, message_id, message } = event.fact else {
        tracing::error!(event = %event.id, "two facts of our own have one id");
        return None;
    };
    let [print, first_print] = prints.map(|print| Some(format!("{print:016x}")));
    Some(Fact::EventKeptAside { source, message_id, reason: CONFLICT.to_owned(), detail: None, print, first_print, message })
}

fn received(source: Id<SourceKind>, message: Json) -> Fact {
    Fact::EventReceived { source, message_id: message_id(&message), message }
}

/// The id that a message says.
fn message_id(message: &Json) -> String {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Named {
        message_id: String,
    }
    serde_json::from_str(message.as_str()).map(|Named { message_id }| message_id).unwrap_or_default()
}

fn output(payload: impl Into<Bytes>, at: Timestamp) -> Record {
    Record::new(ORGANIZATION.as_bytes(), payload, at)
}

fn output_of(event: &Event) -> Record {
    output(serde_json::to_vec(event).expect("our own events serialise to JSON"), event.at)
}

/// What we say of an event, and not its source.
fn by_us(world: &World, fact: Fact, at: Timestamp, now: Timestamp) -> Record {
    output_of(&Event { id: world.id(now), at, actor: Actor::Deputy, fact })
}

/// What is asked of the index for an entry. What is nothing that this version could have written goes on as it is.
fn candidate(entry: &Entry, fingerprints: &Fingerprints) -> Candidate {
    let (key, print): (Key, u64) = match Head::<Said>::with_message(&entry.payload) {
        Some(Head { received: Some(Received { source, message_id, message: Said(said) }), .. }) => {
            (fingerprints.key(ORGANIZATION, source, &message_id), fingerprints.print(said.as_bytes()))
        }
        Some(Head { id, .. }) => (fingerprints.key(ORGANIZATION, OWN_SOURCE, id), fingerprints.print(&entry.payload)),
        None => {
            let place = format!("{}/{}", entry.offset, entry.at.0);
            (fingerprints.key(ORGANIZATION, "", &place), fingerprints.print(&entry.payload))
        }
    };
    Candidate { key, print, at: entry.at }
}

/// What a source says in a message, without what differs when it is sent again: the times that depend on the sending, the context with
/// its address, and what the SDKs note for themselves under names with an underscore.
struct Said(String);

impl<'de> Deserialize<'de> for Said {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Said, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Said;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a message")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Said, A::Error> {
                let mut said = String::with_capacity(512);
                while let Some(name) = members.next_key::<Cow<'de, str>>()? {
                    if name.starts_with('_') || matches!(&*name, "timestamp" | "sentAt" | "receivedAt" | "context") {
                        members.next_value::<IgnoredAny>()?;
                        continue;
                    }
                    let value: &RawValue = members.next_value()?;
                    said.push_str(&name);
                    said.push('\u{1f}');
                    said.push_str(value.get());
                    said.push('\u{1e}');
                }
                Ok(Said(said))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said_of(text: &str) -> String {
        serde_json::from_str::<Said>(text).expect("it is a message").0
    }

    #[test]
    fn a_message_that_is_sent_again_says_the_same() {
        let first = r#"{"messageId":"m","type":"track","event":"E","timestamp":"2026-11-23T00:00:00.000Z","originalTimestamp":"2026-11-22","sentAt":"a","receivedAt":"b","context":{"ip":"1.2.3.4"},"properties":{"n":1},"_metadata":{"retryCount":0}}"#;
        let again = r#"{"messageId":"m","type":"track","event":"E","timestamp":"2026-11-23T00:00:09.000Z","originalTimestamp":"2026-11-22","sentAt":"c","receivedAt":"d","context":{"ip":"1.2.3.5"},"properties":{"n":1},"_metadata":{"retryCount":1}}"#;
        assert_eq!(said_of(first), said_of(again));
        assert_ne!(said_of(first), said_of(&again.replace("\"n\":1", "\"n\":2")));
        assert_ne!(said_of(first), said_of(&again.replace("2026-11-22", "2026-11-21")));
        assert_ne!(said_of(r#"{"a":"x","b":"y"}"#), said_of(r#"{"a":"xb","":"y"}"#));
    }
}
