//! Looking on: the last events of a source, and then each as it comes in and what becomes of it.
//!
//! The last ones are read back from the log, within a bound. What is live is what this node takes in and works on: where several nodes
//! share the work, each shows its part. An event that came between the two is shown once.

use std::{
    collections::{HashSet, VecDeque},
    ops::Range,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;

use super::{
    dedup::CONFLICT,
    profiles::forgotten::Forgotten,
    topic::{self, Topic},
};
use crate::{
    domain::{
        event::{Actor, Event, Fact},
        id::{Id, SourceKind},
        identity::{external_id::ExternalId, message::Message, rules::Rules},
        refusal::{OAuthError, WATCH_VIEWERS},
        sighting::{Sighting, Stage, source_of},
        time::Timestamp,
    },
    log::{Entry, LogError, Record},
    storage::{StorageError, definitions, interventions::Place},
    world::{
        World,
        viewers::{SHOWN_PER_SECOND_MAX, Told, View, Watched},
    },
};

/// The most events that are shown of what was before.
pub const LAST_MAX: usize = 100;
/// Records that are looked at to find them, and together.
const LOOK_BACK_MAX: u64 = 20_000;
const LOOK_BACK_SHARE: u64 = 2_000;
const READ_BYTES_MAX: usize = 1 << 20;

/// A source under somebody's eyes.
pub struct Watch {
    past: VecDeque<Sighting>,
    /// The ids of what was shown of the past.
    shown: HashSet<String>,
    view: View,
}

/// Begins to look on at a source; first at its last events, so many of them.
///
/// # Errors
/// `watch.viewers` if as many look on as may.
pub async fn begin(world: &World, source: Id<SourceKind>, last: usize) -> Result<Watch, OAuthError> {
    let view = world.memory.viewers.look_on(source).ok_or(WATCH_VIEWERS)?;
    let past = past(world, source, last).await?;
    let shown = past.iter().filter_map(|sighting| sighting.message_id.clone()).collect();
    Ok(Watch { past, shown, view })
}

impl Watch {
    /// What comes next; waits for it so long at most.
    pub async fn next(&mut self, quiet_after: Duration) -> Told {
        if let Some(sighting) = self.past.pop_front() {
            return Told::Seen(sighting.into());
        }
        loop {
            let told = self.view.next(quiet_after).await;
            let is_known = match &told {
                Told::Seen(sighting) if sighting.stage == Stage::Published => {
                    sighting.message_id.as_ref().is_some_and(|id| self.shown.remove(id))
                }
                _ => false,
            };
            if !is_known {
                return told;
            }
        }
    }
}

/// What of a request is to be shown once it is durable, to the viewers of its source.
pub(super) struct Accepted {
    watched: Watched,
    payloads: Vec<Bytes>,
}

impl Accepted {
    pub(super) fn of(watched: Watched, records: &[Record]) -> Accepted {
        let payloads: Vec<_> = records.iter().take(SHOWN_PER_SECOND_MAX as usize).map(|record| record.payload.clone()).collect();
        watched.lose(records.len() - payloads.len());
        Accepted { watched, payloads }
    }

    /// It is durable.
    pub(super) fn show(self, now: Timestamp) {
        for payload in self.payloads {
            self.watched.show(now, || Sighting::of(serde_json::from_slice(&payload).ok()?, Stage::Accepted));
        }
    }
}

/// What is to be shown of a batch of dedup's once it is committed.
#[derive(Default)]
pub(super) struct Judged(Vec<(Watched, Sighting)>);

impl Judged {
    /// Of a message that was not there before, and of what is published for it.
    pub(super) fn first(&mut self, world: &World, source: Id<SourceKind>, message_id: &str, outputs: &[Record], at: Timestamp) {
        let Some(watched) = world.memory.viewers.of(source) else { return };
        let (mut made, mut aside) = (Vec::new(), Vec::new());
        for output in outputs {
            let Ok(event) = serde_json::from_slice::<Event>(&output.payload) else { continue };
            match event.fact {
                // What we say ourselves, such as that a plan is violated, is nothing that the message has become.
                Fact::EventReceived { .. } if event.actor == Actor::Deputy => {}
                Fact::EventReceived { message, .. } => made.push(message),
                _ => aside.extend(Sighting::of(event, Stage::KeptAside)),
            }
        }
        let message_id = message_id.to_owned();
        if !made.is_empty() {
            self.0.push((watched, Sighting::shaped(at, message_id, made)));
        } else if aside.is_empty() {
            self.0.push((watched, Sighting::new(Stage::Dropped, at, Some(message_id))));
        }
        for sighting in aside {
            self.0.extend(world.memory.viewers.of(source).map(|watched| (watched, sighting)));
        }
    }

    /// Of a message about which there is no more to say.
    pub(super) fn plainly(&mut self, world: &World, source: Id<SourceKind>, message_id: &str, stage: Stage, at: Timestamp) {
        let watched = world.memory.viewers.of(source);
        self.0.extend(watched.map(|watched| (watched, Sighting::new(stage, at, Some(message_id.to_owned())))));
    }

    /// Of a message whose id came before with another payload.
    pub(super) fn conflict(&mut self, world: &World, source: Id<SourceKind>, message_id: &str, at: Timestamp) {
        let watched = world.memory.viewers.of(source);
        self.0.extend(watched.map(|watched| (watched, Sighting::kept_aside(at, message_id.to_owned(), CONFLICT))));
    }

    /// It is committed.
    pub(super) fn show(self, now: Timestamp) {
        for (watched, sighting) in self.0 {
            watched.show(now, || Some(sighting));
        }
    }
}

/// The last events of a source that were published or kept aside, the oldest first; without those of whoever was deleted or suppressed.
async fn past(world: &World, source: Id<SourceKind>, last: usize) -> Result<VecDeque<Sighting>, OAuthError> {
    // Where another process's log is read, nothing says what is to be left out of this one.
    let Some(events) = topic::events_shown::<OAuthError>(world).await? else { return Ok(VecDeque::new()) };
    let rules = world.storage.read(|tx| Box::pin(async move { definitions::rules(tx).await })).await?;
    let (rules, mut found) = (Arc::new(rules), VecDeque::new());
    for partition in 0..events.partitions().await? {
        let (start, end) = events.bounds(partition).await?;
        let start = start.max(end.saturating_sub(LOOK_BACK_MAX));
        let (mut until, mut of_partition) = (end, VecDeque::new());
        while until > start && of_partition.len() < last {
            let from = until.saturating_sub(LOOK_BACK_SHARE).max(start);
            let share = share(&events, source, partition, from..until, &rules).await?;
            let mut shown = without_forgotten(world, share).await?;
            shown.append(&mut of_partition);
            (of_partition, until) = (shown, from);
        }
        found.append(&mut of_partition);
    }
    found.drain(..found.len().saturating_sub(last));
    Ok(found)
}

async fn share(
    events: &Topic,
    source: Id<SourceKind>,
    partition: u16,
    offsets: Range<u64>,
    rules: &Arc<Rules>,
) -> Result<Vec<Past>, LogError> {
    let (Range { start: mut at, end: until }, mut found) = (offsets, Vec::new());
    while at < until {
        let read = match events.read(partition, at, READ_BYTES_MAX).await {
            Err(LogError::Trimmed { .. }) => {
                (at, _) = events.bounds(partition).await?;
                continue;
            }
            read => read?,
        };
        let entries = read.entries.into_iter().filter(|entry| entry.offset < until).collect::<Vec<_>>();
        // Looking through so many takes milliseconds: not on a thread that serves requests.
        let rules = Arc::clone(rules);
        let look = move || entries.iter().filter_map(|entry| Past::of(entry, source, &rules)).collect::<Vec<_>>();
        let looking = tokio::task::spawn_blocking(look);
        found.extend(looking.await.map_err(|error| LogError::Unavailable(error.to_string()))?);
        at = read.next.max(at + 1);
    }
    Ok(found)
}

async fn without_forgotten(world: &World, past: Vec<Past>) -> Result<VecDeque<Sighting>, StorageError> {
    let forgotten = Forgotten::of(world, past.iter().flat_map(|past| &past.ids)).await?;
    let shown = past.into_iter().filter(|past| !forgotten.covers(&past.ids, past.place));
    Ok(shown.map(|past| past.sighting).collect())
}

/// An event that was before.
struct Past {
    sighting: Sighting,
    /// Whomever it speaks of.
    ids: Vec<ExternalId>,
    place: Place,
}

impl Past {
    fn of(entry: &Entry, source: Id<SourceKind>, rules: &Rules) -> Option<Past> {
        // Most are of other sources, and are not read further.
        if !std::str::from_utf8(&entry.payload).ok()?.contains(&source.to_string()) {
            return None;
        }
        let event: Event = serde_json::from_slice(&entry.payload).ok()?;
        let (Fact::EventReceived { message, .. } | Fact::EventKeptAside { message, .. }) = &event.fact else { return None };
        if source_of(&event) != Some(source) {
            return None;
        }
        let subjects = Message::of(message.as_str()).subjects(rules, event.actor.client());
        let ids = subjects.into_iter().flat_map(|subject| subject.ids).collect();
        let place = Place { offset: entry.offset, at: event.at };
        Some(Past { sighting: Sighting::of(event, Stage::Published)?, ids, place })
    }
}
