//! Questions about operators.

use super::{StorageError, Tx};
use crate::domain::{
    id::{Id, OperatorKind},
    secret::Digest,
    time::Timestamp,
};

/// The operator with this token.
pub async fn find_by_digest(tx: &mut Tx, digest: &Digest) -> Result<Option<Id<OperatorKind>>, StorageError> {
    tx.row("SELECT id FROM operators WHERE digest = $1", &[(&digest.0[..]).into()], |row| row.id(0)).await
}

/// Whether any operator exists: none does before the first start.
pub async fn is_any(tx: &mut Tx) -> Result<bool, StorageError> {
    Ok(tx.row("SELECT 1 FROM operators LIMIT 1", &[], |row| row.int(0)).await?.is_some())
}

/// Adds an operator.
pub async fn insert(tx: &mut Tx, id: Id<OperatorKind>, name: &str, digest: &Digest, now: Timestamp) -> Result<(), StorageError> {
    let sql = "INSERT INTO operators (id, name, digest, created_at) VALUES ($1, $2, $3, $4)";
    tx.exec(sql, &[(&id.to_string()).into(), name.into(), (&digest.0[..]).into(), now.0.into()]).await?;
    Ok(())
}
