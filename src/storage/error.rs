//! Why storage did not answer, in words that both engines share; the only place that knows the engines' error codes
//! ([SQLite result codes](https://www.sqlite.org/rescode.html), [PostgreSQL Appendix A](https://www.postgresql.org/docs/current/errcodes-appendix.html)).
//!
//! **One name for a unique constraint.** SQLite names no constraint, PostgreSQL does. Ours are called `<table>_<columns joined by _>`, primary
//! keys too: SQLite's message is turned into that name here, and `migrate` renames PostgreSQL's unique indexes to it. So
//! `PRIMARY KEY (client, scope)` of `grants` is `Unique("grants_client_scope")` on both.
//!
//! No error carries a value that was bound or stored: PostgreSQL's `DETAIL`, which quotes rows, is never read.

use std::path::PathBuf;

use rusqlite::ffi;

/// PostgreSQL cuts identifiers off after this many bytes; so does the name that is made from SQLite's message.
pub(super) const NAME_BYTES_MAX: usize = 63;

/// What kept storage from doing as asked. Cloneable, because everyone who waits for a shared commit hears of its failure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// Nothing was done: too much is waiting, or a lock or a connection was not to be had in time.
    #[error("storage is busy: more work is waiting than it takes on; try again in a moment")]
    Busy,
    /// The engine is stopped, or the connection to it broke. If it broke during a commit, nobody knows whether that happened.
    #[error("storage cannot be reached: {reason}")]
    Unavailable { reason: String },
    /// Nothing was done. Heals by itself when there is space again.
    #[error("the disk that holds the database is full")]
    Full,
    /// Nothing was done; the same transaction may succeed when tried again.
    #[error("two transactions stood in each other's way and this one was given up; try again")]
    Serialization,
    /// Carries the constraint's name, see the top of this file.
    #[error("the unique constraint {0} is violated")]
    Unique(String),
    #[error("a row refers to another row that does not exist, or is still referred to")]
    Foreign,
    #[error(
        "the database has schema {found}, but this version of deputy knows only schemas up to {known}: start the newer version again"
    )]
    NewerSchema { found: u32, known: u32 },
    #[error(
        "migration {number} ({name}) was changed after it had been applied to this database: use a version of deputy that fits it"
    )]
    EditedMigration { number: u32, name: String },
    #[error("another deputy process has the database {} open: stop it first, or ask it through its admin API", path.display())]
    InUse { path: PathBuf },
    #[error("the database cannot be written: {reason}")]
    NotWritable { reason: String },
    #[error("the database is damaged: {0}")]
    Corrupt(String),
    /// A defect of ours: SQL that does not fit the schema, a wrong column type, a closure that panicked.
    #[error("a database statement failed: {0}")]
    Query(String),
}

impl StorageError {
    /// True if the same request may well succeed later: answered with 503 and Retry-After, never with an OAuth refusal.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Busy | Self::Unavailable { .. } | Self::Full | Self::Serialization | Self::NotWritable { .. })
    }

    pub(super) fn unavailable(reason: impl ToString) -> Self {
        Self::Unavailable { reason: reason.to_string() }
    }
}

impl From<rusqlite::Error> for StorageError {
    fn from(error: rusqlite::Error) -> Self {
        match error {
            rusqlite::Error::SqliteFailure(code, message) => {
                let message = message.unwrap_or_else(|| code.to_string());
                from_sqlite_code(code, message)
            }
            other => Self::Query(other.to_string()),
        }
    }
}

fn from_sqlite_code(failure: ffi::Error, message: String) -> StorageError {
    use rusqlite::ErrorCode::*;
    match failure.code {
        DatabaseBusy | DatabaseLocked => StorageError::Busy,
        DiskFull => StorageError::Full,
        // A quota or a full thin volume shows itself as a failed write instead of SQLITE_FULL.
        SystemIoFailure if is_failed_growth(failure.extended_code) => StorageError::Full,
        SystemIoFailure => StorageError::unavailable(message),
        ReadOnly | CannotOpen | PermissionDenied => StorageError::NotWritable { reason: message },
        DatabaseCorrupt | NotADatabase => StorageError::Corrupt(message),
        ConstraintViolation => match failure.extended_code {
            ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_ROWID => {
                StorageError::Unique(constraint_name(&message))
            }
            ffi::SQLITE_CONSTRAINT_FOREIGNKEY => StorageError::Foreign,
            _ => StorageError::Query(message),
        },
        _ => StorageError::Query(message),
    }
}

fn is_failed_growth(extended_code: i32) -> bool {
    matches!(
        extended_code,
        ffi::SQLITE_IOERR_WRITE | ffi::SQLITE_IOERR_TRUNCATE | ffi::SQLITE_IOERR_SHMSIZE | ffi::SQLITE_IOERR_SHMMAP
    )
}

/// `UNIQUE constraint failed: grants.client, grants.scope` is `grants_client_scope`; an index over an expression has its own name:
/// `UNIQUE constraint failed: index 'people_email'`.
fn constraint_name(message: &str) -> String {
    let columns = message.rsplit_once(": ").map_or(message, |(_, columns)| columns);
    if let Some(index) = columns.strip_prefix("index '") {
        return index.trim_end_matches('\'').to_owned();
    }
    let mut name = String::new();
    for column in columns.split(", ") {
        let (table, column) = column.split_once('.').unwrap_or(("", column));
        if name.is_empty() {
            name.push_str(table);
        }
        name.push('_');
        name.push_str(column);
    }
    let end = name.floor_char_boundary(NAME_BYTES_MAX);
    name.truncate(end);
    name
}

impl From<sqlx::Error> for StorageError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => {
                let code = error.code().unwrap_or_default();
                let constraint = error.constraint().unwrap_or_default();
                from_sqlstate(&code, constraint, error.message())
            }
            sqlx::Error::PoolTimedOut => Self::Busy,
            sqlx::Error::PoolClosed => Self::unavailable("storage is closed"),
            sqlx::Error::Configuration(error) => Self::unavailable(format!("the database's address cannot be used: {error}")),
            sqlx::Error::Io(error) => Self::unavailable(error),
            sqlx::Error::Tls(error) => Self::unavailable(error),
            sqlx::Error::Protocol(reason) => Self::Unavailable { reason },
            sqlx::Error::WorkerCrashed => Self::unavailable("the connection ended"),
            other => Self::Query(other.to_string()),
        }
    }
}

fn from_sqlstate(code: &str, constraint: &str, message: &str) -> StorageError {
    match code {
        "23505" => StorageError::Unique(constraint.to_owned()),
        "23503" => StorageError::Foreign,
        "40001" | "40P01" => StorageError::Serialization,
        // Lock not available, statement timeout, too many connections.
        "55P03" | "57014" | "53300" => StorageError::Busy,
        "53100" => StorageError::Full,
        // The database takes no connections at the moment: an operator works on it.
        "55000" => StorageError::unavailable(message),
        // Read-only transaction: we reached a standby.
        "25006" => StorageError::NotWritable { reason: message.to_owned() },
        // No such database; a session that idled in its transaction was ended.
        "3D000" | "25P03" => StorageError::unavailable(message),
        // A wrong number of values, although its class is "connection".
        "08P01" => StorageError::Query(message.to_owned()),
        _ => match code.get(..2) {
            // Connection, invalid authorization, resources, operator intervention, system error.
            Some("08" | "28" | "53" | "57" | "58") => StorageError::unavailable(message),
            Some("XX") => StorageError::Corrupt(message.to_owned()),
            _ => StorageError::Query(message.to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlite_messages_become_constraint_names() {
        let table = [
            ("UNIQUE constraint failed: grants.client, grants.scope", "grants_client_scope"),
            ("UNIQUE constraint failed: people.id", "people_id"),
            ("UNIQUE constraint failed: index 'people_email_lower'", "people_email_lower"),
        ];
        for (message, name) in table {
            assert_eq!(constraint_name(message), name);
        }
    }

    #[test]
    fn what_passes_by_itself_is_transient_and_what_does_not_is_not() {
        for (code, transient) in [
            ("40P01", true),
            ("53100", true),
            ("55000", true),
            ("57P01", true),
            ("08006", true),
            ("25P03", true),
            ("23505", false),
            ("42601", false),
        ] {
            assert_eq!(from_sqlstate(code, "", "").is_transient(), transient, "{code}");
        }
        for (code, transient) in [
            (ffi::SQLITE_FULL, true),
            (ffi::SQLITE_BUSY, true),
            (ffi::SQLITE_IOERR_WRITE, true),
            (ffi::SQLITE_IOERR_FSYNC, true),
            (ffi::SQLITE_CORRUPT, false),
            (ffi::SQLITE_ERROR, false),
        ] {
            assert_eq!(from_sqlite_code(ffi::Error::new(code), String::new()).is_transient(), transient, "{code}");
        }
    }
}
