//! Whatever may be used once: consumed by one atomic statement, so that a thousand-way race has one winner (promise 4).

use serde::{Serialize, de::DeserializeOwned};

use super::{StorageError, Tx, columns::to_json};
use crate::domain::{secret::Digest, time::Timestamp};

/// What a try to use a one-time value met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Consumed<T> {
    /// This try is the first, and within its time.
    First(T),
    /// It was used before.
    Again(T),
    /// It was never used and has expired.
    Expired,
    Unknown,
}

/// Keeps a value that may be used once until `expires_at`.
pub async fn put<T: Serialize>(
    tx: &mut Tx,
    digest: &Digest,
    purpose: &'static str,
    payload: &T,
    expires_at: Timestamp,
) -> Result<(), StorageError> {
    let sql = "INSERT INTO one_time_values (digest, purpose, payload, expires_at) VALUES ($1, $2, $3, $4)";
    tx.exec(sql, &[(&digest.0[..]).into(), purpose.into(), (&to_json(payload)).into(), expires_at.0.into()]).await?;
    Ok(())
}

/// Uses a value up.
pub async fn consume<T: DeserializeOwned>(tx: &mut Tx, digest: &Digest, now: Timestamp) -> Result<Consumed<T>, StorageError> {
    let sql = "UPDATE one_time_values SET used_at = $2 WHERE digest = $1 AND used_at IS NULL AND expires_at > $2 RETURNING payload";
    if let Some(payload) = tx.row(sql, &[(&digest.0[..]).into(), now.0.into()], |row| row.json(0)).await? {
        return Ok(Consumed::First(payload));
    }
    let sql = "SELECT payload, used_at FROM one_time_values WHERE digest = $1";
    let found = tx.row(sql, &[(&digest.0[..]).into()], |row| Ok((row.json(0)?, row.timestamp_or_null(1)?))).await?;
    Ok(match found {
        Some((payload, Some(_))) => Consumed::Again(payload),
        Some((_, None)) => Consumed::Expired,
        None => Consumed::Unknown,
    })
}

/// Reads a value without using it, if it could still be used.
pub async fn peek<T: DeserializeOwned>(tx: &mut Tx, digest: &Digest, now: Timestamp) -> Result<Option<T>, StorageError> {
    let sql = "SELECT payload FROM one_time_values WHERE digest = $1 AND used_at IS NULL AND expires_at > $2";
    tx.row(sql, &[(&digest.0[..]).into(), now.0.into()], |row| row.json(0)).await
}

/// Notes what using the value led to, so that a replay can undo it.
pub async fn set_payload<T: Serialize>(tx: &mut Tx, digest: &Digest, payload: &T) -> Result<(), StorageError> {
    tx.exec("UPDATE one_time_values SET payload = $2 WHERE digest = $1", &[(&digest.0[..]).into(), (&to_json(payload)).into()])
        .await?;
    Ok(())
}

/// Notes a value that somebody else made, such as an assertion's `jti`. `false` if it was noted before.
pub async fn note(
    tx: &mut Tx,
    digest: &Digest,
    purpose: &'static str,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<bool, StorageError> {
    let sql = "INSERT INTO one_time_values (digest, purpose, payload, expires_at, used_at) VALUES ($1, $2, 'null', $3, $4) ON CONFLICT (digest) DO NOTHING";
    let added = tx.exec(sql, &[(&digest.0[..]).into(), purpose.into(), expires_at.0.into(), now.0.into()]).await?;
    Ok(added == 1)
}

/// Forgets values that expired before a moment, which is so long ago that a replay is told from a value never made no more.
pub async fn delete_expired(tx: &mut Tx, expired_before: Timestamp, limit: i64) -> Result<u64, StorageError> {
    let sql = "DELETE FROM one_time_values WHERE digest IN (SELECT digest FROM one_time_values WHERE expires_at < $1 LIMIT $2)";
    tx.exec(sql, &[expired_before.0.into(), limit.into()]).await
}
