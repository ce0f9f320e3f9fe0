//! What an earlier release wrote is read after the migrations that came since.

use super::{Database, MIGRATIONS, PrivateDatabase, Storage, StorageError, at};
use crate::domain::{client::ClientId, id::Id, risk::AgentRisk};
use crate::storage::{grants, risk};

/// The migrations that a release had which knew risk of agents only.
const BEFORE_RISK_OF_PEOPLE: usize = 7;

#[tokio::test]
async fn consents_and_risks_of_agents_are_carried_on() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let private = PrivateDatabase::empty().await;
    for database in [Database::Sqlite { path: folder.path().join("deputy.db") }, at(private.url())] {
        let earlier = Storage::open(&database, &MIGRATIONS[..BEFORE_RISK_OF_PEOPLE]).await.expect("an empty one opens");
        let (person, client) = (Id::from_bytes([7; 16]), ClientId::parse("an-agent").expect("a client"));
        let write = earlier.write(move |tx| {
            Box::pin(async move {
                let sql = "INSERT INTO consents (person, client, resource, scopes, given_at, client_hash) VALUES ($1, 'an-agent', '', 'openid', 5, 'h')";
                tx.exec(sql, &[(&person.to_string()).into()]).await?;
                let state = r#"{"signals":[{"kind":"rate_jumped","event":"evt_00000000000000000000000000","at":5}],"rate":{"since_hour":1,"hour":2,"issued":3,"usual_thousandths":4}}"#;
                let sql = "INSERT INTO risk_states (agent, state, signalled_at) VALUES ('an-agent', $1, 5)";
                tx.exec(sql, &[state.into()]).await
            })
        });
        write.await.expect("it is written");
        earlier.close().await;

        let storage = Storage::open(&database, MIGRATIONS).await.expect("it is carried on");
        let read = storage.read(move |tx| {
            Box::pin(async move {
                let consent = grants::find_consent(tx, person, &client, None).await?;
                Ok::<_, StorageError>((consent, risk::list_agents(tx, "", 10).await?, risk::list_people(tx, "", 10).await?))
            })
        });
        let (consent, agents, people) = read.await.expect("it is read");
        assert!(consent.is_some_and(|consent| consent.doubt.is_none() && consent.given_at.0 == 5));
        let signals = |(_, risk): &(_, AgentRisk)| risk.signals().len();
        assert_eq!((agents.iter().map(signals).collect::<Vec<_>>(), people.len()), (vec![1], 0));
        storage.close().await;
    }
}
