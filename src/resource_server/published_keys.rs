//! The authorization server's public keys, cached.
//! [RFC 7517 §5](https://www.rfc-editor.org/rfc/rfc7517#section-5)
//!
//! A known key never waits for the network. Old keys stay good through an outage of the issuer, though not for ever; a key that the
//! issuer no longer publishes is forgotten at the next fetch. Made-up key ids cannot make us fetch more often than `FETCH_SPACING`.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::Clock;
use super::challenge;
use super::issuer::{Issuer, IssuerError};
use crate::domain::refusal::OAuthError;
use crate::domain::time::Timestamp;
use crate::outbound::Call;

/// Between two attempts, so that a flood of unknown key ids does not become a flood of fetches.
const FETCH_SPACING: Duration = Duration::from_secs(5);
/// After this the set is fetched anew beside the requests.
const FRESH: Duration = Duration::from_secs(5 * 60);
/// After this long without an answer from the issuer its keys are no longer believed.
const STALE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

type Key = (Algorithm, DecodingKey);

/// The cache. Waiting requests share one fetch.
#[derive(Debug)]
pub(super) struct PublishedKeys {
    issuer: Issuer,
    clock: Clock,
    held: RwLock<Held>,
    /// Held by whoever fetches; the time of the last attempt.
    fetching: Arc<Mutex<Option<Timestamp>>>,
}

#[derive(Debug, Default)]
struct Held {
    keys: HashMap<String, Arc<Key>>,
    fetched_at: Option<Timestamp>,
    last_attempt_failed: bool,
}

impl PublishedKeys {
    pub(super) fn new(issuer: Issuer, clock: Clock) -> Self {
        Self { issuer, clock, held: RwLock::default(), fetching: Arc::default() }
    }

    pub(super) fn issuer(&self) -> &str {
        self.issuer.identifier()
    }

    /// The key that the issuer publishes as `kid`.
    pub(super) async fn find(self: &Arc<Self>, kid: &str) -> Result<Arc<Key>, OAuthError> {
        let now = self.clock.now();
        let (known, age) = self.look_up(kid, now);
        if let Some(key) = known
            && age < STALE_MAX
        {
            if age >= FRESH {
                self.fetch_aside(now);
            }
            return Ok(key);
        }
        self.fetch(Arc::clone(&self.fetching).lock_owned().await, now).await;
        match self.look_up(kid, now) {
            (Some(key), age) if age < STALE_MAX => Ok(key),
            // The issuer has just been asked and does not know it; only if it could not be asked is the question open.
            _ if self.last_attempt_failed() => Err(challenge::ISSUER_UNAVAILABLE),
            _ => Err(challenge::KEY),
        }
    }

    /// The key, and how long ago the issuer was last heard: for ever, if never.
    fn look_up(&self, kid: &str, now: Timestamp) -> (Option<Arc<Key>>, Duration) {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let age = held.fetched_at.map_or(Duration::MAX, |at| now.since(at));
        (held.keys.get(kid).cloned(), age)
    }

    fn last_attempt_failed(&self) -> bool {
        self.held.read().unwrap_or_else(PoisonError::into_inner).last_attempt_failed
    }

    fn fetch_aside(self: &Arc<Self>, now: Timestamp) {
        if let Ok(attempted_at) = Arc::clone(&self.fetching).try_lock_owned() {
            let keys = Arc::clone(self);
            tokio::spawn(async move { keys.fetch(attempted_at, now).await });
        }
    }

    async fn fetch(&self, mut attempted_at: OwnedMutexGuard<Option<Timestamp>>, now: Timestamp) {
        // A clock that was set back must not silence us, so only an attempt in the near past counts.
        if attempted_at.is_some_and(|at| at <= now && now.since(at) < FETCH_SPACING) {
            return;
        }
        *attempted_at = Some(now);
        let fetched = self.ask_issuer().await;
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        held.last_attempt_failed = fetched.is_err();
        match fetched {
            Ok(keys) => {
                held.keys = keys;
                held.fetched_at = Some(now);
            }
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "the issuer's keys could not be fetched"),
        }
    }

    async fn ask_issuer(&self) -> Result<HashMap<String, Arc<Key>>, IssuerError> {
        #[derive(Deserialize)]
        struct KeySet {
            keys: Vec<Value>,
        }
        let jwks_uri = self.issuer.jwks_uri().await?;
        let set: KeySet = self.issuer.ask(Call::get(&jwks_uri)).await?;
        Ok(set.keys.into_iter().filter_map(usable_key).map(|(kid, key)| (kid, Arc::new(key))).collect())
    }
}

/// Keys of other kinds, uses and algorithms are passed over: an issuer may publish them for others. Each key is for one algorithm.
fn usable_key(jwk: Value) -> Option<(String, Key)> {
    /// Of `n` in base64url: 2048 bits.
    const RSA_MODULUS_CHARS_MIN: usize = 342;

    let jwk: Jwk = serde_json::from_value(jwk).ok()?;
    let (algorithm, named) = match &jwk.algorithm {
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => (Algorithm::ES256, KeyAlgorithm::ES256),
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => (Algorithm::EdDSA, KeyAlgorithm::EdDSA),
        AlgorithmParameters::RSA(key) if key.n.len() >= RSA_MODULUS_CHARS_MIN => (Algorithm::RS256, KeyAlgorithm::RS256),
        _ => return None,
    };
    let is_for_us = jwk.common.key_algorithm.is_none_or(|stated| stated == named)
        && jwk.common.public_key_use.as_ref().is_none_or(|stated| *stated == PublicKeyUse::Signature);
    let key = DecodingKey::from_jwk(&jwk).ok().filter(|_| is_for_us)?;
    Some((jwk.common.key_id?, (algorithm, key)))
}
