//! Questions about actors: what is known of each, and who is of a kind.

use std::sync::LazyLock;

use super::{
    Row, StorageError, Tx, Value,
    batch::Batch,
    columns::{to_json, unreadable},
};
use crate::domain::{
    actor::{ActorId, ActorKind, evidence::ActorState},
    secret::Digest,
    time::Timestamp,
};

/// An actor as it is stored.
#[derive(Debug, Clone)]
pub struct StoredActor {
    pub digest: Digest,
    pub actor: ActorId,
    pub kind: ActorKind,
    /// Since when it is of this kind.
    pub since: Timestamp,
    pub state: ActorState,
}

/// The actor of this digest.
pub async fn find(tx: &mut Tx, digest: &Digest) -> Result<Option<StoredActor>, StorageError> {
    let sql = "SELECT digest, actor, kind, since, state FROM actors WHERE digest = $1";
    tx.row(sql, &[(&digest.0[..]).into()], read).await
}

/// The actors of these digests, those that are known.
pub async fn load(tx: &mut Tx, digests: &[Digest]) -> Result<Vec<StoredActor>, StorageError> {
    static LOAD: LazyLock<Batch> =
        LazyLock::new(|| Batch::new("SELECT digest, actor, kind, since, state FROM actors WHERE digest IN (VALUES ", 1, ")"));
    tx.rows_batch(&LOAD, &values(digests), read).await
}

/// As `load`, and until the transaction ends nobody else changes them: what is decided here stays true.
pub async fn hold(tx: &mut Tx, digests: &[Digest]) -> Result<Vec<StoredActor>, StorageError> {
    static HOLD: LazyLock<Batch> = LazyLock::new(|| {
        Batch::new("UPDATE actors SET kind = kind WHERE digest IN (VALUES ", 1, ") RETURNING digest, actor, kind, since, state")
    });
    tx.rows_batch(&HOLD, &values(digests), read).await
}

/// Puts actors in place of what was there.
pub async fn put(tx: &mut Tx, actors: &[StoredActor]) -> Result<(), StorageError> {
    static PUT: LazyLock<Batch> = LazyLock::new(|| {
        Batch::new(
            "INSERT INTO actors (digest, actor, kind, since, state) VALUES ",
            5,
            " ON CONFLICT (digest) DO UPDATE SET kind = excluded.kind, since = excluded.since, state = excluded.state",
        )
    });
    let texts: Vec<(String, String)> = actors.iter().map(|known| (known.actor.to_string(), to_json(&known.state))).collect();
    let rows = actors.iter().zip(&texts);
    let values: Vec<Value<'_>> = rows
        .flat_map(|(known, (actor, state))| {
            [(&known.digest.0[..]).into(), actor.into(), known.kind.as_str().into(), known.since.0.into(), state.into()]
        })
        .collect();
    tx.exec_batch(&PUT, &values).await?;
    Ok(())
}

/// A page of the actors of a kind, in the order of their ids, after `after`.
pub async fn list(tx: &mut Tx, kind: ActorKind, after: &str, limit: i64) -> Result<Vec<StoredActor>, StorageError> {
    let sql = "SELECT digest, actor, kind, since, state FROM actors WHERE kind = $1 AND actor > $2 ORDER BY actor LIMIT $3";
    tx.rows(sql, &[kind.as_str().into(), after.into(), limit.into()], read).await
}

/// Removes all that is known of these actors.
pub async fn forget(tx: &mut Tx, digests: &[Digest]) -> Result<(), StorageError> {
    static FORGET: LazyLock<Batch> = LazyLock::new(|| Batch::new("DELETE FROM actors WHERE digest IN (VALUES ", 1, ")"));
    tx.exec_batch(&FORGET, &values(digests)).await?;
    Ok(())
}

/// Removes all that is known of those whose events up to this offset are left out.
pub async fn forget_left_out(tx: &mut Tx, offset: u64) -> Result<(), StorageError> {
    let sql = "DELETE FROM actors WHERE digest IN (SELECT digest FROM left_out WHERE until_offset >= $1 AND since_offset = 0)";
    tx.exec(sql, &[offset.cast_signed().into()]).await?;
    Ok(())
}

/// From where the consumer of this input has to read again to know how fast everybody is; 0 if nobody was met.
pub async fn pace_since(tx: &mut Tx, input: &str) -> Result<u64, StorageError> {
    let sql = "SELECT since_offset FROM actor_paces WHERE input = $1";
    Ok(tx.row(sql, &[input.into()], |row| row.int(0)).await?.unwrap_or(0).cast_unsigned())
}

/// Notes from where that is.
pub async fn put_pace_since(tx: &mut Tx, input: &str, offset: u64) -> Result<(), StorageError> {
    let sql = "INSERT INTO actor_paces (input, since_offset) VALUES ($1, $2) \
               ON CONFLICT (input) DO UPDATE SET since_offset = excluded.since_offset";
    tx.exec(sql, &[input.into(), offset.cast_signed().into()]).await?;
    Ok(())
}

fn values(digests: &[Digest]) -> Vec<Value<'_>> {
    digests.iter().map(|digest| (&digest.0[..]).into()).collect()
}

fn read(row: &Row<'_>) -> Result<StoredActor, StorageError> {
    let (actor, kind) = (row.text(1)?, row.text(2)?);
    Ok(StoredActor {
        digest: row.digest(0)?,
        actor: ActorId::parse(&actor).ok_or_else(|| unreadable(&actor))?,
        kind: ActorKind::parse(&kind).ok_or_else(|| unreadable(&kind))?,
        since: row.timestamp(3)?,
        state: row.json(4)?,
    })
}
