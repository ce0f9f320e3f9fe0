//! How far the consumers have come whose effects are in this database: cursor and effect are one commit, so each event acts once. And
//! what operators do to consumers, also to those whose cursors are elsewhere.

use super::{StorageError, Tx, columns::unreadable};
use crate::domain::{
    id::{Id, OperatorKind},
    time::Timestamp,
};

/// That a consumer stands still.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    pub consumer: String,
    pub at: Timestamp,
    pub by: Id<OperatorKind>,
}

/// Where a consumer stands in an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The offset that it reads next.
    pub next: u64,
    /// What it reads again, while it does.
    pub replay: Option<Replay>,
}

/// A part of the log that is read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replay {
    pub from: u64,
    /// The first offset that the consumer has not read before.
    pub until: u64,
}

/// The offset that the consumer reads next in its input, such as `events/0`; 0 if it has not begun.
pub async fn next(tx: &mut Tx, name: &str, input: &str) -> Result<u64, StorageError> {
    let sql = "SELECT next FROM consumers WHERE name = $1 AND input = $2";
    let next = tx.row(sql, &[name.into(), input.into()], |row| row.int(0)).await?.unwrap_or(0);
    u64::try_from(next).map_err(|_| unreadable("an offset"))
}

/// Moves the consumer from one offset to another, if nobody else did: compare and swap. `false` if somebody did; then the whole
/// transaction must be given up. Asked first in the transaction, it also makes rivals wait their turn.
pub async fn advance(tx: &mut Tx, name: &str, input: &str, from: u64, to: u64) -> Result<bool, StorageError> {
    let begin = "INSERT INTO consumers (name, input, next) VALUES ($1, $2, $4) \
                 ON CONFLICT (name, input) DO UPDATE SET next = excluded.next WHERE consumers.next = $3";
    let go_on = "UPDATE consumers SET next = $4 WHERE name = $1 AND input = $2 AND next = $3";
    let sql = if from == 0 { begin } else { go_on };
    Ok(tx.exec(sql, &[name.into(), input.into(), from.cast_signed().into(), to.cast_signed().into()]).await? == 1)
}

/// Where the consumer stands in this input; at 0 if it has not begun.
pub async fn place(tx: &mut Tx, name: &str, input: &str) -> Result<Place, StorageError> {
    let sql = "SELECT next, replay_from, replay_until FROM consumers WHERE name = $1 AND input = $2";
    let read = |row: &super::Row<'_>| Ok((row.int(0)?, row.int_or_null(1)?, row.int_or_null(2)?));
    let Some((next, from, until)) = tx.row(sql, &[name.into(), input.into()], read).await? else {
        return Ok(Place { next: 0, replay: None });
    };
    let replay = from.zip(until).map(|(from, until)| Replay { from: from.cast_unsigned(), until: until.cast_unsigned() });
    Ok(Place { next: u64::try_from(next).map_err(|_| unreadable("an offset"))?, replay })
}

/// Sends the consumer back to an offset. `None` if it has not come beyond that, or is reading again already; else what it reads again.
pub async fn begin_replay(tx: &mut Tx, name: &str, input: &str, from: u64) -> Result<Option<Replay>, StorageError> {
    let sql = "UPDATE consumers SET next = $3, replay_from = $3, replay_until = next \
               WHERE name = $1 AND input = $2 AND next > $3 AND replay_until IS NULL RETURNING replay_until";
    let until = tx.row(sql, &[name.into(), input.into(), from.cast_signed().into()], |row| row.int(0)).await?;
    Ok(until.map(|until| Replay { from, until: until.cast_unsigned() }))
}

/// Notes that the consumer is where it was before it began to read again; `false` if it is not, or does not.
pub async fn end_replay(tx: &mut Tx, name: &str, input: &str) -> Result<bool, StorageError> {
    let sql =
        "UPDATE consumers SET replay_from = NULL, replay_until = NULL WHERE name = $1 AND input = $2 AND next >= replay_until";
    Ok(tx.exec(sql, &[name.into(), input.into()]).await? == 1)
}

/// The consumers that stand still, by name.
pub async fn pauses(tx: &mut Tx) -> Result<Vec<Pause>, StorageError> {
    let sql = "SELECT consumer, paused_at, paused_by FROM consumer_pauses ORDER BY consumer";
    tx.rows(sql, &[], |row| Ok(Pause { consumer: row.text(0)?, at: row.timestamp(1)?, by: row.id(2)? })).await
}

/// Whether the consumer stands still.
pub async fn is_paused(tx: &mut Tx, name: &str) -> Result<bool, StorageError> {
    let sql = "SELECT 1 FROM consumer_pauses WHERE consumer = $1";
    Ok(tx.row(sql, &[name.into()], |row| row.int(0)).await?.is_some())
}

/// Has the consumer stand still; `false` if it does already.
pub async fn pause(tx: &mut Tx, pause: &Pause) -> Result<bool, StorageError> {
    let sql = "INSERT INTO consumer_pauses (consumer, paused_at, paused_by) VALUES ($1, $2, $3) ON CONFLICT (consumer) DO NOTHING";
    Ok(tx.exec(sql, &[(&pause.consumer).into(), pause.at.0.into(), (&pause.by.to_string()).into()]).await? == 1)
}

/// Lets the consumer go on; `false` if it does already.
pub async fn resume(tx: &mut Tx, name: &str) -> Result<bool, StorageError> {
    Ok(tx.exec("DELETE FROM consumer_pauses WHERE consumer = $1", &[name.into()]).await? == 1)
}
