//! What is asked of the issuer, and what happens without an answer.

use super::*;

#[tokio::test]
async fn eddsa_works_and_keys_of_other_uses_are_passed_over() {
    let scene = Scene::new();
    let signer = Signer::eddsa();
    let mut for_encryption = scene.signer.jwk("k2");
    for_encryption["use"] = json!("enc");
    let symmetric = json!({ "kty": "oct", "k": "AAAA", "kid": "k3", "alg": "HS256" });
    let short_rsa = json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "k4" });
    scene.publish(&[json!("not a key"), for_encryption, symmetric, short_rsa, signer.jwk("k1")]);
    let layer = scene.layer();
    assert_eq!(present(&layer, &signer.token(&claims())).await.status, StatusCode::OK);
    for kid in ["k2", "k3", "k4"] {
        let header = Header { kid: Some(kid.to_owned()), ..scene.signer.header() };
        assert_invalid(&present(&layer, &scene.signer.sign(&header, &claims())).await, &challenge::KEY, kid);
    }
}

#[tokio::test]
async fn a_rotated_key_is_found_and_a_flood_of_unknown_keys_is_not_passed_on() {
    let scene = Scene::new();
    let layer = scene.layer();
    assert_eq!(present(&layer, &scene.signer.token(&claims())).await.status, StatusCode::OK);
    scene.pass(Duration::from_secs(6));

    let successor = Signer::es256();
    scene.publish(&[scene.signer.jwk("k1"), successor.jwk("k2")]);
    let rotated = successor.sign(&Header { kid: Some("k2".to_owned()), ..successor.header() }, &claims());
    assert_eq!(present(&layer, &rotated).await.status, StatusCode::OK);
    assert_eq!(scene.fetches("/jwks"), 2);

    for number in 0..50 {
        let header = Header { kid: Some(format!("made up {number}")), ..successor.header() };
        assert_invalid(&present(&layer, &successor.sign(&header, &claims())).await, &challenge::KEY, "made up");
    }
    assert_eq!(scene.fetches("/jwks"), 2);
}

#[tokio::test]
async fn an_outage_keeps_known_keys_and_never_costs_a_client_its_token() {
    let scene = Scene::new();
    let layer = scene.layer();
    let jwks = url("/jwks");
    let unavailable = |seen: &Seen| seen.status == StatusCode::SERVICE_UNAVAILABLE && seen.headers.contains_key("retry-after");

    scene.web.answer(&jwks, Answer::Unreachable);
    let first = present(&layer, &scene.signer.token(&claims())).await;
    assert!(unavailable(&first) && first.challenge().is_empty(), "{}", first.body);

    scene.publish(&[scene.signer.jwk("k1")]);
    scene.pass(Duration::from_secs(6));
    assert_eq!(present(&layer, &scene.signer.token(&claims())).await.status, StatusCode::OK);

    scene.web.answer(&jwks, Answer::status(StatusCode::INTERNAL_SERVER_ERROR));
    scene.pass(Duration::from_secs(60 * 60));
    let later = claims_with("exp", json!(NOW_S + 100 * 60 * 60));
    assert_eq!(present(&layer, &scene.signer.token(&later)).await.status, StatusCode::OK, "an hour into the outage");
    scene.pass(Duration::from_secs(24 * 60 * 60));
    assert!(unavailable(&present(&layer, &scene.signer.token(&later)).await), "a day into the outage");
}

#[tokio::test]
async fn an_unpublished_key_is_forgotten_beside_the_requests() {
    let scene = Scene::new();
    let layer = scene.layer();
    let token = scene.signer.token(&claims_with("exp", json!(NOW_S + 3600)));
    assert_eq!(present(&layer, &token).await.status, StatusCode::OK);
    scene.publish(&[]);
    scene.pass(Duration::from_secs(301));
    // The first does not wait for the network; the fetch that it started is a task that needs only to be let run.
    assert_eq!(present(&layer, &token).await.status, StatusCode::OK);
    while scene.fetches("/jwks") < 2 {
        tokio::task::yield_now().await;
    }
    tokio::task::yield_now().await;
    assert_invalid(&present(&layer, &token).await, &challenge::KEY, "forgotten");
}

#[tokio::test]
async fn metadata_that_names_others_is_not_followed() {
    for (issuer, jwks_uri) in [("https://deputy.example/", "https://deputy.example/jwks"), (ISSUER, "https://169.254.169.254/jwks")]
    {
        let scene = Scene::new();
        let metadata = json!({ "issuer": issuer, "jwks_uri": jwks_uri });
        scene.web.answer(&url("/.well-known/oauth-authorization-server"), Answer::json(&metadata));
        let seen = present(&scene.layer(), &scene.signer.token(&claims())).await;
        assert_eq!(seen.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(scene.web.calls().len(), 1, "only the metadata was fetched");
    }
}

fn introspecting(scene: &Scene, cache_ttl: Duration) -> ProtectLayer {
    let secret = Secret::new("s3cret/+".to_owned());
    scene.resource_server().introspecting("res 1", secret, cache_ttl).layer().expect("a good configuration")
}

fn active(mut claims: Value) -> Answer {
    claims["active"] = json!(true);
    Answer::json(&claims)
}

#[tokio::test]
async fn introspection_believes_only_an_active_token_for_this_resource() {
    let scene = Scene::new();
    let layer = introspecting(&scene, Duration::ZERO);
    let endpoint = url("/introspect");
    scene.web.answer(&endpoint, active(claims_without("iss")));
    let seen = present(&layer, "opaque").await;
    assert_eq!((seen.status, seen.reached.map(|token| token.subject)), (StatusCode::OK, Some("per_1".to_owned())));
    let call = scene.web.calls().pop().expect("the issuer was asked");
    assert_eq!(call.body, b"token=opaque&token_type_hint=access_token");
    assert_eq!(call.headers[AUTHORIZATION], "Basic cmVzKzE6czNjcmV0JTJGJTJC"); // res+1:s3cret%2F%2B

    let table = [
        (Answer::json(&json!({ "active": false })), Some(&challenge::INACTIVE)),
        (active(claims_without("aud")), Some(&challenge::CLAIMS)),
        (active(claims_without("exp")), Some(&challenge::CLAIMS)),
        (active(claims_with("aud", json!("https://other.example"))), Some(&challenge::AUDIENCE)),
        (active(claims_with("iss", json!("https://other.example"))), Some(&challenge::ISSUER)),
        (active(claims_with("exp", json!(NOW_S))), Some(&challenge::EXPIRED)),
        (Answer::json(&json!({ "active": "true" })), None),
        (Answer::json(&json!({})), None),
        (Answer::status(StatusCode::UNAUTHORIZED), None),
        (Answer::status(StatusCode::TOO_MANY_REQUESTS), None),
        (Answer::Unreachable, None),
    ];
    for (answer, refused) in table {
        let what = format!("{answer:?}");
        scene.web.answer(&endpoint, answer);
        let seen = present(&layer, "opaque").await;
        match refused {
            Some(why) => assert_invalid(&seen, why, &what),
            None => assert_eq!(seen.status, StatusCode::SERVICE_UNAVAILABLE, "{what}"),
        }
    }
}

#[tokio::test]
async fn a_cached_answer_is_short_and_scopes_are_judged_anew() {
    let scene = Scene::new();
    let layer = introspecting(&scene, Duration::from_secs(30));
    let endpoint = url("/introspect");
    scene.web.answer(&endpoint, active(claims_with("exp", json!(NOW_S + 40))));
    for _ in 0..3 {
        assert_eq!(present(&layer, "opaque").await.status, StatusCode::OK);
    }
    assert_eq!(scene.fetches("/introspect"), 1);
    scene.pass(Duration::from_secs(30));
    assert_eq!(present(&layer, "opaque").await.status, StatusCode::OK);
    assert_eq!(scene.fetches("/introspect"), 2);
    scene.pass(Duration::from_secs(10));
    assert_invalid(&present(&layer, "opaque").await, &challenge::EXPIRED, "from the cache, yet expired");

    scene.web.answer(&endpoint, active(claims_with("exp", json!(NOW_S + 400))));
    let stricter = scene.resource_server().introspecting("r", Secret::new("s".to_owned()), Duration::from_secs(30));
    let stricter = stricter.tool_scopes("write_note", ["notes:write"]).layer().expect("a good configuration");
    assert_eq!(call_tool(&stricter, "opaque", "read_notes").await.status, StatusCode::OK);
    assert_eq!(call_tool(&stricter, "opaque", "write_note").await.status, StatusCode::FORBIDDEN);
    assert_eq!(scene.fetches("/introspect"), 3);
}
