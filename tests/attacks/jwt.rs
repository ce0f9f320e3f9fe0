//! Signed tokens and assertions: typed claims, pinned algorithms, one use, one issuer.
//! [RFC 8725](https://www.rfc-editor.org/rfc/rfc8725), [RFC 7523 §3](https://www.rfc-editor.org/rfc/rfc7523#section-3)

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use deputy::keys::signing::TokenType;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::repels;
use crate::support::{
    Answer, Installation, Protected, RESOURCE, Signer, Workload, each_engine,
    workload::{ASSERTION_TYPE, unsigned},
};

const HEADER: &str = r#"{"alg":"ES256","kid":"k1"}"#;

#[tokio::test]
async fn cve_2026_25537_a_claim_of_the_wrong_type_is_not_absent() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let workload = Workload::made_by_operator(&deputy, "notes:read").await;
        let header: Value = serde_json::from_str(HEADER).expect("JSON");
        for wrong in [r#""9999999999""#, "null", "-1", "1e300", "99999999999999999999", "[9999999999]", "true", "{}"] {
            for claim in ["exp", "nbf", "iat"] {
                let claims = workload.claims_with(claim, json!("put here")).to_string().replace("\"put here\"", wrong);
                let assertion = workload.signer.sign(&header, &claims);
                repels(&deputy, workload.present(&assertion), 401, "invalid_client", "client_assertion.malformed").await;
            }
        }
        let twice = workload.claims().to_string().replace("\"exp\":", "\"exp\":9999999999,\"exp\":");
        let assertion = workload.signer.sign(&header, &twice);
        repels(&deputy, workload.present(&assertion), 401, "invalid_client", "client_assertion.malformed").await;
        let now_s = deputy.world().now().seconds();
        workload.prove(&workload.claims_with("exp", json!(now_s as f64 + 30.5))).await.ok();
    })
    .await;
}

#[tokio::test]
async fn cve_2026_25537_neither_in_access_tokens() {
    each_engine(async |deputy| {
        let resource = deputy.resource().await;
        let good = deputy.service("notes:read").await.client_credentials(&[]).await.ok().text("access_token");
        let claims = crate::support::agent::claims(&good);
        let protected = Protected::at(&deputy, RESOURCE);
        let exp = claims["exp"].as_i64().expect("a number");
        let wrong =
            [json!(exp.to_string()), json!(null), json!(-1), json!(1e300), json!(exp as f64 + 0.5), json!([exp]), json!(true)];
        let (text, number) = (json!("x"), json!(1));
        let others = [("iat", &text), ("iat", &wrong[1]), ("iat", &wrong[3]), ("nbf", &text), ("jti", &number)];
        for (name, value) in wrong.iter().map(|value| ("exp", value)).chain(others) {
            let mut altered = claims.clone();
            altered[name] = value.clone();
            let token = deputy.world().keys.sign(TokenType::AccessToken, &altered);
            if name != "nbf" {
                assert!(!deputy.is_active(&resource, &token).await, "{name} {value}");
            }
            let answer = protected.call("/read", &token).await;
            assert_eq!(answer.status, 401, "{name} {value}: {answer:?}");
        }
        let mut missing = claims.clone();
        missing.as_object_mut().expect("an object").remove("exp");
        let token = deputy.world().keys.sign(TokenType::AccessToken, &missing);
        assert!(!deputy.is_active(&resource, &token).await);
        protected.call("/read", &token).await.refused(401, "invalid_token");
        let token = deputy.world().keys.sign(TokenType::AccessToken, &claims);
        assert!(deputy.is_active(&resource, &token).await);
        protected.call("/read", &token).await.ok();
    })
    .await;
}

#[tokio::test]
async fn jwt_simple_audit_2026_encryption_and_negative_times_are_no_way_around() {
    each_engine(async |deputy| {
        let resource = deputy.resource().await;
        let workload = Workload::made_by_operator(&deputy, "notes:read").await;
        let protected = Protected::at(&deputy, RESOURCE);
        let encrypted = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..AAAAAAAAAAAAAAAA.AAAA.AAAAAAAAAAAAAAAAAAAAAA";
        repels(&deputy, workload.present(encrypted), 401, "invalid_client", "client_assertion.malformed").await;
        assert!(!deputy.is_active(&resource, encrypted).await);
        protected.call("/read", encrypted).await.refused(401, "invalid_token");
        let good = workload.prove(&workload.claims()).await.ok().text("access_token");
        let claims = crate::support::agent::claims(&good);
        for exp in [i64::MIN, -1, 0] {
            let mut altered = claims.clone();
            altered["exp"] = exp.into();
            let token = deputy.world().keys.sign(TokenType::AccessToken, &altered);
            assert!(!deputy.is_active(&resource, &token).await, "{exp}");
            protected.call("/read", &token).await.refused(401, "invalid_token");
        }
        assert!(deputy.is_active(&resource, &good).await);
        protected.call("/read", &good).await.ok();
    })
    .await;
}

#[tokio::test]
async fn cve_2020_15222_and_5300_an_assertion_is_good_once() {
    each_engine(async |mut deputy| {
        deputy.resource().await;
        let (used, raced) = {
            let workload = Workload::made_by_operator(&deputy, "notes:read").await;
            let (used, raced) = (workload.signer.jwt(&workload.claims()), workload.signer.jwt(&workload.claims()));
            workload.present(&used).await.ok();
            repels(&deputy, workload.present(&used), 401, "invalid_client", "client_assertion.replayed").await;
            let answers = join_all((0..20).map(|_| workload.present(&raced))).await;
            assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1, "one of a race");
            (used, raced)
        };
        deputy.crash().await;
        for assertion in [&used, &raced] {
            let form = [
                ("grant_type", "client_credentials"),
                ("resource", RESOURCE),
                ("client_assertion_type", ASSERTION_TYPE),
                ("client_assertion", assertion),
            ];
            repels(&deputy, deputy.post("/token", &form), 401, "invalid_client", "client_assertion.replayed").await;
        }
    })
    .await;
}

#[tokio::test]
async fn cve_2026_53431_an_assertion_ends_soon() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let workload = Workload::made_by_operator(&deputy, "notes:read").await;
        let now_s = deputy.world().now().seconds();
        let without = workload.claims_with("exp", Value::Null);
        repels(&deputy, workload.prove(&without), 401, "invalid_client", "client_assertion.malformed").await;
        let year = workload.claims_with("exp", json!(now_s + 365 * 86_400));
        repels(&deputy, workload.prove(&year), 401, "invalid_client", "client_assertion.too_long").await;
        workload.prove(&workload.claims_with("exp", json!(now_s + 3600))).await.ok();
    })
    .await;
}

#[tokio::test]
async fn cve_2022_23539_to_23541_an_algorithm_belongs_to_its_key() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let workload = Workload::made_by_operator(&deputy, "notes:read").await;
        let payload = workload.claims().to_string();
        let none = format!("{}.", unsigned(&json!({"alg": "none"}), &payload));
        repels(&deputy, workload.present(&none), 401, "invalid_client", "client_assertion.malformed").await;
        // Signed with the public key as a shared secret.
        let input = unsigned(&json!({"alg": "HS256", "kid": "k1"}), &payload);
        let secret = hmac::Key::new(hmac::HMAC_SHA256, workload.signer.jwk().to_string().as_bytes());
        let shared = format!("{input}.{}", URL_SAFE_NO_PAD.encode(hmac::sign(&secret, input.as_bytes())));
        repels(&deputy, workload.present(&shared), 401, "invalid_client", "client_assertion.algorithm").await;
        for (algorithm, reason) in [
            ("RS256", "client_assertion.signature"),
            ("PS256", "client_assertion.signature"),
            ("EdDSA", "client_assertion.signature"),
            ("ES384", "client_assertion.algorithm"),
            ("RS512", "client_assertion.algorithm"),
        ] {
            let assertion = workload.signer.sign(&json!({"alg": algorithm, "kid": "k1"}), &payload);
            repels(&deputy, workload.present(&assertion), 401, "invalid_client", reason).await;
        }
        // The key that the assertion itself brings.
        let stranger = Signer::new();
        let header = json!({"alg": "ES256", "jwk": stranger.jwk(), "jku": "https://evil.example/jwks"});
        let assertion = stranger.sign(&header, &payload);
        repels(&deputy, workload.present(&assertion), 401, "invalid_client", "client_assertion.signature").await;
        assert!(deputy.web.calls().is_empty());
        workload.present(&workload.signer.sign(&json!({"alg": "ES256"}), &payload)).await.ok();
    })
    .await;
}

#[tokio::test]
async fn cve_2022_23541_a_weak_or_ill_fitting_key_verifies_nothing() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let short = URL_SAFE_NO_PAD.encode([0xc5; 128]);
        let padded = URL_SAFE_NO_PAD.encode([&[0; 128][..], &[0xc5; 128]].concat());
        let signature = URL_SAFE_NO_PAD.encode([1; 128]);
        for modulus in [short, padded] {
            let jwks = json!({"keys": [{"kty": "RSA", "n": modulus, "e": "AQAB", "kid": "k1"}]});
            let workload = Workload::registered(&deputy, "notes:read", jwks, Signer::new()).await;
            let assertion =
                format!("{}.{signature}", unsigned(&json!({"alg": "RS256", "kid": "k1"}), &workload.claims().to_string()));
            let answer = workload.present(&assertion).await.refused(401, "invalid_client");
            assert!(answer.body.contains("error"), "{answer:?}");
        }
        let signer = Signer::new();
        let mut for_another = signer.jwk();
        for_another["alg"] = "ES384".into();
        let workload = Workload::registered(&deputy, "notes:read", json!({"keys": [for_another]}), signer).await;
        repels(&deputy, workload.prove(&workload.claims()), 401, "invalid_client", "client_assertion.signature").await;
        let control = Workload::made_by_operator(&deputy, "notes:read").await;
        control.prove(&control.claims()).await.ok();
    })
    .await;
}

#[tokio::test]
async fn cve_2022_23540_our_own_tokens_have_one_algorithm() {
    each_engine(async |deputy| {
        let resource = deputy.resource().await;
        let good = deputy.service("notes:read").await.client_credentials(&[]).await.ok().text("access_token");
        let protected = Protected::at(&deputy, RESOURCE);
        let parts: Vec<_> = good.split('.').collect();
        let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[0]).expect("base64url")).expect("JSON");
        let payload = String::from_utf8(URL_SAFE_NO_PAD.decode(parts[1]).expect("base64url")).expect("text");
        let with = |alg: &str| {
            let mut header = header.clone();
            header["alg"] = alg.into();
            unsigned(&header, &payload)
        };
        let jwks = deputy.get("/jwks").await.ok().body;
        let hs256 = with("HS256");
        let shared = URL_SAFE_NO_PAD.encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, jwks.as_bytes()), hs256.as_bytes()));
        let id_token_like = deputy.world().keys.sign(TokenType::IdToken, &crate::support::agent::claims(&good));
        let forged = [
            format!("{}.", with("none")),
            format!("{}.{}", with("none"), parts[2]),
            format!("{hs256}.{shared}"),
            format!("{}.{}", with("RS256"), parts[2]),
            Signer::new().sign(&header, &payload),
            id_token_like,
        ];
        for token in forged {
            assert!(!deputy.is_active(&resource, &token).await, "{token}");
            protected.call("/read", &token).await.refused(401, "invalid_token");
            let userinfo = Answer::of(deputy.http.get(format!("{}/userinfo", deputy.issuer)).bearer_auth(&token));
            repels(&deputy, userinfo, 401, "invalid_token", "token.invalid").await;
        }
        assert!(deputy.is_active(&resource, &good).await);
        protected.call("/read", &good).await.ok();
    })
    .await;
}

#[tokio::test]
async fn cve_2026_23552_another_tenants_token() {
    each_engine(async |one| {
        let other = Installation::start().await;
        let (resource, _) = (one.resource().await, other.resource().await);
        let own = one.service("notes:read").await.client_credentials(&[]).await.ok().text("access_token");
        let foreign = other.service("notes:read").await.client_credentials(&[]).await.ok().text("access_token");
        let protected = Protected::at(&one, RESOURCE);
        let mut claims = crate::support::agent::claims(&own);
        claims["iss"] = other.issuer.clone().into();
        let by_our_key = one.world().keys.sign(TokenType::AccessToken, &claims);
        for token in [&foreign, &by_our_key] {
            assert!(!one.is_active(&resource, token).await);
            protected.call("/read", token).await.refused(401, "invalid_token");
        }
        assert!(one.is_active(&resource, &own).await);
        protected.call("/read", &own).await.ok();
    })
    .await;
}

#[tokio::test]
async fn cve_2026_23552_an_assertion_names_its_client_and_this_server() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (one, other) =
            (Workload::made_by_operator(&deputy, "notes:read").await, Workload::made_by_operator(&deputy, "notes:read").await);
        for claim in ["iss", "sub"] {
            let claims = one.claims_with(claim, json!(other.client_id));
            let form = [
                ("grant_type", "client_credentials"),
                ("client_id", one.client_id.as_str()),
                ("client_assertion_type", ASSERTION_TYPE),
                ("client_assertion", &one.signer.jwt(&claims)),
            ];
            repels(&deputy, deputy.post("/token", &form), 401, "invalid_client", "client_assertion.issuer").await;
        }
        for audience in
            [json!("https://other.example"), json!(format!("{}/token", deputy.issuer)), json!([deputy.issuer, "x"]), json!([])]
        {
            let claims = one.claims_with("aud", audience);
            repels(&deputy, one.prove(&claims), 401, "invalid_client", "client_assertion.audience").await;
        }
        one.prove(&one.claims()).await.ok();
    })
    .await;
}

#[tokio::test]
async fn rfc8725_3_11_a_jwt_made_for_something_else_is_no_assertion() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let workload = Workload::made_by_operator(&deputy, "notes:read").await;
        for typ in ["at+jwt", "dpop+jwt", "oauth-id-jag+jwt", "logout+jwt", "secevent+jwt"] {
            let assertion = workload.signer.sign(&json!({"alg": "ES256", "typ": typ}), &workload.claims().to_string());
            repels(&deputy, workload.present(&assertion), 401, "invalid_client", "client_assertion.malformed").await;
        }
        let critical = json!({"alg": "ES256", "crit": ["exp"], "exp": 1});
        let assertion = workload.signer.sign(&critical, &workload.claims().to_string());
        repels(&deputy, workload.present(&assertion), 401, "invalid_client", "client_assertion.malformed").await;
        workload.present(&workload.signer.sign(&json!({"alg": "ES256"}), &workload.claims().to_string())).await.ok();
    })
    .await;
}
