//! Who asks to be forgotten is: in profiles, in what is told of others, and when the log is read again.

use serde_json::{Value, json};

use super::space::Space;
use crate::support::{Installation, each_engine};

async fn regulate(deputy: &Installation, space: &Space<'_>, regulation: &str, users: &[&str]) {
    let asked = deputy.operate("POST", "/regulations", json!({"regulation": regulation, "user_ids": users})).await.ok().json();
    assert_eq!((&asked["status"], &asked["regulation"]), (&json!("INITIALIZED"), &json!(regulation)), "{asked}");
    space.settle().await;
    let path = format!("/regulations/{}", asked["intervention_id"].as_str().expect("text"));
    let told = deputy.operate("GET", &path, Value::Null).await.ok().json();
    assert_eq!((&told["status"], &told["done"]), (&json!("FINISHED"), &json!(users.len())), "{told}");
}

fn calls() -> Value {
    json!([
        {"type": "identify", "userId": "ada", "anonymousId": "desk", "traits": {"email": "ada@x.example", "plan": "pro"}},
        {"type": "track", "anonymousId": "desk", "event": "Searched"},
        {"type": "track", "userId": "ada", "event": "Bought", "context": {"groupId": "g"}},
        {"type": "track", "userId": "bob", "event": "Bought", "context": {"groupId": "g"}},
    ])
}

#[tokio::test]
async fn who_is_deleted_is_nowhere_and_no_replay_brings_them_back() {
    each_engine(async |deputy| {
        let space = Space::of(&deputy).await;
        space.send(calls()).await;
        assert_eq!(space.events("accounts", "group_id:g").await.len(), 2);
        regulate(&deputy, &space, "DELETE_ONLY", &["ada", "nobody"]).await;
        for who in ["user_id:ada", "anonymous_id:desk", "email:ada@x.example"] {
            assert_eq!(space.ask("users", who, "traits").await.status, 404, "{who}");
        }
        assert_eq!(space.events("accounts", "group_id:g").await.len(), 1, "the account's events tell of bob alone");
        assert_eq!(space.ask("accounts", "group_id:g", "links").await.ok().json()["data"].as_array().map(Vec::len), Some(1));

        // Everything is read again from the first offset on.
        deputy.operate("POST", "/consumers/profiles/replay", json!({"from_offset": 0})).await.ok();
        space.settle().await;
        for who in ["user_id:ada", "anonymous_id:desk", "email:ada@x.example"] {
            assert_eq!(space.ask("users", who, "traits").await.status, 404, "{who}");
        }

        // Whoever comes back is new.
        space.send(json!([{"type": "identify", "userId": "ada", "traits": {"city": "Oslo"}}])).await;
        assert_eq!(space.traits("users", "user_id:ada").await, json!({"city": "Oslo"}));
        assert_eq!(space.events("users", "user_id:ada").await, ["identify"]);
    })
    .await;
}

#[tokio::test]
async fn what_an_id_brought_before_it_was_taken_away_does_not_come_back_either() {
    each_engine(async |deputy| {
        let space = Space::of(&deputy).await;
        let track = |event: &str| json!({"type": "track", "anonymousId": "desk", "event": event});
        space.send(json!([track("Looked"), {"type": "identify", "userId": "ada", "anonymousId": "desk"}])).await;
        let profile = space.evidence("users", "user_id:ada").await["profile_id"].as_str().expect("text").to_owned();
        let path = format!("/profiles/{profile}/take-away");
        deputy.operate("POST", &path, json!({"external_id": "anonymous_id:desk"})).await.ok();
        space.settle().await;
        // The desk is bob's now.
        space.send(json!([{"type": "identify", "userId": "bob", "anonymousId": "desk"}, track("Bought")])).await;
        regulate(&deputy, &space, "DELETE_ONLY", &["ada"]).await;
        for _ in 0..2 {
            assert_eq!(space.ask("users", "user_id:ada", "traits").await.status, 404);
            assert_eq!(space.events("users", "anonymous_id:desk").await, ["identify", "Bought"], "bob keeps what is his");
            deputy.operate("POST", "/consumers/profiles/replay", json!({"from_offset": 0})).await.ok();
            space.settle().await;
        }
    })
    .await;
}

#[tokio::test]
async fn who_is_suppressed_leaves_no_new_trace_until_they_say_otherwise() {
    each_engine(async |deputy| {
        let space = Space::of(&deputy).await;
        let track = |event: &str| json!([{"type": "track", "userId": "ada", "event": event}]);
        space.send(track("Before")).await;
        regulate(&deputy, &space, "SUPPRESS_ONLY", &["ada"]).await;
        space.send(track("During")).await;
        assert_eq!(space.events("users", "user_id:ada").await, ["Before"]);
        regulate(&deputy, &space, "UNSUPPRESS", &["ada"]).await;
        space.send(track("After")).await;
        assert_eq!(space.events("users", "user_id:ada").await, ["Before", "After"]);
        regulate(&deputy, &space, "SUPPRESS_WITH_DELETE", &["ada"]).await;
        space.send(track("Never")).await;
        assert_eq!(space.ask("users", "user_id:ada", "events").await.status, 404);
    })
    .await;
}

#[tokio::test]
async fn many_are_dealt_with_in_shares() {
    let deputy = Installation::start().await;
    let space = Space::of(&deputy).await;
    let users: Vec<String> = (0..120).map(|n| format!("user{n}")).collect();
    let identify: Vec<Value> = users.iter().map(|user| json!({"type": "identify", "userId": user})).collect();
    space.send(json!(identify)).await;
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    regulate(&deputy, &space, "DELETE_ONLY", &users).await;
    assert_eq!(space.ask("users", "user_id:user119", "traits").await.status, 404);
    let all = deputy.operate("GET", "/regulations", Value::Null).await.ok().json();
    assert_eq!(all["items"][0]["status"], "FINISHED", "{all}");
}

#[tokio::test]
async fn what_came_in_before_a_deletion_and_is_published_after_it_brings_nobody_back() {
    each_engine(async |deputy| {
        let space = Space::of(&deputy).await;
        space.send(calls()).await;
        // It waits in the topic `received`, while the request takes the topic `facts`.
        space.send_only(json!([{"type": "identify", "userId": "ada", "traits": {"plan": "late"}}])).await;
        deputy.later(1);
        regulate(&deputy, &space, "DELETE_ONLY", &["ada"]).await;
        let published = deputy.topic("events").await;
        let place_of = |what: &dyn Fn(&Value) -> bool| published.iter().position(what).expect("it is published");
        let request = place_of(&|event| event["type"] == "intervention.requested.v1");
        let late = place_of(&|event| event["data"]["message"]["traits"]["plan"] == "late");
        assert!(request < late, "the order that this is about");
        assert_eq!(space.ask("users", "user_id:ada", "traits").await.status, 404);
        let actor = deputy.operate("GET", "/actors/user_id:ada", Value::Null).await;
        assert_eq!(actor.status, 404, "{actor:?}");

        deputy.later(1);
        space.send(json!([{"type": "identify", "userId": "ada", "traits": {"plan": "new"}}])).await;
        assert_eq!(space.traits("users", "user_id:ada").await, json!({"plan": "new"}));
    })
    .await;
}
