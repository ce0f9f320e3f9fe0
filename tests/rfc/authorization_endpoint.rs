//! [OAuth 2.1 §4.1](https://datatracker.ietf.org/doc/html/draft-ietf-oauth-v2-1-13#section-4.1),
//! [RFC 9207](https://www.rfc-editor.org/rfc/rfc9207), [RFC 8707 §2.1](https://www.rfc-editor.org/rfc/rfc8707#section-2.1)

use crate::support::{Agent, CALLBACK, Installation, each_engine, person::fields};
use serde_json::json;

/// Opens a request that is refused by redirect; checks `state` and `iss` too.
async fn told(deputy: &Installation, url: &str) -> (String, String) {
    let away = deputy.visitor().await.open(url).await.away();
    let all =
        |name: &str| away.query_pairs().filter(|(known, _)| known == name).map(|(_, value)| value.into_owned()).collect::<Vec<_>>();
    assert_eq!(all("iss"), [deputy.issuer.as_str()], "RFC 9207 §2: in errors too, once");
    assert_eq!(all("state"), ["the state"]);
    assert_eq!(all("code"), Vec::<String>::new());
    (all("error").concat(), deputy.last_reason().await)
}

#[tokio::test]
async fn oauth21_4_1_2_the_code_comes_with_state_and_iss() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        let away = ada.authorize(&agent.authorization_url("notes:read", &[])).await;
        assert!(away.as_str().starts_with(&format!("{CALLBACK}?")));
        let names: Vec<_> = away.query_pairs().map(|(name, _)| name.into_owned()).collect();
        assert_eq!(names, ["code", "state", "iss"]);
        assert!(away.query_pairs().any(|(name, value)| name == "iss" && value == deputy.issuer));
    })
    .await;
}

#[tokio::test]
async fn oauth21_4_1_2_1_refusals_are_told_to_the_client_by_redirect() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let agent = deputy.agent().await;
        for (changes, error, reason) in [
            (vec![("response_type", "token")], "unsupported_response_type", "authorize.response_type"),
            (vec![("response_type", "")], "invalid_request", "request.parameter_missing"),
            (vec![("response_mode", "fragment")], "invalid_request", "authorize.response_mode"),
            (vec![("code_challenge", "")], "invalid_request", "pkce.missing"),
            (vec![("code_challenge_method", "plain")], "invalid_request", "pkce.method"),
            (vec![("code_challenge_method", "")], "invalid_request", "pkce.method"),
            (vec![("code_challenge", "short")], "invalid_request", "pkce.challenge"),
            (vec![("scope", "notes:unknown")], "invalid_scope", "scope.unknown"),
            (vec![("scope", "a\"b")], "invalid_scope", "scope.malformed"),
            (vec![("resource", "https://elsewhere.example/mcp")], "invalid_target", "resource.unknown"),
            (vec![("resource", "not a uri")], "invalid_target", "resource.malformed"),
            (vec![("prompt", "none login")], "invalid_request", "authorize.prompt"),
            (vec![("prompt", "dance")], "invalid_request", "authorize.prompt"),
            (vec![("max_age", "soon")], "invalid_request", "authorize.max_age"),
            (vec![("request", "x.y.z")], "request_not_supported", "authorize.request_object"),
            (vec![("request_uri", "https://evil.example/r")], "request_uri_not_supported", "authorize.request_uri"),
        ] {
            let url = agent.authorization_url("notes:read", &changes);
            assert_eq!(told(&deputy, &url).await, (error.to_owned(), reason.to_owned()), "{changes:?}");
        }
        let silent = agent.authorization_url("notes:read", &[("prompt", "none")]);
        let away = crate::support::Person::new(&deputy, "nobody", "").open(&silent).await.away();
        assert!(away.query().is_some_and(|query| query.starts_with("error=login_required&")), "{away}");
        assert_eq!(deputy.last_reason().await, "authorize.login_required");
    })
    .await;
}

#[tokio::test]
async fn oauth21_7_12_2_nobody_is_sent_to_an_app_before_they_have_signed_in() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let agent = deputy.agent().await;
        let url = agent.authorization_url("notes:read", &[("response_type", "token")]);
        let stranger = crate::support::Person::new(&deputy, "nobody", "");
        stranger.open(&url).await.page().refused_on_page(400, "authorize.response_type");
        assert_eq!(told(&deputy, &url).await.0, "unsupported_response_type");
    })
    .await;
}

#[tokio::test]
async fn oauth21_7_12_2_a_bad_client_or_redirect_uri_is_told_on_a_page() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let agent = deputy.agent().await;
        let two = Agent::register(&deputy, json!({"redirect_uris": [CALLBACK, "https://agent.example/two"]})).await;
        for (url, reason) in [
            (agent.authorization_url("notes:read", &[("client_id", "cli_nobody")]), "client.unknown"),
            (agent.authorization_url("notes:read", &[("client_id", "")]), "request.parameter_missing"),
            (
                agent.authorization_url("notes:read", &[("redirect_uri", "https://evil.example/cb")]),
                "authorize.redirect_uri_unregistered",
            ),
            (two.authorization_url("notes:read", &[("redirect_uri", "")]), "authorize.redirect_uri_missing"),
            (agent.authorization_url("notes:read", &[]) + "&state=again", "request.parameter_repeated"),
        ] {
            let page = crate::support::Person::new(&deputy, "nobody", "").open(&url).await.page();
            assert_eq!((page.status.as_u16(), page.header("location")), (400, None), "{url}");
            assert!(page.body.contains(reason) && page.header("content-type").is_some_and(|media| media.starts_with("text/html")));
            assert_eq!(deputy.last_reason().await, reason);
        }
    })
    .await;
}

#[tokio::test]
async fn oauth21_2_3_1_one_registered_redirect_uri_may_be_left_out() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        let away = ada.authorize(&agent.authorization_url("notes:read", &[("redirect_uri", "")])).await;
        assert!(away.as_str().starts_with(CALLBACK));
    })
    .await;
}

#[tokio::test]
async fn rfc8252_7_3_the_port_of_a_loopback_redirect_is_free() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let ada = deputy.person("ada@example.com").await;
        let agent = Agent::register(&deputy, json!({"redirect_uris": ["http://127.0.0.1:7/cb"]})).await;
        let away = ada.authorize(&agent.authorization_url("notes:read", &[("redirect_uri", "http://127.0.0.1:5999/cb")])).await;
        assert!(away.as_str().starts_with("http://127.0.0.1:5999/cb?code="), "{away}");
    })
    .await;
}

#[tokio::test]
async fn oidc_3_1_2_1_prompt_and_max_age() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        agent.code(&ada, "notes:read").await;
        // Signed in, and everything is allowed already: no question.
        let silent = ada.open(&agent.authorization_url("notes:read", &[("prompt", "none")])).await;
        assert!(silent.parameter("code").is_some());
        let more = ada.open(&agent.authorization_url("notes:read notes:write", &[("prompt", "none")])).await;
        assert_eq!(more.parameter("error").as_deref(), Some("consent_required"));
        assert_eq!(deputy.last_reason().await, "authorize.consent_required");
        let again = ada.open(&agent.authorization_url("notes:read", &[("prompt", "consent")])).await.page();
        assert!(again.body.contains("name=\"decision\""));
        deputy.later(100);
        for demand in [("prompt", "login"), ("max_age", "60")] {
            let page = ada.open(&agent.authorization_url("notes:read", &[demand])).await.page();
            assert!(page.body.contains("name=\"password\""), "{demand:?}");
            let done = ada.sign_in_on(&page).await;
            assert!(done.parameter("code").is_some(), "signing in once is enough: {demand:?}");
            deputy.later(100);
        }
    })
    .await;
}

#[tokio::test]
async fn a_person_can_narrow_and_refuse() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        let sign_in = ada.open(&agent.authorization_url("notes:read notes:write", &[])).await.page();
        let consent = ada.sign_in_on(&sign_in).await.page();
        assert_eq!(fields(&consent, "scope"), ["notes:read", "notes:write"]);
        let seal = crate::support::person::field(&consent, "seal");
        let narrowed = ada.submit("/consent", &[("seal", &seal), ("scope", "notes:read"), ("decision", "allow")]).await;
        let code = narrowed.parameter("code").expect("a code");
        assert_eq!(agent.redeem(&code, &[]).await.ok().text("scope"), "notes:read");

        let consent = ada.open(&agent.authorization_url("notes:write", &[])).await.page();
        let seal = crate::support::person::field(&consent, "seal");
        let refused = ada.submit("/consent", &[("seal", &seal), ("decision", "refuse")]).await;
        assert_eq!(refused.parameter("error").as_deref(), Some("access_denied"));
        assert_eq!(deputy.last_reason().await, "authorize.refused");
        assert_eq!(deputy.facts_of("consent.refused.v1").await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn incremental_consent_keeps_what_was_allowed_and_asks_for_what_is_new() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        agent.code(&ada, "notes:read").await;
        let asked = ada.open(&agent.authorization_url("notes:read notes:write", &[])).await.page();
        assert!(asked.body.contains("Write and change your notes") && asked.body.contains("name=\"decision\""));
        ada.allow_on(&asked).await.away();
        // Now both, together or apart, need no question; the wider one still does.
        for scope in ["notes:read", "notes:write", "notes:write notes:read"] {
            assert!(ada.open(&agent.authorization_url(scope, &[])).await.parameter("code").is_some(), "{scope}");
        }
        ada.open(&agent.authorization_url("notes:admin", &[])).await.page();
    })
    .await;
}
