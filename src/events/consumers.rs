//! Who reads the log, how far each has come, and what operators do to them: pause, resume, read again.
//!
//! A pause is a row in storage, so it holds on every node that shares it and after a restart. It is looked at before each step: what is
//! under way when it is made, some megabytes of the log at most, is finished, and nothing is begun any more. What comes meanwhile waits
//! in the log, for as long as the topic's retention keeps it.
//!
//! Only who can take an event in twice and act on it once may read again what it has read:
//! - `profiles` can. It knows which events each profile has taken in. So a replay takes in what no profile has, because it named nobody
//!   by the rules of then, or because this version could not read it then; and it has computed traits count what came before they were
//!   made. All else stays as it is, and a second replay changes nothing.
//! - `dedup` cannot: what it has published stands in the topic `events`, and beyond its window it would publish the same once more.
//!   Whoever is to read events again reads that topic again.
//! - `risk` and `who` cannot: they count, and act on what they read. A replay would suspend agents once more that an operator has since
//!   let act again.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    dedup, profiles, risk,
    topic::{self, Topic},
    who,
};
use crate::{
    domain::{
        event::{Actor, Fact},
        id::{Id, OperatorKind},
        refusal::{ADMIN_NOT_FOUND, ADMIN_VALUE, CONSUMER_REPLAY, OAuthError},
        time::Timestamp,
    },
    log::{Cursor, LogError, lag},
    storage::{
        StorageError, consumers,
        consumers::{Pause, Place},
        definitions, outbox,
    },
    world::{EVENTS, FACTS, Progress, RECEIVED, StageError, World},
};

/// A stage that reads the log.
struct Consumer {
    name: &'static str,
    topics: &'static [&'static str],
    kept: Kept,
    /// Else why not, and what to do instead.
    replay: Result<(), &'static str>,
}

/// Where its cursors are: beside its effect.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    InLog,
    InStorage,
}

const CONSUMERS: &[Consumer] = &[
    Consumer {
        name: dedup::CONSUMER,
        topics: &[FACTS, RECEIVED],
        kept: Kept::InLog,
        replay: Err(
            "dedup would publish events twice that are older than its window. What it has published is in the topic events: \
                     replay a consumer of that topic, such as profiles.",
        ),
    },
    Consumer { name: profiles::CONSUMER, topics: &[EVENTS], kept: Kept::InStorage, replay: Ok(()) },
    Consumer {
        name: risk::CONSUMER,
        topics: &[EVENTS],
        kept: Kept::InStorage,
        replay: Err(
            "risk acts on what it reads: a replay would suspend agents again that were let act since. A rule holds for the \
                     signals that come from now on; to forget what speaks against an agent, enable its client.",
        ),
    },
    Consumer {
        name: who::CONSUMER,
        topics: &[EVENTS],
        kept: Kept::InStorage,
        replay: Err(
            "who acts on what it reads: a replay would count everything that it has seen of an actor twice. To say what an actor \
                     is, whatever was seen of it, set its kind.",
        ),
    },
];

/// A consumer as operators see it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ConsumerRecord {
    consumer: &'static str,
    /// RFC 3339; absent while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    paused_at: Option<String>,
    /// The operator who paused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    paused_by: Option<String>,
    can_be_replayed: bool,
    /// True if it reads the log of another process, which is to be asked: it has no inputs here.
    reads_elsewhere: bool,
    inputs: Vec<InputRecord>,
}

/// Where a consumer stands in a partition of a topic.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct InputRecord {
    topic: String,
    partition: u16,
    /// The offset that it reads next.
    next: u64,
    /// The offset that the next event will get.
    end: u64,
    /// How many events retention has deleted before it read them.
    trimmed_unread: u64,
    /// How many events it has not read; on Kafka, where transactions take up offsets, a little less than this.
    lag: u64,
    /// How long ago the first of them came, in seconds; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    lag_s: Option<u64>,
    /// What it reads again, while it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    replay: Option<ReplayRecord>,
    /// The consumer that has to come to what it reads next before it goes on; absent if it waits for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_for: Option<&'static str>,
}

/// A part of the log: from one offset up to but without another.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ReplayRecord {
    from: u64,
    until: u64,
}

/// From where to read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// In every partition, the first event that is not earlier.
    Time(Timestamp),
    Offset {
        partition: u16,
        offset: u64,
    },
}

/// A step of a stage, unless its consumer is paused.
pub async fn unless_paused(
    world: &World,
    consumer: &'static str,
    step: impl Future<Output = Result<Progress, StageError>>,
) -> Result<Progress, StageError> {
    let ask = world.storage.read(move |tx| Box::pin(async move { consumers::is_paused(tx, consumer).await }));
    if ask.await? { Ok(Progress::Idle) } else { step.await }
}

/// All consumers.
pub async fn list(world: &World, now: Timestamp) -> Result<Vec<ConsumerRecord>, OAuthError> {
    let pauses = world.storage.read(|tx| Box::pin(async move { consumers::pauses(tx).await })).await?;
    let in_log = lag::of(&*world.log).await?;
    let in_log: BTreeMap<_, _> = in_log.iter().map(|lag| ((&*lag.consumer, &*lag.topic, lag.partition), lag.next)).collect();
    let mut records = Vec::with_capacity(CONSUMERS.len());
    for consumer in CONSUMERS {
        let mut inputs = Vec::new();
        let topics = topics(world, consumer).await?;
        for topic in topics.iter().flatten() {
            for partition in 0..topic.partitions().await? {
                let place = match consumer.kept {
                    Kept::InStorage => place(world, consumer.name, topic.name, partition).await?,
                    Kept::InLog => {
                        let next = in_log.get(&(consumer.name, topic.name, partition)).copied();
                        Place { next: next.unwrap_or(0), replay: None }
                    }
                };
                let mut record = input(topic, partition, place, now).await?;
                if consumer.name == who::CONSUMER && record.lag > 0 {
                    record.waits_for = who_waits_for(world, topic, &record).await?;
                }
                inputs.push(record);
            }
        }
        let pause = pauses.iter().find(|pause| pause.consumer == consumer.name);
        records.push(ConsumerRecord {
            consumer: consumer.name,
            paused_at: pause.map(|pause| pause.at.to_rfc3339()),
            paused_by: pause.map(|pause| pause.by.to_string()),
            can_be_replayed: consumer.replay.is_ok(),
            reads_elsewhere: topics.is_none(),
            inputs,
        });
    }
    Ok(records)
}

/// Has a consumer stand still until it is resumed. One that does already is left as it is.
pub async fn pause(world: &World, operator: Id<OperatorKind>, name: &str, now: Timestamp) -> Result<(), OAuthError> {
    let consumer = named(name)?.name.to_owned();
    let event = world.event(now, Actor::Operator(operator), Fact::ConsumerPaused { consumer: consumer.clone() });
    let pause = Pause { consumer, at: now, by: operator };
    let write = world.storage.write(move |tx| {
        Box::pin(async move {
            if consumers::pause(tx, &pause).await? {
                outbox::put(tx, &event).await?;
            }
            Ok::<_, StorageError>(())
        })
    });
    Ok(write.await?)
}

/// Lets a consumer go on from where it stands.
pub async fn resume(world: &World, operator: Id<OperatorKind>, name: &str, now: Timestamp) -> Result<(), OAuthError> {
    let consumer = named(name)?.name;
    let event = world.event(now, Actor::Operator(operator), Fact::ConsumerResumed { consumer: consumer.to_owned() });
    let write = world.storage.write(move |tx| {
        Box::pin(async move {
            if consumers::resume(tx, consumer).await? {
                outbox::put(tx, &event).await?;
            }
            Ok::<_, StorageError>(())
        })
    });
    Ok(write.await?)
}

/// Has a consumer read again what it has read, from here on up to where it stands. What retention has deleted is passed over.
///
/// # Errors
/// `consumer.replay` if it cannot, is reading again already, or reads another process's log; `admin.value` if it has not come that far.
pub async fn replay(
    world: &World,
    operator: Id<OperatorKind>,
    name: &str,
    from: Beginning,
    now: Timestamp,
) -> Result<(), OAuthError> {
    let consumer = named(name)?;
    consumer.replay.map_err(|why| CONSUMER_REPLAY.because(why))?;
    if let Beginning::Offset { partition: wanted, .. } = from {
        check_partition(world, consumer, wanted).await?;
    }
    let elsewhere = CONSUMER_REPLAY.because("It reads the log of another process; ask that one.");
    let mut begun = Vec::new();
    for topic in topics(world, consumer).await?.ok_or(elsewhere)? {
        for partition in 0..topic.partitions().await? {
            let wanted = match from {
                Beginning::Time(time) => topic.offset_at(partition, time).await?,
                Beginning::Offset { partition: of, offset } if of == partition => offset,
                Beginning::Offset { .. } => continue,
            };
            let place = place(world, consumer.name, topic.name, partition).await?;
            if place.replay.is_some() {
                return Err(CONSUMER_REPLAY.because("It is reading again already; wait until it is where it was."));
            }
            let (start, _) = topic.bounds(partition).await?;
            let from = wanted.max(start);
            if from < place.next {
                begun.push((Cursor::input(topic.name, partition), from));
            }
        }
    }
    if begun.is_empty() {
        return Err(ADMIN_VALUE.because("The consumer has read nothing from there on; there is nothing to read again."));
    }
    begin(world, operator, consumer.name, begun, now).await
}

/// Whether the consumer reads a partition of this number.
async fn check_partition(world: &World, consumer: &Consumer, wanted: u16) -> Result<(), OAuthError> {
    let mut partitions = 0;
    for topic in consumer.topics {
        partitions = partitions.max(world.log.partitions(topic).await?);
    }
    if wanted < partitions {
        return Ok(());
    }
    Err(ADMIN_VALUE.because(format!(
        "There is no partition {wanted}: the consumer's have the numbers from 0 to {}.",
        partitions.saturating_sub(1)
    )))
}

async fn begin(
    world: &World,
    operator: Id<OperatorKind>,
    consumer: &'static str,
    begun: Vec<(String, u64)>,
    now: Timestamp,
) -> Result<(), OAuthError> {
    let events = begun.into_iter().map(|(input, from)| {
        let fact = Fact::ConsumerReplayed { consumer: consumer.to_owned(), input: input.clone(), from, until: 0 };
        (input, from, world.event(now, Actor::Operator(operator), fact))
    });
    let events: Vec<_> = events.collect();
    let write = world.storage.write(move |tx| {
        Box::pin(async move {
            for (input, from, mut event) in events {
                let Some(replay) = consumers::begin_replay(tx, consumer, &input, from).await? else {
                    return Err(CONSUMER_REPLAY.because("It is reading again already; wait until it is where it was."));
                };
                // Whatever was not held against any batch yet begins to count where no batch of before can reach.
                let not_begun = definitions::all(tx).await?.not_begun();
                definitions::begin_counting(tx, &not_begun, replay.until).await?;
                if let Fact::ConsumerReplayed { until, .. } = &mut event.fact {
                    *until = replay.until;
                }
                outbox::put(tx, &event).await?;
            }
            Ok(())
        })
    });
    write.await
}

fn named(name: &str) -> Result<&'static Consumer, OAuthError> {
    CONSUMERS.iter().find(|consumer| consumer.name == name).ok_or(ADMIN_NOT_FOUND)
}

/// What it reads, by the offsets that its cursors have; `None` where another process's log is the one that is read.
async fn topics(world: &World, consumer: &Consumer) -> Result<Option<Vec<Topic>>, OAuthError> {
    match consumer.kept {
        Kept::InLog => Ok(Some(consumer.topics.iter().map(|name| Topic::of_log(world, name)).collect())),
        Kept::InStorage => Ok(topic::events_shown::<OAuthError>(world).await?.map(|events| vec![events])),
    }
}

async fn place(world: &World, consumer: &'static str, topic: &str, partition: u16) -> Result<Place, StorageError> {
    let input = Cursor::input(topic, partition);
    world.storage.read(move |tx| Box::pin(async move { consumers::place(tx, consumer, &input).await })).await
}

async fn input(topic: &Topic, partition: u16, place: Place, now: Timestamp) -> Result<InputRecord, LogError> {
    let (start, end) = topic.bounds(partition).await?;
    let next = place.next.max(start);
    let mut lag_s = None;
    if next < end {
        // The first record alone: it says for how long the consumer has let things wait.
        let waiting = topic.read(partition, next, 1).await?;
        lag_s = waiting.entries.first().map(|entry| now.since(entry.at).as_secs());
    }
    Ok(InputRecord {
        topic: topic.name.to_owned(),
        partition,
        next,
        end,
        trimmed_unread: topic::trimmed_unread(place.next, start),
        lag: end.saturating_sub(next),
        lag_s,
        replay: place.replay.map(|replay| ReplayRecord { from: replay.from, until: replay.until }),
        waits_for: None,
    })
}

/// What was asked for and is not carried out yet, only profiles carry out.
async fn who_waits_for(world: &World, topic: &Topic, input: &InputRecord) -> Result<Option<&'static str>, OAuthError> {
    let waiting = topic.read(input.partition, input.next, 1).await?;
    let Some(first) = waiting.entries.first() else { return Ok(None) };
    Ok(who::waits_at(world, first).await?.then_some(profiles::CONSUMER))
}
