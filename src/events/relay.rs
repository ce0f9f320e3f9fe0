//! The outbox relay: moves facts from the database to the log, each once.
//!
//! A batch of rows is claimed for this process's log under a number, appended together with that number as the relay's cursor
//! (one atomic commit of the log), then forgotten. A crash before the append finds the same batch again; a crash after it finds
//! the cursor there and only forgets. So a committed fact is in one log exactly once (promise 7), also where several processes
//! share a database and each has a log: what one of them claimed, no other touches.

use std::time::Duration;

use crate::{
    domain::time::Timestamp,
    log::Cursor,
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
    let is_waiting = world.storage.read(|tx| Box::pin(async move { outbox::count(tx).await })).await? > 0;
    if !is_waiting {
        return Ok(Progress::Idle);
    }
    let log = identity(world).await?;
    if !world.storage.is_exclusive() {
        let hold = world
            .storage
            .write(move |tx| Box::pin(async move { leases::hold(tx, "relay", &log.to_string(), now, now.plus(LEASE)).await }));
        if !hold.await? {
            return Ok(Progress::Idle);
        }
    }
    let relayed = cursor(world, INPUT).unwrap_or(0);
    let claim = world.storage.write(move |tx| {
        Box::pin(async move {
            outbox::forget(tx, log, relayed).await?;
            if let Some(batch) = outbox::oldest_batch(tx, log).await? {
                return Ok::<_, StorageError>(Some(batch));
            }
            outbox::claim(tx, log, relayed + 1, BATCH_MAX).await?;
            outbox::oldest_batch(tx, log).await
        })
    });
    let Some((number, events)) = claim.await? else { return Ok(Progress::Idle) };
    world.log.commit(FACTS, events.iter().map(record).collect(), vec![at(INPUT, number)]).await?;
    world.storage.write(move |tx| Box::pin(async move { outbox::forget(tx, log, number).await })).await?;
    Ok(Progress::Advanced)
}

/// The number by which the database knows this log; drawn at the first need, and kept in the log itself.
async fn identity(world: &World) -> Result<i64, StageError> {
    if let Some(known) = cursor(world, IDENTITY) {
        return Ok(known);
    }
    let drawn = i64::from_be_bytes(world.entropy.bytes()) & i64::MAX;
    world.log.commit(FACTS, Vec::new(), vec![at(IDENTITY, drawn)]).await?;
    Ok(drawn)
}

fn cursor(world: &World, input: &str) -> Option<i64> {
    world.log.cursor(CONSUMER, input).and_then(|number| i64::try_from(number).ok())
}

fn at(input: &str, number: i64) -> Cursor {
    Cursor { consumer: CONSUMER.to_owned(), input: input.to_owned(), next: number.unsigned_abs() }
}
