//! Which log the offsets in this database are of.
//!
//! Cursors, the places of profiles' events, and what is left out are offsets of the topic `events`. Another log begins at 0 once more, so
//! its offsets are counted from a base on that lies behind all that were ever read: one offset never names two events, and what is left
//! out from an offset on is left out of the new log too.

use std::collections::BTreeMap;

use super::{Row, StorageError, Tx, columns::unreadable, outbox};
use crate::domain::time::Timestamp;

/// The inputs whose cursors are here.
const INPUTS: &str = "events/%";

/// A log, and what its offsets are counted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventLog {
    /// The number that it keeps under its own name.
    pub log: i64,
    pub base: u64,
}

/// A log that is to be read.
#[derive(Debug, Clone)]
pub struct Offered {
    pub log: i64,
    /// For each input, such as `events/0`, the log's own offset that the next event gets.
    pub ends: BTreeMap<String, u64>,
    /// Where it is, as the configuration says it.
    pub place: String,
    /// It ends before what was read of it: it was restored from a copy.
    pub is_restored: bool,
}

/// How far a consumer has come in an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    name: String,
    pub input: String,
    /// The first offset that it never read, also while it reads others again.
    pub until: u64,
}

/// What came of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adopted {
    /// It is the one that was read before, or the first.
    AsBefore(EventLog),
    /// It takes the place of another one, or of a younger copy of itself.
    InPlaceOfAnother(EventLog),
}

/// The log that is read; none before any is.
pub async fn current(tx: &mut Tx) -> Result<Option<EventLog>, StorageError> {
    let sql = "SELECT log, base FROM event_logs ORDER BY turn DESC LIMIT 1";
    tx.row(sql, &[], |row| Ok(EventLog { log: row.int(0)?, base: row.int(1)?.cast_unsigned() })).await
}

/// Where the log is that is read, as the configuration of then said it.
pub async fn place(tx: &mut Tx) -> Result<Option<String>, StorageError> {
    tx.row("SELECT place FROM event_logs ORDER BY turn DESC LIMIT 1", &[], |row| row.text(0)).await
}

/// How far each consumer has come.
pub async fn reached(tx: &mut Tx) -> Result<Vec<Reached>, StorageError> {
    tx.rows("SELECT name, input, next, replay_until FROM consumers WHERE input LIKE $1", &[INPUTS.into()], read_reached).await
}

/// Has this log read from now on. In place of another, every consumer goes on where it left the log, or else at its first event.
pub async fn adopt(tx: &mut Tx, offered: &Offered, now: Timestamp) -> Result<Adopted, StorageError> {
    // Written, so that nobody moves one, nor adopts another log, until this transaction ends.
    let hold = "UPDATE consumers SET next = next WHERE input LIKE $1 RETURNING name, input, next, replay_until";
    let cursors = tx.rows(hold, &[INPUTS.into()], read_reached).await?;
    let former = current(tx).await?;
    if !offered.is_restored && former.is_none_or(|former| former.log == offered.log) {
        let adopted = former.unwrap_or(EventLog { log: offered.log, base: 0 });
        if former.is_none() {
            // One may have been given facts, and lost, before any was read.
            outbox::take_back_from_others(tx, offered.log).await?;
            note(tx, adopted, offered, now).await?;
        }
        return Ok(Adopted::AsBefore(adopted));
    }
    if let Some(former) = former {
        for cursor in &cursors {
            leave(tx, former, cursor).await?;
        }
    }
    outbox::take_back_from_others(tx, offered.log).await?;
    // One more than was ever a cursor: whoever wakes up late with one of before moves nothing.
    let behind_all = cursors.iter().map(|cursor| cursor.until + 1).max().unwrap_or(0);
    let adopted = EventLog { log: offered.log, base: behind_all };
    for cursor in &cursors {
        let sql = "SELECT next FROM event_log_cursors WHERE log = $1 AND name = $2 AND input = $3";
        let values = [offered.log.into(), (&cursor.name).into(), (&cursor.input).into()];
        let left_at = tx.row(sql, &values, |row| row.int(0)).await?.unwrap_or(0).cast_unsigned();
        let next = adopted.base + left_at.min(offered.end_of(&cursor.input));
        let sql = "UPDATE consumers SET next = $3, replay_from = NULL, replay_until = NULL WHERE name = $1 AND input = $2";
        tx.exec(sql, &[(&cursor.name).into(), (&cursor.input).into(), next.cast_signed().into()]).await?;
    }
    note(tx, adopted, offered, now).await?;
    Ok(Adopted::InPlaceOfAnother(adopted))
}

impl Offered {
    /// The log's own offset that the next event of this input gets.
    pub fn end_of(&self, input: &str) -> u64 {
        self.ends.get(input).copied().unwrap_or(0)
    }
}

async fn leave(tx: &mut Tx, former: EventLog, cursor: &Reached) -> Result<(), StorageError> {
    let sql = "INSERT INTO event_log_cursors (log, name, input, next) VALUES ($1, $2, $3, $4) \
               ON CONFLICT (log, name, input) DO UPDATE SET next = excluded.next";
    let next = cursor.until.saturating_sub(former.base).cast_signed();
    tx.exec(sql, &[former.log.into(), (&cursor.name).into(), (&cursor.input).into(), next.into()]).await?;
    Ok(())
}

async fn note(tx: &mut Tx, adopted: EventLog, offered: &Offered, now: Timestamp) -> Result<(), StorageError> {
    let sql = "INSERT INTO event_logs (log, turn, base, place, adopted_at) \
               SELECT $1, coalesce(max(turn), 0) + 1, $2, $3, $4 FROM event_logs WHERE true \
               ON CONFLICT (log) DO UPDATE SET turn = excluded.turn, base = excluded.base, place = excluded.place, \
               adopted_at = excluded.adopted_at";
    tx.exec(sql, &[adopted.log.into(), adopted.base.cast_signed().into(), (&offered.place).into(), now.0.into()]).await?;
    Ok(())
}

fn read_reached(row: &Row<'_>) -> Result<Reached, StorageError> {
    let until = row.int(2)?.max(row.int_or_null(3)?.unwrap_or(0));
    Ok(Reached { name: row.text(0)?, input: row.text(1)?, until: u64::try_from(until).map_err(|_| unreadable("an offset"))? })
}
