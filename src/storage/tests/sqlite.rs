//! The embedded engine: one writer, shared commits, crashes, the file and its lock.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::mpsc;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};

use super::{Done, Opened, SCHEMA, add, ids, insert, open_sqlite};
use crate::storage::{Database, Storage, StorageError};

/// Keeps SQLite's writer busy until told, so that what is asked meanwhile shares one commit.
fn hold(storage: &Storage) -> mpsc::Sender<()> {
    let (release, released) = mpsc::channel();
    let (start, started) = mpsc::channel();
    let held = storage.write(move |_| {
        Box::pin(async move {
            start.send(()).expect("the test waits");
            released.recv().map_err(StorageError::unavailable)
        })
    });
    assert!(held.now_or_never().is_none(), "the writer has it");
    started.recv().expect("the writer starts it");
    release
}

#[tokio::test]
async fn in_a_shared_commit_each_closure_fails_alone() {
    let Opened { storage, folder: _folder, .. } = open_sqlite().await;
    let release = hold(&storage);
    let panics: BoxFuture<'_, Done> = storage.write(|_| Box::pin(async { panic!("as the test asks") })).boxed();
    let fails = storage.write(|tx| {
        Box::pin(async move {
            insert(tx, "undone", "undone").await?;
            Err(StorageError::Foreign)
        })
    });
    let all = join_all([add(&storage, "a").boxed(), fails.boxed(), panics, add(&storage, "a").boxed(), add(&storage, "b").boxed()]);
    let (answers, ()) = tokio::join!(all, async { release.send(()).expect("the writer waits") });
    assert_eq!(answers.iter().map(|answer| answer.is_ok()).collect::<Vec<_>>(), [true, false, false, false, true]);
    assert_eq!(answers[1], Err(StorageError::Foreign));
    assert_eq!(ids(&storage).await, ["a", "b"]);
}

#[tokio::test]
async fn a_failed_commit_is_told_to_everyone_in_it_and_heals() {
    let Opened { storage, folder: _folder, .. } = open_sqlite().await;
    let release = hold(&storage);
    // One for the commit that is held, one for the commit that all the others share.
    storage.faults().fail_commits(2);
    let refused = storage.write(|_| Box::pin(async { Err(StorageError::Foreign) }));
    let all = join_all([add(&storage, "a").boxed(), add(&storage, "b").boxed(), refused.boxed()]);
    let (answers, ()) = tokio::join!(all, async { release.send(()).expect("the writer waits") });
    assert_eq!(answers, vec![Err(StorageError::Full); 3], "a refusal may rest on what did not happen");
    assert_eq!(add(&storage, "c").await, Ok(()));
    assert_eq!(ids(&storage).await, ["c"]);
}

#[tokio::test]
async fn a_disk_that_is_really_full_heals() {
    let Opened { storage, folder: _folder, .. } = open_sqlite().await;
    let limit = |sql: &'static str| storage.write(move |tx| Box::pin(async move { tx.row(sql, &[], |row| row.int(0)).await }));
    let grow = || {
        storage.write(|tx| {
            Box::pin(async move {
                let megabyte = vec![0; 1 << 20];
                tx.exec("INSERT INTO grants (id, client, scope, hash) VALUES ('big', '', '', $1)", &[(&megabyte).into()]).await
            })
        })
    };
    let limited: Result<_, StorageError> = limit("PRAGMA max_page_count = 30").await;
    assert_eq!(limited, Ok(Some(30)));
    assert_eq!(grow().await, Err(StorageError::Full));
    add(&storage, "small").await.expect("there is room for it");
    limit("PRAGMA max_page_count = 10000").await.expect("raised");
    assert_eq!(grow().await, Ok(1));
    assert_eq!(ids(&storage).await, ["big", "small"]);
}

#[tokio::test]
async fn too_many_waiters_are_told_to_come_again() {
    let Opened { storage, folder: _folder, .. } = open_sqlite().await;
    let release = hold(&storage);
    let waiting = std::iter::repeat_with(|| storage.ping().now_or_never()).take_while(Option::is_none).take(10_000).count();
    assert_eq!(waiting, 4096);
    assert_eq!(storage.ping().await, Err(StorageError::Busy));
    release.send(()).expect("the writer waits");
}

#[tokio::test]
async fn a_closure_that_waits_is_an_error_not_a_hang() {
    let Opened { storage, folder: _folder, .. } = open_sqlite().await;
    let waits: Done = storage.write(|_| Box::pin(std::future::pending())).await;
    assert!(matches!(waits, Err(StorageError::Query(_))));
    let waits: Done = storage.read(|_| Box::pin(std::future::pending())).await;
    assert!(matches!(waits, Err(StorageError::Query(_))));
    assert_eq!(storage.ping().await, Ok(()));
}

#[tokio::test]
async fn a_crash_keeps_what_was_answered_and_nothing_half() {
    for kept in [["answered"].as_slice(), &["answered", "doubtful"]] {
        let Opened { storage, database, folder: _folder, .. } = open_sqlite().await;
        add(&storage, "answered").await.expect("new");
        let faults = storage.faults();
        if kept.contains(&"doubtful") {
            faults.crash_after_commit(0)
        } else {
            faults.crash_before_commit(0)
        }
        assert!(matches!(add(&storage, "doubtful").await, Err(StorageError::Unavailable { .. })));
        assert!(matches!(add(&storage, "late").await, Err(StorageError::Unavailable { .. })));
        storage.crash().await;
        let storage = Storage::open(&database, SCHEMA).await.expect("the lock is free and the log is replayed");
        assert_eq!(ids(&storage).await, kept);
    }
}

#[tokio::test]
async fn a_crash_from_outside_answers_nobody() {
    let Opened { storage, database, folder: _folder, .. } = open_sqlite().await;
    let release = hold(&storage);
    let (waiting, (), ()) = tokio::join!(add(&storage, "waiting"), storage.crash(), async { drop(release) });
    assert!(matches!(waiting, Err(StorageError::Unavailable { .. })));
    assert!(database_folder(&database).join("deputy.db-wal").exists(), "as a killed process leaves it");
    let storage = Storage::open(&database, SCHEMA).await.expect("the lock is free");
    assert_eq!(ids(&storage).await, [""; 0]);
}

#[tokio::test]
async fn one_process_has_the_file_and_only_its_owner_reads_it() {
    let Opened { storage, database, folder: _folder, .. } = open_sqlite().await;
    let path = database_folder(&database).join("deputy.db");
    assert_eq!(Storage::open(&database, SCHEMA).await.err(), Some(StorageError::InUse { path: path.clone() }));
    storage.close().await;
    assert!(Storage::open(&database, SCHEMA).await.is_ok());
    for file in [path.as_path(), database_folder(&database)] {
        assert_eq!(file.metadata().expect("it exists").mode() & 0o077, 0, "{file:?}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_and_a_folder_that_is_a_file_are_told() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let path = folder.path().join("letter");
    std::fs::write(&path, "Dear Deputy, ".repeat(1000)).expect("the folder is writable");
    let opened = Storage::open(&Database::Sqlite { path: path.clone() }, SCHEMA).await.err();
    assert!(matches!(opened, Some(StorageError::Corrupt(_))), "{opened:?}");
    let opened = Storage::open(&Database::Sqlite { path: path.join("deputy.db") }, SCHEMA).await.err();
    assert!(matches!(opened, Some(StorageError::NotWritable { .. })), "{opened:?}");
}

fn database_folder(database: &Database) -> &Path {
    match database {
        Database::Sqlite { path } => path.parent().expect("it is in a folder"),
        Database::Postgres { .. } => unreachable!("asked of SQLite only"),
    }
}

/// By what the connection says of itself; that the file is then really synced, `tests/stories/on_disk.rs` has the kernel tell.
#[tokio::test]
async fn whoever_writes_is_set_to_sync_every_commit() {
    let Opened { storage, folder: _folder, .. } = open_sqlite().await;
    let told =
        async |sql: &'static str| storage.write(move |tx| Box::pin(async move { tx.row(sql, &[], |row| row.int(0)).await })).await;
    let full: Result<_, StorageError> = told("PRAGMA synchronous").await;
    assert_eq!(full, Ok(Some(2)));
}
