//! Grants, signing keys, initial access tokens, and the facts on record.

use std::collections::BTreeMap;

use deputy::domain::{
    event::Event,
    refusal::{ADMIN_CONFLICT, ADMIN_NOT_FOUND, ADMIN_VALUE, REGISTRATION_TOKEN},
};
use serde_json::{Value, json};

use super::{last_fact, refused};
use crate::support::{Answer, Person, RESOURCE, each_engine, each_engine_with};

#[tokio::test]
async fn a_grant_is_found_and_ended_with_all_its_tokens() {
    each_engine(async |deputy| {
        let resource = deputy.resource().await;
        let (service, other) = (deputy.service("notes:read").await, deputy.service("notes:write").await);
        let token = service.client_credentials(&[]).await.ok().text("access_token");
        other.client_credentials(&[]).await.ok();
        let list = deputy.operate("GET", &format!("/grants?client={}", service.client_id), Value::Null).await.ok().json();
        let [grant] = list["items"].as_array().expect("items").as_slice() else { panic!("one grant: {list}") };
        assert_eq!((&grant["resource"], &grant["scope"]), (&RESOURCE.into(), &"notes:read".into()));
        assert_eq!((&grant["person_id"], &grant["ended_at"]), (&Value::Null, &Value::Null));
        let all = deputy.operate("GET", "/grants", Value::Null).await.ok().json();
        assert_eq!(all["items"].as_array().map(Vec::len), Some(2));
        let nobody = deputy.operate("GET", "/grants?person=per_01h00000000000000000000000", Value::Null).await.ok().json();
        assert_eq!(nobody["items"], json!([]));

        let path = format!("/grants/{}", grant["grant_id"].as_str().expect("text"));
        for _ in 0..2 {
            assert_eq!(deputy.operate("DELETE", &path, Value::Null).await.status, 204);
        }
        assert!(!deputy.is_active(&resource, &token).await);
        let (actor, data) = last_fact(&deputy, "grant.ended.v1").await;
        assert_eq!((&data["grant"], &data["cause"]), (&grant["grant_id"], &"operator".into()));
        assert!(actor["operator"].is_string());
        assert_eq!(deputy.facts_of("grant.ended.v1").await.len(), 1, "it ended once");
        refused(deputy.operate("GET", "/grants?person=ada", Value::Null).await, 400, &ADMIN_VALUE, "person_id");
        refused(deputy.operate("DELETE", "/grants/gra_unknown", Value::Null).await, 404, &ADMIN_NOT_FOUND, "");
    })
    .await;
}

#[tokio::test]
async fn keys_rotate_and_no_valid_token_is_refused_for_it() {
    each_engine(async |deputy| {
        let resource = deputy.resource().await;
        let service = deputy.service("notes:read").await;
        let old = service.client_credentials(&[]).await.ok().text("access_token");
        let states = async || {
            let list = deputy.operate("GET", "/keys", Value::Null).await.ok().json();
            list["items"]
                .as_array()
                .expect("items")
                .iter()
                .map(|key| key["state"].as_str().expect("text").to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(states().await, ["active", "next"]);
        refused(deputy.operate("POST", "/keys/rotate", json!({})).await, 409, &ADMIN_CONFLICT, "caches may not have it yet");
        deputy.later(421);
        let rotated = deputy.operate("POST", "/keys/rotate", json!({})).await.ok().json();
        assert_eq!(rotated["state"], "active");
        assert_eq!(states().await, ["retiring", "active", "next"]);
        assert!(deputy.is_active(&resource, &old).await, "the old token is as good as before");
        let new = service.client_credentials(&[]).await.ok().text("access_token");
        assert!(deputy.is_active(&resource, &new).await);
        // The key to come was published a moment ago: if it signed now, whoever has our key set in a cache would refuse its tokens.
        deputy.later(60);
        refused(deputy.operate("POST", "/keys/rotate", json!({})).await, 409, &ADMIN_CONFLICT, "caches may not have it yet");
        deputy.later(361);
        let rotated = deputy.operate("POST", "/keys/rotate", json!({})).await.ok().json();
        let (actor, data) = last_fact(&deputy, "key.rotated.v1").await;
        assert_eq!(data["active"], rotated["kid"]);
        assert!(actor["operator"].is_string() && deputy.facts_of("key.rotated.v1").await.len() == 2);
        assert!(deputy.is_active(&resource, &new).await);
        let jwks = deputy.get("/jwks").await.ok().json();
        assert_eq!(jwks["keys"].as_array().map(Vec::len), Some(4));
        refused(deputy.operate("GET", "/keys?limit=0", Value::Null).await, 400, &ADMIN_VALUE, "limit");
    })
    .await;
}

#[tokio::test]
async fn an_initial_access_token_lets_its_holder_register_for_a_week() {
    each_engine_with("registration = \"token\"", async |deputy| {
        let register = async |token: &str| {
            let metadata = json!({"redirect_uris": ["https://agent.example/callback"], "client_name": token});
            Answer::of(deputy.http.post(format!("{}/register", deputy.issuer)).bearer_auth(token).json(&metadata)).await
        };
        register("made up").await.refused(401, REGISTRATION_TOKEN.code.as_str());
        let issued = deputy.operate("POST", "/initial-access-tokens", json!({})).await.ok();
        let token = issued.text("token");
        assert_eq!(issued.text("expires_at"), "2027-01-22T08:00:00Z");
        register(&token).await.ok();
        register(&token).await.ok();
        assert!(last_fact(&deputy, "initial_access_token.issued.v1").await.0["operator"].is_string());
        deputy.later(7 * 86_400);
        register(&token).await.refused(401, REGISTRATION_TOKEN.code.as_str());
        assert_eq!(deputy.last_reason().await, REGISTRATION_TOKEN.reason);
        refused(
            deputy.operate("POST", "/initial-access-tokens", json!({"uses": 5})).await,
            400,
            &ADMIN_VALUE,
            "unknown field `uses`",
        );
    })
    .await;
}

#[tokio::test]
async fn the_facts_are_read_from_an_offset_on() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let recorded = deputy.facts().await;
        assert_eq!(recorded.len(), 2, "the first operator and the resource");
        let all = deputy.operate("GET", "/events", Value::Null).await.ok().json();
        let told: Vec<_> = all["items"].as_array().expect("items").iter().map(|item| item["event"].clone()).collect();
        assert_eq!(told, recorded);
        assert_eq!((&all["next"], &all["end"]), (&2.into(), &2.into()));
        let first = deputy.operate("GET", "/events?from=0&limit=1", Value::Null).await.ok().json();
        assert_eq!((&first["items"][0]["event"], &first["next"]), (&recorded[0], &1.into()));
        let second = deputy.operate("GET", "/events?from=1", Value::Null).await.ok().json();
        assert_eq!(second["items"], json!([{"offset": 1, "event": recorded[1]}]));
        let none = deputy.operate("GET", "/events?from=9", Value::Null).await.ok().json();
        assert_eq!((&none["items"], &none["next"]), (&json!([]), &9.into()));
        refused(deputy.operate("GET", "/events?partition=7", Value::Null).await, 400, &ADMIN_VALUE, "partition");
        refused(deputy.operate("GET", "/events?from=-1", Value::Null).await, 400, &ADMIN_VALUE, "");
    })
    .await;
}

/// Promise 7. Some facts are appended directly and others come by the outbox, which waits here until everything has happened.
#[tokio::test]
async fn the_facts_of_one_subject_stand_in_the_order_in_which_they_happened() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let then = || deputy.later(1);
        let agent = deputy.agent().await;
        then();
        agent.refresh("no token").await.refused(400, "invalid_grant");
        then();
        let ada = deputy.person("ada").await;
        then();
        Person::new(&deputy, "ada", "a wrong password").sign_in().await.refused_on_page(403, "sign_in.wrong");
        then();
        ada.sign_in().await.ok();
        let service = deputy.service("notes:read").await;
        for _ in 0..3 {
            then();
            let token = service.client_credentials(&[]).await.ok().text("access_token");
            then();
            service.post("/revoke", &[("token", &token)], &[]).await.ok();
        }
        let facts = deputy.facts().await.into_iter().map(|fact| serde_json::from_value(fact).expect("it is an event"));
        let facts: Vec<Event> = facts.collect();
        assert!(!facts.is_sorted_by_key(|event| event.at), "facts came by both ways");
        let mut last = BTreeMap::new();
        for event in facts {
            let before = last.insert(event.fact.subject(), event.at);
            assert!(before.is_none_or(|before| before <= event.at), "{event:?} comes after what happened later");
        }
    })
    .await;
}
