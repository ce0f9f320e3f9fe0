//! The outbox relay: moves facts from the database to the log, each once.
//!
//! A batch of rows is claimed under a number, appended together with that number as the relay's cursor (one atomic commit of
//! the log), then forgotten. A crash before the append finds the same batch again; a crash after it finds the cursor there and
//! only forgets. So a committed fact is in the log exactly once (promise 7).

use std::{sync::Arc, time::Duration};

use crate::{
    log::{Cursor, LogError},
    storage::{StorageError, leases, outbox},
    world::{FACTS, World, record},
};

const CONSUMER: &str = "relay";
const INPUT: &str = "outbox";
/// Facts that one step moves at most.
const BATCH_MAX: i64 = 500;
/// How long a node that stops without a word keeps the others from relaying.
const LEASE: Duration = Duration::from_secs(15);

/// Whether a step found something to do, so that the loop knows whether to go on at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    Advanced,
    Idle,
}

/// Why facts could not be moved; they stay where they are, and the next step tries again.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    #[error("facts cannot be read from the outbox")]
    Storage(#[from] StorageError),
    #[error("facts cannot be appended to the log")]
    Log(#[from] LogError),
}

/// Moves the oldest facts.
pub async fn step(world: &Arc<World>) -> Result<Progress, RelayError> {
    let now = world.now();
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
