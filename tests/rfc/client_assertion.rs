//! private_key_jwt: [RFC 7523 §2.2, §3](https://www.rfc-editor.org/rfc/rfc7523#section-2.2)

use deputy::outbound;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{Signer, Workload, each_engine, workload::unsigned};

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
        // Trouble while a key is unknown is trouble, and not the client's fault.
        deputy.later(10);
        deputy.web.answer(&uri, outbound::Answer::Unreachable);
        workload.present(&Signer::new().jwt(&workload.claims())).await.refused(503, "temporarily_unavailable");
    })
    .await;
}
