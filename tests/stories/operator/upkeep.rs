//! Upkeep: keys rotate by themselves, and what nobody can use any more is forgotten.

use serde_json::{Value, json};

use super::last_fact;
use crate::support::{CALLBACK, each_engine};

const DAY: u64 = 86_400;

#[tokio::test]
async fn keys_rotate_on_schedule() {
    each_engine(async |deputy| {
        deputy.settle().await;
        assert_eq!(deputy.facts_of("key.rotated.v1").await.len(), 0);
        deputy.later(90 * DAY);
        deputy.settle().await;
        assert_eq!(last_fact(&deputy, "key.rotated.v1").await.0, "deputy");
        let keys = deputy.operate("GET", "/keys", Value::Null).await.ok().json();
        assert_eq!(keys["items"].as_array().map(Vec::len), Some(3));
        deputy.later(3 * DAY);
        deputy.settle().await;
        let keys = deputy.operate("GET", "/keys", Value::Null).await.ok().json();
        assert_eq!(keys["items"].as_array().map(Vec::len), Some(2), "the retired one is gone when all that it signed is");
    })
    .await;
}

#[tokio::test]
async fn a_client_that_nobody_uses_is_forgotten_unless_it_is_kept_out() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (unused, kept_out) = (deputy.agent().await, {
            let metadata = json!({"client_name": "A nuisance"});
            crate::support::Agent::register(&deputy, metadata).await
        });
        let made = json!({"client_id": "made", "client_name": "Made", "redirect_uris": [CALLBACK]});
        deputy.operate("POST", "/clients", made).await.ok();
        deputy.operate("PATCH", &format!("/clients/{}", kept_out.client_id), json!({"disabled": true})).await.ok();
        deputy.later(6 * DAY);
        deputy.settle().await;
        assert_eq!(deputy.facts_of("client.deleted.v1").await.len(), 0);
        deputy.later(2 * DAY);
        deputy.settle().await;
        let (actor, data) = last_fact(&deputy, "client.deleted.v1").await;
        assert_eq!((actor, data), ("deputy".into(), json!({"client": unused.client_id})));
        let left = deputy.operate("GET", "/clients", Value::Null).await.ok().json();
        let mut left: Vec<_> = left["items"].as_array().expect("items").iter().map(|client| client["client_id"].clone()).collect();
        left.sort_by_key(ToString::to_string);
        assert_eq!(left, [json!(kept_out.client_id), json!("made")]);
    })
    .await;
}

#[tokio::test]
async fn a_registration_that_is_asked_for_again_is_not_forgotten_before_its_person_has_made_up_their_mind() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let first = deputy.agent().await;
        deputy.later(7 * DAY - 1);
        let again = deputy.agent().await;
        assert_eq!(again.client_id, first.client_id);
        deputy.later(6 * DAY);
        deputy.settle().await;
        let ada = deputy.person("ada@example.com").await;
        let code = again.code(&ada, "notes:read").await;
        // A code that was not redeemed yet is no grant.
        deputy.later(2 * DAY);
        deputy.settle().await;
        again.redeem(&code, &[]).await.refused(400, "invalid_grant");
        assert_eq!(deputy.facts_of("client.deleted.v1").await.len(), 0);
        deputy.later(6 * DAY);
        deputy.settle().await;
        assert_eq!(deputy.facts_of("client.deleted.v1").await.len(), 1);
        assert_ne!(deputy.agent().await.client_id, first.client_id);
    })
    .await;
}

#[tokio::test]
async fn dead_grants_are_kept_for_a_season() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let service = deputy.service("notes:read").await;
        service.client_credentials(&[]).await.ok();
        let grants = async || deputy.operate("GET", "/grants", Value::Null).await.ok().json()["items"].as_array().map(Vec::len);
        let list = deputy.operate("GET", "/grants", Value::Null).await.ok().json();
        let path = format!("/grants/{}", list["items"][0]["grant_id"].as_str().expect("text"));
        deputy.operate("DELETE", &path, Value::Null).await.ok();
        deputy.later(89 * DAY);
        deputy.settle().await;
        assert_eq!(grants().await, Some(1));
        deputy.later(2 * DAY);
        deputy.settle().await;
        assert_eq!(grants().await, Some(0));
    })
    .await;
}
