//! Consumers that were there before operators could do anything to them.

use super::at;
use crate::domain::id::{ComputedTraitKind, Id};
use crate::storage::{
    Database, MIGRATIONS, Storage, StorageError, Tx,
    consumers::{self, Place, Replay},
    definitions,
    private_postgres::PrivateDatabase,
};

const INPUT: &str = "events/0";

async fn old_rows(tx: &mut Tx, id: Id<ComputedTraitKind>) -> Result<(), StorageError> {
    tx.exec("INSERT INTO consumers (name, input, next) VALUES ('profiles', $1, 7)", &[INPUT.into()]).await?;
    let definition = format!(r#"{{"id":"{id}","key":"n","over":{{"event":"E"}},"function":"count"}}"#);
    let sql = "INSERT INTO definitions (id, kind, key, definition, created_at) VALUES ($1, 'computed_trait', 'n', $2, 1)";
    tx.exec(sql, &[(&id.to_string()).into(), (&definition).into()]).await?;
    Ok(())
}

#[tokio::test]
async fn a_definition_of_before_counts_as_complete_and_a_consumer_goes_on() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let private = PrivateDatabase::empty().await;
    for database in [Database::Sqlite { path: folder.path().join("deputy.db") }, at(private.url())] {
        let before = MIGRATIONS.iter().position(|migration| migration.name == "consumers").expect("it is one of them");
        let storage = Storage::open(&database, &MIGRATIONS[..before]).await.expect("it opens");
        let id: Id<ComputedTraitKind> = Id::from_bytes([7; 16]);
        let written = storage.write(move |tx| Box::pin(async move { old_rows(tx, id).await }));
        written.await.expect("the schema of before");
        storage.close().await;

        let storage = Storage::open(&database, MIGRATIONS).await.expect("it is brought up to date");
        let read = storage.write(move |tx| {
            Box::pin(async move {
                let definitions = definitions::all(tx).await?;
                let place = consumers::place(tx, "profiles", INPUT).await?;
                let replays = [
                    consumers::begin_replay(tx, "profiles", INPUT, 7).await?,
                    consumers::begin_replay(tx, "profiles", INPUT, 3).await?,
                ];
                let again = consumers::begin_replay(tx, "profiles", INPUT, 1).await?;
                let ends = [consumers::end_replay(tx, "profiles", INPUT).await?, {
                    consumers::advance(tx, "profiles", INPUT, 3, 7).await?;
                    consumers::end_replay(tx, "profiles", INPUT).await?
                }];
                Ok::<_, StorageError>((definitions, place, replays, again, ends))
            })
        });
        let (definitions, place, replays, again, ends) = read.await.expect("storage answers");
        assert_eq!((definitions.counted_from.get(&id), definitions.not_begun()), (Some(&0), Vec::new()));
        assert_eq!(place, Place { next: 7, replay: None });
        assert_eq!(replays, [None, Some(Replay { from: 3, until: 7 })], "only what was read is read again");
        assert_eq!((again, ends), (None, [false, true]), "one at a time, and to its end");
        storage.close().await;
    }
}
