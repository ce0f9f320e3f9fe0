//! private_key_jwt: [RFC 7523 §2.2, §3](https://www.rfc-editor.org/rfc/rfc7523#section-2.2)

use std::sync::atomic::{AtomicU32, Ordering};

use deputy::outbound;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{
    Agent, CALLBACK, Signer, Workload,
    agent::{Tokens, VERIFIER, claims},
    each_engine, until,
    workload::{ASSERTION_TYPE, unsigned},
};

#[tokio::test]
async fn rfc7523_3_what_software_sends_is_understood() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let workload = Workload::made_by_operator(&deputy, "notes:read").await;
        let now_s = deputy.world().now().seconds();
        for header in [
            json!({"alg": "ES256"}),
            json!({"alg": "ES256", "typ": "JWT"}),
            json!({"alg": "ES256", "typ": "jwt", "kid": "k1"}),
            json!({"alg": "ES256", "typ": "client-authentication+jwt"}),
            json!({"alg": "ES256", "typ": "application/client-authentication+jwt"}),
        ] {
            let assertion = workload.signer.sign(&header, &workload.claims().to_string());
            workload.present(&assertion).await.ok();
        }
        for (name, value) in [
            ("aud", json!([deputy.issuer])),
            ("exp", json!(now_s as f64 + 59.75)),
            ("iat", json!(now_s as f64 - 0.25)),
            ("iat", Value::Null),
            ("iat", json!(now_s + 30)),
            ("nbf", json!(now_s + 30)),
            ("jti", json!("x".repeat(1024))),
            ("else", json!({"any": "thing"})),
        ] {
            workload.prove(&workload.claims_with(name, value.clone())).await.ok();
        }
    })
    .await;
}

#[tokio::test]
async fn rfc7523_3_what_is_wrong_is_named() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let workload = Workload::made_by_operator(&deputy, "notes:read").await;
        let now_s = deputy.world().now().seconds();
        for (name, value, reason) in [
            ("iss", json!("somebody"), "client_assertion.issuer"),
            ("iss", Value::Null, "client_assertion.malformed"),
            ("aud", Value::Null, "client_assertion.malformed"),
            ("aud", json!(1), "client_assertion.malformed"),
            ("aud", json!(format!("{}/", deputy.issuer)), "client_assertion.audience"),
            ("aud", json!([deputy.issuer, deputy.issuer]), "client_assertion.audience"),
            ("exp", json!(now_s), "client_assertion.expired"),
            ("exp", json!(now_s - 1), "client_assertion.expired"),
            ("nbf", json!(now_s + 31), "client_assertion.expired"),
            ("iat", json!(now_s + 31), "client_assertion.expired"),
            ("exp", json!(now_s + 3601), "client_assertion.too_long"),
            ("jti", Value::Null, "client_assertion.malformed"),
            ("jti", json!(""), "client_assertion.malformed"),
            ("jti", json!("x".repeat(1025)), "client_assertion.malformed"),
            ("jti", json!(7), "client_assertion.malformed"),
        ] {
            workload.prove(&workload.claims_with(name, value.clone())).await.refused(401, "invalid_client");
            assert_eq!(deputy.last_reason().await, reason, "{name} {value}");
        }
        let claims = workload.claims().to_string();
        let good = workload.signer.jwt(&workload.claims());
        let header = json!({"alg": "ES256", "kid": "k1"});
        for (assertion, reason) in [
            (Signer::new().sign(&header, &claims), "client_assertion.signature"),
            (workload.signer.sign(&json!({"alg": "ES256", "kid": "k2"}), &claims), "client_assertion.signature"),
            (workload.signer.sign(&json!({"alg": "HS256", "kid": "k1"}), &claims), "client_assertion.algorithm"),
            (workload.signer.sign(&header, "not JSON"), "client_assertion.malformed"),
            (unsigned(&header, &claims), "client_assertion.malformed"),
            (format!("{good}."), "client_assertion.malformed"),
            ("x".to_owned(), "client_assertion.malformed"),
            ("x".repeat(8 * 1024 + 1), "client_assertion.malformed"),
        ] {
            workload.present(&assertion).await.refused(401, "invalid_client");
            assert_eq!(deputy.last_reason().await, reason, "{assertion}");
        }
        workload.present_as("urn:ietf:params:oauth:client-assertion-type:saml2-bearer", &good).await.refused(401, "invalid_client");
        assert_eq!(deputy.last_reason().await, "client_assertion.type");
        workload.present(&good).await.ok();
        workload.present(&good).await.refused(401, "invalid_client");
        assert_eq!(deputy.last_reason().await, "client_assertion.replayed");
    })
    .await;
}

/// Promise 12: what comes to nothing costs the client nothing, not even an assertion; what comes to something uses it up.
#[tokio::test]
async fn rfc7523_3_an_assertion_is_used_up_with_what_it_is_for() {
    each_engine(async |deputy| {
        let resource = deputy.resource().await;
        let (ada, signer) = (deputy.person("ada").await, Signer::new());
        let metadata = json!({"client_name": "A signer", "grant_types": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_method": "private_key_jwt", "jwks": signer.jwks()});
        let agent = Agent::register(&deputy, metadata).await;
        let (now_s, jtis) = (deputy.world().now().seconds(), AtomicU32::new(0));
        let sign = || {
            signer.jwt(&json!({"iss": agent.client_id, "sub": agent.client_id, "aud": deputy.issuer, "iat": now_s,
                "exp": now_s + 60, "jti": format!("number {}", jtis.fetch_add(1, Ordering::Relaxed))}))
        };
        let ask = async |path: &str, assertion: &str, form: &[(&str, &str)]| {
            agent.post(path, form, &[("client_assertion_type", ASSERTION_TYPE), ("client_assertion", assertion)]).await
        };
        let spent = async |path: &str, assertion: &str, form: &[(&str, &str)]| {
            ask(path, assertion, form).await.refused(401, "invalid_client");
            assert_eq!(deputy.last_reason().await, "client_assertion.replayed", "{path} {form:?}");
        };

        let (code, first) = (agent.code(&ada, "notes:read").await, sign());
        let redeem =
            [("grant_type", "authorization_code"), ("code", &code), ("redirect_uri", CALLBACK), ("code_verifier", VERIFIER)];
        let elsewhere = [&redeem[..], &[("resource", "https://elsewhere.example")]].concat();
        ask("/token", &first, &elsewhere).await.refused(400, "invalid_target");
        let tokens = Tokens::of(ask("/token", &first, &redeem).await);
        spent("/token", &first, &redeem).await;
        assert!(deputy.is_active(&resource, &tokens.access_token).await, "a request sent again is no replay of the code");

        // Refused inside the transaction, which is undone: the person may be let in again.
        let second = sign();
        let refresh = [("grant_type", "refresh_token"), ("refresh_token", tokens.refresh_token())];
        let people = deputy.operate("GET", "/people", Value::Null).await.ok().json();
        let person = format!("/people/{}", people["items"][0]["person_id"].as_str().expect("text"));
        deputy.operate("PATCH", &person, json!({"locked": true})).await.ok();
        ask("/token", &second, &refresh).await.refused(400, "invalid_grant");
        assert_eq!(deputy.last_reason().await, "grant.person");
        deputy.operate("PATCH", &person, json!({"locked": false})).await.ok();
        let tokens = Tokens::of(ask("/token", &second, &refresh).await);
        spent("/token", &second, &refresh).await;

        let (unknown, theirs) = ([("token", "unknown")], [("token", tokens.refresh_token())]);
        for (path, form) in [("/introspect", &unknown), ("/revoke", &unknown), ("/revoke", &theirs)] {
            let assertion = sign();
            ask(path, &assertion, form).await.ok();
            spent(path, &assertion, form).await;
        }
        spent("/revoke", &second, &theirs).await;
    })
    .await;
}

#[tokio::test]
async fn rfc7523_3_a_used_assertion_begins_nothing() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let workload = Workload::made_by_operator(&deputy, "notes:read").await;
        let assertion = workload.signer.jwt(&workload.claims());
        let grant = workload.present(&assertion).await.ok().json();
        let grant = claims(grant["access_token"].as_str().expect("a token"))["gid"].clone();
        deputy.operate("DELETE", &format!("/grants/{}", grant.as_str().expect("text")), Value::Null).await.ok();
        workload.present(&assertion).await.refused(401, "invalid_client");
        assert_eq!(deputy.last_reason().await, "client_assertion.replayed");
        assert_eq!(deputy.facts_of("grant.started.v1").await.len(), 1);
        assert_eq!(deputy.facts_of("token.issued.v1").await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn rfc7523_3_a_jti_is_the_clients_own() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (one, other) =
            (Workload::made_by_operator(&deputy, "notes:read").await, Workload::made_by_operator(&deputy, "notes:read").await);
        assert_eq!(one.claims()["jti"], other.claims()["jti"]);
        for workload in [&one, &other] {
            workload.prove(&workload.claims_with("jti", json!("the same"))).await.ok();
        }
    })
    .await;
}

#[tokio::test]
async fn rfc7591_2_keys_may_be_fetched_and_trouble_there_costs_no_client() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (signer, uri) = (Signer::new(), "https://workload.example/jwks".parse().expect("a URL"));
        let jwks = signer.jwks();
        let workload = Workload::registered(&deputy, "notes:read", json!(uri), signer).await;
        for trouble in [
            outbound::Answer::Unreachable,
            outbound::Answer::Endless,
            outbound::Answer::status(StatusCode::NOT_FOUND),
            outbound::Answer::status(StatusCode::FOUND),
            outbound::Answer::status(StatusCode::INTERNAL_SERVER_ERROR),
        ] {
            deputy.web.answer(&uri, trouble);
            let counted = deputy.refusals_counted("client.keys_unavailable").await;
            let answer = workload.prove(&workload.claims()).await.refused(503, "temporarily_unavailable");
            assert!(answer.header("retry-after").is_some());
            assert!(deputy.refusals_counted("client.keys_unavailable").await > counted);
            deputy.later(10);
        }
        deputy.web.answer(&uri, outbound::Answer::json(&jwks));
        workload.prove(&workload.claims()).await.ok();
        // Whatever is sent, the keys are not asked for all the time.
        let asked = deputy.web.calls().len();
        for _ in 0..5 {
            workload.present(&Signer::new().jwt(&workload.claims())).await.refused(401, "invalid_client");
        }
        assert_eq!(deputy.web.calls().len(), asked);
        // A rotated key counts soon, and the one before it no longer.
        deputy.later(10);
        let successor = Signer::new();
        deputy.web.answer(&uri, outbound::Answer::json(&successor.jwks()));
        workload.present(&successor.jwt(&workload.claims())).await.ok();
        workload.prove(&workload.claims()).await.refused(401, "invalid_client");
        // Who proves itself by a key that is known goes on while its host is down.
        deputy.later(60);
        deputy.web.answer(&uri, outbound::Answer::Unreachable);
        workload.present(&successor.jwt(&workload.claims())).await.ok();
        // Trouble while a key is unknown is trouble, and not the client's fault.
        deputy.later(10);
        deputy.web.answer(&uri, outbound::Answer::Unreachable);
        workload.present(&Signer::new().jwt(&workload.claims())).await.refused(503, "temporarily_unavailable");
    })
    .await;
}

#[tokio::test]
async fn rfc7591_2_keys_that_are_known_count_while_they_are_asked_for() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (signer, uri) = (Signer::new(), "https://workload.example/jwks".parse().expect("a URL"));
        let jwks = signer.jwks();
        let workload = Workload::registered(&deputy, "notes:read", json!(uri), signer).await;
        deputy.web.answer(&uri, outbound::Answer::json(&jwks));
        workload.prove(&workload.claims()).await.ok();
        deputy.later(60);
        deputy.web.answer(&uri, outbound::Answer::Silent);
        let asked = deputy.web.calls().len();
        let first = workload.claims_with("jti", json!("first"));
        {
            let first = std::pin::pin!(workload.prove(&first));
            let is_asked = until(|| deputy.web.calls().len() == asked + 1);
            futures_util::future::select(first, std::pin::pin!(is_asked)).await;
            workload.prove(&workload.claims_with("jti", json!("second"))).await.ok();
        }
        // Whoever had them asked for has gone.
        workload.prove(&workload.claims_with("jti", json!("third"))).await.ok();
        assert_eq!(deputy.web.calls().len(), asked + 1, "hanging up gets nobody another try");
    })
    .await;
}
