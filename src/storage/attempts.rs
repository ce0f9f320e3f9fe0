//! Failed attempts, counted per account and per address, on every node together.

use super::{Row, StorageError, Tx};
use crate::domain::time::Timestamp;

/// How often a subject failed, and when last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    pub failures: u32,
    pub last_at: Timestamp,
}

/// The count of a subject, none at `now` if it has none. Nobody else learns it until the commit, so that attempts side by side are
/// judged one after the other.
pub async fn hold(tx: &mut Tx, subject: &str, now: Timestamp) -> Result<Count, StorageError> {
    // The update changes nothing: it takes the row's lock, also of a row that another transaction is just adding.
    let sql = "INSERT INTO attempts (subject, failures, last_at) VALUES ($1, 0, $2) \
               ON CONFLICT (subject) DO UPDATE SET failures = attempts.failures RETURNING failures, last_at";
    let read = |row: &Row<'_>| Ok(Count { failures: row.u32_or_null(0)?.unwrap_or(0), last_at: row.timestamp(1)? });
    Ok(tx.row(sql, &[subject.into(), now.0.into()], read).await?.unwrap_or_default())
}

/// Sets the count of a subject that is held, before the outcome of the attempt is known: so attempts side by side are all counted.
pub async fn set(tx: &mut Tx, subject: &str, count: Count) -> Result<(), StorageError> {
    let sql = "UPDATE attempts SET failures = $2, last_at = $3 WHERE subject = $1";
    tx.exec(sql, &[subject.into(), i64::from(count.failures).into(), count.last_at.0.into()]).await?;
    Ok(())
}

/// Takes back an attempt that was none. If none came after it, all is as it was before it, also how long ago the last one was: a
/// success makes nobody wait, and forgets nothing twice.
pub async fn uncount(tx: &mut Tx, subject: &str, before: Count, after: Count) -> Result<(), StorageError> {
    let sql = "UPDATE attempts SET failures = CASE WHEN failures = $2 AND last_at = $3 THEN $4 ELSE failures - 1 END, \
                                   last_at = CASE WHEN failures = $2 AND last_at = $3 THEN $5 ELSE last_at END \
               WHERE subject = $1 AND failures > 0";
    let count = |count: Count| (i64::from(count.failures), count.last_at.0);
    let ((counted, at), (failures, last_at)) = (count(after), count(before));
    tx.exec(sql, &[subject.into(), counted.into(), at.into(), failures.into(), last_at.into()]).await?;
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
