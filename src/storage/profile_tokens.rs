//! Questions about the tokens with which the Profile API is asked.

use super::{StorageError, Tx};
use crate::domain::{
    id::{Id, OperatorKind, ProfileTokenKind},
    secret::Digest,
    time::Timestamp,
};

/// A token as storage knows it.
#[derive(Debug, Clone)]
pub struct ProfileToken {
    pub id: Id<ProfileTokenKind>,
    pub name: String,
    /// In whose name it asks.
    pub created_by: Id<OperatorKind>,
    pub created_at: Timestamp,
}

/// In whose name the token of this digest asks.
pub async fn find_by_digest(tx: &mut Tx, digest: &Digest) -> Result<Option<Id<OperatorKind>>, StorageError> {
    tx.row("SELECT created_by FROM profile_tokens WHERE digest = $1", &[(&digest.0[..]).into()], |row| row.id(0)).await
}

/// A page of tokens in the order of their identifiers, after `after`.
pub async fn list(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<ProfileToken>, StorageError> {
    let sql = "SELECT id, name, created_by, created_at FROM profile_tokens WHERE id > $1 ORDER BY id LIMIT $2";
    tx.rows(sql, &[after.into(), limit.into()], |row| {
        Ok(ProfileToken { id: row.id(0)?, name: row.text(1)?, created_by: row.id(2)?, created_at: row.timestamp(3)? })
    })
    .await
}

/// Adds a token.
pub async fn insert(tx: &mut Tx, token: &ProfileToken, digest: &Digest) -> Result<(), StorageError> {
    let sql = "INSERT INTO profile_tokens (id, name, digest, created_by, created_at) VALUES ($1, $2, $3, $4, $5)";
    let (id, created_by) = (token.id.to_string(), token.created_by.to_string());
    tx.exec(sql, &[(&id).into(), (&token.name).into(), (&digest.0[..]).into(), (&created_by).into(), token.created_at.0.into()])
        .await?;
    Ok(())
}

/// Removes a token; it is unknown from the commit on. `false` if there is none.
pub async fn delete(tx: &mut Tx, id: Id<ProfileTokenKind>) -> Result<bool, StorageError> {
    Ok(tx.exec("DELETE FROM profile_tokens WHERE id = $1", &[(&id.to_string()).into()]).await? == 1)
}
