//! Questions about warehouses: what is asked of them, how far they were read, whose turn it is. Connections are sealed before they come
//! here.

use super::{Row, StorageError, Tx, columns::unreadable};
use crate::domain::{
    id::{Id, SourceKind},
    time::Timestamp,
    warehouse::{KeyColumn, KeyType, Position, Question, Status, Warehouse},
};

/// What came of a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// Rows were read and are durable, if there were any.
    Read { up_to: Option<Position>, rows: u32, rows_unfit: u32 },
    /// It went wrong; what was read before stays read.
    Failed(String),
}

/// The warehouse of this source.
pub async fn find(tx: &mut Tx, source: Id<SourceKind>) -> Result<Option<Warehouse>, StorageError> {
    let sql = "SELECT source, connection, query, cursor_column, cursor_type, tie_breaker_column, tie_breaker_type, interval_s, settle_s, \
               read_cursor, read_tie_breaker, rows_read, rows_unfit, polled_at, next_at, failures, failing_since, failure, turn \
               FROM warehouses WHERE source = $1";
    tx.row(sql, &[(&source.to_string()).into()], read).await
}

/// Sets what is asked from now on, from which position, and forgets what went wrong before. Whoever is polling finds its turn over.
pub async fn put(tx: &mut Tx, warehouse: &Warehouse, now: Timestamp) -> Result<(), StorageError> {
    let sql = "INSERT INTO warehouses (source, connection, query, cursor_column, cursor_type, tie_breaker_column, tie_breaker_type, \
               interval_s, settle_s, read_cursor, read_tie_breaker, rows_read, rows_unfit, next_at, failures, turn, changed_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0, 0, $12, 0, 0, $12) \
               ON CONFLICT (source) DO UPDATE SET connection = excluded.connection, query = excluded.query, \
               cursor_column = excluded.cursor_column, cursor_type = excluded.cursor_type, \
               tie_breaker_column = excluded.tie_breaker_column, tie_breaker_type = excluded.tie_breaker_type, \
               interval_s = excluded.interval_s, settle_s = excluded.settle_s, read_cursor = excluded.read_cursor, \
               read_tie_breaker = excluded.read_tie_breaker, next_at = excluded.next_at, failures = 0, failing_since = NULL, \
               failure = NULL, turn = warehouses.turn + 1, claimed_by = NULL, claimed_until = NULL, changed_at = excluded.changed_at";
    let (source, question) = (warehouse.source.to_string(), &warehouse.question);
    let values = [
        (&source).into(),
        (&warehouse.sealed_connection).into(),
        (&question.query).into(),
        (&question.cursor.name).into(),
        question.cursor.kind.as_str().into(),
        (&question.tie_breaker.name).into(),
        question.tie_breaker.kind.as_str().into(),
        warehouse.interval_s.into(),
        question.settle_s.into(),
        warehouse.read.as_ref().map(|read| read.cursor.as_str()).into(),
        warehouse.read.as_ref().and_then(|read| read.tie_breaker.as_deref()).into(),
        now.0.into(),
    ];
    tx.exec(sql, &values).await?;
    Ok(())
}

/// Whether any warehouse is to be polled now; those of disabled sources wait.
pub async fn any_due(tx: &mut Tx, now: Timestamp) -> Result<bool, StorageError> {
    let sql = "SELECT 1 FROM warehouses AS w JOIN sources AS s ON s.id = w.source WHERE w.next_at <= $1 AND s.disabled_at IS NULL LIMIT 1";
    Ok(tx.row(sql, &[now.0.into()], |_| Ok(())).await?.is_some())
}

/// Takes the next turn of each warehouse that has been due the longest, for this node alone until `until`. Those of disabled sources wait.
pub async fn claim_due(
    tx: &mut Tx,
    node: &str,
    now: Timestamp,
    until: Timestamp,
    count_max: u32,
) -> Result<Vec<Warehouse>, StorageError> {
    // Said twice: of two nodes that choose the same row at the same moment, the second finds it claimed when it comes to write.
    let sql = "UPDATE warehouses SET turn = turn + 1, claimed_by = $1, claimed_until = $2 WHERE source IN (\
               SELECT w.source FROM warehouses AS w JOIN sources AS s ON s.id = w.source WHERE w.next_at <= $3 AND s.disabled_at IS NULL \
               AND (w.claimed_until IS NULL OR w.claimed_until <= $3 OR w.claimed_by = $1) ORDER BY w.next_at, w.source LIMIT $4) \
               AND (claimed_until IS NULL OR claimed_until <= $3 OR claimed_by = $1) \
               RETURNING source, connection, query, cursor_column, cursor_type, tie_breaker_column, tie_breaker_type, interval_s, settle_s, \
               read_cursor, read_tie_breaker, rows_read, rows_unfit, polled_at, next_at, failures, failing_since, failure, turn";
    tx.rows(sql, &[node.into(), until.0.into(), now.0.into(), count_max.into()], read).await
}

/// Ends a turn. `false` if it was over: somebody else's has begun, or an operator has changed what is asked.
pub async fn end_turn(
    tx: &mut Tx,
    warehouse: &Warehouse,
    turn: &Turn,
    now: Timestamp,
    next_at: Timestamp,
) -> Result<bool, StorageError> {
    let (source, number) = (warehouse.source.to_string(), warehouse.turn);
    let ended = match turn {
        Turn::Read { up_to, rows, rows_unfit } => {
            let sql = "UPDATE warehouses SET read_cursor = coalesce($3, read_cursor), \
                       read_tie_breaker = CASE WHEN $3 IS NULL THEN read_tie_breaker ELSE $4 END, rows_read = rows_read + $5, \
                       rows_unfit = rows_unfit + $6, polled_at = $7, next_at = $8, failures = 0, failing_since = NULL, failure = NULL, \
                       claimed_by = NULL, claimed_until = NULL WHERE source = $1 AND turn = $2";
            let (cursor, tie_breaker) = (up_to.as_ref().map(|up_to| up_to.cursor.as_str()), up_to.as_ref());
            let tie_breaker = tie_breaker.and_then(|up_to| up_to.tie_breaker.as_deref());
            let values = [
                (&source).into(),
                number.into(),
                cursor.into(),
                tie_breaker.into(),
                (*rows).into(),
                (*rows_unfit).into(),
                now.0.into(),
                next_at.0.into(),
            ];
            tx.exec(sql, &values).await?
        }
        Turn::Failed(failure) => {
            let sql = "UPDATE warehouses SET polled_at = $3, next_at = $4, failures = failures + 1, \
                       failing_since = coalesce(failing_since, $3), failure = $5, claimed_by = NULL, claimed_until = NULL \
                       WHERE source = $1 AND turn = $2";
            tx.exec(sql, &[(&source).into(), number.into(), now.0.into(), next_at.0.into(), failure.into()]).await?
        }
    };
    Ok(ended == 1)
}

fn read(row: &Row<'_>) -> Result<Warehouse, StorageError> {
    let kind = |column: usize| {
        let word = row.text(column)?;
        KeyType::parse(&word).ok_or_else(|| unreadable(&word))
    };
    let count = |column: usize| u64::try_from(row.int(column)?).map_err(|_| unreadable("a count"));
    let seconds = |column: usize| u32::try_from(row.int(column)?).map_err(|_| unreadable("a number of seconds"));
    let tie_breaker = row.text_or_null(10)?;
    Ok(Warehouse {
        source: row.id(0)?,
        sealed_connection: row.text(1)?,
        question: Question {
            query: row.text(2)?,
            cursor: KeyColumn { name: row.text(3)?, kind: kind(4)? },
            tie_breaker: KeyColumn { name: row.text(5)?, kind: kind(6)? },
            settle_s: seconds(8)?,
        },
        interval_s: seconds(7)?,
        read: row.text_or_null(9)?.map(|cursor| Position { cursor, tie_breaker }),
        status: Status {
            rows_read: count(11)?,
            rows_unfit: count(12)?,
            polled_at: row.timestamp_or_null(13)?,
            next_at: row.timestamp(14)?,
            failures: row.u32_or_null(15)?.unwrap_or(0),
            failing_since: row.timestamp_or_null(16)?,
            failure: row.text_or_null(17)?,
        },
        turn: row.int(18)?,
    })
}
