//! Who may write to which source: write keys, access tokens, and what becomes of a token that is good no more.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{key, messages, post, refused, taken};
use crate::support::{Agent, Answer, Installation, each_engine};

const PAGE: &str = "/v1/page";

/// A page view of somebody.
fn page(write_key: Option<&str>) -> Value {
    let mut body = json!({"userId": "ada"});
    if let Some(write_key) = write_key {
        body["writeKey"] = write_key.into();
    }
    body
}

async fn with_header(deputy: &Installation, header: &str, body: &Value) -> Answer {
    Answer::of(post(deputy, PAGE, body).header("authorization", header)).await
}

async fn with_token(deputy: &Installation, token: &str, body: &Value) -> Answer {
    with_header(deputy, &format!("Bearer {token}"), body).await
}

/// A token for the tracking API, asked for as the SDKs do: by its scope, with no resource.
async fn token(service: &Agent<'_>) -> String {
    let form = [("grant_type", "client_credentials"), ("scope", "tracking_api:write")];
    service.token(&form, &[]).await.ok().text("access_token")
}

async fn change(deputy: &Installation, source: &Value, change: Value) {
    let path = format!("/sources/{}", source["source_id"].as_str().expect("text"));
    deputy.operate("PATCH", &path, change).await.ok();
}

#[tokio::test]
async fn a_write_key_stands_in_the_body_in_the_header_or_in_both() {
    each_engine(async |deputy| {
        let (source, other) = (deputy.source(json!({})).await, deputy.source(json!({})).await);
        let write_key = key(&source);
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        taken(&Answer::of(post(&deputy, PAGE, &page(Some(write_key)))).await);
        for header in [basic(&format!("{write_key}:")), basic(write_key), basic(write_key).trim_end_matches('=').to_owned()] {
            taken(&with_header(&deputy, &header, &page(None)).await);
            taken(&with_header(&deputy, &header, &page(Some(write_key))).await);
        }
        let old = json!({"batch": [{"type": "page", "userId": "ada", "writeKey": write_key}]});
        taken(&Answer::of(post(&deputy, "/v1/batch", &old)).await);
        assert_eq!(messages(&deputy).await.len(), 8);
        for (header, body, status, code, reason) in [
            (None, page(None), 401, "invalid_client", "tracking.key_missing"),
            (None, page(Some("")), 401, "invalid_client", "tracking.key_missing"),
            (None, page(Some("made-up")), 401, "invalid_client", "tracking.key_unknown"),
            (Some(basic("made-up:")), page(None), 401, "invalid_client", "tracking.key_unknown"),
            (Some(basic(key(&other))), page(Some(write_key)), 400, "invalid_request", "tracking.keys_differ"),
            (Some(basic(":")), page(Some(write_key)), 401, "invalid_client", "tracking.credentials"),
            (Some("Digest x".to_owned()), page(Some(write_key)), 401, "invalid_client", "tracking.credentials"),
            (Some("Bearer ".to_owned()), page(Some(write_key)), 401, "invalid_client", "tracking.credentials"),
        ] {
            let request = post(&deputy, PAGE, &body);
            let request = if let Some(header) = &header { request.header("authorization", header) } else { request };
            refused(&Answer::of(request).await, status, code);
            assert_eq!(deputy.last_reason().await, reason, "{header:?}");
        }
        assert_eq!(messages(&deputy).await.len(), 8);
    })
    .await;
}

#[tokio::test]
async fn a_disabled_source_and_an_old_key_are_refused_at_once() {
    each_engine(async |deputy| {
        let source = deputy.source(json!({})).await;
        let send = async || Answer::of(post(&deputy, PAGE, &page(Some(key(&source))))).await;
        taken(&send().await);
        change(&deputy, &source, json!({"disabled": true})).await;
        refused(&send().await, 403, "access_denied");
        assert_eq!(deputy.last_reason().await, "tracking.source_disabled");
        change(&deputy, &source, json!({"disabled": false})).await;
        taken(&send().await);
        let path = format!("/sources/{}/write-key", source["source_id"].as_str().expect("text"));
        let renewed = deputy.operate("POST", &path, json!({})).await.ok().json();
        refused(&send().await, 401, "invalid_client");
        assert_eq!(deputy.last_reason().await, "tracking.key_unknown");
        taken(&Answer::of(post(&deputy, PAGE, &page(Some(key(&renewed))))).await);
    })
    .await;
}

#[tokio::test]
async fn an_access_token_of_ours_writes() {
    each_engine(async |deputy| {
        let (service, stranger) = (deputy.service("tracking_api:write").await, deputy.service("tracking_api:write").await);
        let bound = deputy.source(json!({"client_id": service.client_id, "requires_token": true})).await;
        let open = deputy.source(json!({})).await;
        let (good, foreign) = (token(&service).await, token(&stranger).await);
        taken(&with_token(&deputy, &good, &page(Some(key(&bound)))).await);
        taken(&with_token(&deputy, &good, &page(None)).await);
        taken(&with_token(&deputy, &foreign, &page(Some(key(&open)))).await);
        let fact = deputy.topic("received").await.pop().expect("it is on record");
        assert_eq!(fact["actor"]["client"], stranger.client_id);
        for (header, body, status, code, reason) in [
            (None, page(Some(key(&bound))), 401, "invalid_token", "tracking.token_needed"),
            (Some(&foreign), page(Some(key(&bound))), 403, "access_denied", "tracking.client"),
            (Some(&foreign), page(None), 401, "invalid_client", "tracking.key_missing"),
        ] {
            let request = post(&deputy, PAGE, &body);
            let request = if let Some(token) = header { request.bearer_auth(token) } else { request };
            refused(&Answer::of(request).await, status, code);
            assert_eq!(deputy.last_reason().await, reason);
        }
        let second = deputy.source(json!({"client_id": service.client_id})).await;
        refused(&with_token(&deputy, &good, &page(None)).await, 401, "invalid_client");
        assert_eq!(deputy.last_reason().await, "tracking.key_missing", "of two sources neither is meant");
        taken(&with_token(&deputy, &good, &page(Some(key(&second)))).await);
    })
    .await;
}

#[tokio::test]
async fn a_token_that_is_good_no_more_costs_nothing_if_its_client_may_have_another() {
    each_engine(async |deputy| {
        let service = deputy.service("tracking_api:write").await;
        let source = deputy.source(json!({"requires_token": true})).await;
        let body = page(Some(key(&source)));
        let expired = token(&service).await;
        taken(&with_token(&deputy, &expired, &body).await);
        deputy.later(601);
        let stale = with_token(&deputy, &expired, &body).await;
        refused(&stale, 511, "invalid_token");
        assert!(stale.header("www-authenticate").is_some_and(|told| told.starts_with("Bearer ") && told.contains("invalid_token")));
        let revoked = token(&service).await;
        service.post("/revoke", &[("token", &revoked)], &[]).await.ok();
        refused(&with_token(&deputy, &revoked, &body).await, 511, "invalid_token");
        assert_eq!(deputy.last_reason().await, "tracking.token_stale");
        taken(&with_token(&deputy, &token(&service).await, &body).await);

        let last = token(&service).await;
        deputy.operate("PATCH", &format!("/clients/{}", service.client_id), json!({"disabled": true})).await.ok();
        refused(&with_token(&deputy, &last, &body).await, 401, "invalid_token");
        assert_eq!(deputy.last_reason().await, "tracking.client_disabled");
        deputy.operate("DELETE", &format!("/clients/{}", service.client_id), Value::Null).await.ok();
        refused(&with_token(&deputy, &last, &body).await, 401, "invalid_token");
        assert_eq!(deputy.last_reason().await, "tracking.client_disabled");
    })
    .await;
}

#[tokio::test]
async fn a_token_for_something_else_does_not_write() {
    let deputy = Installation::start().await;
    deputy.resource().await;
    let source = deputy.source(json!({})).await;
    let notes = deputy.service("notes:read").await.client_credentials(&[]).await.ok().text("access_token");
    for wrong in [notes.as_str(), "made.up.token", &deputy.operator_token()] {
        refused(&with_token(&deputy, wrong, &page(Some(key(&source)))).await, 401, "invalid_token");
        assert_eq!(deputy.last_reason().await, "tracking.token");
    }
    assert!(messages(&deputy).await.is_empty());
}

#[tokio::test]
async fn the_scope_is_for_clients_that_an_operator_gave_it() {
    let deputy = Installation::start().await;
    deputy.resource().await;
    let form = [("grant_type", "client_credentials"), ("scope", "tracking_api:write")];
    deputy.service("notes:read").await.token(&form, &[]).await.refused(400, "invalid_scope");
    assert_eq!(deputy.last_reason().await, "scope.unregistered");
    let service = deputy.service("notes:read tracking_api:write").await;
    let named = format!("{}/v1", deputy.issuer);
    let token = service.token(&form, &[("resource", &named)]).await.ok().text("access_token");
    assert_eq!(crate::support::agent::claims(&token)["aud"], named);
    let both = [("grant_type", "client_credentials"), ("scope", "notes:read tracking_api:write")];
    service.token(&both, &[("resource", &named)]).await.refused(400, "invalid_scope");
    assert_eq!(deputy.last_reason().await, "scope.unknown");
    let scopes = json!([{"name": "a", "description": "Do a"}]);
    let request = json!({"identifier": named, "name": "Ours", "scopes": scopes});
    deputy.operate("POST", "/resources", request).await.refused(400, "invalid_request");
    let scopes = json!([{"name": "tracking_api:write", "description": "Write"}]);
    let request = json!({"identifier": "https://n.example/", "name": "N", "scopes": scopes});
    deputy.operate("POST", "/resources", request).await.refused(400, "invalid_request");
    assert_eq!(deputy.last_reason().await, "admin.value");
    let ada = deputy.person("ada@example.com").await;
    ada.sign_in().await.ok();
    let agent = deputy.agent().await;
    let refused = ada.authorize(&agent.authorization_url("tracking_api:write", &[("resource", &named)])).await;
    assert!(refused.query().is_some_and(|query| query.contains("error=invalid_target")), "{refused}");
}
