//! [draft-ietf-oauth-client-id-metadata-document](https://datatracker.ietf.org/doc/draft-ietf-oauth-client-id-metadata-document/)

use std::sync::Arc;

use deputy::{domain::client::ClientId, outbound};
use reqwest::{StatusCode, header::HeaderMap};
use serde_json::{Value, json};

use crate::support::{
    Agent, Answer, CALLBACK, Installation, Person, Signer, agent::Tokens, each_engine, each_engine_with, until,
    workload::ASSERTION_TYPE,
};

const ID: &str = "https://agent.example/client.json";

fn document(changes: Value) -> Value {
    let mut document = json!({"client_id": ID, "client_name": "Documented agent", "redirect_uris": [CALLBACK]});
    document.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
    document
}

fn serve(deputy: &Installation, answer: outbound::Answer) {
    deputy.web.answer(&ID.parse().expect("a URL"), answer);
}

fn serve_with(deputy: &Installation, status: StatusCode, caching: &'static str, document: &Value) {
    let headers: HeaderMap = [(reqwest::header::CACHE_CONTROL, caching.parse().expect("a header"))].into_iter().collect();
    serve(deputy, outbound::Answer::Complete { status, headers, body: document.to_string().into_bytes() });
}

/// Opens an authorization request that is refused on a page, and returns its status.
async fn refused(deputy: &Installation, agent: &Agent<'_>, reason: &str) -> u16 {
    let page = Person::new(deputy, "nobody", "").open(&agent.authorization_url("notes:read", &[])).await.page();
    assert!(page.body.contains(reason) && page.header("location").is_none(), "{reason}: {page:?}");
    page.status.as_u16()
}

#[tokio::test]
async fn cimd_3_a_document_is_a_registration() {
    each_engine(async |deputy| {
        deputy.resource().await;
        serve(
            &deputy,
            outbound::Answer::json(&document(json!({"unknown": 1, "grant_types": ["authorization_code", "refresh_token", "x"]}))),
        );
        let (ada, agent) = (deputy.person("ada@example.com").await, Agent::known(&deputy, ID));
        let page = ada.open(&agent.authorization_url("notes:read", &[])).await.page();
        let consent = ada.sign_in_on(&page).await.page();
        assert!(consent.body.contains("agent.example"), "the page shows the host that vouches");
        let away = ada.allow_on(&consent).await;
        let code = away.parameter("code").expect("a code");
        let tokens = Tokens::of(agent.redeem(&code, &[]).await);
        assert_eq!(tokens.claims()["client_id"], ID);
        agent.refresh(tokens.refresh_token()).await.ok();
        let registered = deputy.facts_of("client.registered.v1").await;
        assert_eq!((registered.len(), &registered[0]["origin"]), (1, &"metadata_document".into()));
        assert_eq!(deputy.web.calls().len(), 1, "one fetch is enough");
    })
    .await;
}

#[tokio::test]
async fn cimd_2_the_url_has_one_spelling() {
    each_engine(async |deputy| {
        deputy.resource().await;
        for id in [
            "https://agent.example",
            "https://agent.example/",
            "https://agent.example/client.json#f",
            "https://agent.example/client.json?x=1",
            "https://agent.example/a/../client.json",
            "https://agent.example/./client.json",
            "https://user@agent.example/client.json",
            "https://user:pass@agent.example/client.json",
            "https://AGENT.example/client.json",
            "https://agent.example:443/client.json",
        ] {
            assert_eq!(refused(&deputy, &Agent::known(&deputy, id), "client_document.url").await, 400, "{id}");
            assert_eq!(deputy.last_reason().await, "client_document.url");
        }
        assert_eq!(
            refused(&deputy, &Agent::known(&deputy, "http://agent.example/client.json"), "client_document.refused").await,
            400
        );
        assert!(deputy.web.calls().is_empty());
    })
    .await;
}

#[tokio::test]
async fn cimd_4_a_document_must_be_right() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let agent = Agent::known(&deputy, ID);
        for changes in [
            json!({"client_id": "https://agent.example/other.json"}),
            json!({"client_id": "https://agent.example/client.json/"}),
            json!({"client_name": ""}),
            json!({"client_name": null}),
            json!({"redirect_uris": []}),
            json!({"redirect_uris": ["http://agent.example/cb"]}),
            json!({"redirect_uris": "https://agent.example/callback"}),
            json!({"client_secret": "x"}),
            json!({"client_secret_expires_at": 0}),
            json!({"padding": "x".repeat(6000)}),
        ] {
            serve(&deputy, outbound::Answer::json(&document(changes.clone())));
            assert_eq!(refused(&deputy, &agent, "client_document.invalid").await, 400, "{changes}");
        }
        let good = document(json!({}));
        for status in [201, 203, 204, 301, 302, 304, 400, 401, 403, 404, 410] {
            serve_with(&deputy, StatusCode::from_u16(status).expect("a status"), "max-age=3600", &good);
            assert_eq!(refused(&deputy, &agent, "client_document.invalid").await, 400, "{status}");
        }
        for body in ["", "[]", "{", "<html>"] {
            let (status, headers) = (StatusCode::OK, HeaderMap::new());
            serve(&deputy, outbound::Answer::Complete { status, headers, body: body.into() });
            assert_eq!(refused(&deputy, &agent, "client_document.invalid").await, 400, "{body}");
        }
        serve(&deputy, outbound::Answer::Endless);
        assert_eq!(refused(&deputy, &agent, "client_document.invalid").await, 400);
        assert!(deputy.state().await.iter().all(|line| !line.starts_with("client ")), "nothing wrong is kept");
        serve(&deputy, outbound::Answer::json(&good));
        let ada = deputy.person("ada@example.com").await;
        agent.authorize(&ada, "notes:read").await;
    })
    .await;
}

#[tokio::test]
async fn cimd_4_4_trouble_passes_and_is_not_kept() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (ada, agent) = (deputy.person("ada@example.com").await, Agent::known(&deputy, ID));
        let trouble = [
            outbound::Answer::Unreachable,
            outbound::Answer::status(StatusCode::INTERNAL_SERVER_ERROR),
            outbound::Answer::status(StatusCode::BAD_GATEWAY),
            outbound::Answer::status(StatusCode::TOO_MANY_REQUESTS),
        ];
        for trouble in trouble {
            serve(&deputy, trouble);
            let counted = deputy.refusals_counted("client_document.unavailable").await;
            assert_eq!(refused(&deputy, &agent, "client_document.unavailable").await, 503);
            assert!(deputy.refusals_counted("client_document.unavailable").await > counted);
        }
        serve(&deputy, outbound::Answer::json(&document(json!({}))));
        let tokens = agent.authorize(&ada, "notes:read").await;
        // At the token endpoint what is known still counts.
        deputy.later(3601);
        serve(&deputy, outbound::Answer::Unreachable);
        agent.refresh(tokens.refresh_token()).await.ok();
    })
    .await;
}

#[tokio::test]
async fn cimd_4_4_http_says_how_long_a_document_is_fresh() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let agent = Agent::known(&deputy, ID);
        let fetched = async |after_s: u64| {
            deputy.later(after_s);
            let before = deputy.web.calls().len();
            Person::new(&deputy, "nobody", "").open(&agent.authorization_url("notes:read", &[])).await.page();
            deputy.web.calls().len() > before
        };
        for (caching, fresh_s) in [("max-age=600", 600), ("public, max-age=1", 60), ("max-age=9999999", 86_400), ("public", 3600)] {
            serve_with(&deputy, StatusCode::OK, caching, &document(json!({})));
            assert!(fetched(90_000).await, "{caching}");
            assert!(!fetched(fresh_s - 1).await, "{caching}");
            assert!(fetched(1).await, "{caching}");
        }
        for caching in ["no-store", "private"] {
            serve_with(&deputy, StatusCode::OK, caching, &document(json!({})));
            assert!(
                fetched(90_000).await && !fetched(9).await && fetched(1).await,
                "whoever sends strangers here has us ask now and then"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn cimd_4_4_a_host_that_says_nothing_is_asked_once_whoever_hangs_up() {
    each_engine(async |deputy| {
        deputy.resource().await;
        serve(&deputy, outbound::Answer::json(&document(json!({}))));
        let (ada, agent) = (deputy.person("ada@example.com").await, Agent::known(&deputy, ID));
        let tokens = agent.authorize(&ada, "notes:read").await;
        deputy.later(3601);
        serve(&deputy, outbound::Answer::Silent);
        let asked = deputy.web.calls().len();
        let (id, memory) = (ClientId::parse(ID).expect("a client"), &deputy.world().memory);
        // The cache has one, and so has whoever looks; the others are the one that asks, and those who wait for it.
        let waiting = || memory.documents_asked.get(&id).map_or(0, |asking| Arc::strong_count(&asking) - 2);
        let come = || tokio::spawn(deputy.http.get(agent.authorization_url("notes:read", &[])).send());
        let crowd = [come(), come(), come()];
        until(|| waiting() == 3 && deputy.web.calls().len() == asked + 1).await;
        // Nobody waits for it who asks for a token.
        agent.refresh(tokens.refresh_token()).await.ok();
        crowd.iter().for_each(tokio::task::JoinHandle::abort);
        until(|| waiting() == 1).await;
        let late = come();
        until(|| waiting() == 2).await;
        assert_eq!(deputy.web.calls().len(), asked + 1, "hanging up gets nobody another try");
        late.abort();
    })
    .await;
}

#[tokio::test]
async fn cimd_4_4_who_asks_for_a_token_waits_for_no_document() {
    let deputy = Installation::start().await;
    deputy.resource().await;
    serve(&deputy, outbound::Answer::json(&document(json!({}))));
    let (ada, agent) = (deputy.person("ada@example.com").await, Agent::known(&deputy, ID));
    let tokens = agent.authorize(&ada, "notes:read").await;
    deputy.later(3601);
    serve(&deputy, outbound::Answer::Silent);
    let tokens = Tokens::of(agent.refresh(tokens.refresh_token()).await);
    let fetches = &deputy.world().memory.fetch_permits;
    let under_way = fetches.available_permits();
    assert_eq!(deputy.web.calls().len(), 2);
    agent.refresh(tokens.refresh_token()).await.ok();
    assert_eq!((deputy.web.calls().len(), fetches.available_permits()), (2, under_way), "it is still asked, and only once");
    until(|| fetches.available_permits() > under_way).await;
}

#[tokio::test]
async fn cimd_4_4_a_document_that_changes_all_the_time_leaves_no_more_behind_than_registrations_may() {
    let deputy = Installation::start_with("registrations_per_minute_max = 4\ntrusted_proxies = [\"127.0.0.1\"]\n").await;
    deputy.resource().await;
    let changed = |name: &str| serve_with(&deputy, StatusCode::OK, "no-store", &document(json!({"client_name": name})));
    let agent = Agent::known(&deputy, ID);
    let authorize = async |address: &str| {
        let request = deputy.http.get(agent.authorization_url("notes:read", &[]));
        Answer::of(request.header("x-forwarded-for", address)).await
    };
    changed("One");
    authorize("192.0.2.1").await.ok();
    changed("Two");
    deputy.later(10);
    authorize("192.0.2.2").await.refused_on_page(429, "registration.limit");
    assert!(deputy.facts_of("client.changed.v1").await.is_empty());
    authorize("198.51.100.1").await.ok();
    authorize("192.0.2.2").await.ok();
    assert_eq!((deputy.facts_of("client.changed.v1").await.len(), deputy.web.calls().len()), (1, 2));
    // The same for those who ask for tokens, who go on with what is known.
    for number in 0..20 {
        changed(&format!("Number {number}"));
        deputy.later(60);
        agent.redeem("none", &[]).await.refused(400, "invalid_grant");
    }
    assert_eq!((deputy.facts_of("client.changed.v1").await.len(), deputy.web.calls().len()), (5, 22));
}

#[tokio::test]
async fn cimd_4_4_a_slow_host_has_a_part_of_the_fetches_only() {
    let deputy = Installation::start().await;
    deputy.resource().await;
    serve(&deputy, outbound::Answer::json(&document(json!({}))));
    let silent = (0..4).map(|number| {
        let id = format!("https://slow.example/{number}.json");
        deputy.web.answer(&id.parse().expect("a URL"), outbound::Answer::Silent);
        tokio::spawn(deputy.http.get(Agent::known(&deputy, &id).authorization_url("notes:read", &[])).send())
    });
    let silent: Vec<_> = silent.collect();
    until(|| deputy.web.calls().len() == silent.len()).await;
    let more = Agent::known(&deputy, "https://slow.example/more.json");
    assert_eq!(refused(&deputy, &more, "server.busy").await, 503);
    Person::new(&deputy, "nobody", "").open(&Agent::known(&deputy, ID).authorization_url("notes:read", &[])).await.page().ok();
    silent.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn cimd_6_what_changes_is_asked_for_again_and_other_devices_stay_connected() {
    each_engine(async |deputy| {
        deputy.resource().await;
        serve(&deputy, outbound::Answer::json(&document(json!({}))));
        let (ada, agent) = (deputy.person("ada@example.com").await, Agent::known(&deputy, ID));
        let laptop = agent.authorize(&ada, "notes:read").await;
        let phone = agent.authorize(&ada, "notes:read").await;
        let silent = [("prompt", "none")];
        for changes in [
            json!({"redirect_uris": [CALLBACK, "https://agent.example/new"]}),
            json!({"client_name": "Another name"}),
            json!({"jwks": Signer::new().jwks(), "token_endpoint_auth_method": "none"}),
        ] {
            let code = ada.open(&agent.authorization_url("notes:read", &silent)).await.parameter("code");
            assert!(code.is_some(), "consent holds while nothing changes");
            deputy.later(3601);
            serve(&deputy, outbound::Answer::json(&document(changes.clone())));
            let error = ada.open(&agent.authorization_url("notes:read", &silent)).await.parameter("error");
            assert_eq!(error.as_deref(), Some("consent_required"), "{changes}");
            agent.authorize(&ada, "notes:read").await;
        }
        for device in [&laptop, &phone] {
            agent.refresh(device.refresh_token()).await.ok();
        }
    })
    .await;
}

#[tokio::test]
async fn cimd_5_a_document_with_keys_authenticates_by_them() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (signer, ada, agent) = (Signer::new(), deputy.person("ada@example.com").await, Agent::known(&deputy, ID));
        let keys = json!({"token_endpoint_auth_method": "private_key_jwt", "jwks": signer.jwks()});
        serve(&deputy, outbound::Answer::json(&document(keys)));
        let code = agent.code(&ada, "notes:read").await;
        agent.redeem(&code, &[]).await.refused(401, "invalid_client");
        assert_eq!(deputy.last_reason().await, "client.authentication_missing");
        let now_s = deputy.world().now().seconds();
        let claims = json!({"iss": ID, "sub": ID, "aud": deputy.issuer, "exp": now_s + 60, "jti": "1"});
        let assertion = signer.jwt(&claims);
        agent.redeem(&code, &[("client_assertion_type", ASSERTION_TYPE), ("client_assertion", &assertion)]).await.ok();
    })
    .await;
}

#[tokio::test]
async fn a_deleted_client_of_a_document_may_come_back_in_the_same_second() {
    each_engine(async |deputy| {
        let resource = deputy.resource().await;
        serve(&deputy, outbound::Answer::json(&document(json!({}))));
        let (ada, agent) = (deputy.person("ada@example.com").await, Agent::known(&deputy, ID));
        let old = agent.authorize(&ada, "notes:read").await;
        deputy.operate("DELETE", &format!("/clients/{}", ID.replace('/', "%2F")), Value::Null).await.ok();
        assert!(!deputy.is_active(&resource, &old.access_token).await);
        // Tokens tell whole seconds: all of this comes within one.
        let new = agent.authorize(&ada, "notes:read").await;
        assert_eq!(new.claims()["iat"], old.claims()["iat"]);
        assert!(deputy.is_active(&resource, &new.access_token).await && !deputy.is_active(&resource, &old.access_token).await);
        agent.refresh(old.refresh_token()).await.refused(400, "invalid_grant");
        assert_eq!(deputy.last_reason().await, "refresh.ended");
    })
    .await;
}

/// Whoever is first: nothing that a code begins beside the deletion outlives it.
#[tokio::test]
async fn a_redemption_beside_the_deletion_of_its_client() {
    for is_redeemed_first in [true, false] {
        let deputy = Installation::start_on_postgres("").await;
        let resource = deputy.resource().await;
        serve(&deputy, outbound::Answer::json(&document(json!({}))));
        let (ada, agent) = (deputy.person("ada@example.com").await, Agent::known(&deputy, ID));
        let code = agent.code(&ada, "notes:read").await;
        let (redeemed, deleted) = if is_redeemed_first { (1, 2) } else { (2, 1) };
        // Both have decided, and wait to put it on record.
        let held = deputy.database().hold_rows("LOCK TABLE outbox IN SHARE MODE").await;
        let in_turn = async |turn: i64| {
            if turn > 1 {
                deputy.database().until_waiting(turn - 1).await;
            }
        };
        let redeem = async {
            in_turn(redeemed).await;
            agent.redeem(&code, &[]).await
        };
        let delete = async {
            in_turn(deleted).await;
            deputy.operate("DELETE", &format!("/clients/{}", ID.replace('/', "%2F")), Value::Null).await.ok();
        };
        let release = async {
            deputy.database().until_waiting(2).await;
            held.release().await;
        };
        let (answer, (), ()) = tokio::join!(redeem, delete, release);
        if is_redeemed_first {
            let tokens = Tokens::of(answer);
            assert!(!deputy.is_active(&resource, &tokens.access_token).await);
            assert_eq!(deputy.facts_of("grant.ended.v1").await[0]["cause"], "client_deleted");
        } else {
            answer.refused(400, "invalid_grant");
            assert_eq!(deputy.last_reason().await, "grant.consent");
        }
    }
}

#[tokio::test]
async fn documents_can_be_off() {
    each_engine_with("client_metadata_documents = false\n", async |deputy| {
        deputy.resource().await;
        serve(&deputy, outbound::Answer::json(&document(json!({}))));
        assert_eq!(refused(&deputy, &Agent::known(&deputy, ID), "client_document.off").await, 400);
        assert_eq!(deputy.last_reason().await, "client_document.off");
        let metadata = deputy.get("/.well-known/oauth-authorization-server").await.ok().json();
        assert_eq!(metadata["client_id_metadata_document_supported"], false);
    })
    .await;
}
