//! Questions about signing keys; the private halves are sealed before they come here.

use super::{Row, StorageError, Tx};
use crate::domain::{
    id::{Id, KeyKind},
    time::Timestamp,
};

/// A signing key as it is stored.
#[derive(Debug, Clone)]
pub struct StoredKey {
    pub id: Id<KeyKind>,
    pub algorithm: String,
    /// `next`, `active` or `retiring`.
    pub state: String,
    pub sealed: Vec<u8>,
    pub public_jwk: String,
    pub created_at: Timestamp,
    pub activated_at: Option<Timestamp>,
    pub retired_at: Option<Timestamp>,
}

/// All keys, the oldest first.
pub async fn list(tx: &mut Tx) -> Result<Vec<StoredKey>, StorageError> {
    let sql = "SELECT id, algorithm, state, sealed, public_jwk, created_at, activated_at, retired_at FROM signing_keys ORDER BY id";
    tx.rows(sql, &[], read).await
}

/// Adds a key.
pub async fn insert(tx: &mut Tx, key: &StoredKey) -> Result<(), StorageError> {
    let sql = "INSERT INTO signing_keys (id, algorithm, state, sealed, public_jwk, created_at, activated_at) VALUES ($1, $2, $3, $4, $5, $6, $7)";
    tx.exec(
        sql,
        &[
            (&key.id.to_string()).into(),
            (&key.algorithm).into(),
            (&key.state).into(),
            (&key.sealed[..]).into(),
            (&key.public_jwk).into(),
            key.created_at.0.into(),
            key.activated_at.map(|at| at.0).into(),
        ],
    )
    .await?;
    Ok(())
}

/// Lets the published key `id` sign from now on. `false` if it was not waiting: another node rotated first.
pub async fn activate(tx: &mut Tx, id: Id<KeyKind>, now: Timestamp) -> Result<bool, StorageError> {
    let sql = "UPDATE signing_keys SET state = 'active', activated_at = $2 WHERE id = $1 AND state = 'next'";
    Ok(tx.exec(sql, &[(&id.to_string()).into(), now.0.into()]).await? == 1)
}

/// Lets a key sign no more; it stays published for what it has signed. `false` if it did not sign: another node rotated first.
pub async fn retire(tx: &mut Tx, id: Id<KeyKind>, now: Timestamp) -> Result<bool, StorageError> {
    let sql = "UPDATE signing_keys SET state = 'retiring', retired_at = $2 WHERE id = $1 AND state = 'active'";
    Ok(tx.exec(sql, &[(&id.to_string()).into(), now.0.into()]).await? == 1)
}

/// Removes keys that retired before a moment: nothing that they signed is valid any more.
pub async fn delete_retired(tx: &mut Tx, retired_before: Timestamp) -> Result<u64, StorageError> {
    tx.exec("DELETE FROM signing_keys WHERE state = 'retiring' AND retired_at < $1", &[retired_before.0.into()]).await
}

fn read(row: &Row<'_>) -> Result<StoredKey, StorageError> {
    Ok(StoredKey {
        id: row.id(0)?,
        algorithm: row.text(1)?,
        state: row.text(2)?,
        sealed: row.blob(3)?,
        public_jwk: row.text(4)?,
        created_at: row.timestamp(5)?,
        activated_at: row.timestamp_or_null(6)?,
        retired_at: row.timestamp_or_null(7)?,
    })
}
