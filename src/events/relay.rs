//! The outbox relay: moves facts from the database to the log, each once.
//!
//! A batch of rows is claimed under a number, appended together with that number as the relay's cursor (one atomic commit of
//! the log), then forgotten. A crash before the append finds the same batch again; a crash after it finds the cursor there and
//! only forgets. So a committed fact is in the log exactly once (promise 7).

use std::time::Duration;

use crate::{
    domain::time::Timestamp,
    log::Cursor,
    storage::{StorageError, leases, outbox},
    world::{FACTS, Progress, StageError, World, record},
};

const CONSUMER: &str = "relay";
const INPUT: &str = "outbox";
/// Facts that one step moves at most.
const BATCH_MAX: i64 = 500;
/// How long a node that stops without a word keeps the others from relaying.
const LEASE: Duration = Duration::from_secs(15);

/// Moves the oldest facts.
pub async fn step(world: &World, now: Timestamp) -> Result<Progress, StageError> {
    let relayed = cursor(world);
    if !world.storage.is_exclusive() {
        let node = world.node.clone();
        let is_ours = world
            .storage
            .write(move |tx| Box::pin(async move { leases::hold(tx, "relay", &node, now, now.plus(LEASE)).await }))
            .await?;
        if !is_ours {
            return Ok(Progress::Idle);
        }
    }
    let is_waiting = world.storage.read(|tx| Box::pin(async move { outbox::count(tx).await })).await? > 0;
    if !is_waiting {
        return Ok(Progress::Idle);
    }
    let batch = world
        .storage
        .write(move |tx| {
            Box::pin(async move {
                outbox::forget(tx, relayed).await?;
                if let Some(batch) = outbox::oldest_batch(tx).await? {
                    return Ok::<_, StorageError>(Some(batch));
                }
                outbox::claim(tx, relayed + 1, BATCH_MAX).await?;
                outbox::oldest_batch(tx).await
            })
        })
        .await?;
    let Some((number, events)) = batch else { return Ok(Progress::Idle) };
    let cursor = Cursor { consumer: CONSUMER.to_owned(), input: INPUT.to_owned(), next: u64::try_from(number).unwrap_or_default() };
    world.log.commit(FACTS, events.iter().map(record).collect(), vec![cursor]).await?;
    world.storage.write(move |tx| Box::pin(async move { outbox::forget(tx, number).await })).await?;
    Ok(Progress::Advanced)
}

fn cursor(world: &World) -> i64 {
    world.log.cursor(CONSUMER, INPUT).and_then(|number| i64::try_from(number).ok()).unwrap_or(0)
}
