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

/// Whether there is this operator: their token is good while there is.
pub async fn exists(tx: &mut Tx, id: Id<OperatorKind>) -> Result<bool, StorageError> {
    let sql = "SELECT 1 FROM operators WHERE id = $1";
    Ok(tx.row(sql, &[(&id.to_string()).into()], |row| row.int(0)).await?.is_some())
}

/// Whether any operator exists: none does before the first start.
pub async fn is_any(tx: &mut Tx) -> Result<bool, StorageError> {
    Ok(tx.row("SELECT 1 FROM operators LIMIT 1", &[], |row| row.int(0)).await?.is_some())
}

/// A page of operators in the order of their identifiers, after `after`: identifier, name, and since when.
pub async fn list(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<(Id<OperatorKind>, String, Timestamp)>, StorageError> {
    let sql = "SELECT id, name, created_at FROM operators WHERE id > $1 ORDER BY id LIMIT $2";
    tx.rows(sql, &[after.into(), limit.into()], |row| Ok((row.id(0)?, row.text(1)?, row.timestamp(2)?))).await
}

/// All operators. Until the transaction ends nobody else removes one: what is decided here stays true.
pub async fn hold_all(tx: &mut Tx) -> Result<Vec<Id<OperatorKind>>, StorageError> {
    tx.rows("UPDATE operators SET id = id RETURNING id", &[], |row| row.id(0)).await
}

/// Removes an operator; their token is unknown from the commit on.
pub async fn delete(tx: &mut Tx, id: Id<OperatorKind>) -> Result<(), StorageError> {
    tx.exec("DELETE FROM operators WHERE id = $1", &[(&id.to_string()).into()]).await?;
    Ok(())
}

/// Adds an operator.
pub async fn insert(tx: &mut Tx, id: Id<OperatorKind>, name: &str, digest: &Digest, now: Timestamp) -> Result<(), StorageError> {
    let sql = "INSERT INTO operators (id, name, digest, created_at) VALUES ($1, $2, $3, $4)";
    tx.exec(sql, &[(&id.to_string()).into(), name.into(), (&digest.0[..]).into(), now.0.into()]).await?;
    Ok(())
}
