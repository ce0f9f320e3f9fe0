//! How far the consumers have come whose effects are in this database: cursor and effect are one commit, so each event acts once.

use super::{StorageError, Tx, columns::unreadable};

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
