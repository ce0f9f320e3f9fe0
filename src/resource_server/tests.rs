//! The layer from outside: an issuer in a simulated web, a service behind the layer, requests as clients send them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tower::{Layer, ServiceExt};

use super::token::Token;
use super::*;
use crate::domain::refusal::OAuthError;
use crate::outbound::{Answer, SimulatedWeb};

const RESOURCE: &str = "https://notes.example/mcp";
const ISSUER: &str = "https://deputy.example";
const NOW_S: i64 = 1_800_000_000;
const METADATA_PARAMETER: &str = "resource_metadata=\"https://notes.example/.well-known/oauth-protected-resource/mcp\"";

/// A signing key of the issuer.
struct Signer {
    algorithm: Algorithm,
    key: EncodingKey,
    public: Value,
}

impl Signer {
    fn es256() -> Self {
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref()).expect("the same key");
        // An uncompressed point: a mark, then both coordinates.
        let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
        let public = json!({ "kty": "EC", "crv": "P-256", "x": base64url(x), "y": base64url(y), "alg": "ES256", "use": "sig" });
        Self { algorithm: Algorithm::ES256, key: EncodingKey::from_ec_der(pkcs8.as_ref()), public }
    }

    fn eddsa() -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).expect("the same key");
        let public = json!({ "kty": "OKP", "crv": "Ed25519", "x": base64url(pair.public_key().as_ref()), "alg": "EdDSA" });
        Self { algorithm: Algorithm::EdDSA, key: EncodingKey::from_ed_der(pkcs8.as_ref()), public }
    }

    fn jwk(&self, kid: &str) -> Value {
        let mut jwk = self.public.clone();
        jwk["kid"] = json!(kid);
        jwk
    }

    fn sign(&self, header: &Header, claims: &Value) -> String {
        jsonwebtoken::encode(header, claims, &self.key).expect("a signature")
    }

    fn token(&self, claims: &Value) -> String {
        self.sign(&self.header(), claims)
    }

    fn header(&self) -> Header {
        Header { typ: Some("at+jwt".to_owned()), kid: Some("k1".to_owned()), ..Header::new(self.algorithm) }
    }
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "sub": "per_1", "aud": RESOURCE, "client_id": "cli_1", "jti": "tok_1", "gid": "gra_1",
        "iat": NOW_S, "exp": NOW_S + 300, "scope": "notes:read",
    })
}

fn claims_with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn claims_without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().expect("claims are an object").remove(name);
    claims
}

/// An issuer, a resource server that trusts it, and a clock.
struct Scene {
    signer: Signer,
    web: SimulatedWeb,
    outbound: Outbound,
    now_ms: Arc<AtomicI64>,
}

impl Scene {
    fn new() -> Self {
        let (outbound, web) = Outbound::simulated(OutboundPolicy::OperatorNamed);
        let scene = Self { signer: Signer::es256(), web, outbound, now_ms: Arc::new(AtomicI64::new(NOW_S * 1000)) };
        scene.publish(&[scene.signer.jwk("k1")]);
        let metadata = json!({
            "issuer": ISSUER, "jwks_uri": format!("{ISSUER}/jwks"), "introspection_endpoint": format!("{ISSUER}/introspect"),
        });
        scene.web.answer(&url("/.well-known/oauth-authorization-server"), Answer::json(&metadata));
        scene
    }

    fn publish(&self, keys: &[Value]) {
        self.web.answer(&url("/jwks"), Answer::json(&json!({ "keys": keys })));
    }

    fn resource_server(&self) -> ResourceServer {
        let now_ms = Arc::clone(&self.now_ms);
        ResourceServer::new(RESOURCE, ISSUER)
            .required_scopes(["notes:read"])
            .scopes_supported(["notes:read", "notes:write"])
            .implied_scopes("notes:admin", ["notes:write", "notes:read"])
            .outbound(self.outbound.clone())
            .clock(move || Timestamp(now_ms.load(Ordering::Relaxed)))
    }

    fn layer(&self) -> ProtectLayer {
        self.resource_server().tool_scopes("write_note", ["notes:write"]).layer().expect("a good configuration")
    }

    fn pass(&self, time: Duration) {
        self.now_ms.fetch_add(time.as_millis().try_into().expect("a short time"), Ordering::Relaxed);
    }

    fn fetches(&self, path: &str) -> usize {
        self.web.calls().iter().filter(|call| call.url == url(path)).count()
    }
}

fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn url(path: &str) -> Url {
    Url::parse(&format!("{ISSUER}{path}")).expect("a URL of the issuer")
}

/// What came back, and what the protected service saw.
struct Seen {
    status: StatusCode,
    headers: http::HeaderMap,
    body: String,
    reached: Option<Token>,
}

impl Seen {
    fn challenge(&self) -> &str {
        self.headers.get(WWW_AUTHENTICATE).map_or("", |value| value.to_str().expect("a challenge is ASCII"))
    }
}

async fn send(layer: &ProtectLayer, request: Request<Full<Bytes>>) -> Seen {
    let reached = Arc::new(Mutex::new(None));
    let witness = Arc::clone(&reached);
    let service = tower::service_fn(move |request: Request<Full<Bytes>>| {
        assert!(request.headers().get(AUTHORIZATION).is_none(), "the credential stays outside");
        *witness.lock().expect("no panic inside") = request.extensions().get::<Token>().cloned();
        async move { Ok::<_, std::convert::Infallible>(Response::new(request.into_body())) }
    });
    let response = layer.layer(service).oneshot(request).await.expect("the service is infallible");
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("a body in memory").to_bytes();
    let reached = reached.lock().expect("no panic inside").take();
    Seen { status: parts.status, headers: parts.headers, body: String::from_utf8_lossy(&body).into_owned(), reached }
}

fn request(authorization: Option<&str>, body: &str) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(Method::POST).uri("/mcp");
    if let Some(authorization) = authorization {
        request = request.header(AUTHORIZATION, authorization);
    }
    request.body(Full::from(body.to_owned())).expect("a request")
}

async fn present(layer: &ProtectLayer, token: &str) -> Seen {
    send(layer, request(Some(&format!("Bearer {token}")), "")).await
}

async fn call_tool(layer: &ProtectLayer, token: &str, tool: &str) -> Seen {
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": tool } }).to_string();
    send(layer, request(Some(&format!("Bearer {token}")), &body)).await
}

/// Asserts a 401 for this reason, and nothing behind it reached.
fn assert_invalid(seen: &Seen, why: &OAuthError, what: &str) {
    assert_eq!(seen.status, StatusCode::UNAUTHORIZED, "{what}: {}", seen.body);
    let expected = format!(
        "Bearer error=\"invalid_token\", error_description=\"{}\", scope=\"notes:read\", {METADATA_PARAMETER}",
        why.description
    );
    assert_eq!(seen.challenge(), expected, "{what}");
    assert!(seen.reached.is_none(), "{what}");
}

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
