//! A client that proves itself by signature (private_key_jwt), and keys that sign whatever a test wants signed.

use std::sync::atomic::{AtomicU32, Ordering};

use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{Answer, Installation, RESOURCE};

/// The `client_assertion_type` of RFC 7523.
pub const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// An ES256 key outside of Deputy.
pub struct Signer(EcdsaKeyPair);

/// A confidential client with a key, which acts for itself.
pub struct Workload<'i> {
    pub client_id: String,
    pub signer: Signer,
    installation: &'i Installation,
    assertions: AtomicU32,
}

impl Signer {
    pub fn new() -> Signer {
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).expect("a key");
        Signer(EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref()).expect("the same key"))
    }

    /// The public half.
    pub fn jwk(&self) -> Value {
        // An uncompressed point: a mark, then both coordinates.
        let (x, y) = self.0.public_key().as_ref()[1..].split_at(32);
        json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "k1",
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)})
    }

    /// Its thumbprint ([RFC 7638 §3](https://www.rfc-editor.org/rfc/rfc7638#section-3)).
    pub fn thumbprint(&self) -> String {
        let jwk = self.jwk();
        let members = format!(r#"{{"crv":"P-256","kty":"EC","x":{},"y":{}}}"#, jwk["x"], jwk["y"]);
        URL_SAFE_NO_PAD.encode(digest(&SHA256, members.as_bytes()))
    }

    pub fn jwks(&self) -> Value {
        json!({"keys": [self.jwk()]})
    }

    /// A compact JWS of this header and this payload, whatever they say.
    pub fn sign(&self, header: &Value, payload: &str) -> String {
        let input = unsigned(header, payload);
        let signature = self.0.sign(&SystemRandom::new(), input.as_bytes()).expect("a signature");
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// A JWT as most software makes it.
    pub fn jwt(&self, claims: &Value) -> String {
        self.sign(&json!({"alg": "ES256", "typ": "JWT", "kid": "k1"}), &claims.to_string())
    }
}

/// Header and payload of a JWS, without its signature.
pub fn unsigned(header: &Value, payload: &str) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(payload))
}

impl<'i> Workload<'i> {
    /// Is made by an operator, with its public key in its registration.
    pub async fn made_by_operator(installation: &'i Installation, scope: &str) -> Workload<'i> {
        let signer = Signer::new();
        Workload::registered(installation, scope, signer.jwks(), signer).await
    }

    /// As `made_by_operator`, with these keys in its registration.
    pub async fn registered(installation: &'i Installation, scope: &str, jwks: Value, signer: Signer) -> Workload<'i> {
        let keys = if jwks.is_string() { json!({"jwks_uri": jwks}) } else { json!({"jwks": jwks}) };
        let mut request = json!({"client_name": "A workload", "grant_types": ["client_credentials"], "scope": scope,
            "token_endpoint_auth_method": "private_key_jwt"});
        request.as_object_mut().expect("an object").extend(keys.as_object().expect("an object").clone());
        let client_id = installation.operate("POST", "/clients", request).await.ok().text("client_id");
        Workload { client_id, signer, installation, assertions: AtomicU32::new(0) }
    }

    /// Good claims, with a `jti` that was not used before.
    pub fn claims(&self) -> Value {
        let now_s = self.installation.world().now().seconds();
        let jti = format!("assertion {}", self.assertions.fetch_add(1, Ordering::Relaxed));
        json!({"iss": self.client_id, "sub": self.client_id, "aud": self.installation.issuer, "iat": now_s, "exp": now_s + 60,
            "jti": jti})
    }

    /// Good claims with one of them changed; `null` takes it out.
    pub fn claims_with(&self, name: &str, value: Value) -> Value {
        let mut claims = self.claims();
        let members = claims.as_object_mut().expect("claims are an object");
        if value.is_null() {
            members.remove(name);
        } else {
            members.insert(name.to_owned(), value);
        }
        claims
    }

    /// Asks for a token, proving itself with a JWT of these claims.
    pub async fn prove(&self, claims: &Value) -> Answer {
        self.present(&self.signer.jwt(claims)).await
    }

    /// Asks for a token, proving itself with this text.
    pub async fn present(&self, assertion: &str) -> Answer {
        self.present_as(ASSERTION_TYPE, assertion).await
    }

    pub async fn present_as(&self, assertion_type: &str, assertion: &str) -> Answer {
        let form = [
            ("grant_type", "client_credentials"),
            ("resource", RESOURCE),
            ("client_assertion_type", assertion_type),
            ("client_assertion", assertion),
        ];
        self.installation.post("/token", &form).await
    }
}
