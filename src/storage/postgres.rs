//! The engine for installations that outgrow one machine: PostgreSQL through a pool
//! ([transaction isolation](https://www.postgresql.org/docs/current/transaction-iso.html)).
//!
//! Transactions are READ COMMITTED; what must be atomic is one statement. Nobody takes a second connection while holding one, so a
//! pool of any size makes progress. Connections that broke are replaced by the pool.

use std::str::FromStr as _;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgPool, PgPoolOptions, PgRow};
use sqlx::{Arguments as _, Column as _, ConnectOptions as _, Connection as _, Executor as _, Row as _, TypeInfo as _};
use tracing::Instrument as _;

use super::StorageError;
use super::faults::{Fate, Faults};
use super::migrate::{self, Applied, Migration};
use super::tx::{Connection, Row, Tx, Value, run_effects};

/// A request that waits longer for a connection is better told to come again.
const ACQUIRE_WAIT: Duration = Duration::from_secs(2);

/// A connection that idled this long is asked for a sign of life before it is handed out.
const TRUSTED_IDLE: Duration = Duration::from_secs(5);

/// As in the embedded engine, above the number of different SQL texts.
const STATEMENTS_CACHED: usize = 256;

/// What every session is to guarantee, whatever the server's own settings are.
const SESSION: &str = "SET synchronous_commit = on; SET default_transaction_isolation = 'read committed'; \
    SET statement_timeout = '5s'; SET lock_timeout = '2s'; SET idle_in_transaction_session_timeout = '10s'; \
    SET client_min_messages = warning";

pub(super) struct Postgres {
    pool: PgPool,
    faults: Faults,
}

impl Postgres {
    pub(super) async fn open(url: &str, connections_max: u32, migrations: &[Migration]) -> Result<Self, StorageError> {
        let pool = connect(url, connections_max).await?;
        migrate::postgres(&pool, migrations).await?;
        Ok(Self { pool, faults: Faults::default() })
    }

    pub(super) async fn migrate(url: &str, migrations: &[Migration]) -> Result<Vec<Applied>, StorageError> {
        let pool = connect(url, 1).await?;
        let applied = migrate::postgres(&pool, migrations).await;
        pool.close().await;
        applied
    }

    pub(super) async fn lacks(url: &str, migrations: &[Migration]) -> Result<usize, StorageError> {
        let pool = connect(url, 1).await?;
        let lacks = migrate::postgres_lacks(&pool, migrations).await;
        pool.close().await;
        lacks
    }

    pub(super) async fn look<T, E, F>(url: &str, work: F) -> Result<T, E>
    where
        E: From<StorageError>,
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, E>>,
    {
        let looking = Postgres { pool: connect(url, 1).await?, faults: Faults::default() };
        let answer = looking.read(work).await;
        looking.close().await;
        answer
    }

    /// Runs in a task of its own, so that a caller that goes away stops neither the commit nor what follows it half-way.
    pub(super) async fn write<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StorageError> + Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
    {
        let (pool, faults) = (self.pool.clone(), self.faults.clone());
        let transaction = async move {
            if faults.crashes_now() {
                return Err(dead().into());
            }
            let mut tx = Tx::new(Connection::PostgresWrite(pool.begin().await.map_err(StorageError::from)?));
            let value = work(&mut tx).await?;
            commit(tx, &faults).await?;
            Ok(value)
        };
        match tokio::spawn(transaction.in_current_span()).await {
            Ok(result) => result,
            Err(error) if error.is_panic() => Err(StorageError::Query("a closure panicked inside its transaction".into()).into()),
            Err(_) => Err(StorageError::unavailable("the process is stopping").into()),
        }
    }

    pub(super) async fn read<T, E, F>(&self, work: F) -> Result<T, E>
    where
        E: From<StorageError>,
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, E>>,
    {
        let connection = self.pool.acquire().await.map_err(StorageError::from)?;
        let mut tx = Tx::new(Connection::PostgresRead(connection));
        work(&mut tx).await
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }

    pub(super) fn faults(&self) -> &Faults {
        &self.faults
    }
}

async fn connect(url: &str, connections_max: u32) -> Result<PgPool, StorageError> {
    let options = PgConnectOptions::from_str(url)?
        .application_name("deputy")
        .statement_cache_capacity(STATEMENTS_CACHED)
        .disable_statement_logging();
    let pool = PgPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(ACQUIRE_WAIT)
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for > TRUSTED_IDLE {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .after_connect(|connection, _| Box::pin(async move { connection.execute(sqlx::raw_sql(SESSION)).await.map(|_| ()) }))
        .connect_with(options)
        .await?;
    Ok(pool)
}

/// After a failed statement the server would answer COMMIT by rolling back without a complaint.
async fn commit(mut tx: Tx, faults: &Faults) -> Result<(), StorageError> {
    if let Some(failure) = tx.failure {
        return Err(failure);
    }
    if let Some(slowness) = faults.slowness() {
        tokio::time::sleep(slowness).await;
    }
    match faults.before_commit() {
        Fate::Proceeds => {}
        Fate::MeetsFullDisk => return Err(StorageError::Full),
        Fate::Crashes => return Err(dead()),
    }
    let effects = std::mem::take(&mut tx.effects);
    if let Connection::PostgresWrite(transaction) = tx.connection {
        transaction.commit().await?;
    }
    if faults.crashes_after_commit() {
        // Whoever comes later finds the process dead.
        faults.crash_before_commit(0);
        return Err(dead());
    }
    run_effects(effects);
    Ok(())
}

fn dead() -> StorageError {
    StorageError::unavailable("the process was killed")
}

pub(super) async fn exec(connection: &mut PgConnection, sql: &'static str, values: &[Value<'_>]) -> Result<u64, StorageError> {
    let done = connection.execute(sqlx::query_with(sql, arguments(values)?)).await?;
    Ok(done.rows_affected())
}

pub(super) async fn row<T>(
    connection: &mut PgConnection,
    sql: &'static str,
    values: &[Value<'_>],
    read: impl FnOnce(&Row<'_>) -> Result<T, StorageError>,
) -> Result<Option<T>, StorageError> {
    let found = connection.fetch_optional(sqlx::query_with(sql, arguments(values)?)).await?;
    found.map(|row| read(&Row::postgres(&row))).transpose()
}

pub(super) async fn rows<T>(
    connection: &mut PgConnection,
    sql: &'static str,
    values: &[Value<'_>],
    mut read: impl FnMut(&Row<'_>) -> Result<T, StorageError>,
) -> Result<Vec<T>, StorageError> {
    let found = connection.fetch_all(sqlx::query_with(sql, arguments(values)?)).await?;
    found.iter().map(|row| read(&Row::postgres(row))).collect()
}

pub(super) fn text(row: &PgRow, column: usize) -> Result<Option<String>, StorageError> {
    Ok(row.try_get(column)?)
}

pub(super) fn blob(row: &PgRow, column: usize) -> Result<Option<Vec<u8>>, StorageError> {
    Ok(row.try_get(column)?)
}

/// Literals are INT4 and comparisons BOOL here, where SQLite has one kind of number.
pub(super) fn int(row: &PgRow, column: usize) -> Result<Option<i64>, StorageError> {
    match row.try_column(column)?.type_info().name() {
        "BOOL" => Ok(row.try_get::<Option<bool>, _>(column)?.map(i64::from)),
        "INT4" => Ok(row.try_get::<Option<i32>, _>(column)?.map(i64::from)),
        _ => Ok(row.try_get(column)?),
    }
}

fn arguments(values: &[Value<'_>]) -> Result<PgArguments, StorageError> {
    let mut arguments = PgArguments::default();
    for value in values {
        match *value {
            Value::Text(text) => arguments.add(text),
            Value::Int(int) => arguments.add(int),
            Value::Blob(blob) => arguments.add(blob),
            Value::NullText => arguments.add(None::<&str>),
            Value::NullInt => arguments.add(None::<i64>),
            Value::NullBlob => arguments.add(None::<&[u8]>),
        }
        .map_err(|error| StorageError::Query(error.to_string()))?;
    }
    Ok(arguments)
}
