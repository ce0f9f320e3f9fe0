//! [OpenID Connect Core](https://openid.net/specs/openid-connect-core-1_0.html)

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::support::{Answer, Installation, agent::claims, each_engine, each_engine_with};

async fn userinfo(deputy: &Installation, token: &str) -> Answer {
    Answer::of(deputy.http.get(format!("{}/userinfo", deputy.issuer)).bearer_auth(token)).await
}

#[tokio::test]
async fn oidc_2_and_3_1_3_6_the_id_token_is_bound_to_client_nonce_and_access_token() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        let url = agent.authorization_url("openid notes:read", &[("nonce", "n-0S6_WzA2Mj")]);
        let code = ada.authorize(&url).await.query_pairs().find(|(name, _)| name == "code").map(|(_, code)| code.into_owned());
        let answer = agent.redeem(&code.expect("a code"), &[]).await.ok();
        let id_token = claims(&answer.text("id_token"));
        assert_eq!((&id_token["iss"], &id_token["aud"]), (&deputy.issuer.as_str().into(), &agent.client_id.as_str().into()));
        assert_eq!((&id_token["nonce"], &id_token["sub"]), (&"n-0S6_WzA2Mj".into(), &claims(&answer.text("access_token"))["sub"]));
        assert_eq!(id_token["auth_time"], deputy.world().now().seconds());
        let half = &digest(&SHA256, answer.text("access_token").as_bytes()).as_ref()[..16].to_vec();
        assert_eq!(id_token["at_hash"], URL_SAFE_NO_PAD.encode(half));
    })
    .await;
}

/// Ed25519 hashes with SHA-512 inside ([RFC 8032 §5.1](https://www.rfc-editor.org/rfc/rfc8032#section-5.1)), so that is its hash.
#[tokio::test]
async fn oidc_3_1_3_6_at_hash_is_of_the_hash_of_the_signature() {
    for (algorithm, hash) in [("ES256", &SHA256), ("RS256", &SHA256), ("EdDSA", &SHA512)] {
        each_engine_with(&format!("signing_algorithm = \"{algorithm}\""), async |deputy| {
            deputy.resource().await;
            let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
            let answer = agent.authorize(&ada, "openid notes:read").await.answer;
            let whole = digest(hash, answer.text("access_token").as_bytes());
            let half = &whole.as_ref()[..whole.as_ref().len() / 2];
            assert_eq!(claims(&answer.text("id_token"))["at_hash"], URL_SAFE_NO_PAD.encode(half), "{algorithm}");
        })
        .await;
    }
}

#[tokio::test]
async fn oidc_5_3_userinfo_tells_what_the_scopes_allow() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        let bare = agent.authorize(&ada, "openid notes:read").await;
        let told = userinfo(&deputy, &bare.access_token).await.ok().json();
        assert_eq!(told, serde_json::json!({"sub": bare.claims()["sub"]}));
        let full = agent.authorize(&ada, "openid profile email").await;
        let told = userinfo(&deputy, &full.access_token).await.ok().json();
        assert_eq!(
            (&told["email"], &told["email_verified"], &told["name"]),
            (&"ada@example.com".into(), &false.into(), &"ada@example.com".into())
        );
    })
    .await;
}

#[tokio::test]
async fn oidc_5_3_3_refusals_are_those_of_rfc6750() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        let without = deputy.get("/userinfo").await.refused(401, "invalid_token");
        assert_eq!(without.header("www-authenticate"), Some("Bearer realm=\"deputy\""), "RFC 6750 §3.1: no error without a token");
        deputy.post("/userinfo", &[]).await.refused(401, "invalid_token");
        assert_eq!(deputy.last_reason().await, "token.missing");
        let wrong = userinfo(&deputy, "a.b.c").await.refused(401, "invalid_token");
        assert!(wrong.header("www-authenticate").is_some_and(|challenge| challenge.contains("error=\"invalid_token\"")));
        assert_eq!(deputy.last_reason().await, "token.invalid");
        let narrow = agent.authorize(&ada, "notes:read").await;
        userinfo(&deputy, &narrow.access_token).await.refused(403, "insufficient_scope");
        assert_eq!(deputy.last_reason().await, "token.scope");
    })
    .await;
}
