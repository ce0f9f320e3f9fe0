//! The embedded engine: SQLite in one file, one writer thread, reads on the caller's thread
//! ([write-ahead log](https://www.sqlite.org/wal.html)).
//!
//! One process has the file open: a lock beside it says so, which makes caches in memory exact. Statements never leave the thread
//! that runs them, so a read costs 9 us instead of the 40 us of a thread hop (measured 2026-11; why rusqlite and not sqlx here).

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, OpenFlags, ToSql};
use tokio::sync::Semaphore;
use url::Url;

use super::directory::Directory;
use super::faults::Faults;
use super::migrate::{self, Migration};
use super::tx::{Connection, Row, Tx, Value};
use super::writer::Writer;
use super::{StorageError, migrate::Applied};

/// Reads run on the runtime's threads and never wait inside, so more connections than busy threads would only cost memory.
const READERS: usize = 4;

/// Only a stranger, such as a backup, can hold the lock; a commit of ours never waits for another.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// Above the number of different SQL texts, so that each is compiled once per connection.
const STATEMENTS_CACHED: usize = 256;

pub(super) struct Sqlite {
    pub(super) writer: Writer,
    readers: Readers,
    pub(super) directory: Arc<Directory>,
}

impl Sqlite {
    pub(super) fn open(path: &Path, migrations: &[Migration]) -> Result<Self, StorageError> {
        let (mut connection, lock) = open_exclusively(path)?;
        migrate::sqlite(&mut connection, migrations)?;
        let readers = Readers::open(path)?;
        let directory = Arc::new(Directory::default());
        Ok(Self { writer: Writer::start(connection, lock, Arc::clone(&directory))?, readers, directory })
    }

    pub(super) fn migrate(path: &Path, migrations: &[Migration]) -> Result<Vec<Applied>, StorageError> {
        let (mut connection, _lock) = open_exclusively(path)?;
        migrate::sqlite(&mut connection, migrations)
    }

    /// Needs no lock, so that it can be asked beside a running server.
    pub(super) fn lacks(path: &Path, migrations: &[Migration]) -> Result<usize, StorageError> {
        if !path.exists() {
            return Ok(migrations.len());
        }
        migrate::sqlite_lacks(&open_to_look(path)?, migrations)
    }

    /// As [`lacks`](Self::lacks).
    pub(super) fn look<T, E, F>(path: &Path, work: F) -> Result<T, E>
    where
        E: From<StorageError>,
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, E>>,
    {
        let mut tx = Tx::new(Connection::SqliteRead(open_to_look(path)?));
        let answer = work(&mut tx).now_or_never();
        answer.unwrap_or_else(|| Err(waited().into()))
    }

    pub(super) async fn read<T, E, F>(&self, work: F) -> Result<T, E>
    where
        E: From<StorageError>,
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, E>>,
    {
        let Ok(_permit) = self.readers.permits.acquire().await else {
            return Err(StorageError::unavailable("storage is closed").into());
        };
        let mut reader = Reader::take(&self.readers)?;
        let answer = work(reader.tx()).now_or_never();
        answer.unwrap_or_else(|| Err(waited().into()))
    }

    pub(super) async fn close(&self) {
        self.readers.close();
        self.writer.close().await;
    }

    pub(super) async fn crash(&self) {
        self.readers.close();
        self.writer.crash().await;
    }

    pub(super) fn faults(&self) -> &Faults {
        &self.writer.faults
    }
}

/// Read-only connections. A permit stands for a connection in the list.
struct Readers {
    permits: Semaphore,
    idle: Mutex<Vec<Tx>>,
}

impl Readers {
    fn open(path: &Path) -> Result<Self, StorageError> {
        let mut idle = Vec::with_capacity(READERS);
        for _ in 0..READERS {
            let connection =
                rusqlite::Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
            connection.execute_batch("PRAGMA cache_size = -2048; PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF;")?;
            connection.busy_timeout(LOCK_WAIT)?;
            connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
            idle.push(Tx::new(Connection::SqliteRead(connection)));
        }
        Ok(Self { permits: Semaphore::new(READERS), idle: Mutex::new(idle) })
    }

    fn close(&self) {
        self.permits.close();
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Tx>> {
        self.idle.lock().expect("nobody panics while holding the list of readers")
    }
}

/// A connection that finds its way back, also when the closure that reads panics.
struct Reader<'r> {
    home: &'r Readers,
    tx: Option<Tx>,
}

impl<'r> Reader<'r> {
    /// The caller holds a permit; the list can only be empty if storage was closed since.
    fn take(home: &'r Readers) -> Result<Self, StorageError> {
        let tx = home.lock().pop().ok_or_else(|| StorageError::unavailable("storage is closed"))?;
        Ok(Self { home, tx: Some(tx) })
    }

    fn tx(&mut self) -> &mut Tx {
        self.tx.as_mut().expect("only drop takes it")
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        if !self.home.permits.is_closed() {
            self.home.lock().extend(self.tx.take());
        }
    }
}

fn waited() -> StorageError {
    StorageError::Query("a read waited for something other than the database".into())
}

/// Opens the file as it is, for reading alone, and takes no lock.
fn open_to_look(path: &Path) -> Result<rusqlite::Connection, StorageError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let absolute = std::path::absolute(path).map_err(StorageError::unavailable)?;
    let mut place = Url::from_file_path(absolute).map_err(|()| StorageError::unavailable("the path is not one of a file"))?;
    // Without a write-ahead log nobody has it open and all is in the file. A reader would make an empty one, and leave it there.
    if !beside(path, "-wal").exists() {
        place.set_query(Some("immutable=1"));
    }
    let connection = rusqlite::Connection::open_with_flags(place.as_str(), flags)?;
    connection.busy_timeout(LOCK_WAIT)?;
    Ok(connection)
}

/// Opens the file for writing, makes it (readable to its owner alone) and its folder if they are missing, and locks out every
/// other process of ours.
fn open_exclusively(path: &Path) -> Result<(rusqlite::Connection, File), StorageError> {
    let refused = |error: std::io::Error| StorageError::NotWritable { reason: format!("{}: {error}", path.display()) };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(refused)?;
    let lock = owned_file(&beside(path, ".lock")).map_err(refused)?;
    lock.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => StorageError::InUse { path: path.to_owned() },
        TryLockError::Error(error) => refused(error),
    })?;
    owned_file(path).and_then(|_| File::open(folder)?.sync_all()).map_err(refused)?;

    let connection =
        rusqlite::Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(LOCK_WAIT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    // FULL: every commit is on the disk before it is answered. A checkpoint comes when the log file has 16 MiB: a page that changes
    // again and again until then is copied once. After a larger one the file is cut back to that.
    connection.execute_batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA foreign_keys = ON;
         PRAGMA cache_size = -8192;
         PRAGMA temp_store = MEMORY;
         PRAGMA mmap_size = 0;
         PRAGMA wal_autocheckpoint = 4096;
         PRAGMA journal_size_limit = 16777216;
         PRAGMA trusted_schema = OFF;",
    )?;
    Ok((connection, lock))
}

/// The file that stands beside the database under its name and this ending.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn owned_file(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

pub(super) fn exec(connection: &mut rusqlite::Connection, sql: &str, values: &[Value<'_>]) -> Result<u64, StorageError> {
    let changed = bound(connection, sql, values)?.raw_execute()?;
    Ok(changed as u64)
}

pub(super) fn row<T>(
    connection: &mut rusqlite::Connection,
    sql: &str,
    values: &[Value<'_>],
    read: impl FnOnce(&Row<'_>) -> Result<T, StorageError>,
) -> Result<Option<T>, StorageError> {
    let mut statement = bound(connection, sql, values)?;
    let mut rows = statement.raw_query();
    rows.next()?.map(|row| read(&Row::sqlite(row))).transpose()
}

pub(super) fn rows<T>(
    connection: &mut rusqlite::Connection,
    sql: &str,
    values: &[Value<'_>],
    mut read: impl FnMut(&Row<'_>) -> Result<T, StorageError>,
) -> Result<Vec<T>, StorageError> {
    let mut statement = bound(connection, sql, values)?;
    let mut rows = statement.raw_query();
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(&Row::sqlite(row))?);
    }
    Ok(found)
}

/// SQLite numbers `$2` and `$1` by their first appearance; PostgreSQL, and so we, by their digits. A `?` is its own place.
fn bound<'c>(connection: &'c rusqlite::Connection, sql: &str, values: &[Value<'_>]) -> Result<CachedStatement<'c>, StorageError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut highest = 0;
    for position in 1..=statement.parameter_count() {
        let number = match statement.parameter_name(position) {
            Some(name) => name.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok()),
            None => Some(position),
        };
        let value = number.and_then(|number| values.get(number.checked_sub(1)?));
        let (Some(number), Some(value)) = (number, value) else {
            return Err(StorageError::Query(format!("no value for a placeholder of: {sql}")));
        };
        highest = highest.max(number);
        statement.raw_bind_parameter(position, value)?;
    }
    if highest != values.len() {
        return Err(StorageError::Query(format!("{} values for {highest} placeholders of: {sql}", values.len())));
    }
    Ok(statement)
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            // PostgreSQL cannot store it; the embedded engine must not accept what the other refuses.
            Value::Text(text) if text.contains('\0') => {
                return Err(rusqlite::Error::ToSqlConversionFailure("text with a NUL".into()));
            }
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Int(int) => ValueRef::Integer(*int),
            Value::Blob(blob) => ValueRef::Blob(blob),
            Value::NullText | Value::NullInt | Value::NullBlob => ValueRef::Null,
        }))
    }
}
