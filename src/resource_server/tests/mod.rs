//! The layer from outside: an issuer in a simulated web, a service behind the layer, requests as clients send them.

/// What is asked of requests and tokens.
mod requests;
/// What is asked of the issuer, and what happens without an answer.
mod issuer_side;

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
