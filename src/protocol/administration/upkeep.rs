//! What keeps an installation tidy: keys rotate on schedule, what is of no more use is forgotten, and what was left out of the record
//! is told. A background stage.
//!
//! Nothing that could still be used, or that tells a replay from a value never made, is forgotten here.

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::keys;
use crate::{
    domain::{
        event::{Actor, Fact},
        id::RequestKind,
        time::Timestamp,
    },
    keys::KeyError,
    protocol::{refusals, witness::Witness},
    storage::{StorageError, Tx, attempts, clients, grants, leases, one_time, people, revocations},
    world::{Progress, StageError, World},
};

const DAY: Duration = Duration::from_secs(86_400);
/// After this, a used or expired one-time value is told from one that never was no more.
const ONE_TIME_VALUES_KEPT: Duration = DAY;
const ATTEMPTS_KEPT: Duration = DAY;
const DEAD_GRANTS_KEPT: Duration = DAY.saturating_mul(90);
const UNUSED_CLIENTS_KEPT: Duration = DAY.saturating_mul(7);
/// Rows of one kind that a step forgets at most.
const ROWS_MAX: i64 = 500;
/// Unused clients that a step forgets at most; each has an event of its own.
const CLIENTS_MAX: u8 = 100;
/// How often one of the nodes sweeps.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);
const SWEEP: &str = "sweep";

/// Rotates or reads the keys again if it is time; sweeps if nobody did for an hour. Meant to be called about twice a minute.
pub async fn step(world: &World, now: Timestamp) -> Result<Progress, StageError> {
    // First: a disk must not fill because the database is away.
    world.log.retain(now).await?;
    if world.keys.is_stale(now) {
        world.keys.reload(&world.storage, now).await?;
    }
    if world.keys.is_rotation_due(now) {
        match keys::advance(world, Actor::Deputy, now).await {
            // What another node did was read again just now.
            Ok(()) | Err(KeyError::Raced) => {}
            Err(error) => return Err(error.into()),
        }
    }
    refusals::tell_left_out(world, now).await?;
    // A holder of its own at each try: the lease is had once in its time, whoever had it before.
    let holder = world.id::<RequestKind>(now).to_string();
    if !hold(world, &holder, now, now.plus(SWEEP_EVERY)).await? {
        return Ok(Progress::Idle);
    }
    let progress = sweep(world, now).await?;
    if progress == Progress::Advanced {
        hold(world, &holder, now, now).await?;
    }
    Ok(progress)
}

async fn hold(world: &World, holder: &str, now: Timestamp, until: Timestamp) -> Result<bool, StorageError> {
    let holder = holder.to_owned();
    world.storage.write(move |tx| Box::pin(async move { leases::hold(tx, SWEEP, &holder, now, until).await })).await
}

/// Forgets a bounded number of rows of each kind; `Advanced` if more may be left.
async fn sweep(world: &World, now: Timestamp) -> Result<Progress, StorageError> {
    let idle = World::seconds(world.settings.session_idle_ttl_s);
    let forgotten = [
        forget(world, move |tx| Box::pin(one_time::delete_expired(tx, now.minus(ONE_TIME_VALUES_KEPT), ROWS_MAX))).await?,
        forget(world, move |tx| Box::pin(revocations::delete_forgettable(tx, now, ROWS_MAX))).await?,
        forget(world, move |tx| Box::pin(people::delete_idle_sessions(tx, now.minus(idle), ROWS_MAX))).await?,
        forget(world, move |tx| Box::pin(attempts::delete_old(tx, now.minus(ATTEMPTS_KEPT), ROWS_MAX))).await?,
        forget(world, move |tx| Box::pin(grants::delete_dead(tx, now.minus(DEAD_GRANTS_KEPT), ROWS_MAX))).await?,
    ];
    let clients = forget_clients(world, now).await?;
    let is_more = clients == usize::from(CLIENTS_MAX) || forgotten.into_iter().any(|rows| rows >= ROWS_MAX.unsigned_abs());
    Ok(if is_more { Progress::Advanced } else { Progress::Idle })
}

/// A transaction for each kind, so that nobody's write waits long.
async fn forget<F>(world: &World, delete: F) -> Result<u64, StorageError>
where
    F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<u64, StorageError>> + Send + 'static,
{
    world.storage.write(delete).await
}

/// Forgets clients that came by themselves and that nobody granted anything.
async fn forget_clients(world: &World, now: Timestamp) -> Result<usize, StorageError> {
    let (witness, before) = (Witness::new(world, Actor::Deputy, now), now.minus(UNUSED_CLIENTS_KEPT));
    let write = world.storage.write(move |tx| {
        Box::pin(async move {
            let forgotten = clients::delete_unused(tx, before, i64::from(CLIENTS_MAX)).await?;
            for client in &forgotten {
                witness.record(tx, Fact::ClientDeleted { client: client.clone() }).await?;
            }
            Ok::<_, StorageError>(forgotten.len())
        })
    });
    write.await
}
