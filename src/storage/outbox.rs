//! Facts on their way to the log: written with the decision that caused them, claimed in numbered batches by the relay.

use super::{StorageError, Tx, columns::to_json};
use crate::domain::event::Event;

/// Writes a fact into the transaction of the decision that caused it.
pub async fn put(tx: &mut Tx, event: &Event) -> Result<(), StorageError> {
    tx.exec("INSERT INTO outbox (event) VALUES ($1)", &[(&to_json(event)).into()]).await?;
    Ok(())
}

/// Gives the oldest unclaimed rows, at most `limit`, to batch number `batch`.
pub async fn claim(tx: &mut Tx, batch: i64, limit: i64) -> Result<u64, StorageError> {
    let sql = "UPDATE outbox SET batch = $1 WHERE seq IN (SELECT seq FROM outbox WHERE batch IS NULL ORDER BY seq LIMIT $2)";
    tx.exec(sql, &[batch.into(), limit.into()]).await
}

/// The events of the oldest batch that is not forgotten, in order, with the batch's number.
pub async fn oldest_batch(tx: &mut Tx) -> Result<Option<(i64, Vec<Event>)>, StorageError> {
    let sql = "SELECT batch, event FROM outbox WHERE batch = (SELECT min(batch) FROM outbox WHERE batch IS NOT NULL) ORDER BY seq";
    let rows: Vec<(i64, Event)> = tx.rows(sql, &[], |row| Ok((row.int(0)?, row.json(1)?))).await?;
    Ok(rows.first().map(|(batch, _)| *batch).map(|batch| (batch, rows.into_iter().map(|(_, event)| event).collect())))
}

/// Forgets the batches up to `batch`: the log has them.
pub async fn forget(tx: &mut Tx, batch: i64) -> Result<u64, StorageError> {
    tx.exec("DELETE FROM outbox WHERE batch <= $1", &[batch.into()]).await
}

/// How many facts wait.
pub async fn count(tx: &mut Tx) -> Result<i64, StorageError> {
    Ok(tx.row("SELECT count(*) FROM outbox", &[], |row| row.int(0)).await?.unwrap_or(0))
}
