//! The outbox relay: moves facts from the database to the log, each once; and behind them what this process remarked.
//!
//! A batch of rows is labelled with the log's number and a number of its own, appended together with the latter as the relay's cursor
//! (one atomic commit of the log), then forgotten. A crash before the append finds the same batch again; a crash after it finds its
//! number in the cursor and only forgets. So a committed fact is in one log exactly once (promise 7), also where several processes
//! share a database and each has a log (what one has labelled, no other touches), and where they share the log too: then the lease
//! lets one of them relay, and the claim to the cursor makes the append of one that slept through the end of its lease void.
//!
//! What was labelled with another log than the one that is read goes to that one when its reading begins: the stage that reads on takes
//! the labels back.
//! Batch numbers are random, and only the one in the cursor is forgotten: a process with an old cursor can label rows, and lose none.

use std::time::Duration;

use crate::{
    domain::time::Timestamp,
    log::{LogError, Record},
    storage::{StorageError, leases, outbox},
    world::{FACTS, Progress, StageError, World, record},
};

const CONSUMER: &str = "relay";
const INPUT: &str = "outbox";
/// Under this name the log keeps the number by which the database knows it.
const IDENTITY: &str = "log";
/// Facts that one step moves at most: the largest there can be, a hundred times, still fit one append.
const BATCH_MAX: i64 = 100;
/// How long a node that stops without a word keeps the others from relaying.
const LEASE: Duration = Duration::from_secs(15);

/// Moves the oldest facts.
pub async fn step(world: &World, now: Timestamp) -> Result<Progress, StageError> {
    // Taken first: what was issued before it was used is moved before that is told.
    let (remarks, are_more) = world.memory.remarks.take();
    let records = remarks.iter().map(record).collect();
    match move_and_tell(world, records, now).await {
        Ok(Progress::CaughtUp) if are_more => Ok(Progress::Advanced),
        Ok(progress) => Ok(progress),
        // What was told after all, dedup knows again by its id.
        Err(error) => {
            world.memory.remarks.put_back(remarks);
            Err(error)
        }
    }
}

async fn move_and_tell(world: &World, remarks: Vec<Record>, now: Timestamp) -> Result<Progress, StageError> {
    let moved = move_oldest(world, now).await?;
    if remarks.is_empty() {
        return Ok(moved);
    }
    world.log.append(FACTS, remarks).await?;
    Ok(if moved == Progress::Idle { Progress::CaughtUp } else { moved })
}

async fn move_oldest(world: &World, now: Timestamp) -> Result<Progress, StageError> {
    let is_waiting = world.storage.read(|tx| Box::pin(async move { outbox::is_any(tx).await })).await?;
    if !is_waiting {
        return Ok(Progress::Idle);
    }
    let log = identity(world).await?;
    if !world.storage.is_exclusive() {
        // A log of one owner comes back under its name at once; where all share one, the processes are told apart.
        let holder = if world.log.is_shared() { world.node.clone() } else { log.to_string() };
        let hold =
            world.storage.write(move |tx| Box::pin(async move { leases::hold(tx, "relay", &holder, now, now.plus(LEASE)).await }));
        if !hold.await? {
            return Ok(Progress::Idle);
        }
    }
    let claim = world.log.claim(CONSUMER, INPUT).await?;
    let relayed = cursor(world, INPUT).await?;
    let number = draw(world);
    let batch = world.storage.write(move |tx| {
        Box::pin(async move {
            if let Some(relayed) = relayed {
                outbox::forget(tx, log, relayed).await?;
            }
            if let Some(batch) = outbox::oldest_batch(tx, log).await? {
                return Ok::<_, StorageError>(Some(batch));
            }
            outbox::claim(tx, log, number, BATCH_MAX).await?;
            outbox::oldest_batch(tx, log).await
        })
    });
    let Some((number, events)) = batch.await? else { return Ok(Progress::Idle) };
    world.log.commit(FACTS, events.iter().map(record).collect(), claim.at(number.unsigned_abs())).await?;
    world.storage.write(move |tx| Box::pin(async move { outbox::forget(tx, log, number).await })).await?;
    Ok(Progress::Advanced)
}

/// The number by which the database knows this log; drawn at the first need, and kept in the log itself. Of all stages that need it
/// first, one draws: under the one claim that a process has, each could.
pub(super) async fn identity(world: &World) -> Result<i64, LogError> {
    world.log_number.get_or_try_init(|| find_or_draw(world)).await.copied()
}

async fn find_or_draw(world: &World) -> Result<i64, LogError> {
    if let Some(known) = cursor(world, IDENTITY).await? {
        return Ok(known);
    }
    // Of several processes that find none, the last to claim draws; the others are fenced and find what it drew.
    let claim = world.log.claim(CONSUMER, IDENTITY).await?;
    if let Some(known) = cursor(world, IDENTITY).await? {
        return Ok(known);
    }
    let drawn = draw(world);
    world.log.commit(FACTS, Vec::new(), claim.at(drawn.unsigned_abs())).await?;
    Ok(drawn)
}

async fn cursor(world: &World, input: &str) -> Result<Option<i64>, LogError> {
    Ok(world.log.cursor(CONSUMER, input).await?.and_then(|number| i64::try_from(number).ok()))
}

fn draw(world: &World) -> i64 {
    i64::from_be_bytes(world.entropy.bytes()) & i64::MAX
}
