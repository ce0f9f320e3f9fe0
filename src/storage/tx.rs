//! One transaction on either engine: one SQL text with `$1..$n`, positional values, rows read by column number.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnection, PgRow};

use super::{StorageError, batch::Placeholders, directory::Directory, postgres, sqlite};

/// Work that may follow a commit, such as clearing an entry of a cache.
pub(super) type Effect = Box<dyn FnOnce() + Send>;

/// A write transaction, or the connection that a read borrows.
///
/// A statement that fails ends its write transaction on both engines (PostgreSQL knows no other way): later statements repeat the
/// error, and the transaction is rolled back even if the closure returns `Ok`. Where a conflict is expected, say so in the SQL
/// (`ON CONFLICT DO NOTHING`) and look at the number of rows.
///
/// SQL texts keep to what both engines read alike: no `FOR UPDATE`, no `->>` on text, `CAST(sum(x) AS BIGINT)`, no deferred constraints.
pub struct Tx {
    pub(super) connection: Connection,
    pub(super) effects: Vec<Effect>,
    pub(super) failure: Option<StorageError>,
    /// What this process keeps in memory of the database, where it is the only one that writes.
    pub(super) directory: Option<Arc<Directory>>,
}

/// Where the statements go.
pub(super) enum Connection {
    SqliteWrite(rusqlite::Connection),
    SqliteRead(rusqlite::Connection),
    PostgresWrite(sqlx::Transaction<'static, sqlx::Postgres>),
    PostgresRead(PoolConnection<sqlx::Postgres>),
}

/// A value for a placeholder. PostgreSQL wants to know the type even of a NULL.
#[derive(Clone, Copy)]
pub enum Value<'a> {
    Text(&'a str),
    Int(i64),
    Blob(&'a [u8]),
    NullText,
    NullInt,
    NullBlob,
}

/// One row of an answer; columns count from 0.
pub struct Row<'r>(RowOf<'r>);

enum RowOf<'r> {
    Sqlite(&'r rusqlite::Row<'r>),
    Postgres(&'r PgRow),
}

impl Tx {
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection, effects: Vec::new(), failure: None, directory: None }
    }

    /// Runs a statement that answers no rows; tells how many rows it changed.
    pub async fn exec(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<u64, StorageError> {
        self.refuse_after_failure()?;
        let changed = match &mut self.connection {
            Connection::SqliteWrite(connection) => sqlite::exec(connection, sql, values),
            Connection::PostgresWrite(transaction) => postgres::exec(transaction, sql, values).await,
            Connection::SqliteRead(_) | Connection::PostgresRead(_) => Err(StorageError::Query("a read may not write".into())),
        };
        self.remember_failure(changed)
    }

    /// The first row, if there is one.
    pub async fn row<T>(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
        read: impl FnOnce(&Row<'_>) -> Result<T, StorageError>,
    ) -> Result<Option<T>, StorageError> {
        self.refuse_after_failure()?;
        let found = match self.engine() {
            Engine::Sqlite(connection) => sqlite::row(connection, sql, values, read),
            Engine::Postgres(connection) => postgres::row(connection, sql, values, read).await,
        };
        self.remember_failure(found)
    }

    /// All rows, held in memory: the SQL states a `LIMIT` unless the answer is small by nature.
    pub async fn rows<T>(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
        read: impl FnMut(&Row<'_>) -> Result<T, StorageError>,
    ) -> Result<Vec<T>, StorageError> {
        self.refuse_after_failure()?;
        let found = match self.engine() {
            Engine::Sqlite(connection) => sqlite::rows(connection, sql, values, read),
            Engine::Postgres(connection) => postgres::rows(connection, sql, values, read).await,
        };
        self.remember_failure(found)
    }

    /// Runs `effect` once the commit is durable and before the waiter hears of it; never after a rollback. It must be quick, as on
    /// SQLite it holds up everyone in the same commit.
    pub fn after_commit(&mut self, effect: impl FnOnce() + Send + 'static) {
        self.effects.push(Box::new(effect));
    }

    /// As this engine wants them in statements for many rows.
    pub(super) fn placeholders(&self) -> Placeholders {
        match &self.connection {
            Connection::SqliteWrite(_) | Connection::SqliteRead(_) => Placeholders::Placed,
            Connection::PostgresWrite(_) | Connection::PostgresRead(_) => Placeholders::Numbered,
        }
    }

    fn engine(&mut self) -> Engine<'_> {
        match &mut self.connection {
            Connection::SqliteWrite(connection) | Connection::SqliteRead(connection) => Engine::Sqlite(connection),
            Connection::PostgresWrite(transaction) => Engine::Postgres(transaction),
            Connection::PostgresRead(connection) => Engine::Postgres(connection),
        }
    }

    fn refuse_after_failure(&self) -> Result<(), StorageError> {
        self.failure.clone().map_or(Ok(()), Err)
    }

    /// Plain reads have no transaction that could be spoilt.
    fn remember_failure<T>(&mut self, result: Result<T, StorageError>) -> Result<T, StorageError> {
        if let (Err(error), Connection::SqliteWrite(_) | Connection::PostgresWrite(_)) = (&result, &self.connection) {
            self.failure = Some(error.clone());
        }
        result
    }
}

/// The two engines, whatever the connection is for. `&mut`, because an SQLite connection may move between threads but not be shared.
enum Engine<'t> {
    Sqlite(&'t mut rusqlite::Connection),
    Postgres(&'t mut PgConnection),
}

/// Runs what was to follow a commit. A panic in one effect must not keep the others, or the answers, from happening.
pub(super) fn run_effects(effects: Vec<Effect>) {
    for effect in effects {
        if catch_unwind(AssertUnwindSafe(effect)).is_err() {
            tracing::error!("an effect that follows a commit panicked");
        }
    }
}

impl<'r> Row<'r> {
    pub(super) fn sqlite(row: &'r rusqlite::Row<'r>) -> Self {
        Self(RowOf::Sqlite(row))
    }

    pub(super) fn postgres(row: &'r PgRow) -> Self {
        Self(RowOf::Postgres(row))
    }

    pub fn text(&self, column: usize) -> Result<String, StorageError> {
        self.text_or_null(column)?.ok_or_else(|| unexpected_null(column))
    }

    pub fn text_or_null(&self, column: usize) -> Result<Option<String>, StorageError> {
        match self.0 {
            RowOf::Sqlite(row) => Ok(row.get(column)?),
            RowOf::Postgres(row) => postgres::text(row, column),
        }
    }

    /// A whole number; a truth value is 0 or 1 on both engines.
    pub fn int(&self, column: usize) -> Result<i64, StorageError> {
        self.int_or_null(column)?.ok_or_else(|| unexpected_null(column))
    }

    pub fn int_or_null(&self, column: usize) -> Result<Option<i64>, StorageError> {
        match self.0 {
            RowOf::Sqlite(row) => Ok(row.get(column)?),
            RowOf::Postgres(row) => postgres::int(row, column),
        }
    }

    pub fn blob(&self, column: usize) -> Result<Vec<u8>, StorageError> {
        self.blob_or_null(column)?.ok_or_else(|| unexpected_null(column))
    }

    pub fn blob_or_null(&self, column: usize) -> Result<Option<Vec<u8>>, StorageError> {
        match self.0 {
            RowOf::Sqlite(row) => Ok(row.get(column)?),
            RowOf::Postgres(row) => postgres::blob(row, column),
        }
    }
}

fn unexpected_null(column: usize) -> StorageError {
    StorageError::Query(format!("column {column} is NULL, which the reader does not expect"))
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<Option<&'a str>> for Value<'a> {
    fn from(text: Option<&'a str>) -> Self {
        text.map_or(Self::NullText, Self::Text)
    }
}

impl<'a> From<&'a Option<String>> for Value<'a> {
    fn from(text: &'a Option<String>) -> Self {
        text.as_deref().into()
    }
}

impl From<i64> for Value<'_> {
    fn from(int: i64) -> Self {
        Self::Int(int)
    }
}

impl From<u32> for Value<'_> {
    fn from(int: u32) -> Self {
        Self::Int(int.into())
    }
}

/// Truth values are stored as 0 and 1: SQLite has no other form.
impl From<bool> for Value<'_> {
    fn from(truth: bool) -> Self {
        Self::Int(truth.into())
    }
}

impl From<Option<i64>> for Value<'_> {
    fn from(int: Option<i64>) -> Self {
        int.map_or(Self::NullInt, Self::Int)
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(blob: &'a [u8]) -> Self {
        Self::Blob(blob)
    }
}

impl<'a> From<&'a Vec<u8>> for Value<'a> {
    fn from(blob: &'a Vec<u8>) -> Self {
        Self::Blob(blob)
    }
}

impl<'a, const BYTES: usize> From<&'a [u8; BYTES]> for Value<'a> {
    fn from(blob: &'a [u8; BYTES]) -> Self {
        Self::Blob(blob)
    }
}

impl<'a> From<Option<&'a [u8]>> for Value<'a> {
    fn from(blob: Option<&'a [u8]>) -> Self {
        blob.map_or(Self::NullBlob, Self::Blob)
    }
}
