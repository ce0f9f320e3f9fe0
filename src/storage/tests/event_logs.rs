//! What was kept by the offsets of a log, before it was kept of which one.

use std::collections::BTreeMap;

use super::{Database, MIGRATIONS, PrivateDatabase, Storage, StorageError, Tx, at};
use crate::{
    domain::{
        event::{Actor, Event, Fact},
        id::{Id, PredictedTraitKind, ProfileKind},
        secret::Digest,
        time::Timestamp,
    },
    storage::{
        consumers,
        event_logs::{self, Adopted, EventLog, Offered},
        interventions::{self, Place, Span},
        outbox, predictions,
    },
};

const INPUT: &str = "events/0";
const PERSON: Digest = Digest([3; 32]);

async fn old_rows(tx: &mut Tx, model: Id<PredictedTraitKind>) -> Result<(), StorageError> {
    tx.exec("INSERT INTO consumers (name, input, next) VALUES ('profiles', $1, 7), ('relay', 'outbox', 90)", &[INPUT.into()])
        .await?;
    let sql = "INSERT INTO left_out (digest, since_offset, until_offset) VALUES ($1, 0, 5), ($1, 5, 9223372036854775807)";
    tx.exec(sql, &[(&PERSON.0[..]).into()]).await?;
    let sql = "INSERT INTO definitions (id, kind, key, definition, created_at) VALUES ($1, 'predicted_trait', 'n', '{}', 1)";
    tx.exec(sql, &[(&model.to_string()).into()]).await?;
    predictions::begin(tx, model, Timestamp(1)).await?;
    let [asked, changed] = [[1; 16], [2; 16]].map(Id::<ProfileKind>::from_bytes);
    let sql = "INSERT INTO predictions_due (predicted_trait, profile, changed_at, asked_at, due_at) VALUES ($1, $2, 2, 3, 4), ($1, $3, 3, 3, 4)";
    tx.exec(sql, &[(&model.to_string()).into(), (&asked.to_string()).into(), (&changed.to_string()).into()]).await?;
    Ok(())
}

fn fact(id: u8) -> Event {
    Event {
        id: Id::from_bytes([id; 16]),
        at: Timestamp(1),
        actor: Actor::Deputy,
        fact: Fact::IdentityRulesChanged { intervention: None },
    }
}

async fn adopt(tx: &mut Tx, log: i64, end: u64) -> Result<(Adopted, u64), StorageError> {
    let offered = Offered { log, ends: BTreeMap::from([(INPUT.to_owned(), end)]), place: "here".to_owned(), is_restored: false };
    let adopted = event_logs::adopt(tx, &offered, Timestamp(9)).await?;
    Ok((adopted, consumers::next(tx, "profiles", INPUT).await?))
}

#[tokio::test]
async fn what_was_read_stays_read_whatever_logs_follow_each_other() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let private = PrivateDatabase::empty().await;
    for database in [Database::Sqlite { path: folder.path().join("deputy.db") }, at(private.url())] {
        let before = MIGRATIONS.iter().position(|migration| migration.name == "event_logs").expect("it is one of them");
        let storage = Storage::open(&database, &MIGRATIONS[..before]).await.expect("it opens");
        let model = Id::from_bytes([7; 16]);
        storage.write(move |tx| Box::pin(async move { old_rows(tx, model).await })).await.expect("the schema of before");
        storage.close().await;

        let storage = Storage::open(&database, MIGRATIONS).await.expect("it is brought up to date");
        let read = storage.write(move |tx| {
            Box::pin(async move {
                // Given to logs that are gone before they have them: one that nobody ever read, and the first that was read.
                outbox::put(tx, &fact(8)).await?;
                outbox::claim(tx, 10, 4, 10).await?;
                let first = adopt(tx, 11, 8).await?;
                assert_eq!(outbox::claim(tx, 11, 5, 10).await?, 1, "the first log gets what another was given before");
                let again = adopt(tx, 11, 9).await?;
                assert!(outbox::oldest_batch(tx, 11).await?.is_some(), "it keeps them for as long as it is the one that is read");
                outbox::put(tx, &fact(9)).await?;
                outbox::claim(tx, 11, 6, 10).await?;
                let another = adopt(tx, 22, 3).await?;
                assert!(outbox::oldest_batch(tx, 11).await?.is_none(), "nobody would ever take them");
                assert_eq!(outbox::claim(tx, 22, 7, 10).await?, 2, "the other log gets them");
                let is_moved = consumers::advance(tx, "profiles", INPUT, 8, 10).await?;
                let back = adopt(tx, 11, 9).await?;
                let mut spans = interventions::left_out(tx, &[PERSON]).await?;
                spans.sort_by_key(|span| span.since.offset);
                let due = predictions::due(tx, model, Timestamp(9), 10).await?;
                Ok::<_, StorageError>(([first, again, another, back], is_moved, spans, due))
            })
        });
        let ([first, again, another, back], is_moved, spans, due) = read.await.expect("all of it is read");
        let log = |log, base| EventLog { log, base };
        assert_eq!(first, (Adopted::AsBefore(log(11, 0)), 7));
        assert_eq!(again, (Adopted::AsBefore(log(11, 0)), 7));
        assert_eq!(another, (Adopted::InPlaceOfAnother(log(22, 8)), 8), "its first event comes next");
        assert!(is_moved);
        assert_eq!(back, (Adopted::InPlaceOfAnother(log(11, 11)), 18), "seven of its events were read");
        let since = |offset| Place { offset, at: Timestamp(0) };
        let closed = Span { digest: PERSON, since: since(0), until: Some(Place { offset: 5, at: Timestamp(0) }) };
        assert_eq!(spans, [closed, Span { digest: PERSON, since: since(5), until: None }]);
        assert!(!closed.covers(Place { offset: 6, at: Timestamp(1) }));
        assert_eq!(due.iter().map(|due| due.is_changed).collect::<Vec<_>>(), [false, true]);
        storage.close().await;
    }
}
