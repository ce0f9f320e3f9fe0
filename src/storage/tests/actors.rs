//! Actors in storage: a database of an earlier version, and rivals who write the same one.

use futures_util::future::join_all;

use super::*;
use crate::{
    domain::{
        actor::{
            ActorId, ActorKind,
            evidence::{ActorState, Evidence, Observed, Seen},
        },
        client::ClientId,
        id::Id,
        secret::Digest,
        time::Timestamp,
    },
    storage::{
        actors::{self, StoredActor},
        clients,
    },
};

#[tokio::test]
async fn a_client_of_an_earlier_version_is_unknown_until_it_is_seen() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let private = PrivateDatabase::empty().await;
    for database in [Database::Sqlite { path: folder.path().join("deputy.db") }, at(private.url())] {
        let mine = MIGRATIONS.iter().position(|migration| migration.name == "actors").expect("it is one of them");
        let storage = Storage::open(&database, &MIGRATIONS[..mine]).await.expect("the earlier version opens");
        let insert = storage.write(|tx| {
            Box::pin(async move {
                let metadata = r#"{"client_name":"Old","redirect_uris":[],"grant_types":[],"token_endpoint_auth_method":"none",
                    "auth_method_chosen":true,"application_type":"web"}"#;
                let sql = "INSERT INTO clients (id, origin, metadata, created_at, fresh_until) VALUES ('old', 'dynamic', $1, 1, 1)";
                tx.exec(sql, &[metadata.into()]).await
            })
        });
        assert_eq!(insert.await, Ok::<u64, StorageError>(1));
        storage.close().await;
        let storage = Storage::open(&database, MIGRATIONS).await.expect("this version opens it");
        let old = ClientId::parse("old").expect("a client");
        let kinds = storage.write(move |tx| {
            Box::pin(async move {
                let mut kinds = vec![clients::find(tx, &old).await?.map(|client| client.kind)];
                for kind in [ActorKind::Rogue, ActorKind::Rogue] {
                    let is_new = clients::set_kind(tx, &old, kind).await?;
                    kinds.push(clients::find(tx, &old).await?.map(|client| client.kind).filter(|_| is_new));
                }
                Ok::<_, StorageError>((kinds, clients::delete_unused(tx, Timestamp(9), 9).await?))
            })
        });
        let kinds_then = vec![Some(ActorKind::UnknownAgent), Some(ActorKind::Rogue), None];
        assert_eq!(kinds.await, Ok((kinds_then, Vec::new())), "a rogue does not come back as if nothing had been");
        storage.close().await;
    }
}

#[tokio::test]
async fn rivals_who_hold_an_actor_lose_no_finding() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let private = PrivateDatabase::empty().await;
    let (actor, digest) = (ActorId::user("ada").expect("a user"), Digest([7; 32]));
    let stored = StoredActor { digest, actor, kind: ActorKind::Person, since: Timestamp(1), state: ActorState::default() };
    for database in [Database::Sqlite { path: folder.path().join("deputy.db") }, at(private.url())] {
        let storage = Storage::open(&database, MIGRATIONS).await.expect("it opens");
        let first = [stored.clone()];
        let put = storage.write(move |tx| Box::pin(async move { actors::put(tx, &first).await }));
        assert_eq!(put.await, Ok::<_, StorageError>(()));
        let find = |number: u8| {
            storage.write(move |tx| {
                Box::pin(async move {
                    let mut held = actors::hold(tx, &[digest]).await?.pop().expect("it is there");
                    let observed = Observed::Shown(Evidence::SignInRefused);
                    let seen = Seen { event: Id::from_bytes([number; 16]), at: Timestamp(i64::from(number)), observed };
                    held.state.observe(held.actor.collection(), &seen);
                    actors::put(tx, &[held]).await
                })
            })
        };
        let found: Result<Vec<()>, StorageError> = join_all((1..=4).map(find)).await.into_iter().collect();
        assert_eq!(found.map(|all| all.len()), Ok(4));
        let read = storage.read(move |tx| Box::pin(async move { actors::find(tx, &digest).await }));
        let known = read.await.expect("a plain read works").expect("it is there");
        assert_eq!(known.state.history().len(), 4);
        storage.close().await;
    }
}
