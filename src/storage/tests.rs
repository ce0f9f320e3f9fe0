//! What the facade promises, the same on both engines; the children test what only one of them can show.

mod actors;
mod consumers;
mod directory;
mod event_logs;
mod identities;
mod migrations;
mod postgres;
mod sqlite;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::FutureExt as _;
use futures_util::future::try_join_all;
use tokio::sync::oneshot;

use super::private_postgres::PrivateDatabase;
use super::{Database, MIGRATIONS, Migration, Row, Storage, StorageError, Tx, Value};

const SCHEMA: &[Migration] = &[
    Migration {
        number: 1,
        name: "grants",
        sql: "-- What was granted.
            CREATE TABLE grants (id TEXT PRIMARY KEY, client TEXT NOT NULL, scope TEXT NOT NULL, uses INTEGER NOT NULL DEFAULT 0, hash BLOB,
                UNIQUE (client, scope)) STRICT;",
    },
    Migration {
        number: 2,
        name: "outbox",
        sql: "CREATE TABLE outbox (number INTEGER PRIMARY KEY AUTOINCREMENT, grant_id TEXT NOT NULL REFERENCES grants (id)) STRICT;
            CREATE UNIQUE INDEX once ON outbox (grant_id);",
    },
];

type Done = Result<(), StorageError>;

/// An open database and what keeps it there.
struct Opened {
    storage: Storage,
    database: Database,
    folder: Option<tempfile::TempDir>,
    private: Option<PrivateDatabase>,
}

async fn open_sqlite() -> Opened {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let database = Database::Sqlite { path: folder.path().join("data/deputy.db") };
    let storage = Storage::open(&database, SCHEMA).await.expect("a new file opens");
    Opened { storage, database, folder: Some(folder), private: None }
}

async fn open_postgres() -> Opened {
    let private = PrivateDatabase::like("storage_contract", async |url| {
        Storage::migrate(&at(url), SCHEMA).await.expect("the schema fits");
    });
    let private = private.await;
    let database = at(private.url());
    let storage = Storage::open(&database, SCHEMA).await.expect("the private PostgreSQL is there");
    Opened { storage, database, folder: None, private: Some(private) }
}

fn at(url: String) -> Database {
    Database::Postgres { url, connections_max: 4 }
}

async fn both() -> [Opened; 2] {
    [open_sqlite().await, open_postgres().await]
}

async fn insert(tx: &mut Tx, id: &str, client: &str) -> Result<u64, StorageError> {
    tx.exec("INSERT INTO grants (id, client, scope) VALUES ($1, $2, 'read')", &[id.into(), client.into()]).await
}

async fn add(storage: &Storage, id: &'static str) -> Done {
    storage.write(move |tx| Box::pin(async move { insert(tx, id, id).await.map(|_| ()) })).await
}

async fn ids(storage: &Storage) -> Vec<String> {
    let found: Result<_, StorageError> = storage
        .read(|tx| Box::pin(async move { tx.rows("SELECT id FROM grants ORDER BY id", &[], |row| row.text(0)).await }))
        .await;
    found.expect("a plain read works")
}

#[tokio::test]
async fn values_come_back_as_they_went_in() {
    for Opened { storage, .. } in both().await {
        let read = |row: &Row<'_>| Ok((row.text(0)?, row.int(1)?, row.blob(2)?, row.int(3)?, row.int(4)?));
        let row = storage
            .write(move |tx| {
                Box::pin(async move {
                    let hash: &[u8] = &[0, 1, 255];
                    let sql = "INSERT INTO grants (id, client, scope, uses, hash) VALUES ($1, 'c', '', $2, $3)
                        RETURNING id, uses, hash, uses < 0, 7";
                    tx.row(sql, &["é'\"".into(), i64::MIN.into(), hash.into()], read).await
                })
            })
            .await;
        assert_eq!(row, Ok::<_, StorageError>(Some(("é'\"".to_owned(), i64::MIN, vec![0, 1, 255], 1, 7))));

        let nulls = storage
            .read(|tx| {
                Box::pin(async move {
                    let sql = "SELECT CAST($1 AS TEXT), COALESCE($2, 5), COALESCE($3, hash), NULL FROM grants";
                    let nulls = [Value::NullText, None::<i64>.into(), Value::NullBlob];
                    tx.row(sql, &nulls, |row| Ok((row.text_or_null(0)?, row.int_or_null(1)?, row.blob_or_null(2)?, row.text(3))))
                        .await
                })
            })
            .await;
        let unexpected = StorageError::Query("column 3 is NULL, which the reader does not expect".to_owned());
        assert_eq!(nulls, Ok::<_, StorageError>(Some((None, Some(5), Some(vec![0, 1, 255]), Err(unexpected)))));
    }
}

#[tokio::test]
async fn placeholders_count_by_their_digits() {
    for Opened { storage, .. } in both().await {
        let sql = "SELECT CAST($2 AS TEXT) || CAST($1 AS TEXT) || CAST($2 AS TEXT)";
        let text = storage
            .read(move |tx| Box::pin(async move { tx.row(sql, &["one".into(), "two".into()], |row| row.text(0)).await }))
            .await;
        assert_eq!(text, Ok::<_, StorageError>(Some("twoonetwo".to_owned())));
        // PostgreSQL takes a value that no placeholder asks for.
        let miscounted = if storage.is_exclusive() { vec![1, 3] } else { vec![1] };
        for count in miscounted {
            let values = vec![Value::Text("one"); count];
            let refused: Result<Option<()>, StorageError> =
                storage.read(move |tx| Box::pin(async move { tx.row(sql, &values, |_| Ok(())).await })).await;
            assert!(matches!(refused, Err(StorageError::Query(_))), "{refused:?}");
        }
    }
}

#[tokio::test]
async fn text_is_ordered_by_its_bytes_and_holds_no_nul() {
    for Opened { storage, .. } in both().await {
        for id in ["b", "a", "B", "-", "é"] {
            add(&storage, id).await.expect("new");
        }
        assert_eq!(ids(&storage).await, ["-", "B", "a", "b", "é"]);
        assert!(matches!(add(&storage, "a\0b").await, Err(StorageError::Query(_))));
    }
}

#[tokio::test]
async fn only_ok_commits() {
    for Opened { storage, .. } in both().await {
        let refused: Done = storage
            .write(|tx| {
                Box::pin(async move {
                    insert(tx, "refused", "c").await?;
                    Err(StorageError::Serialization)
                })
            })
            .await;
        assert_eq!(refused, Err(StorageError::Serialization));

        let panicked: Done = storage
            .write(|tx| {
                Box::pin(async move {
                    insert(tx, "panicked", "c").await?;
                    panic!("as the test asks")
                })
            })
            .await;
        assert_eq!(panicked, Err(StorageError::Query("a closure panicked inside its transaction".to_owned())));

        assert_eq!(add(&storage, "kept").await, Ok(()));
        assert_eq!(ids(&storage).await, ["kept"]);
    }
}

#[tokio::test]
async fn a_failed_statement_ends_its_transaction() {
    for Opened { storage, .. } in both().await {
        add(&storage, "first").await.expect("new");
        let swallowed: Done = storage
            .write(|tx| {
                Box::pin(async move {
                    insert(tx, "second", "second").await?;
                    let again = insert(tx, "third", "first").await;
                    assert_eq!(again, Err(StorageError::Unique("grants_client_scope".to_owned())));
                    assert_eq!(insert(tx, "fourth", "fourth").await, again, "the error is repeated");
                    Ok(())
                })
            })
            .await;
        assert_eq!(swallowed, Err(StorageError::Unique("grants_client_scope".to_owned())));
        assert_eq!(ids(&storage).await, ["first"]);
    }
}

#[tokio::test]
async fn violated_constraints_have_one_name() {
    for Opened { storage, .. } in both().await {
        add(&storage, "first").await.expect("new");
        let again = storage.write(|tx| Box::pin(insert(tx, "first", "another"))).await;
        assert_eq!(again, Err(StorageError::Unique("grants_id".to_owned())));

        let twice = |grant_id: &'static str| {
            storage.write(move |tx| {
                Box::pin(async move {
                    let sql = "INSERT INTO outbox (grant_id) VALUES ($1), ($2)";
                    tx.exec(sql, &[grant_id.into(), grant_id.into()]).await
                })
            })
        };
        assert_eq!(twice("first").await, Err(StorageError::Unique("outbox_grant_id".to_owned())));
        let stray: Result<u64, StorageError> =
            storage.write(|tx| Box::pin(async move { tx.exec("INSERT INTO outbox (grant_id) VALUES ('none')", &[]).await })).await;
        assert_eq!(stray, Err(StorageError::Foreign));
    }
}

#[tokio::test]
async fn effects_follow_the_commit_and_precede_the_answer() {
    for Opened { storage, .. } in both().await {
        let effects = Arc::new(AtomicU32::new(0));
        for (id, outcome) in [("kept", Ok(())), ("undone", Err(StorageError::Serialization))] {
            let (effects, answer) = (effects.clone(), outcome.clone());
            let done: Done = storage
                .write(move |tx| {
                    Box::pin(async move {
                        insert(tx, id, id).await?;
                        tx.after_commit(|| panic!("an effect that panics harms nobody"));
                        tx.after_commit(move || {
                            effects.fetch_add(1, Ordering::Relaxed);
                        });
                        answer
                    })
                })
                .await;
            assert_eq!(done, outcome);
        }
        assert_eq!(effects.load(Ordering::Relaxed), 1);
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_stop_its_transaction() {
    for Opened { storage, .. } in both().await {
        let (tell, told) = oneshot::channel();
        let write = storage.write(move |tx| {
            Box::pin(async move {
                tx.after_commit(move || tell.send(()).expect("the test waits"));
                insert(tx, "kept", "c").await
            })
        });
        assert!(write.now_or_never().is_none(), "it was started and then dropped");
        told.await.expect("the effect follows");
        assert_eq!(ids(&storage).await, ["kept"]);
    }
}

#[tokio::test]
async fn a_read_may_not_write() {
    for Opened { storage, .. } in both().await {
        let wrote: Result<u64, _> = storage.read(|tx| Box::pin(insert(tx, "a", "c"))).await;
        assert_eq!(wrote, Err(StorageError::Query("a read may not write".to_owned())));
    }
}

#[tokio::test]
async fn what_can_be_used_once_is_used_once() {
    for Opened { storage, .. } in both().await {
        add(&storage, "code").await.expect("new");
        let redeem =
            || storage.write(|tx| Box::pin(async move { tx.exec("UPDATE grants SET uses = 1 WHERE uses = 0", &[]).await }));
        let redeemed: Result<Vec<u64>, StorageError> = try_join_all((0..100).map(|_| redeem())).await;
        assert_eq!(redeemed.map(|each| each.iter().sum()), Ok(1));
    }
}

#[tokio::test]
async fn a_database_is_migrated_once_and_not_by_an_older_version() {
    for Opened { storage, database, folder: _folder, private: _private } in both().await {
        add(&storage, "kept").await.expect("new");
        storage.close().await;
        assert_eq!(Storage::migrate(&database, SCHEMA).await, Ok(vec![]));
        assert_eq!(Storage::open(&database, &SCHEMA[..1]).await.err(), Some(StorageError::NewerSchema { found: 2, known: 1 }));
        let edited = [Migration { sql: "SELECT 1", ..SCHEMA[0] }, SCHEMA[1]];
        let refused = Storage::open(&database, &edited).await.err();
        assert_eq!(refused, Some(StorageError::EditedMigration { number: 1, name: "grants".to_owned() }));

        let storage = Storage::open(&database, SCHEMA).await.expect("it is as it was");
        assert_eq!(ids(&storage).await, ["kept"]);
    }
}

#[tokio::test]
async fn this_versions_migrations_fit_both_engines() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let private = PrivateDatabase::empty().await;
    for database in [Database::Sqlite { path: folder.path().join("deputy.db") }, at(private.url())] {
        let applied = Storage::migrate(&database, MIGRATIONS).await.expect("they fit");
        assert_eq!(applied.len(), MIGRATIONS.len());
    }
}

#[tokio::test]
async fn what_a_database_lacks_is_told_without_changing_it() {
    for opened in both().await {
        assert_eq!(Storage::lacks(&opened.database, SCHEMA).await, Ok(0), "beside the open storage");
        assert_eq!(Storage::lacks(&opened.database, &SCHEMA[..1]).await, Err(StorageError::NewerSchema { found: 2, known: 1 }));
        let next = Migration { number: 3, name: "next", sql: "CREATE TABLE next (id TEXT)" };
        assert_eq!(Storage::lacks(&opened.database, &[SCHEMA, &[next]].concat()).await, Ok(1));
    }
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let path = folder.path().join("deputy.db");
    assert_eq!(Storage::lacks(&Database::Sqlite { path: path.clone() }, SCHEMA).await, Ok(2));
    assert!(!path.exists());
}

#[tokio::test]
async fn a_failed_migration_leaves_nothing() {
    for Opened { storage, database, folder: _folder, private: _private } in both().await {
        storage.close().await;
        let broken = Migration { number: 3, name: "broken", sql: "CREATE TABLE half (id TEXT); SELECT nothing FROM nowhere;" };
        let failed = Storage::migrate(&database, &[SCHEMA, &[broken]].concat()).await;
        assert!(matches!(failed, Err(StorageError::Query(_))), "{failed:?}");
        let mended = Migration { number: 3, name: "mended", sql: "CREATE TABLE half (id TEXT);" };
        let applied = Storage::migrate(&database, &[SCHEMA, &[mended]].concat()).await.expect("the first try left nothing");
        assert_eq!(applied.iter().map(|applied| (applied.number, applied.name.as_str())).collect::<Vec<_>>(), [(3, "mended")]);
    }
}

#[tokio::test]
async fn a_closed_storage_is_unavailable() {
    for Opened { storage, .. } in both().await {
        assert_eq!(storage.ping().await, Ok(()));
        storage.close().await;
        assert!(matches!(storage.ping().await, Err(StorageError::Unavailable { .. })));
        let read: Done = storage.read(|_| Box::pin(async { Ok(()) })).await;
        assert!(matches!(read, Err(StorageError::Unavailable { .. })));
    }
}
