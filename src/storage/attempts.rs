//! Failed attempts, counted per account and per address, on every node together.

use super::{StorageError, Tx};
use crate::domain::time::Timestamp;

/// How often `subject` failed, and when last. Nobody else learns it until the commit, so that attempts side by side are judged
/// one after the other.
pub async fn hold(tx: &mut Tx, subject: &str, now: Timestamp) -> Result<(u32, Timestamp), StorageError> {
    // The update changes nothing: it takes the row's lock, also of a row that another transaction is just adding.
    let sql = "INSERT INTO attempts (subject, failures, last_at) VALUES ($1, 0, $2) \
               ON CONFLICT (subject) DO UPDATE SET failures = attempts.failures RETURNING failures, last_at";
    let held =
        tx.row(sql, &[subject.into(), now.0.into()], |row| Ok((row.u32_or_null(0)?.unwrap_or(0), row.timestamp(1)?))).await?;
    Ok(held.unwrap_or_default())
}

/// Sets the count of a subject that is held, before the outcome of the attempt is known: so attempts side by side are all counted.
pub async fn count(tx: &mut Tx, subject: &str, failures: u32, now: Timestamp) -> Result<(), StorageError> {
    let sql = "UPDATE attempts SET failures = $2, last_at = $3 WHERE subject = $1";
    tx.exec(sql, &[subject.into(), i64::from(failures).into(), now.0.into()]).await?;
    Ok(())
}

/// Takes back one attempt, counted at `counted_at`, that was none, and leaves the others: where none came after it, the last one is again
/// that of `before`.
pub async fn uncount(tx: &mut Tx, subject: &str, counted_at: Timestamp, before: Timestamp) -> Result<(), StorageError> {
    let sql = "UPDATE attempts SET failures = failures - 1, last_at = CASE WHEN last_at = $2 THEN $3 ELSE last_at END \
               WHERE subject = $1 AND failures > 0";
    tx.exec(sql, &[subject.into(), counted_at.0.into(), before.0.into()]).await?;
    Ok(())
}

/// Forgets the failures of a subject that succeeded.
pub async fn clear(tx: &mut Tx, subject: &str) -> Result<(), StorageError> {
    tx.exec("DELETE FROM attempts WHERE subject = $1", &[subject.into()]).await?;
    Ok(())
}

/// Forgets counts that nobody added to since a moment.
pub async fn delete_old(tx: &mut Tx, last_before: Timestamp, limit: i64) -> Result<u64, StorageError> {
    let sql = "DELETE FROM attempts WHERE last_at < $1 AND subject IN (SELECT subject FROM attempts WHERE last_at < $1 LIMIT $2)";
    tx.exec(sql, &[last_before.0.into(), limit.into()]).await
}
