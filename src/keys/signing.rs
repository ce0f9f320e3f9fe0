//! One signing key: JWS by ES256, EdDSA or RS256 ([RFC 7518 §3](https://www.rfc-editor.org/rfc/rfc7518#section-3),
//! [RFC 8037 §3.1](https://www.rfc-editor.org/rfc/rfc8037#section-3.1)). All signing is aws-lc-rs.

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rand::SystemRandom,
    rsa::KeySize,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{DecodingKey, Validation, jwk::Jwk};
use serde::Serialize;
use serde_json::json;

use crate::domain::{
    id::{Id, KeyKind},
    secret::Secret,
    token::{ACCESS_TOKEN_TYPE, AccessTokenClaims, ID_TOKEN_TYPE, SigningAlgorithm},
};

/// The largest token that is looked at, in bytes.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// Room for claims, so that they need not grow; most are half as long.
const CLAIMS_BYTES: usize = 1024;

/// What is signed; becomes the JOSE `typ`, so that no token passes for another kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenType {
    AccessToken,
    IdToken,
}

/// A key that signs, parsed once.
pub struct SigningKey {
    pub algorithm: SigningAlgorithm,
    pair: Pair,
    random: SystemRandom,
    /// `header.` of each token type, encoded.
    access_token_header: String,
    id_token_header: String,
}

enum Pair {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
    Rs256(RsaKeyPair),
}

impl SigningKey {
    /// Parses a private key; `None` if the bytes are not a key of this algorithm.
    pub fn from_pkcs8(id: Id<KeyKind>, algorithm: SigningAlgorithm, pkcs8: &[u8]) -> Option<SigningKey> {
        let pair = match algorithm {
            SigningAlgorithm::Es256 => Pair::Es256(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).ok()?),
            SigningAlgorithm::EdDsa => Pair::EdDsa(Ed25519KeyPair::from_pkcs8(pkcs8).ok()?),
            SigningAlgorithm::Rs256 => Pair::Rs256(RsaKeyPair::from_pkcs8(pkcs8).ok()?),
        };
        let header =
            |typ: &str| URL_SAFE_NO_PAD.encode(json!({"alg": algorithm.as_str(), "kid": id, "typ": typ}).to_string()) + ".";
        let (access_token_header, id_token_header) = (header(ACCESS_TOKEN_TYPE), header(ID_TOKEN_TYPE));
        Some(SigningKey { algorithm, pair, random: SystemRandom::new(), access_token_header, id_token_header })
    }

    /// Signs claims as a compact JWS.
    pub fn sign(&self, token_type: TokenType, claims: &impl Serialize) -> String {
        let header = match token_type {
            TokenType::AccessToken => &self.access_token_header,
            TokenType::IdToken => &self.id_token_header,
        };
        let mut payload = Vec::with_capacity(CLAIMS_BYTES);
        serde_json::to_writer(&mut payload, claims).expect("our own claims serialise to JSON");
        let mut token = String::with_capacity(header.len() + payload.len() * 4 / 3 + 400);
        token.push_str(header);
        URL_SAFE_NO_PAD.encode_string(payload, &mut token);
        let never = "a parsed key signs any message";
        match &self.pair {
            Pair::Es256(pair) => push(&mut token, |input| pair.sign(&self.random, input).expect(never)),
            Pair::EdDsa(pair) => push(&mut token, |input| pair.sign(input)),
            Pair::Rs256(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &self.random, token.as_bytes(), &mut signature).expect(never);
                push(&mut token, |_| signature);
            }
        }
        token
    }
}

fn push<S: AsRef<[u8]>>(token: &mut String, sign: impl FnOnce(&[u8]) -> S) {
    let signature = sign(token.as_bytes());
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, token);
}

/// A key that verifies what we signed, parsed once.
pub struct VerifyingKey {
    pub kid: String,
    key: DecodingKey,
    validation: Validation,
}

impl VerifyingKey {
    /// Parses a public key; `None` if it is not one that we made.
    pub fn from_jwk(id: Id<KeyKind>, jwk: &str) -> Option<VerifyingKey> {
        let jwk: Jwk = serde_json::from_str(jwk).ok()?;
        let algorithm = SigningAlgorithm::parse(&jwk.common.key_algorithm?.to_string())?;
        let mut validation = Validation::new(as_jsonwebtoken(algorithm));
        // Time and audience are judged by the caller, against the clock of the world.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        Some(VerifyingKey { kid: id.to_string(), key: DecodingKey::from_jwk(&jwk).ok()?, validation })
    }

    /// The claims, if we signed them with this key as an access token. The claims are typed: one that is missing or of another
    /// JSON type is an error.
    pub fn verify_access_token(&self, token: &str) -> Option<AccessTokenClaims> {
        let data = jsonwebtoken::decode::<AccessTokenClaims>(token, &self.key, &self.validation).ok()?;
        (data.header.typ.as_deref() == Some(ACCESS_TOKEN_TYPE)).then_some(data.claims)
    }
}

fn as_jsonwebtoken(algorithm: SigningAlgorithm) -> jsonwebtoken::Algorithm {
    match algorithm {
        SigningAlgorithm::Es256 => jsonwebtoken::Algorithm::ES256,
        SigningAlgorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        SigningAlgorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
    }
}

/// The `kid` that a token names.
pub fn kid(token: &str) -> Option<String> {
    if token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    jsonwebtoken::decode_header(token).ok()?.kid
}

/// A new key pair.
pub struct Generated {
    pub pkcs8: Secret<Vec<u8>>,
    pub public_jwk: String,
}

/// Makes a key pair from the operating system's randomness.
pub fn generate(id: Id<KeyKind>, algorithm: SigningAlgorithm) -> Generated {
    let never = "the operating system gives randomness";
    let random = SystemRandom::new();
    let common = |fields: serde_json::Value| {
        let mut jwk = json!({"kid": id, "use": "sig", "alg": algorithm.as_str()});
        if let (Some(jwk), serde_json::Value::Object(fields)) = (jwk.as_object_mut(), fields) {
            jwk.extend(fields);
        }
        jwk.to_string()
    };
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    match algorithm {
        SigningAlgorithm::Es256 => {
            let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect(never);
            let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref()).expect("it was made just now");
            // An uncompressed point: 4, then x and y of 32 bytes each.
            let point = pair.public_key().as_ref();
            let public_jwk = common(json!({"kty": "EC", "crv": "P-256", "x": encode(&point[1..33]), "y": encode(&point[33..65])}));
            Generated { pkcs8: Secret::new(document.as_ref().to_vec()), public_jwk }
        }
        SigningAlgorithm::EdDsa => {
            let document = Ed25519KeyPair::generate_pkcs8(&random).expect(never);
            let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).expect("it was made just now");
            let public_jwk = common(json!({"kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key().as_ref())}));
            Generated { pkcs8: Secret::new(document.as_ref().to_vec()), public_jwk }
        }
        SigningAlgorithm::Rs256 => {
            let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect(never);
            let document: Pkcs8V1Der<'_> = pair.as_der().expect("a key that was made just now encodes");
            let (modulus, exponent) = (pair.public_key().modulus(), pair.public_key().exponent());
            let public_jwk = common(json!({
                "kty": "RSA",
                "n": encode(modulus.big_endian_without_leading_zero()),
                "e": encode(exponent.big_endian_without_leading_zero()),
            }));
            Generated { pkcs8: Secret::new(document.as_ref().to_vec()), public_jwk }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;

    fn claims() -> AccessTokenClaims {
        serde_json::from_value(json!({
            "iss": "https://as.example", "sub": "s", "aud": "https://rs.example", "exp": 2, "iat": 1, "scope": "a b", "client_id": "c",
            "jti": Id::<crate::domain::id::TokenKind>::new(Timestamp(0), [0; 10]), "gid": Id::<crate::domain::id::GrantKind>::new(Timestamp(0), [0; 10]),
        }))
        .expect("these are the claims")
    }

    #[test]
    fn each_algorithm_signs_what_its_public_key_verifies() {
        for algorithm in [SigningAlgorithm::Es256, SigningAlgorithm::EdDsa, SigningAlgorithm::Rs256] {
            let id = Id::new(Timestamp(1), [1; 10]);
            let generated = generate(id, algorithm);
            let signing = SigningKey::from_pkcs8(id, algorithm, generated.pkcs8.reveal()).expect("it was made just now");
            let verifying = VerifyingKey::from_jwk(id, &generated.public_jwk).expect("it was made just now");
            let token = signing.sign(TokenType::AccessToken, &claims());
            assert_eq!(kid(&token), Some(id.to_string()));
            assert_eq!(verifying.verify_access_token(&token), Some(claims()), "{algorithm:?}");
            assert_eq!(
                verifying.verify_access_token(&signing.sign(TokenType::IdToken, &claims())),
                None,
                "an ID token is no access token"
            );
            let mut broken = token.into_bytes();
            let middle = broken.len() / 2;
            broken[middle] = if broken[middle] == b'A' { b'B' } else { b'A' };
            assert_eq!(verifying.verify_access_token(&String::from_utf8(broken).expect("ASCII")), None);
        }
    }
}
