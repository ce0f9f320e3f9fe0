//! PostgreSQL: connections that break, pools that are full, locks that cross, several starters.

use std::sync::Arc;

use futures_util::future::try_join_all;
use sqlx::{Connection as _, Executor as _, PgConnection};
use tokio::sync::{Barrier, oneshot};

use super::{Opened, SCHEMA, add, at, ids, insert, open_postgres};
use crate::storage::private_postgres::PrivateDatabase;
use crate::storage::{Database, Storage, StorageError};

#[tokio::test]
async fn lost_connections_are_unavailable_and_come_back() {
    let Opened { storage, private, .. } = open_postgres().await;
    let private = private.expect("it is PostgreSQL");
    let (start, started) = oneshot::channel();
    let (end, ended) = oneshot::channel::<()>();
    let cut = storage.write(move |tx| {
        Box::pin(async move {
            insert(tx, "lost", "c").await?;
            start.send(()).expect("the test waits");
            ended.await.map_err(StorageError::unavailable)
        })
    });
    let (cut, ()) = tokio::join!(cut, async {
        started.await.expect("it begins");
        private.break_connections().await;
        end.send(()).expect("it waits");
    });
    assert!(matches!(cut, Err(StorageError::Unavailable { .. })), "{cut:?}");
    // Each connection of the pool may be found broken once.
    let mut answers = Vec::new();
    for _ in 0..5 {
        answers.push(storage.ping().await);
    }
    assert!(answers.iter().flat_map(|answer| answer.as_ref().err()).all(StorageError::is_transient), "{answers:?}");
    assert_eq!(answers.last(), Some(&Ok(())));
    assert_eq!(ids(&storage).await, [""; 0]);
}

#[tokio::test]
async fn transactions_that_lock_crosswise_do_not_hang() {
    let Opened { storage, private: _private, .. } = open_postgres().await;
    for id in ["a", "b"] {
        add(&storage, id).await.expect("new");
    }
    let both_have_one = Arc::new(Barrier::new(2));
    let use_both = |first: &'static str, second: &'static str| {
        let both_have_one = both_have_one.clone();
        storage.write(move |tx| {
            Box::pin(async move {
                tx.exec("UPDATE grants SET uses = uses + 1 WHERE id = $1", &[first.into()]).await?;
                both_have_one.wait().await;
                tx.exec("UPDATE grants SET uses = uses + 1 WHERE id = $1", &[second.into()]).await
            })
        })
    };
    let mut answers: [Result<u64, StorageError>; 2] = tokio::join!(use_both("a", "b"), use_both("b", "a")).into();
    answers.sort_by_key(Result::is_err);
    assert_eq!(answers, [Ok(1), Err(StorageError::Serialization)]);
}

#[tokio::test]
async fn a_pool_that_stays_full_is_busy() {
    let private = PrivateDatabase::empty().await;
    let database = Database::Postgres { url: private.url(), connections_max: 1 };
    let storage = Storage::open(&database, SCHEMA).await.expect("the private PostgreSQL is there");
    let (start, started) = oneshot::channel();
    let (end, ended) = oneshot::channel::<()>();
    let holds = storage.write(move |_| {
        Box::pin(async move {
            start.send(()).expect("the test waits");
            ended.await.map_err(StorageError::unavailable)
        })
    });
    let (held, ()) = tokio::join!(holds, async {
        started.await.expect("it begins");
        assert_eq!(storage.ping().await, Err(StorageError::Busy));
        end.send(()).expect("it waits");
    });
    assert_eq!((held, storage.ping().await), (Ok(()), Ok(())));
}

#[tokio::test]
async fn starters_take_turns_to_migrate() {
    let private = PrivateDatabase::empty().await;
    let database = at(private.url());
    let applied = try_join_all((0..4).map(|_| Storage::migrate(&database, SCHEMA))).await.expect("nobody fails");
    let numbers: Vec<u32> = applied.into_iter().flatten().map(|applied| applied.number).collect();
    assert_eq!(numbers.iter().sum::<u32>(), 3, "each once: {numbers:?}");
}

#[tokio::test]
async fn a_commit_waits_for_the_disk_whatever_the_database_is_set_to() {
    const SHOWN: &str = "SELECT current_setting('synchronous_commit')";
    let private = PrivateDatabase::empty().await;
    let mut stranger = PgConnection::connect(&private.url()).await.expect("the private PostgreSQL answers");
    let set_off = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$";
    stranger.execute(set_off).await.expect("the database is ours");
    stranger.close().await.expect("the connection ends");
    let mut stranger = PgConnection::connect(&private.url()).await.expect("the private PostgreSQL answers");
    let shown: String = sqlx::query_scalar(SHOWN).fetch_one(&mut stranger).await.expect("it tells its settings");
    assert_eq!(shown, "off", "for whoever says nothing else");
    stranger.close().await.expect("the connection ends");

    let storage = Storage::open(&at(private.url()), SCHEMA).await.expect("it migrates");
    let sessions = (0..8).map(|_| storage.write(|tx| Box::pin(async move { tx.row(SHOWN, &[], |row| row.text(0)).await })));
    let shown: Result<Vec<_>, StorageError> = try_join_all(sessions).await;
    assert_eq!(shown, Ok(vec![Some("on".to_owned()); 8]));
}
