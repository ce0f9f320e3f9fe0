//! Denial of service, and rules that drafts state and peers learned: nothing grows, nothing is a 500, `iss` is always there.
//! [OAuth 2.1](https://datatracker.ietf.org/doc/html/draft-ietf-oauth-v2-1-13), [RFC 9207](https://www.rfc-editor.org/rfc/rfc9207)

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::{repels, repels_by_redirect, samples};
use crate::support::{Agent, Answer, CALLBACK, RESOURCE, agent::Tokens, each_engine, each_engine_with, person::field};

#[tokio::test]
async fn cve_2026_4634_a_huge_scope_is_refused_early() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (ada, agent, service) =
            (deputy.person("ada@example.com").await, deputy.agent().await, deputy.service("notes:read").await);
        let many = (0..101).map(|number| format!("s{number}")).collect::<Vec<_>>().join(" ");
        let wide = "x".repeat(201);
        for scope in [&many, &wide, "notes:read \"", "notes:read \\", "notes:\tread"] {
            let url = agent.authorization_url(scope, &[]);
            repels_by_redirect(&deputy, &url, CALLBACK, "invalid_scope", "scope.malformed").await;
            repels(&deputy, service.client_credentials(&[("scope", scope)]), 400, "invalid_scope", "scope.malformed").await;
        }
        let huge = "notes:read ".repeat(2000);
        let huge = [("scope", huge.as_str())];
        repels(&deputy, service.client_credentials(&huge), 400, "invalid_request", "request.parameter_too_long").await;
        agent.authorize(&ada, "notes:read").await;
    })
    .await;
}

#[tokio::test]
async fn cve_2026_9803_a_malformed_header_is_no_500() {
    each_engine(async |deputy| {
        let resource = deputy.resource().await;
        let service = deputy.service("notes:read").await;
        let headers: [&[u8]; 14] = [
            b"Bearer",
            b"Bearer ",
            b"Bearer  ",
            b"bearer \xff\xfe",
            b"Bearer a b c",
            b"Bearer ..",
            b"Bearer =.=.=",
            b"Bearer eyJ.eyJ.eyJ",
            b"Basic",
            b"Basic !!!",
            b"Basic Og==",
            b"Basic /////w==",
            b"Digest x",
            b"\xe4",
        ];
        let before = deputy.state().await;
        for header in headers {
            for (method, path) in [
                ("GET", "/userinfo"),
                ("POST", "/introspect"),
                ("POST", "/token"),
                ("POST", "/revoke"),
                ("GET", "/admin/v1/people"),
            ] {
                let request = deputy.http.request(method.parse().expect("a method"), format!("{}{path}", deputy.issuer));
                let form = [("grant_type", "client_credentials"), ("token", "x")];
                let answer = Answer::of(request.header("authorization", header).form(&form)).await;
                assert_eq!(answer.status, 401, "{path} {:?}: {answer:?}", String::from_utf8_lossy(header));
                assert!(answer.header("www-authenticate").is_some(), "{path}: {answer:?}");
            }
            let twice =
                deputy.http.post(format!("{}/token", deputy.issuer)).header("authorization", header).basic_auth("a", Some("b"));
            Answer::of(twice.form(&[("grant_type", "client_credentials")])).await.refused(401, "invalid_client");
            assert_eq!(deputy.last_reason().await, "client.credentials_malformed");
        }
        assert_eq!(deputy.state().await, before);
        let token = service.client_credentials(&[]).await.ok().text("access_token");
        assert!(deputy.is_active(&resource, &token).await);
    })
    .await;
}

#[tokio::test]
async fn cve_2026_16100_no_label_comes_from_a_request() {
    each_engine(async |deputy| {
        let word = "labelled7f3a";
        let url = |path: &str| format!("{}/{path}{word}", deputy.issuer);
        for path in ["", "token/", "register/", "admin/v1/clients/", "invitation/", ".well-known/", "authorize?client_id="] {
            Answer::of(deputy.http.get(url(path))).await;
        }
        let method = word.to_uppercase().parse().expect("a method");
        Answer::of(deputy.http.request(method, format!("{}/token", deputy.issuer))).await;
        let form = [("grant_type", word), ("client_id", word), ("scope", word), ("resource", word), (word, word)];
        deputy.post("/token", &form).await;
        deputy.post("/introspect", &form).await;
        let request = deputy.http.get(format!("{}/userinfo", deputy.issuer)).bearer_auth(word).header("x-request-id", word);
        Answer::of(request.header("user-agent", word).header("traceparent", word)).await;
        let metrics = deputy.get("/metrics").await.ok().body;
        assert!(metrics.contains("http_requests_total") && metrics.contains("deputy_refusals_total"), "{metrics}");
        assert!(!metrics.to_lowercase().contains(word), "{metrics}");
    })
    .await;
}

/// A rule that cannot be read refuses: neither a resource that is gone nor a database that is away lets a token out.
#[tokio::test]
async fn cve_2026_9792_what_cannot_be_judged_is_refused() {
    each_engine(async |deputy| {
        let resource = deputy.resource().await;
        let (ada, agent, service) =
            (deputy.person("ada@example.com").await, deputy.agent().await, deputy.service("notes:read").await);
        let (tokens, code) = (agent.authorize(&ada, "notes:read").await, agent.code(&ada, "notes:read").await);
        let redeemed = deputy.without_storage(agent.redeem(&code, &[])).await;
        let refreshed = deputy.without_storage(agent.refresh(tokens.refresh_token())).await;
        for answer in [redeemed, refreshed] {
            assert_eq!((answer.status.as_u16(), answer.json().get("access_token")), (503, None), "{answer:?}");
        }
        let tokens = Tokens::of(agent.refresh(tokens.refresh_token()).await);

        let path = format!("/resources/{}", resource["resource_id"].as_str().expect("text"));
        deputy.operate("DELETE", &path, serde_json::Value::Null).await.ok();
        let refresh = [("grant_type", "refresh_token"), ("refresh_token", tokens.refresh_token())];
        repels(&deputy, agent.token(&refresh, &[]), 400, "invalid_grant", "grant.resource").await;
        repels(&deputy, agent.redeem(&code, &[]), 400, "invalid_grant", "grant.resource").await;
        repels(&deputy, service.client_credentials(&[]), 400, "invalid_target", "resource.unknown").await;
        let url = agent.authorization_url("notes:read", &[]);
        repels_by_redirect(&deputy, &url, CALLBACK, "invalid_target", "resource.unknown").await;

        deputy.resource().await;
        service.client_credentials(&[]).await.ok();
        agent.authorize(&ada, "notes:read").await;
    })
    .await;
}

/// Whatever is asked along a chain of refreshes, no token has more than the grant, nor lives longer.
#[tokio::test]
async fn authority_only_shrinks() {
    let scopes = ["notes:read", "notes:write", "notes:admin"];
    let some = || prop::collection::btree_set(prop::sample::select(scopes.to_vec()), 0..=3);
    let chains = (
        some().prop_filter("something is granted", |scopes| !scopes.is_empty()),
        prop::collection::vec((some(), 0..900u64), 1..=8),
    );
    each_engine_with("grant_ttl_s = 3600\n", async |deputy| {
        deputy.resource().await;
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        for (granted, steps) in samples(&chains, 25) {
            let began = deputy.world().now().seconds();
            let mut tokens = agent.authorize(&ada, &words(&granted)).await;
            for (asked, pause_s) in steps {
                deputy.later(pause_s);
                if deputy.world().now().seconds() >= began + 3600 {
                    break;
                }
                let form = [("grant_type", "refresh_token"), ("refresh_token", tokens.refresh_token())];
                let answer = agent.token(&form, &[("scope", &words(&asked))]).await;
                if !asked.is_subset(&granted) {
                    answer.refused(400, "invalid_scope");
                    assert_eq!(deputy.last_reason().await, "scope.widened");
                    continue;
                }
                let refreshed = Tokens::of(answer);
                let expected = if asked.is_empty() { &granted } else { &asked };
                assert_eq!(
                    refreshed.answer.text("scope"),
                    words(expected),
                    "narrowing is for one token, the grant keeps its scopes"
                );
                let claims = refreshed.claims();
                assert_eq!((claims["scope"].as_str(), claims["aud"].as_str()), (Some(words(expected).as_str()), Some(RESOURCE)));
                assert!(claims["exp"].as_i64().is_some_and(|exp| exp <= began + 3600), "no token outlives its grant");
                tokens = refreshed;
            }
        }
    })
    .await;
}

fn words(scopes: &BTreeSet<&str>) -> String {
    scopes.iter().copied().collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn scope_is_a_set_and_never_wider_than_what_was_allowed() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        for unknown in ["notes:unknown", "notes:read notes:unknown", "NOTES:READ", "admin"] {
            repels_by_redirect(&deputy, &agent.authorization_url(unknown, &[]), CALLBACK, "invalid_scope", "scope.unknown").await;
        }
        // Repeated and reordered is the same; and what was consented to covers it.
        agent.authorize(&ada, "notes:write notes:read notes:read").await;
        let silent = [("prompt", "none")];
        assert!(ada.open(&agent.authorization_url("notes:read notes:write", &silent)).await.parameter("code").is_some());
        // What includes more is asked for anew.
        let wider = ada.open(&agent.authorization_url("notes:admin", &silent)).await;
        assert_eq!(wider.parameter("error").as_deref(), Some("consent_required"));
        // `offline_access` is about staying, so it is nothing by itself at a resource.
        let staying = ada.open(&agent.authorization_url("offline_access", &silent)).await;
        assert_eq!(staying.parameter("code"), None);
    })
    .await;
}

#[tokio::test]
async fn step_up_grants_only_what_was_ticked() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        agent.authorize(&ada, "notes:read").await;
        let page = ada.open(&agent.authorization_url("notes:read notes:write", &[])).await.page();
        let seal = field(&page, "seal");
        // Also what was never offered does not come in by the form.
        let form = [("seal", seal.as_str()), ("scope", "notes:read"), ("scope", "notes:admin"), ("decision", "allow")];
        let code = ada.submit("/consent", &form).await.parameter("code").expect("a code");
        assert_eq!(agent.redeem(&code, &[]).await.ok().text("scope"), "notes:read");
        for scope in ["notes:write", "notes:admin"] {
            let silent = ada.open(&agent.authorization_url(scope, &[("prompt", "none")])).await;
            assert_eq!(silent.parameter("error").as_deref(), Some("consent_required"), "{scope}");
        }
        assert!(ada.open(&agent.authorization_url("notes:read", &[("prompt", "none")])).await.parameter("code").is_some());
    })
    .await;
}

#[tokio::test]
async fn nothing_in_common_is_no_empty_token() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let other = "https://other.example/mcp";
        let scopes = json!([{"name": "other:read", "description": "Read others"}]);
        deputy.operate("POST", "/resources", json!({"identifier": other, "name": "Other", "scopes": scopes})).await.ok();
        let metadata = json!({"client_name": "Bounded", "redirect_uris": [CALLBACK], "scope": "notes:read",
            "grant_types": ["authorization_code", "client_credentials"]});
        let agent = Agent::made_by_operator(&deputy, metadata).await;
        // It names no scope, and of what it is registered for there is nothing there.
        let url = agent.authorization_url("", &[("resource", other), ("scope", "")]);
        repels_by_redirect(&deputy, &url, CALLBACK, "invalid_scope", "scope.empty").await;
        let elsewhere = [("resource", other)];
        repels(&deputy, agent.client_credentials(&elsewhere), 400, "invalid_scope", "scope.empty").await;
        let unnamed = agent.authorization_url("notes:read", &[("resource", "")]);
        repels_by_redirect(&deputy, &unnamed, CALLBACK, "invalid_target", "resource.missing").await;
        agent.client_credentials(&[]).await.ok();
    })
    .await;
}

#[tokio::test]
async fn cve_2026_104850_and_115563_iss_is_advertised_and_sent() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        let metadata = deputy.get("/.well-known/oauth-authorization-server").await.ok().json();
        assert_eq!(
            (&metadata["authorization_response_iss_parameter_supported"], &metadata["issuer"]),
            (&true.into(), &deputy.issuer.clone().into())
        );
        let mut answers = vec![ada.authorize(&agent.authorization_url("notes:read", &[])).await];
        let nobody = deputy.visitor().await;
        for changes in [
            ("response_type", "token"),
            ("response_mode", "fragment"),
            ("code_challenge", ""),
            ("scope", "nothing:known"),
            ("resource", "https://nowhere.example"),
            ("prompt", "none"),
            ("prompt", "dance"),
            ("max_age", "soon"),
            ("request", "x"),
            // One of the client's own does not stand beside it.
            ("iss", "https://evil.example"),
        ] {
            let person = if changes.0 == "iss" { &ada } else { &nobody };
            answers.push(person.open(&agent.authorization_url("notes:read", &[changes])).await.away());
        }
        let page = ada.open(&agent.authorization_url("notes:write", &[])).await.page();
        answers.push(ada.submit("/consent", &[("seal", &field(&page, "seal")), ("decision", "refuse")]).await.away());
        for answer in answers {
            let issuers: Vec<_> =
                answer.query_pairs().filter(|(name, _)| name == "iss").map(|(_, value)| value.into_owned()).collect();
            assert_eq!(issuers, [deputy.issuer.as_str()], "{answer}");
            assert_eq!(answer.fragment(), None);
        }
    })
    .await;
}

#[tokio::test]
async fn a_disabled_client_is_told_on_a_page() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        let tokens = agent.authorize(&ada, "notes:read").await;
        let code = agent.code(&ada, "notes:read").await;
        let client = format!("/clients/{}", agent.client_id);
        deputy.operate("PATCH", &client, json!({"disabled": true})).await.ok();
        super::repels_on_page(&deputy, &agent.authorization_url("notes:read", &[]), "authorize.client_disabled").await;
        repels(&deputy, agent.redeem(&code, &[]), 400, "unauthorized_client", "client.disabled").await;
        repels(&deputy, agent.refresh(tokens.refresh_token()), 400, "unauthorized_client", "client.disabled").await;
        deputy.operate("PATCH", &client, json!({"disabled": false})).await.ok();
        agent.redeem(&code, &[]).await.ok();
    })
    .await;
}
