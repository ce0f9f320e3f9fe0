//! Resources in an operator's hands.

use deputy::domain::refusal::{ADMIN_CONFLICT, ADMIN_NOT_FOUND, ADMIN_VALUE};
use futures_util::join;
use serde_json::{Value, json};

use super::{last_fact, refused};
use crate::support::{Answer, RESOURCE, each_engine};

/// How often two operators try to get in each other's way.
const RACES: u32 = 15;

#[tokio::test]
async fn a_resource_is_registered_once_in_whatever_spelling() {
    each_engine(async |deputy| {
        let made = deputy.resource().await;
        assert_eq!(made["identifier"], RESOURCE);
        assert_eq!(made["secret"].as_str().map(str::len), Some(43));
        let list = deputy.operate("GET", "/resources", Value::Null).await.ok();
        assert_eq!((&list.json()["items"][0]["resource_id"], &list.json()["next_cursor"]), (&made["resource_id"], &Value::Null));
        assert!(!list.body.contains(made["secret"].as_str().expect("text")), "a secret is told once");
        let (actor, data) = last_fact(&deputy, "resource.registered.v1").await;
        assert_eq!(data, json!({"resource": made["resource_id"], "identifier": RESOURCE}));
        assert!(actor["operator"].is_string());
        let scopes = json!([{"name": "a", "description": "Do a"}]);
        for spelling in [RESOURCE, "https://notes.example/mcp/", "HTTPS://NOTES.EXAMPLE:443/mcp"] {
            let again = json!({"identifier": spelling, "name": "Again", "scopes": scopes});
            refused(deputy.operate("POST", "/resources", again).await, 409, &ADMIN_CONFLICT, "registered already");
        }
        let issuer = json!({"identifier": deputy.issuer, "name": "Us", "scopes": scopes});
        refused(deputy.operate("POST", "/resources", issuer).await, 400, &ADMIN_VALUE, "must not be the issuer");
        let built_in = json!([{"name": "openid", "description": "Who you are"}]);
        let table = [
            (json!({"identifier": "notes", "name": "N", "scopes": scopes}), "identifier must be"),
            (json!({"identifier": "https://n.example/#f", "name": "N", "scopes": scopes}), "identifier must be"),
            (json!({"identifier": "ftp://n.example/", "name": "N", "scopes": scopes}), "identifier must be"),
            (json!({"identifier": "https://n.example/", "name": "\u{7}", "scopes": scopes}), "name must have"),
            (json!({"identifier": "https://n.example/", "name": "N", "scopes": built_in}), "choose another name"),
            (json!({"identifier": "https://n.example/", "name": "N", "scopes": scopes, "access_token_ttl_s": 5}), "60 to 3600"),
        ];
        for (new, told) in table {
            refused(deputy.operate("POST", "/resources", new).await, 400, &ADMIN_VALUE, told);
        }
    })
    .await;
}

#[tokio::test]
async fn a_resource_changes_all_but_where_it_is() {
    each_engine(async |deputy| {
        let made = deputy.resource().await;
        let path = format!("/resources/{}", made["resource_id"].as_str().expect("text"));
        let change = json!({"name": "My notes", "access_token_ttl_s": 120});
        let changed = deputy.operate("PATCH", &path, change).await.ok().json();
        assert_eq!((&changed["name"], &changed["access_token_ttl_s"]), (&"My notes".into(), &120.into()));
        assert_eq!(changed["scopes"], made["scopes"]);
        let token = deputy.service("notes:read").await.client_credentials(&[]).await.ok();
        assert_eq!(token.json()["expires_in"], 120);
        let changed = deputy.operate("PATCH", &path, json!({"access_token_ttl_s": null})).await.ok().json();
        assert_eq!(changed["access_token_ttl_s"], Value::Null);
        assert_eq!(last_fact(&deputy, "resource.changed.v1").await.1, json!({"resource": made["resource_id"]}));
        refused(deputy.operate("PATCH", &path, json!({"scopes": []})).await, 400, &ADMIN_VALUE, "scopes must be");
        refused(deputy.operate("PATCH", "/resources/res_unknown", json!({})).await, 404, &ADMIN_NOT_FOUND, "");
    })
    .await;
}

#[tokio::test]
async fn a_new_secret_makes_the_one_before_worthless() {
    each_engine(async |deputy| {
        let old = deputy.resource().await;
        let path = format!("/resources/{}/secret", old["resource_id"].as_str().expect("text"));
        let token = deputy.service("notes:read").await.client_credentials(&[]).await.ok().text("access_token");
        let new = deputy.operate("POST", &path, Value::Null).await.ok().json();
        assert!(deputy.is_active(&new, &token).await);
        let (id, secret) = (old["resource_id"].as_str().expect("text"), old["secret"].as_str());
        let request = deputy.http.post(format!("{}/introspect", deputy.issuer)).basic_auth(id, secret).form(&[("token", &token)]);
        Answer::of(request).await.refused(401, "invalid_client");
        refused(deputy.operate("POST", "/resources/res_unknown/secret", Value::Null).await, 404, &ADMIN_NOT_FOUND, "");
    })
    .await;
}

#[tokio::test]
async fn a_deleted_resource_gets_no_more_tokens() {
    each_engine(async |deputy| {
        let made = deputy.resource().await;
        let service = deputy.service("notes:read").await;
        service.client_credentials(&[]).await.ok();
        let path = format!("/resources/{}", made["resource_id"].as_str().expect("text"));
        deputy.operate("DELETE", &path, Value::Null).await.ok();
        service.client_credentials(&[]).await.refused(400, "invalid_target");
        assert_eq!(deputy.last_reason().await, "resource.unknown");
        assert_eq!(
            last_fact(&deputy, "resource.deleted.v1").await.1,
            json!({"resource": made["resource_id"], "identifier": RESOURCE})
        );
        refused(deputy.operate("DELETE", &path, Value::Null).await, 404, &ADMIN_NOT_FOUND, "");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_two_operators_change_at_once_both_comes_true() {
    each_engine(async |deputy| {
        let path = format!("/resources/{}", deputy.resource().await["resource_id"].as_str().expect("text"));
        let secret = format!("{path}/secret");
        for round in 1..=RACES {
            let (name, ttl_s) = (round.to_string(), 100 + round);
            let (one, other, renewed) = join!(
                deputy.operate("PATCH", &path, json!({"name": name})),
                deputy.operate("PATCH", &path, json!({"access_token_ttl_s": ttl_s})),
                deputy.operate("POST", &secret, Value::Null),
            );
            for answer in [one, other] {
                answer.ok();
            }
            let shown = &deputy.operate("GET", "/resources", Value::Null).await.ok().json()["items"][0];
            assert_eq!((&shown["name"], &shown["access_token_ttl_s"]), (&json!(name), &json!(ttl_s)));
            deputy.is_active(&renewed.ok().json(), "any").await;
        }
    })
    .await;
}
