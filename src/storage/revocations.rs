//! Revoked nodes of the delegation tree: a token, a grant, a client or a person, and until when what was issued under it is dead.

use std::time::Duration;

use super::{StorageError, Tx};
use crate::domain::time::Timestamp;

/// No access token lives longer, so a revocation of what was issued until now may be forgotten after it.
pub const ACCESS_TOKEN_TTL_MAX: Duration = Duration::from_secs(86_400);

/// Kills what was issued under `node` until `issued_until`, from the commit on. Never shortens an earlier revocation.
pub async fn revoke(tx: &mut Tx, node: &str, issued_until: Timestamp, now: Timestamp) -> Result<(), StorageError> {
    let sql = "INSERT INTO revocations (node, issued_until, forget_at) VALUES ($1, $2, $3) ON CONFLICT (node) DO UPDATE SET \
               issued_until = CASE WHEN excluded.issued_until > revocations.issued_until THEN excluded.issued_until ELSE revocations.issued_until END, \
               forget_at = excluded.forget_at";
    tx.exec(sql, &[node.into(), issued_until.0.into(), now.plus(ACCESS_TOKEN_TTL_MAX).0.into()]).await?;
    tx.remember_revocation(node, issued_until);
    Ok(())
}

/// Keeps a revocation for as long as its node is switched off: a locked person, a disabled client.
pub async fn switch_off(tx: &mut Tx, node: &str) -> Result<(), StorageError> {
    let sql = "INSERT INTO revocations (node, issued_until, forget_at) VALUES ($1, $2, $2) \
               ON CONFLICT (node) DO UPDATE SET issued_until = excluded.issued_until, forget_at = excluded.forget_at";
    tx.exec(sql, &[node.into(), i64::MAX.into()]).await?;
    tx.remember_revocation(node, Timestamp(i64::MAX));
    Ok(())
}

/// Lets a node that was switched off act again; what was issued to it until now stays dead.
pub async fn switch_on(tx: &mut Tx, node: &str, now: Timestamp) -> Result<(), StorageError> {
    let sql = "UPDATE revocations SET issued_until = $2, forget_at = $3 WHERE node = $1";
    tx.exec(sql, &[node.into(), now.0.into(), now.plus(ACCESS_TOKEN_TTL_MAX).0.into()]).await?;
    tx.replace_revocation(node, now);
    Ok(())
}

/// Whether any of these nodes was revoked for what was issued at `issued_at`.
pub async fn is_any_revoked(tx: &mut Tx, nodes: [&str; 4], issued_at: Timestamp) -> Result<bool, StorageError> {
    let sql = "SELECT 1 FROM revocations WHERE node IN ($1, $2, $3, $4) AND issued_until >= $5 LIMIT 1";
    let values = [nodes[0].into(), nodes[1].into(), nodes[2].into(), nodes[3].into(), issued_at.0.into()];
    Ok(tx.row(sql, &values, |row| row.int(0)).await?.is_some())
}

/// All of them, for the set in memory.
pub async fn all(tx: &mut Tx) -> Result<Vec<(String, Timestamp)>, StorageError> {
    tx.rows("SELECT node, issued_until FROM revocations", &[], |row| Ok((row.text(0)?, row.timestamp(1)?))).await
}

/// Forgets revocations of tokens that have expired by themselves.
pub async fn delete_forgettable(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<u64, StorageError> {
    let sql = "DELETE FROM revocations WHERE forget_at < $1 AND node IN (SELECT node FROM revocations WHERE forget_at < $1 LIMIT $2) RETURNING node";
    let forgotten = tx.rows(sql, &[now.0.into(), limit.into()], |row| row.text(0)).await?;
    for node in &forgotten {
        tx.forget_revocation(node);
    }
    Ok(forgotten.len() as u64)
}
