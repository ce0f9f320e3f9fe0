//! The SQLite engine's only writer: one thread that lets all who wait share one durable commit.
//!
//! Each closure runs in a savepoint of its own, so that its failure undoes nothing but itself. Everybody, also who was refused, is
//! answered only after the commit: a refusal may rest on what another closure of the same batch did, and that has not happened if
//! the commit fails.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rusqlite::config::DbConfig;
use tokio::sync::{mpsc, oneshot, watch};

use super::directory::Directory;
use super::faults::{Fate, Faults};
use super::tx::{Connection, Effect, run_effects};
use super::{StorageError, Tx};

/// How many closures one commit carries at most: beyond this, the wait of the first grows and the gain per closure vanishes.
const BATCH_MAX: usize = 64;

/// How many closures may wait: a fifth of a second's work at the measured 25,000 a second. Who comes then is told to come again.
const QUEUE_MAX: usize = 4096;

pub(super) struct Writer {
    queue: mpsc::Sender<Message>,
    ended: watch::Receiver<()>,
    pub(super) faults: Faults,
}

enum Message {
    Write(Box<dyn Job>),
    /// Wakes the thread to finish what waits, or to find that it is to crash.
    Stop,
}

/// A closure that waits for its turn and for its answer, with its types forgotten.
trait Job: Send {
    fn run(&mut self, tx: &mut Tx) -> Outcome;
    fn answer(self: Box<Self>, committed: Result<(), StorageError>);
}

#[derive(PartialEq, Eq)]
enum Outcome {
    Keep,
    Undo,
}

impl Writer {
    /// `lock` is held until the thread has closed the database.
    pub(super) fn start(connection: rusqlite::Connection, lock: File, directory: Arc<Directory>) -> Result<Self, StorageError> {
        let (queue, messages) = mpsc::channel(QUEUE_MAX);
        let (end, ended) = watch::channel(());
        let faults = Faults::default();
        let mut tx = Tx::new(Connection::SqliteWrite(connection));
        tx.directory = Some(directory);
        let thread_faults = faults.clone();
        std::thread::Builder::new()
            .name("storage-writer".into())
            .spawn(move || {
                write_until_stopped(messages, tx, &thread_faults);
                drop(lock);
                drop(end);
            })
            .map_err(StorageError::unavailable)?;
        Ok(Self { queue, ended, faults })
    }

    pub(super) async fn write<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StorageError> + Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job = Waiting { work: Some(work), result: None, answer };
        self.queue.try_send(Message::Write(Box::new(job))).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StorageError::Busy,
            mpsc::error::TrySendError::Closed(_) => StorageError::unavailable("storage is closed"),
        })?;
        answered.await.unwrap_or_else(|_| Err(StorageError::unavailable("storage stopped before it answered").into()))
    }

    /// Resolves when everything that waited is committed and the database is closed.
    pub(super) async fn close(&self) {
        // Fails only if the thread has ended already.
        let _ = self.queue.send(Message::Stop).await;
        let _ = self.ended.clone().changed().await;
    }

    /// Resolves when the thread is gone, having committed nothing more and answered nobody.
    pub(super) async fn crash(&self) {
        self.faults.crash_before_commit(0);
        // If the queue is full the thread is awake and sees the order anyway.
        let _ = self.queue.try_send(Message::Stop);
        let _ = self.ended.clone().changed().await;
    }
}

struct Waiting<T, E, F> {
    work: Option<F>,
    result: Option<Result<T, E>>,
    answer: oneshot::Sender<Result<T, E>>,
}

impl<T, E, F> Job for Waiting<T, E, F>
where
    T: Send,
    E: From<StorageError> + Send,
    F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, E>> + Send,
{
    /// Statements on SQLite complete at once, so one poll is enough for every closure that waits for nothing else.
    fn run(&mut self, tx: &mut Tx) -> Outcome {
        let work = self.work.take().expect("a job runs once");
        let result = match catch_unwind(AssertUnwindSafe(|| work(tx).now_or_never())) {
            Ok(Some(Ok(value))) => tx.failure.clone().map_or(Ok(value), |failure| Err(failure.into())),
            Ok(Some(Err(error))) => Err(error),
            Ok(None) => Err(StorageError::Query("a closure waited for something other than the database".into()).into()),
            Err(_) => Err(StorageError::Query("a closure panicked inside its transaction".into()).into()),
        };
        let outcome = if result.is_ok() { Outcome::Keep } else { Outcome::Undo };
        self.result = Some(result);
        outcome
    }

    fn answer(self: Box<Self>, committed: Result<(), StorageError>) {
        let result = match committed {
            Ok(()) => self.result.expect("a job is answered Ok only after it ran"),
            Err(error) => Err(error.into()),
        };
        // Who went away does not hear it.
        let _ = self.answer.send(result);
    }
}

/// Why a batch came to nothing.
enum Lost {
    Failed(StorageError),
    Crashed,
}

impl From<StorageError> for Lost {
    fn from(error: StorageError) -> Self {
        Self::Failed(error)
    }
}

fn write_until_stopped(mut messages: mpsc::Receiver<Message>, mut tx: Tx, faults: &Faults) {
    let mut batch: Vec<Box<dyn Job>> = Vec::with_capacity(BATCH_MAX);
    while let Some(first) = messages.blocking_recv() {
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Write(job) => batch.push(job),
                // What is queued already still comes out, then `None`.
                Message::Stop => messages.close(),
            }
            next = if batch.len() < BATCH_MAX { messages.try_recv().ok() } else { None };
        }
        if faults.crashes_now() {
            return die(&tx);
        }
        if batch.is_empty() {
            continue;
        }
        let committed = match commit(&mut tx, &mut batch, faults) {
            Ok(effects) => {
                run_effects(effects);
                Ok(())
            }
            Err(Lost::Failed(error)) => Err(error),
            Err(Lost::Crashed) => return die(&tx),
        };
        for job in batch.drain(..) {
            job.answer(committed.clone());
        }
    }
}

/// Runs the batch in one transaction and makes it durable; what is to follow the commit is returned. After an error nothing of the
/// batch has happened.
fn commit(tx: &mut Tx, batch: &mut [Box<dyn Job>], faults: &Faults) -> Result<Vec<Effect>, Lost> {
    let committed = run_and_commit(tx, batch, faults);
    if committed.is_err() {
        tx.effects.clear();
        // SQLite has rolled back already after some errors, then this one fails; it cannot leave a transaction open.
        let _ = control(tx, "ROLLBACK");
    }
    committed
}

fn run_and_commit(tx: &mut Tx, batch: &mut [Box<dyn Job>], faults: &Faults) -> Result<Vec<Effect>, Lost> {
    control(tx, "BEGIN IMMEDIATE")?;
    for job in batch {
        run_in_savepoint(tx, job.as_mut())?;
    }
    if let Some(slowness) = faults.slowness() {
        #[expect(clippy::disallowed_methods, reason = "the simulator ordered it, and the writer has a thread of its own")]
        std::thread::sleep(slowness);
    }
    match faults.before_commit() {
        Fate::Proceeds => control(tx, "COMMIT")?,
        Fate::MeetsFullDisk => return Err(StorageError::Full.into()),
        Fate::Crashes => return Err(Lost::Crashed),
    }
    if faults.crashes_after_commit() {
        return Err(Lost::Crashed);
    }
    Ok(std::mem::take(&mut tx.effects))
}

fn run_in_savepoint(tx: &mut Tx, job: &mut dyn Job) -> Result<(), StorageError> {
    let effects_before = tx.effects.len();
    control(tx, "SAVEPOINT job")?;
    let outcome = job.run(tx);
    let failure = tx.failure.take();
    // A full disk or a failed read makes SQLite roll back the whole transaction, and with it the closures before this one.
    if sqlite(tx).is_autocommit() {
        return Err(failure.unwrap_or_else(|| StorageError::unavailable("the transaction was lost")));
    }
    if outcome == Outcome::Undo {
        tx.effects.truncate(effects_before);
        control(tx, "ROLLBACK TO job")?;
    }
    control(tx, "RELEASE job")
}

fn control(tx: &Tx, sql: &'static str) -> Result<(), StorageError> {
    sqlite(tx).prepare_cached(sql)?.raw_execute()?;
    Ok(())
}

/// Leaves the files as a killed process would: the write-ahead log is not folded into the database.
fn die(tx: &Tx) {
    // If this fails, the next start merely has less to recover.
    let _ = sqlite(tx).set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
}

fn sqlite(tx: &Tx) -> &rusqlite::Connection {
    match &tx.connection {
        Connection::SqliteWrite(connection) => connection,
        _ => unreachable!("the writer was started with an SQLite connection"),
    }
}
