//! Facts on their way to the log: written with the decision that caused them, claimed in numbered batches by the relay.

use super::{StorageError, Tx, columns::to_json};
use crate::domain::event::Event;

/// Writes a fact into the transaction of the decision that caused it.
pub async fn put(tx: &mut Tx, event: &Event) -> Result<(), StorageError> {
    tx.exec("INSERT INTO outbox (event) VALUES ($1)", &[(&to_json(event)).into()]).await?;
    Ok(())
}

/// Gives the oldest unclaimed rows, at most `limit`, to batch number `batch` of a log.
pub async fn claim(tx: &mut Tx, log: i64, batch: i64, limit: i64) -> Result<u64, StorageError> {
    let sql =
        "UPDATE outbox SET log = $1, batch = $2 WHERE seq IN (SELECT seq FROM outbox WHERE log IS NULL ORDER BY seq LIMIT $3)";
    tx.exec(sql, &[log.into(), batch.into(), limit.into()]).await
}

/// The events of the oldest batch of a log that is not forgotten, in order, with the batch's number.
pub async fn oldest_batch(tx: &mut Tx, log: i64) -> Result<Option<(i64, Vec<Event>)>, StorageError> {
    let sql = "SELECT batch, event FROM outbox WHERE log = $1 AND batch = (SELECT batch FROM outbox WHERE log = $1 ORDER BY seq LIMIT 1) \
         ORDER BY seq";
    let rows: Vec<(i64, Event)> = tx.rows(sql, &[log.into()], |row| Ok((row.int(0)?, row.json(1)?))).await?;
    Ok(rows.first().map(|(batch, _)| *batch).map(|batch| (batch, rows.into_iter().map(|(_, event)| event).collect())))
}

/// Forgets a batch of a log: the log has it.
pub async fn forget(tx: &mut Tx, log: i64, batch: i64) -> Result<u64, StorageError> {
    tx.exec("DELETE FROM outbox WHERE log = $1 AND batch = $2", &[log.into(), batch.into()]).await
}

/// Takes back what was given to any other log than the one that is read from now on, which is to have it. What that one has of it
/// already, dedup knows by its id.
pub async fn take_back_from_others(tx: &mut Tx, log: i64) -> Result<u64, StorageError> {
    tx.exec("UPDATE outbox SET log = NULL, batch = NULL WHERE log <> $1", &[log.into()]).await
}

/// Whether facts wait.
pub async fn is_any(tx: &mut Tx) -> Result<bool, StorageError> {
    Ok(tx.row("SELECT 1 FROM outbox LIMIT 1", &[], |row| row.int(0)).await?.is_some())
}
