//! The Profile API over many profiles, asked for people in no order.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use deputy::{
    config::Settings,
    domain::{
        id::{Id, OperatorKind},
        identity::{
            external_id::{ExternalId, ExternalIdType},
            graph::{Cause, Change, ProfileId},
        },
        profile::{Collection, ProfileState, Trait},
        time::Timestamp,
    },
    keys::secrets::Purpose,
    storage::{
        identities, profile_states,
        profile_tokens::{self, ProfileToken},
    },
    world::World,
};
use serde_json::json;

use super::servers::{Failure, load::Request};

/// Profiles that one transaction writes.
const BATCH: u64 = 5_000;
/// Different people who are asked for.
const ASKED_FOR: u64 = 10_000;
/// How an answer with the traits of a profile begins.
pub const ANSWER: &str = r#"{"cursor":{"#;

/// Makes a data folder with so many people, each with two ids and six traits.
pub fn fill(folder: &Path, people: u64) -> Result<(), Failure> {
    let lines = format!("listen = \"127.0.0.1:0\"\ndata_dir = {folder:?}\n");
    let settings = Settings::parse("the benchmark's configuration", &lines)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let world = World::open(settings).await?;
        for first in (0..people).step_by(BATCH as usize) {
            let now = world.now();
            let batch: Vec<_> = (first..(first + BATCH).min(people)).map(|number| person(&world, number, now)).collect();
            let write = world.storage.write(move |tx| {
                Box::pin(async move {
                    let decided: Vec<_> = batch.iter().map(|(cause, changes, ..)| (cause.clone(), changes.clone())).collect();
                    identities::write_changes(tx, &decided).await?;
                    let states: Vec<_> =
                        batch.into_iter().map(|(_, _, profile, state)| (profile, profile_states::text_of(&state))).collect();
                    profile_states::put(tx, &states).await
                })
            });
            write.await?;
        }
        world.close().await;
        Ok(())
    })
}

fn person(world: &World, number: u64, now: Timestamp) -> (Cause, Vec<Change>, ProfileId, ProfileState) {
    let profile: ProfileId = world.id(now);
    let id = |id_type, text: &str| ExternalId::new(Collection::Users, id_type, text).expect("it is somebody's id");
    let user_id = id(ExternalIdType::USER_ID, &format!("person-{number:012}"));
    let email = id(ExternalIdType::EMAIL, &format!("person-{number}@shop.example"));
    let changes = vec![
        Change::Created { profile, collection: Collection::Users },
        Change::Mapped { id: user_id.clone(), home: profile, with: None },
        Change::Mapped { id: email, home: profile, with: Some(user_id) },
    ];
    let cause = Cause { offset: number, at: now, source: "the benchmark".to_owned(), message_id: format!("message-{number}") };
    let mut state = ProfileState::default();
    let traits = json!({"plan": "business", "company": "Northwind Traders", "seats": 25, "locale": "en-GB",
        "title": "Head of Purchasing", "createdAt": "2024-03-01T09:12:44.120Z"});
    for (name, value) in traits.as_object().expect("an object") {
        let written = Trait { value: value.clone(), source: cause.source.clone(), at: now, offset: number, confidence: None };
        state.write(name, written);
    }
    (cause, changes, profile, state)
}

/// Makes a token for the Profile API; gives the header with which it is asked.
pub async fn authorization(world: &World) -> Result<String, Failure> {
    let (now, secret) = (world.now(), world.secret());
    let digest = world.secrets.digest(Purpose::ProfileToken, secret.reveal());
    let operator: Id<OperatorKind> = world.id(now);
    let token = ProfileToken { id: world.id(now), name: "The shop's pages".to_owned(), created_by: operator, created_at: now };
    world.storage.write(move |tx| Box::pin(async move { profile_tokens::insert(tx, &token, &digest).await })).await?;
    Ok(format!("Basic {}", STANDARD.encode(format!("{}:", secret.reveal()))))
}

/// Questions for the traits of people from all of them.
pub fn questions(address: &str, authorization: &str, people: u64) -> Vec<Request> {
    let asked_for = (0..ASKED_FOR).map(|number| number * 7_919_000_029 % people);
    let path = |number| format!("/v1/spaces/deputy/collections/users/profiles/user_id:person-{number:012}/traits?limit=100");
    asked_for.map(|number| Request::get(address, &path(number), authorization)).collect()
}
