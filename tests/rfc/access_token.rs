//! [RFC 9068](https://www.rfc-editor.org/rfc/rfc9068)

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{DecodingKey, Validation, jwk::JwkSet};
use serde_json::{Value, json};

use crate::support::{Installation, RESOURCE, each_engine};

#[tokio::test]
async fn rfc9068_2_1_and_4_any_library_verifies_the_token_by_our_jwks() {
    for algorithm in ["ES256", "EdDSA", "RS256"] {
        let deputy = Installation::start_with(&format!("signing_algorithm = \"{algorithm}\"\n")).await;
        deputy.resource().await;
        let token = deputy.service("notes:read").await.client_credentials(&[]).await.ok().text("access_token");
        let header = jsonwebtoken::decode_header(&token).expect("a JWT");
        assert_eq!((header.typ.as_deref(), format!("{:?}", header.alg).as_str()), (Some("at+jwt"), algorithm));
        let keys: JwkSet = serde_json::from_value(deputy.get("/jwks").await.json()).expect("a JWK Set");
        let key = keys.find(&header.kid.expect("the token names its key")).expect("the key is published");
        let mut validation = Validation::new(header.alg);
        validation.set_audience(&[RESOURCE]);
        validation.set_issuer(&[&deputy.issuer]);
        // The test's clock is not the library's.
        validation.validate_exp = false;
        let key = DecodingKey::from_jwk(key).expect("a usable key");
        let claims = jsonwebtoken::decode::<Value>(&token, &key, &validation).expect("the signature is good").claims;
        for required in ["iss", "exp", "aud", "sub", "client_id", "iat", "jti", "scope"] {
            assert!(claims.get(required).is_some(), "{required} in {claims}");
        }
    }
}

#[tokio::test]
async fn rfc9068_2_2_the_audience_is_spelled_as_the_resource_spells_it() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let service = deputy.service("notes:read").await;
        for spelling in [RESOURCE, "https://notes.example/mcp/", "HTTPS://NOTES.example/mcp"] {
            let token = service.client_credentials(&[("resource", spelling)]).await.ok().text("access_token");
            assert_eq!(crate::support::agent::claims(&token)["aud"], RESOURCE, "{spelling}");
        }
        service.client_credentials(&[("resource", "https://notes.example/mcp2")]).await.refused(400, "invalid_target");
    })
    .await;
}

#[tokio::test]
async fn a_resource_decides_how_long_its_tokens_live() {
    each_engine(async |deputy| {
        let id = deputy.resource().await["resource_id"].as_str().expect("an identifier").to_owned();
        deputy.operate("PATCH", &format!("/resources/{id}"), json!({"access_token_ttl_s": 90})).await.ok();
        let answer = deputy.service("notes:read").await.client_credentials(&[]).await.ok();
        assert_eq!(answer.json()["expires_in"], 90);
    })
    .await;
}

#[tokio::test]
async fn a_rotation_refuses_no_valid_token_and_new_tokens_use_a_key_that_caches_have() {
    each_engine(async |deputy| {
        let resource = deputy.resource().await;
        let service = deputy.service("notes:read").await;
        let cached = deputy.get("/jwks").await.json();
        let old = service.client_credentials(&[]).await.ok().text("access_token");
        deputy.operate("POST", "/keys/rotate", json!({})).await.refused(409, "conflict");
        deputy.later(421);
        deputy.operate("POST", "/keys/rotate", json!({})).await.ok();
        let new = service.client_credentials(&[]).await.ok().text("access_token");
        let kid = |token: &str| {
            let header = URL_SAFE_NO_PAD.decode(token.split('.').next().expect("a header")).expect("base64url");
            serde_json::from_slice::<Value>(&header).expect("JSON")["kid"].clone()
        };
        assert_ne!(kid(&old), kid(&new));
        let known: Vec<_> = cached["keys"].as_array().expect("a list").iter().map(|key| key["kid"].clone()).collect();
        assert!(known.contains(&kid(&new)), "whoever cached our keys before the rotation verifies the new token");
        let published = deputy.get("/jwks").await.json();
        let published: Vec<_> = published["keys"].as_array().expect("a list").iter().map(|key| key["kid"].clone()).collect();
        assert!(published.contains(&kid(&old)), "and the old one, after it");
        let (id, secret) = (resource["resource_id"].as_str().expect("text"), resource["secret"].as_str().expect("text"));
        for token in [&old, &new] {
            let request =
                deputy.http.post(format!("{}/introspect", deputy.issuer)).basic_auth(id, Some(secret)).form(&[("token", token)]);
            assert_eq!(crate::support::Answer::of(request).await.ok().json()["active"], true);
        }
        assert_eq!(deputy.facts_of("key.rotated.v1").await.len(), 1);
    })
    .await;
}
