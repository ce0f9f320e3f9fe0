//! All SQL. One function per question, one SQL text for SQLite and PostgreSQL, behind this small facade.
//!
//! Nothing above this module can tell the engines apart, but for one question: `Storage::is_exclusive`. A closure given to
//! `Storage::write` is one transaction and is answered when it is on the disk; it waits for nothing but its own statements, and on
//! SQLite it runs on the writer's thread, in the same commit as up to 63 others. It may be run once only, and sees everything that
//! was answered before it.
//!
//! 2026-11: SQLite through rusqlite, PostgreSQL through sqlx. sqlx hops threads for every SQLite statement, which costs more than an
//! ES256 signature and an HTTP request together. What awaits PostgreSQL is boxed: its futures of 5 kB would otherwise be part of
//! every request's, and moved about also where SQLite answers at once.

pub mod clients;
pub mod people;
pub mod resources;
pub mod grants;
pub mod one_time;
pub mod revocations;
pub mod attempts;
pub mod signing_keys;
pub mod operators;
pub mod sources;
pub mod transformations;
pub mod tracking_plans;
pub mod shapes;
pub mod webhooks;
pub mod warehouses;
pub mod outbox;
pub mod leases;
pub mod event_logs;
pub mod consumers;
pub mod identities;
pub mod profile_states;
pub mod definitions;
pub mod audience_walk;
pub mod profile_records;
pub mod interventions;
pub mod profile_tokens;
pub mod predictions;
pub mod risk;
pub mod actors;

mod batch;
mod columns;
mod directory;
mod error;
mod faults;
mod migrate;
mod postgres;
mod sqlite;
mod tx;
mod writer;

#[cfg(test)]
#[path = "../../tests/support/postgres.rs"]
#[expect(dead_code, reason = "the tests from outside use more of it")]
mod private_postgres;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::config::{DatabaseAddress, Settings};

pub use error::StorageError;
pub use faults::Faults;
pub use migrate::{Applied, Migration};
pub use tx::{Row, Tx, Value};

pub use directory::Resources;

use postgres::Postgres;
use sqlite::Sqlite;

/// All migrations of this version, in order.
pub const MIGRATIONS: &[Migration] = &[
    Migration { number: 1, name: "the_house", sql: include_str!("../../migrations/0001_the_house.sql") },
    Migration { number: 2, name: "sources", sql: include_str!("../../migrations/0002_sources.sql") },
    Migration { number: 3, name: "profiles", sql: include_str!("../../migrations/0003_profiles.sql") },
    Migration { number: 4, name: "profile_states", sql: include_str!("../../migrations/0004_profile_states.sql") },
    Migration { number: 5, name: "transformations", sql: include_str!("../../migrations/0005_transformations.sql") },
    Migration { number: 6, name: "interventions", sql: include_str!("../../migrations/0006_interventions.sql") },
    Migration { number: 7, name: "risk", sql: include_str!("../../migrations/0007_risk.sql") },
    Migration { number: 8, name: "risk_of_people", sql: include_str!("../../migrations/0008_risk_of_people.sql") },
    Migration { number: 9, name: "actors", sql: include_str!("../../migrations/0009_actors.sql") },
    Migration { number: 10, name: "consumers", sql: include_str!("../../migrations/0010_consumers.sql") },
    Migration { number: 11, name: "warehouses", sql: include_str!("../../migrations/0011_warehouses.sql") },
    Migration { number: 12, name: "predictions", sql: include_str!("../../migrations/0012_predictions.sql") },
    Migration { number: 13, name: "event_logs", sql: include_str!("../../migrations/0013_event_logs.sql") },
    Migration { number: 14, name: "prediction_changes", sql: include_str!("../../migrations/0014_prediction_changes.sql") },
    Migration { number: 15, name: "left_out_times", sql: include_str!("../../migrations/0015_left_out_times.sql") },
    Migration { number: 16, name: "enabled_clients", sql: include_str!("../../migrations/0016_enabled_clients.sql") },
    Migration { number: 17, name: "audience_walk", sql: include_str!("../../migrations/0017_audience_walk.sql") },
    Migration { number: 18, name: "seen_clients", sql: include_str!("../../migrations/0018_seen_clients.sql") },
    Migration { number: 19, name: "earlier_rotations", sql: include_str!("../../migrations/0019_earlier_rotations.sql") },
];

/// Where the state is kept.
#[derive(Clone)]
pub enum Database {
    /// The file is made if it is missing, and so is its folder.
    Sqlite { path: PathBuf },
    Postgres {
        /// May hold a password.
        url: String,
        connections_max: u32,
    },
}

impl Database {
    /// The database that the configuration names.
    pub fn of(settings: &Settings) -> Self {
        match &settings.database {
            DatabaseAddress::Sqlite => Self::Sqlite { path: settings.sqlite_path() },
            DatabaseAddress::Postgres(url) => {
                Self::Postgres { url: url.reveal().clone(), connections_max: settings.database_connections_max }
            }
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite { path } => f.debug_struct("Sqlite").field("path", path).finish(),
            Self::Postgres { connections_max, .. } => {
                f.debug_struct("Postgres").field("connections_max", connections_max).finish_non_exhaustive()
            }
        }
    }
}

/// An open database, brought up to the last migration. Clones share it.
///
/// The SQLite file stays locked until [`close`](Self::close) has returned; dropping the last clone closes it too, but only soon.
#[derive(Clone)]
pub struct Storage(Arc<Backend>);

enum Backend {
    Sqlite(Sqlite),
    Postgres(Postgres),
}

impl Storage {
    /// Opens the database and applies the migrations that it lacks. A start, so the caller's thread may be blocked meanwhile.
    ///
    /// Errors that an operator meets: `InUse`, `NotWritable`, `NewerSchema`, `EditedMigration`, `Corrupt`, `Unavailable`.
    pub async fn open(database: &Database, migrations: &[Migration]) -> Result<Self, StorageError> {
        let backend = match database {
            Database::Sqlite { path } => Backend::Sqlite(Sqlite::open(path, migrations)?),
            Database::Postgres { url, connections_max } => {
                Backend::Postgres(Postgres::open(url, *connections_max, migrations).await?)
            }
        };
        Ok(Self(Arc::new(backend)))
    }

    /// Only applies the migrations that the database lacks; returns those.
    pub async fn migrate(database: &Database, migrations: &[Migration]) -> Result<Vec<Applied>, StorageError> {
        match database {
            Database::Sqlite { path } => Sqlite::migrate(path, migrations),
            Database::Postgres { url, .. } => Postgres::migrate(url, migrations).await,
        }
    }

    /// How many migrations the database lacks; changes nothing, and may be asked while a server has it open.
    ///
    /// Errors that an operator meets are those of [`open`](Self::open) but `InUse`.
    pub async fn lacks(database: &Database, migrations: &[Migration]) -> Result<usize, StorageError> {
        match database {
            Database::Sqlite { path } => Sqlite::lacks(path, migrations),
            Database::Postgres { url, .. } => Postgres::lacks(url, migrations).await,
        }
    }

    /// Plain reads of a database that is not opened: nothing is changed, and a server may have it open.
    ///
    /// Errors that an operator meets are those of [`lacks`](Self::lacks), which says first whether the tables are there.
    pub async fn look<T, E, F>(database: &Database, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StorageError> + Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
    {
        match database {
            Database::Sqlite { path } => Sqlite::look(path, work),
            Database::Postgres { url, .. } => Postgres::look(url, work).await,
        }
    }

    /// Runs `work` in one write transaction, and answers only when the commit is durable. `Err`, a panic and a failed statement roll
    /// back. If the caller goes away the transaction still ends by itself, one way or the other.
    pub async fn write<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StorageError> + Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
    {
        match &*self.0 {
            Backend::Sqlite(sqlite) => sqlite.writer.write(work).await,
            Backend::Postgres(postgres) => Box::pin(postgres.write(work)).await,
        }
    }

    /// Plain reads without a transaction: each statement sees everything committed before it, two statements need not see the same.
    pub async fn read<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StorageError> + Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
    {
        match &*self.0 {
            Backend::Sqlite(sqlite) => sqlite.read(work).await,
            Backend::Postgres(postgres) => Box::pin(postgres.read(work)).await,
        }
    }

    /// True if this process is the only one that writes, so that a cache in memory may be exact.
    pub fn is_exclusive(&self) -> bool {
        matches!(&*self.0, Backend::Sqlite(_))
    }

    /// Whether a transaction can be had now.
    pub async fn ping(&self) -> Result<(), StorageError> {
        self.write(|tx| Box::pin(async move { tx.row("SELECT 1", &[], |_| Ok(())).await.map(|_| ()) })).await
    }

    /// Finishes what has begun, then lets go of the database. Later calls are `Unavailable`.
    pub async fn close(&self) {
        match &*self.0 {
            Backend::Sqlite(sqlite) => sqlite.close().await,
            Backend::Postgres(postgres) => postgres.close().await,
        }
    }

    /// As if the process had been killed: nothing more is committed and who waits hears `Unavailable`. When this returns, the
    /// database can be opened anew. PostgreSQL survives our death anyway, there it is the same as [`close`](Self::close).
    pub async fn crash(&self) {
        match &*self.0 {
            Backend::Sqlite(sqlite) => sqlite.crash().await,
            Backend::Postgres(postgres) => postgres.close().await,
        }
    }

    /// Misfortunes to order, for the simulator.
    pub fn faults(&self) -> &Faults {
        match &*self.0 {
            Backend::Sqlite(sqlite) => sqlite.faults(),
            Backend::Postgres(postgres) => postgres.faults(),
        }
    }
}
