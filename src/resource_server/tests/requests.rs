//! What is asked of requests and tokens.

use super::*;

#[tokio::test]
async fn a_good_token_passes_with_its_claims_and_the_body_intact() {
    let scene = Scene::new();
    let act = json!({ "sub": "agent_2", "act": { "sub": "agent_1" } });
    let seen = call_tool(&scene.layer(), &scene.signer.token(&claims_with("act", act.clone())), "read_notes").await;
    assert_eq!(seen.status, StatusCode::OK, "{}", seen.body);
    assert!(seen.body.contains("read_notes"));
    let token = seen.reached.expect("the service was reached");
    assert_eq!((token.subject.as_str(), token.client_id.as_str(), token.grant_id.as_deref()), ("per_1", "cli_1", Some("gra_1")));
    assert_eq!((token.token_id.as_deref(), token.expires_at), (Some("tok_1"), Timestamp::from_seconds(NOW_S + 300)));
    assert_eq!(token.act.map(Value::Object), Some(act));
}

#[tokio::test]
async fn without_credentials_the_challenge_is_bare() {
    let scene = Scene::new();
    for authorization in [None, Some("Basic YTpi"), Some("DPoP abc")] {
        let seen = send(&scene.layer(), request(authorization, "")).await;
        assert_eq!(seen.status, StatusCode::UNAUTHORIZED);
        assert_eq!(seen.challenge(), format!("Bearer scope=\"notes:read\", {METADATA_PARAMETER}"));
    }
    let token = scene.signer.token(&claims());
    let in_query = Request::get(format!("/mcp?access_token={token}")).body(Full::default()).expect("a request");
    assert_eq!(send(&scene.layer(), in_query).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn malformed_credentials_are_refused_and_never_500() {
    let scene = Scene::new();
    let long = format!("Bearer {}", "a".repeat(20_000));
    for authorization in ["Bearer", "Bearer ", "bearer a b", "Bearer ..", "Bearer a.b.c", "Bearer \"x\"", "Bearer e30.e30.", &long]
    {
        let seen = send(&scene.layer(), request(Some(authorization), "")).await;
        assert_invalid(&seen, &challenge::MALFORMED, &authorization[..authorization.len().min(20)]);
    }
    let mut twice = request(Some(&format!("Bearer {}", scene.signer.token(&claims()))), "");
    twice.headers_mut().append(AUTHORIZATION, "Bearer other".parse().expect("a header"));
    assert_eq!(send(&scene.layer(), twice).await.status, StatusCode::BAD_REQUEST);
    let lower_case = format!("bearer {}", scene.signer.token(&claims()));
    assert_eq!(send(&scene.layer(), request(Some(&lower_case), "")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn claims_of_the_wrong_type_are_never_taken_for_absent() {
    let scene = Scene::new();
    let layer = scene.layer();
    let far = NOW_S + 300;
    for name in ["exp", "iat", "nbf"] {
        for wrong in
            [json!(far.to_string()), json!(1.8e9), json!(null), json!([far]), json!({ "n": far }), json!(true), json!(u64::MAX)]
        {
            let seen = present(&layer, &scene.signer.token(&claims_with(name, wrong.clone()))).await;
            assert_invalid(&seen, &challenge::CLAIMS, &format!("{name} = {wrong}"));
        }
    }
    for name in ["iss", "sub", "aud", "jti", "client_id", "scope", "gid", "act"] {
        for wrong in [json!(1), json!(null), json!([1])] {
            let seen = present(&layer, &scene.signer.token(&claims_with(name, wrong.clone()))).await;
            assert_invalid(&seen, &challenge::CLAIMS, &format!("{name} = {wrong}"));
        }
    }
    for name in ["iss", "sub", "aud", "jti", "client_id", "exp", "iat"] {
        assert_invalid(&present(&layer, &scene.signer.token(&claims_without(name))).await, &challenge::CLAIMS, name);
    }
    for optional in ["scope", "gid", "act", "nbf"] {
        let seen = present(&layer, &scene.signer.token(&claims_without(optional))).await;
        assert_ne!(seen.status, StatusCode::UNAUTHORIZED, "{optional}");
    }
}

#[tokio::test]
async fn audience_issuer_and_time_are_exact() {
    let scene = Scene::new();
    let layer = scene.layer();
    let table = [
        ("aud", json!([RESOURCE, "https://other.example"]), None),
        ("aud", json!("https://notes.example/mcp/"), Some(&challenge::AUDIENCE)),
        ("aud", json!("https://NOTES.example/mcp"), Some(&challenge::AUDIENCE)),
        ("aud", json!("https://notes.example/mcp https://other.example"), Some(&challenge::AUDIENCE)),
        ("aud", json!("https://evil.example/?https://notes.example/mcp"), Some(&challenge::AUDIENCE)),
        ("aud", json!([]), Some(&challenge::AUDIENCE)),
        ("iss", json!("https://deputy.example/"), Some(&challenge::ISSUER)),
        ("iss", json!("https://deputy.example/tenant"), Some(&challenge::ISSUER)),
        ("exp", json!(NOW_S + 1), None),
        ("exp", json!(NOW_S), Some(&challenge::EXPIRED)),
        ("exp", json!(-1), Some(&challenge::EXPIRED)),
        ("exp", json!(i64::MIN), Some(&challenge::EXPIRED)),
        ("exp", json!(i64::MAX), None),
        ("iat", json!(NOW_S + 10), None),
        ("iat", json!(NOW_S + 11), Some(&challenge::NOT_YET)),
        ("nbf", json!(NOW_S + 11), Some(&challenge::NOT_YET)),
        ("nbf", json!(NOW_S), None),
    ];
    for (name, value, refused) in table {
        let seen = present(&layer, &scene.signer.token(&claims_with(name, value.clone()))).await;
        match refused {
            Some(why) => assert_invalid(&seen, why, &format!("{name} = {value}")),
            None => assert_eq!(seen.status, StatusCode::OK, "{name} = {value}: {}", seen.body),
        }
    }
}

#[tokio::test]
async fn type_algorithm_and_key_are_pinned() {
    let scene = Scene::new();
    let layer = scene.layer();
    let header = scene.signer.header();
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt", "Application/AT+jwt"] {
        let header = Header { typ: Some(typ.to_owned()), ..header.clone() };
        assert_eq!(present(&layer, &scene.signer.sign(&header, &claims())).await.status, StatusCode::OK, "{typ}");
    }
    for typ in [None, Some("JWT"), Some("at+jwtx"), Some("application/application/at+jwt"), Some("logout+jwt")] {
        let header = Header { typ: typ.map(ToOwned::to_owned), ..header.clone() };
        assert_invalid(&present(&layer, &scene.signer.sign(&header, &claims())).await, &challenge::TYPE, &format!("{typ:?}"));
    }
    let critical = Header { crit: Some(vec!["b64".to_owned()]), ..header.clone() };
    assert_invalid(&present(&layer, &scene.signer.sign(&critical, &claims())).await, &challenge::MALFORMED, "crit");
    let nameless = Header { kid: None, ..header.clone() };
    assert_invalid(&present(&layer, &scene.signer.sign(&nameless, &claims())).await, &challenge::KEY, "no kid");
    assert_invalid(
        &present(&layer, &Signer::es256().token(&claims())).await,
        &challenge::SIGNATURE,
        "a stranger's key under our kid",
    );
    assert_invalid(&present(&layer, &Signer::eddsa().token(&claims())).await, &challenge::KEY, "another algorithm than the key's");

    // HS256 keyed with what everybody can read.
    let public = scene.signer.jwk("k1")["x"].as_str().expect("an EC key").to_owned();
    let confused = Signer { algorithm: Algorithm::HS256, key: EncodingKey::from_secret(public.as_bytes()), public: json!({}) };
    assert_invalid(&present(&layer, &confused.token(&claims())).await, &challenge::KEY, "HS256");

    let good = scene.signer.token(&claims());
    let (_, rest) = good.split_once('.').expect("a JWT");
    // {"typ":"at+jwt","alg":"none","kid":"k1"}
    let none = format!("eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJub25lIiwia2lkIjoiazEifQ.{rest}");
    assert_invalid(&present(&layer, &none).await, &challenge::MALFORMED, "none");
    let (signed, _) = good.rsplit_once('.').expect("a JWT");
    assert_invalid(&present(&layer, &format!("{signed}.")).await, &challenge::SIGNATURE, "an empty signature");
}

#[tokio::test]
async fn too_little_scope_is_403_with_all_that_is_needed() {
    let scene = Scene::new();
    let layer = scene.layer();
    let read = scene.signer.token(&claims());
    let seen = call_tool(&layer, &read, "write_note").await;
    assert_eq!((seen.status, seen.reached.is_none()), (StatusCode::FORBIDDEN, true));
    let expected = format!(
        "Bearer error=\"insufficient_scope\", error_description=\"This operation needs more scopes than the access token has\", \
         scope=\"notes:read notes:write\", {METADATA_PARAMETER}"
    );
    assert_eq!(seen.challenge(), expected);

    let table = [
        ("notes:read notes:write", "write_note", StatusCode::OK),
        ("notes:admin", "write_note", StatusCode::OK),
        ("notes:write", "write_note", StatusCode::FORBIDDEN),
        ("notes:rea", "read_notes", StatusCode::FORBIDDEN),
        ("", "read_notes", StatusCode::FORBIDDEN),
    ];
    for (scope, tool, expected) in table {
        let seen = call_tool(&layer, &scene.signer.token(&claims_with("scope", json!(scope))), tool).await;
        assert_eq!(seen.status, expected, "{tool} with {scope:?}");
    }
}

#[tokio::test]
async fn a_handler_can_ask_for_more_and_a_rule_can_read_the_request() {
    let scene = Scene::new();
    let seen = present(&scene.layer(), &scene.signer.token(&claims())).await;
    let token = seen.reached.expect("the service was reached");
    assert_eq!(token.require(&["notes:read"]), Ok(()));
    let challenge = token.require(&["notes:write"]).expect_err("not granted");
    assert_eq!(challenge.scopes.to_string(), "notes:read notes:write");
    assert_eq!(Response::<String>::from(challenge).status(), StatusCode::FORBIDDEN);

    let rule = |parts: &Parts, body: &[u8]| match (&parts.method, body) {
        (&Method::DELETE, _) | (_, b"drop") => Scopes::of(["notes:write"]),
        _ => Scopes::default(),
    };
    let layer = scene.resource_server().scope_rule(rule).body_bytes_max(4).layer().expect("a good configuration");
    let bearer = format!("Bearer {}", scene.signer.token(&claims()));
    for (body, expected) in [("read", StatusCode::OK), ("drop", StatusCode::FORBIDDEN), ("drop!", StatusCode::PAYLOAD_TOO_LARGE)] {
        assert_eq!(send(&layer, request(Some(&bearer), body)).await.status, expected, "{body}");
    }
}

#[tokio::test]
async fn metadata_is_served_at_both_forms_to_anybody() {
    let layer = Scene::new().layer();
    let get = |path: &str| Request::get(path).body(Full::<Bytes>::default()).expect("a request");
    for path in ["/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-protected-resource"] {
        let seen = send(&layer, get(path)).await;
        assert_eq!((seen.status, &seen.headers["content-type"]), (StatusCode::OK, &"application/json".parse().expect("a value")));
        let document: Value = serde_json::from_str(&seen.body).expect("JSON");
        assert_eq!(
            document,
            json!({
                "resource": RESOURCE, "authorization_servers": [ISSUER], "bearer_methods_supported": ["header"],
                "scopes_supported": ["notes:read", "notes:write"],
            })
        );
    }
    for path in [
        "/.well-known/oauth-protected-resource/",
        "/.well-known/oauth-protected-resource/mcp/x",
        "/.well-known/openid-configuration",
    ] {
        assert_eq!(send(&layer, get(path)).await.status, StatusCode::UNAUTHORIZED, "{path}");
    }
    let post = Request::post("/.well-known/oauth-protected-resource").body(Full::default()).expect("a request");
    assert_eq!(send(&layer, post).await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[test]
fn a_configuration_that_cannot_work_is_refused() {
    let error = |identifier: &str, issuer: &str| ResourceServer::new(identifier, issuer).layer().err();
    for good in ["https://notes.example/mcp", "https://notes.example", "http://127.0.0.1:9401/mcp", "https://notes.example/mcp/"] {
        assert_eq!(error(good, ISSUER), None, "{good}");
    }
    for bad in
        ["notes", "ftp://notes.example", "https://NOTES.example", "https://notes.example:443/mcp", "https://notes.example/a/../b"]
    {
        assert!(matches!(error(bad, ISSUER), Some(ConfigError::Identifier { .. })), "{bad}");
        assert!(matches!(error(RESOURCE, bad), Some(ConfigError::Issuer { .. })), "{bad}");
    }
    for bad in [
        "https://notes.example/mcp?a=b",
        "https://notes.example/mcp#f",
        "https://u@notes.example/mcp",
        " https://notes.example/mcp",
    ] {
        assert!(matches!(error(bad, ISSUER), Some(ConfigError::Identifier { .. })), "{bad}");
    }
    let bad_scope = ResourceServer::new(RESOURCE, ISSUER).tool_scopes("write", ["two words"]).layer().err();
    assert_eq!(bad_scope, Some(ConfigError::Scope("two words".to_owned())));
}
