//! The Profile API, as an organisation's software asks it.

use serde_json::{Value, json};

use super::space::Space;
use crate::support::{Answer, Installation, each_engine};

/// Fails unless this is a refusal in the words of this API.
#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status.as_u16(), answer.json()["error"]["code"].as_str()), (status, Some(code)), "{answer:?}");
    assert!(answer.json()["error"]["message"].as_str().is_some_and(|text| text.len() > 10), "{answer:?}");
    assert!(answer.header("request-id").is_some_and(|id| !id.is_empty()), "{answer:?}");
}

#[tokio::test]
async fn traits_are_told_in_parts_with_their_writers() {
    each_engine(async |deputy| {
        let space = Space::of(&deputy).await;
        let traits = json!({"a": 1, "b": "two", "c": true, "d": null});
        space.send(json!([{"type": "identify", "userId": "ada", "traits": traits}])).await;
        let first = space.ask("users", "user_id:ada", "traits?limit=2").await.ok();
        assert_eq!(first.json()["traits"], json!({"a": 1, "b": "two"}));
        let cursor = first.json()["cursor"].clone();
        assert_eq!((&cursor["has_more"], &cursor["limit"]), (&json!(true), &json!(2)), "{cursor}");
        let next = cursor["next"].as_str().expect("text");
        let second = space.ask("users", "user_id:ada", &format!("traits?limit=2&next={next}")).await.ok().json();
        assert_eq!((&second["traits"], &second["cursor"]["has_more"]), (&json!({"c": true}), &json!(false)));
        let verbose = space.ask("users", "user_id:ada", "traits?verbose=true&include=b").await.ok().json()["traits"].clone();
        assert_eq!(verbose["b"]["value"], "two", "{verbose}");
        assert!(verbose["b"]["source_id"].as_str().is_some_and(|id| id.starts_with("src_")), "{verbose}");
        assert_eq!(verbose.as_object().map(serde_json::Map::len), Some(1));
        let none = space.ask("users", "user_id:ada", "traits?class=audience").await.ok().json();
        assert_eq!(none["traits"], json!({}));
        // Software that asks in small letters, and names with everything in them.
        space.send(json!([{"type": "identify", "userId": "a+b/c d", "traits": {"email": "Eve@X.example"}}])).await;
        assert_eq!(space.ids("users", "email:EVE@x.example").await, ["email:eve@x.example", "user_id:a+b/c d"]);
        assert_eq!(space.ids("users", "user_id:a+b/c d").await.len(), 2);
        let record = &space.ask("users", "user_id:ada", "external_ids").await.ok().json()["data"][0];
        assert_eq!((&record["collection"], &record["encoding"]), (&json!("users"), &json!("none")));
        assert!(record["first_message_id"].is_string() && record["created_at"].is_string(), "{record}");
    })
    .await;
}

#[tokio::test]
async fn events_are_read_from_the_log_in_either_order() {
    each_engine(async |deputy| {
        let space = Space::of(&deputy).await;
        for event in ["One", "Two", "Three", "Four"] {
            let call =
                json!({"type": "track", "userId": "ada", "event": event, "properties": {"n": 1}, "context": {"groupId": "g"}});
            space.send(json!([call])).await;
            deputy.later(60);
        }
        let names = |answer: &Answer| {
            let data = answer.json()["data"].clone();
            data.as_array()
                .expect("a list")
                .iter()
                .map(|event| event["event"].as_str().expect("text").to_owned())
                .collect::<Vec<_>>()
        };
        let latest = space.ask("users", "user_id:ada", "events?limit=3").await.ok();
        assert_eq!(names(&latest), ["Four", "Three", "Two"]);
        let next = latest.json()["cursor"]["next"].as_str().expect("text").to_owned();
        let rest = space.ask("users", "user_id:ada", &format!("events?limit=3&next={next}")).await.ok();
        assert_eq!(names(&rest), ["One"]);
        let asked = |query: &str| format!("events?{query}");
        let some = space.ask("users", "user_id:ada", &asked("include=One,Three&sort=asc")).await.ok();
        assert_eq!(names(&some), ["One", "Three"]);
        let others = space.ask("users", "user_id:ada", &asked("exclude=One,Three")).await.ok();
        assert_eq!(names(&others), ["Four", "Two"]);
        let span = space.ask("users", "user_id:ada", &asked("start=2027-01-15T08:01:00Z&end=2027-01-15T08:02:30Z&sort=asc")).await;
        assert_eq!(names(&span.ok()), ["Two", "Three"]);
        let told = latest.json()["data"][0].clone();
        assert_eq!((&told["type"], &told["properties"]), (&json!("track"), &json!({"n": 1})), "{told}");
        assert_eq!(told["related"]["accounts"][0]["id"], "g", "{told}");
        assert_eq!(space.events("accounts", "group_id:g").await.len(), 4);
        deputy.later(15 * 86_400);
        assert_eq!(space.events("users", "user_id:ada").await, [""; 0], "two weeks are told");
    })
    .await;
}

#[tokio::test]
async fn an_id_can_be_deleted_but_not_the_last_user_id() {
    each_engine(async |deputy| {
        let space = Space::of(&deputy).await;
        let identify = json!([{"type": "identify", "userId": "ada", "traits": {"email": "ada@x.example"}}]);
        space.send(identify.clone()).await;
        let path = "/v1/spaces/deputy/collections/users/profiles/user_id:ada/external_ids/delete";
        let delete = async |token: &str, id_type: &str, id: &str| {
            let body = json!({"delete_external_ids": [{"id": id, "type": id_type}]});
            Answer::of(deputy.http.post(format!("{}{path}", deputy.issuer)).basic_auth(token, Some("")).json(&body)).await
        };
        refused(&delete("made-up", "email", "ada@x.example").await, 401, "authentication_error");
        assert_eq!(deputy.last_reason().await, "profile.token");
        refused(&delete(&space.token, "user_id", "ada").await, 400, "validation_error");
        assert_eq!(deputy.last_reason().await, "profile.value");
        assert_eq!(delete(&space.token, "email", "ada@x.example").await.status, 202);
        space.settle().await;
        space.send(identify).await;
        assert_eq!(space.ids("users", "user_id:ada").await, ["user_id:ada"]);
    })
    .await;
}

#[tokio::test]
async fn who_may_not_ask_is_told_in_the_words_of_the_api() {
    let deputy = Installation::start().await;
    let space = Space::of(&deputy).await;
    space.send(json!([{"type": "identify", "userId": "ada"}])).await;
    let path = "/v1/spaces/deputy/collections/users/profiles/user_id:ada/traits";
    let ask = async |path: &str, token: &str| {
        Answer::of(deputy.http.get(format!("{}{path}", deputy.issuer)).basic_auth(token, Some(""))).await
    };
    refused(&Answer::of(deputy.http.get(format!("{}{path}", deputy.issuer))).await, 401, "authentication_error");
    refused(&ask(path, "made-up").await, 401, "authentication_error");
    assert_eq!(deputy.last_reason().await, "profile.token");
    for nothing in [
        "/v1/spaces/another/collections/users/profiles/user_id:ada/traits",
        "/v1/spaces/deputy/collections/robots/profiles/user_id:ada/traits",
        "/v1/spaces/deputy/collections/users/profiles/user_id:bob/traits",
        "/v1/spaces/deputy/collections/agents/profiles/user_id:ada/traits",
        "/v1/spaces/deputy/collections/users/profiles/ada/traits",
    ] {
        refused(&ask(nothing, &space.token).await, 404, "not_found");
        assert_eq!(deputy.last_reason().await, "profile.not_found");
    }
    for wrong in [
        "traits?limit=0",
        "traits?limit=201",
        "traits?class=x",
        "traits?next=x",
        "events?sort=up",
        "events?start=noon",
        "traits?limit=x",
    ] {
        refused(&space.ask("users", "user_id:ada", wrong).await, 400, "validation_error");
        assert_eq!(deputy.last_reason().await, "profile.value", "{wrong}");
    }
    refused(&space.ask("users", "user_id:ada", "secrets").await, 404, "not_found");

    // Time stands: all of these come within one second.
    deputy.later(1);
    let before = deputy.refusals_counted("profile.rate").await;
    for _ in 0..100 {
        ask(path, &space.token).await.ok();
    }
    let too_many = ask(path, &space.token).await;
    refused(&too_many, 429, "rate_limit_error");
    assert!(too_many.header("retry-after").is_some());
    assert!(deputy.refusals_counted("profile.rate").await > before);
    deputy.later(1);
    ask(path, &space.token).await.ok();

    let tokens = deputy.operate("GET", "/profile-tokens", Value::Null).await.ok().json();
    let id = tokens["items"][0]["profile_token_id"].as_str().expect("text");
    deputy.operate("DELETE", &format!("/profile-tokens/{id}"), Value::Null).await.ok();
    refused(&ask(path, &space.token).await, 401, "authentication_error");
}
