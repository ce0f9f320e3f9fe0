//! private_key_jwt: [RFC 7523 §2.2 and §3](https://www.rfc-editor.org/rfc/rfc7523#section-3), with the audience of
//! [rfc7523bis](https://datatracker.ietf.org/doc/draft-ietf-oauth-rfc7523bis/): our issuer and nothing else.
//!
//! Claims are typed: one of the wrong JSON type is an error, never "absent". Each `jti` is good once.

use std::{sync::Arc, time::Duration};

use jsonwebtoken::{
    Algorithm, DecodingKey, Validation,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, ThumbprintHash},
};
use serde::{Deserialize, Deserializer, de::Error as _};
use tracing::Instrument as _;
use url::Url;

use crate::{
    domain::{
        client::{Client, ClientId, KeyThumbprint},
        refusal::{
            BUSY, CLIENT_ASSERTION_ALGORITHM, CLIENT_ASSERTION_AUDIENCE, CLIENT_ASSERTION_EXPIRED, CLIENT_ASSERTION_ISSUER,
            CLIENT_ASSERTION_MALFORMED, CLIENT_ASSERTION_SIGNATURE, CLIENT_ASSERTION_TOO_LONG, CLIENT_ASSERTION_TYPE,
            CLIENT_KEYS_UNAVAILABLE, OAuthError,
        },
        secret::Digest,
        time::Timestamp,
    },
    keys::secrets::Purpose,
    outbound::{Limits, Outbound},
    protocol::{parameters::Parameters, remarks},
    storage::{StorageError, Tx, one_time},
    world::{
        World,
        memory::{ClientKeys, WAITING_FOR_ONE_MAX},
    },
};

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const ASSERTION_BYTES_MAX: usize = 8 * 1024;
const JTI_BYTES_MAX: usize = 1024;
/// The longest validity that is accepted.
const LIFETIME_MAX: Duration = Duration::from_secs(3600);
/// How far a client's clock may be ahead ([FAPI 2.0](https://openid.net/specs/fapi-security-profile-2_0-final.html) accepts 10 s, forbids more than 60 s).
const AHEAD_MAX: Duration = Duration::from_secs(30);
/// How long the keys at a `jwks_uri` are believed.
const KEYS_KEPT: Duration = Duration::from_secs(60);
/// How soon they are asked for again when they are of no use.
const KEYS_ASKED_AGAIN: Duration = Duration::from_secs(10);
/// How long keys count that cannot be read again: an outage of the client's host costs nobody their tokens.
const KEYS_KEPT_IN_TROUBLE: Duration = Duration::from_secs(3600);
const KEYS_LIMITS: Limits = Limits { timeout: Duration::from_secs(5), body_bytes_max: 64 * 1024 };
/// What verifies assertions; asymmetric only.
pub const ALGORITHMS: [&str; 4] = ["ES256", "EdDSA", "RS256", "PS256"];

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    #[serde(deserialize_with = "numeric_date")]
    exp: Timestamp,
    #[serde(default, deserialize_with = "numeric_date_if_there")]
    iat: Option<Timestamp>,
    #[serde(default, deserialize_with = "numeric_date_if_there")]
    nbf: Option<Timestamp>,
    jti: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// The assertion of a request, if it has one.
pub fn presented<'r>(parameters: &'r Parameters<'_>) -> Result<Option<&'r str>, OAuthError> {
    match (parameters.get("client_assertion"), parameters.get("client_assertion_type")) {
        (None, None) => Ok(None),
        (Some(assertion), Some(ASSERTION_TYPE)) if assertion.len() <= ASSERTION_BYTES_MAX => Ok(Some(assertion)),
        (Some(_), Some(ASSERTION_TYPE)) | (None, Some(_)) => Err(CLIENT_ASSERTION_MALFORMED),
        (Some(_), _) => Err(CLIENT_ASSERTION_TYPE),
    }
}

/// The client that an assertion claims to be from; nothing is verified yet.
pub fn subject(assertion: &str) -> Result<String, OAuthError> {
    #[derive(Deserialize)]
    struct Subject {
        sub: String,
    }
    let data = jsonwebtoken::dangerous::insecure_decode::<Subject>(assertion).map_err(|_| CLIENT_ASSERTION_MALFORMED)?;
    Ok(data.claims.sub)
}

/// The `jti` of an assertion that was verified, as it is noted when the assertion is used up.
pub struct AssertionId {
    digest: Digest,
    noted_until: Timestamp,
}

impl AssertionId {
    /// Notes it. `false` if it was noted before.
    pub async fn note(&self, tx: &mut Tx, now: Timestamp) -> Result<bool, StorageError> {
        one_time::note(tx, &self.digest, Purpose::ClientAssertionId.as_str(), now, self.noted_until).await
    }
}

/// Verifies an assertion against the client's keys. It is not used up yet.
pub async fn verify(world: &World, client: &Client, assertion: &str, now: Timestamp) -> Result<AssertionId, OAuthError> {
    let header = jsonwebtoken::decode_header(assertion).map_err(|_| CLIENT_ASSERTION_MALFORMED)?;
    // We understand no critical extension, so there must be none ([RFC 7515 §4.1.11](https://www.rfc-editor.org/rfc/rfc7515#section-4.1.11)).
    if header.crit.is_some() || !header.typ.as_deref().is_none_or(is_assertion_type) {
        return Err(CLIENT_ASSERTION_MALFORMED);
    }
    if !ALGORITHMS.iter().any(|known| known.parse() == Ok(header.alg)) {
        return Err(CLIENT_ASSERTION_ALGORITHM);
    }
    let verify = |keys: &JwkSet| verify_signature(keys, header.alg, header.kid.as_deref(), assertion);
    let (claims, jkt) = match verify(&*keys(world, client, KEYS_KEPT, now).await?) {
        // The client may have rotated its keys since we asked for them.
        Err(refusal) if refusal == CLIENT_ASSERTION_SIGNATURE => verify(&*keys(world, client, KEYS_ASKED_AGAIN, now).await?)?,
        verified => verified?,
    };
    check(&claims, client, world.settings.issuer.as_str(), now)?;
    if let Some(jkt) = jkt {
        remarks::key_used(world, &client.id, &jkt, now);
    }
    let digest = world.secrets.digest(Purpose::ClientAssertionId, &format!("{}\n{}", client.id, claims.jti));
    Ok(AssertionId { digest, noted_until: claims.exp.plus(AHEAD_MAX) })
}

/// Whether a JWT of this type may be an assertion. Software says this one, `JWT`, or nothing; what says that it is something else
/// was signed for something else ([RFC 8725 §3.11](https://www.rfc-editor.org/rfc/rfc8725#section-3.11)).
fn is_assertion_type(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    matches!(typ.strip_prefix("application/").unwrap_or(&typ), "jwt" | "client-authentication+jwt")
}

/// The client's keys; those at a `jwks_uri` as they were at most `age_max` ago.
async fn keys(world: &World, client: &Client, age_max: Duration, now: Timestamp) -> Result<Arc<JwkSet>, OAuthError> {
    match (&client.metadata.jwks, &client.metadata.jwks_uri) {
        (Some(jwks), _) => Ok(Arc::new(key_set(jwks))),
        (None, Some(uri)) => fetched_keys(world, client, uri, age_max, now).await,
        (None, None) => Err(CLIENT_ASSERTION_SIGNATURE),
    }
}

/// The keys at a `jwks_uri`, asked for once in a while only, and by one request at a time: nobody can make us knock at a stranger's door
/// all day. While they are asked for, or cannot be read, those that were read last still count for a while.
async fn fetched_keys(
    world: &World,
    client: &Client,
    uri: &Url,
    age_max: Duration,
    now: Timestamp,
) -> Result<Arc<JwkSet>, OAuthError> {
    if let Some(known) = known_keys(world, uri, age_max, now) {
        return known;
    }
    let asking = world.memory.client_keys_asked.get_with(uri.clone(), Arc::default);
    let turn = match Arc::clone(&asking).try_lock_owned() {
        Ok(turn) => turn,
        Err(_) => {
            if let Some(before) = keys_of_before(world, uri, age_max, now) {
                return Ok(before);
            }
            // The cache has one of these, and so has each request that waits.
            if Arc::strong_count(&asking) > WAITING_FOR_ONE_MAX {
                return Err(BUSY);
            }
            asking.lock_owned().await
        }
    };
    // Somebody else may have asked meanwhile.
    if let Some(known) = known_keys(world, uri, age_max, now) {
        return known;
    }
    let Some(permit) = world.memory.fetch_permit(&world.memory.key_fetch_permits, uri) else {
        return keys_of_before(world, uri, age_max, now).ok_or(BUSY);
    };
    let (outbound, kept, client, uri) = (world.outbound.clone(), world.memory.client_keys.clone(), client.id.clone(), uri.clone());
    let asking = async move {
        let before = kept.get(&uri).and_then(|keys| keys.read);
        let read = match fetch_keys(&outbound, &client, &uri).await {
            Some(keys) => Some((now, keys)),
            None => before.filter(|(read_at, _)| now.apart_from(*read_at) < KEYS_KEPT_IN_TROUBLE),
        };
        let keys = ClientKeys { asked_at: now, read };
        kept.insert(uri, keys.clone());
        drop((permit, turn));
        keys
    };
    // It goes on when whoever waits has gone: hanging up gets nobody another try. The task ends badly only with the process.
    usable(tokio::spawn(asking.in_current_span()).await.map_err(|_| BUSY)?, age_max)
}

/// The keys that were read last, for who has to verify something while they are asked for again.
fn keys_of_before(world: &World, uri: &Url, age_max: Duration, now: Timestamp) -> Option<Arc<JwkSet>> {
    let (read_at, keys) = world.memory.client_keys.get(uri)?.read?;
    (age_max > KEYS_ASKED_AGAIN && now.apart_from(read_at) < KEYS_KEPT_IN_TROUBLE).then_some(keys)
}

/// The keys as they were read last. Where those of before are of no use, only what was read after asking again tells that a signature is
/// wrong: until then nobody is refused.
fn usable(keys: ClientKeys, age_max: Duration) -> Result<Arc<JwkSet>, OAuthError> {
    let ClientKeys { asked_at, read } = keys;
    let (read_at, keys) = read.ok_or(CLIENT_KEYS_UNAVAILABLE)?;
    if read_at != asked_at && age_max <= KEYS_ASKED_AGAIN { Err(CLIENT_KEYS_UNAVAILABLE) } else { Ok(keys) }
}

/// What is known of the keys, if it need not be asked for again.
fn known_keys(world: &World, uri: &Url, age_max: Duration, now: Timestamp) -> Option<Result<Arc<JwkSet>, OAuthError>> {
    let keys = world.memory.client_keys.get(uri)?;
    // Trouble there passes sooner than keys change.
    let is_of_then = keys.read.as_ref().is_some_and(|(read_at, _)| *read_at == keys.asked_at);
    let kept = if is_of_then { age_max } else { KEYS_ASKED_AGAIN };
    (now.apart_from(keys.asked_at) < kept).then(|| usable(keys, age_max))
}

async fn fetch_keys(outbound: &Outbound, client: &ClientId, uri: &Url) -> Option<Arc<JwkSet>> {
    match outbound.get(uri, KEYS_LIMITS).await {
        Ok(fetched) if fetched.status == http::StatusCode::OK => {
            serde_json::from_slice(&fetched.body).ok().map(|document| Arc::new(key_set(&document)))
        }
        Ok(fetched) => {
            tracing::warn!(%client, status = fetched.status.as_u16(), "a client's jwks_uri cannot be read");
            None
        }
        Err(error) => {
            tracing::warn!(%client, %error, "a client's jwks_uri cannot be read");
            None
        }
    }
}

/// The keys that we can read; others are skipped ([RFC 7517 §5](https://www.rfc-editor.org/rfc/rfc7517#section-5)).
fn key_set(document: &serde_json::Value) -> JwkSet {
    let keys = document.get("keys").and_then(serde_json::Value::as_array).into_iter().flatten();
    JwkSet { keys: keys.filter_map(|key| serde_json::from_value(key.clone()).ok()).collect() }
}

/// The claims, and which key has signed them.
fn verify_signature(
    keys: &JwkSet,
    algorithm: Algorithm,
    kid: Option<&str>,
    assertion: &str,
) -> Result<(Claims, Option<KeyThumbprint>), OAuthError> {
    let mut validation = Validation::new(algorithm);
    // Time and audience are checked below, against the clock of the world.
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let candidates = keys.keys.iter().filter(|key| fits(key, algorithm) && (kid.is_none() || key.common.key_id.as_deref() == kid));
    for jwk in candidates.take(16) {
        let Ok(key) = DecodingKey::from_jwk(jwk) else { continue };
        match jsonwebtoken::decode::<Claims>(assertion, &key, &validation) {
            Ok(data) => return Ok((data.claims, jwk.thumbprint(ThumbprintHash::SHA256).ok().map(KeyThumbprint))),
            Err(error) if matches!(error.kind(), jsonwebtoken::errors::ErrorKind::InvalidSignature) => {}
            Err(_) => return Err(CLIENT_ASSERTION_MALFORMED),
        }
    }
    Err(CLIENT_ASSERTION_SIGNATURE)
}

/// A key is for one algorithm: an RSA key never verifies an elliptic curve's header, and an HMAC key nothing at all.
fn fits(key: &Jwk, algorithm: Algorithm) -> bool {
    let is_named = key.common.key_algorithm.is_none_or(|named| named.to_string().parse() == Ok(algorithm));
    let is_of_type = match (&key.algorithm, algorithm) {
        (AlgorithmParameters::EllipticCurve(curve), Algorithm::ES256) => curve.curve == EllipticCurve::P256,
        (AlgorithmParameters::OctetKeyPair(_), Algorithm::EdDSA) => true,
        // 2,048 bits are 256 bytes, 342 characters of base64url.
        (AlgorithmParameters::RSA(rsa), Algorithm::RS256 | Algorithm::PS256) => rsa.n.len() >= 342,
        _ => false,
    };
    is_named && is_of_type
}

fn check(claims: &Claims, client: &Client, issuer: &str, now: Timestamp) -> Result<(), OAuthError> {
    if claims.iss != client.id.as_str() || claims.sub != client.id.as_str() {
        return Err(CLIENT_ASSERTION_ISSUER);
    }
    let is_for_us = match &claims.aud {
        Audience::One(audience) => audience == issuer,
        Audience::Many(audiences) => matches!(audiences.as_slice(), [only] if only == issuer),
    };
    if !is_for_us {
        return Err(CLIENT_ASSERTION_AUDIENCE);
    }
    let soon = now.plus(AHEAD_MAX);
    if claims.exp <= now || claims.nbf.is_some_and(|from| from > soon) || claims.iat.is_some_and(|from| from > soon) {
        return Err(CLIENT_ASSERTION_EXPIRED);
    }
    if claims.exp > now.plus(LIFETIME_MAX) {
        return Err(CLIENT_ASSERTION_TOO_LONG);
    }
    if claims.jti.is_empty() || claims.jti.len() > JTI_BYTES_MAX {
        return Err(CLIENT_ASSERTION_MALFORMED);
    }
    Ok(())
}

/// A NumericDate may have a fraction ([RFC 7519 §2](https://www.rfc-editor.org/rfc/rfc7519#section-2)); it is no string, not
/// negative and not beyond what a calendar holds.
fn numeric_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let seconds = serde_json::Number::deserialize(deserializer)?.as_f64().unwrap_or(-1.0);
    if !(0.0..1e12).contains(&seconds) {
        return Err(D::Error::custom("not a NumericDate"));
    }
    Ok(Timestamp((seconds * 1000.0) as i64))
}

fn numeric_date_if_there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    numeric_date(deserializer).map(Some)
}
