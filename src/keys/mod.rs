//! The keyring: sign, verify, rotate, publish; and the installation's own secrets.
//!
//! A key lives in three states. `next` is published and does not sign yet, so that everyone who caches our JWKS has it before
//! the first token needs it. `active` signs. `retiring` signs no more and stays published until all that it signed has
//! expired. So a rotation never makes a valid token unverifiable.
//!
//! 2026-11: no rotation is so urgent that it could skip the wait of `next`. A key that leaked is worth as much while it is published
//! as while it signs, and whoever has our key set in a cache would refuse good tokens.
//!
//! Signing holds the parsed key and pre-encoded headers: parsing a key costs more than the signature. Nothing in here ever
//! shows a private key.

pub mod secrets;
pub mod signing;

use std::{
    sync::{Arc, RwLock},
    time::Duration,
};

use serde::Serialize;

use crate::{
    domain::{
        id::{Id, KeyKind},
        time::Timestamp,
        token::{AccessTokenClaims, SigningAlgorithm},
    },
    storage::{Storage, StorageError, Tx, revocations::ACCESS_TOKEN_TTL_MAX, signing_keys, signing_keys::StoredKey},
};
use secrets::Secrets;
use signing::{SigningKey, TokenType, VerifyingKey};

/// How long others may cache our JWKS.
pub const JWKS_MAX_AGE: Duration = Duration::from_secs(300);
/// How long a key stays published after it stopped signing.
const RETIRED_FOR: Duration = ACCESS_TOKEN_TTL_MAX.saturating_mul(2);
/// How often a node looks whether another node rotated.
const RELOAD_EVERY: Duration = Duration::from_secs(30);
/// How long a key is published before it signs: until the slowest node has read it, and the caches filled from that node are old.
const PUBLISHED_MIN: Duration = JWKS_MAX_AGE.saturating_add(RELOAD_EVERY.saturating_mul(4));

/// Why keys could not be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("the signing keys cannot be opened with this master key; restore the master key that this data was made with")]
    WrongMasterKey,
    #[error("the next key has been published for less than {} seconds, so caches may not have it yet: try again later", PUBLISHED_MIN.as_secs())]
    TooSoon,
    #[error("another node rotated the keys at the same moment")]
    Raced,
}

/// A key as operators see it.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct KeyStatus {
    pub kid: String,
    pub algorithm: String,
    /// `next`, `active` or `retiring`.
    pub state: String,
    /// RFC 3339.
    pub created_at: String,
}

/// All keys of this installation, shared by every node through storage.
pub struct Keyring {
    algorithm: SigningAlgorithm,
    rotation_interval: Duration,
    secrets: Arc<Secrets>,
    ring: RwLock<Arc<Ring>>,
}

/// The keys as they were when last read: replaced as a whole.
struct Ring {
    active: SigningKey,
    published: Vec<VerifyingKey>,
    jwks: String,
    stored: Vec<StoredKey>,
    read_at: Timestamp,
}

impl Keyring {
    /// Reads the keys, and makes the first two if there are none.
    pub async fn open(
        storage: &Storage,
        secrets: Arc<Secrets>,
        algorithm: SigningAlgorithm,
        rotation_interval: Duration,
        now: Timestamp,
    ) -> Result<Keyring, KeyError> {
        let fresh = [
            fresh_key(&secrets, algorithm, now, "active"),
            fresh_key(&secrets, algorithm, now.plus(Duration::from_millis(1)), "next"),
        ];
        let made = storage.write(move |tx| Box::pin(async move { make_first(tx, &fresh).await })).await;
        match made {
            // Another node made the first keys at the same moment: its keys are ours.
            Ok(()) | Err(StorageError::Unique(_)) => {}
            Err(error) => return Err(error.into()),
        }
        let stored = storage.read(|tx| Box::pin(async move { signing_keys::list(tx).await })).await?;
        let ring = RwLock::new(Arc::new(Ring::new(&secrets, stored, now)?));
        Ok(Keyring { algorithm, rotation_interval, secrets, ring })
    }

    /// Signs claims with the active key. Compact serialisation, [RFC 7515 §7.1](https://www.rfc-editor.org/rfc/rfc7515#section-7.1).
    pub fn sign(&self, token_type: TokenType, claims: &impl Serialize) -> String {
        self.ring().active.sign(token_type, claims)
    }

    /// Signs claims that depend on the algorithm they are signed by.
    pub fn sign_by<C: Serialize>(&self, token_type: TokenType, claims: impl FnOnce(SigningAlgorithm) -> C) -> String {
        let ring = self.ring();
        ring.active.sign(token_type, &claims(ring.active.algorithm))
    }

    /// The claims of an access token that we signed, whatever its time. The caller judges time, audience and revocation.
    pub fn verify_access_token(&self, token: &str) -> Option<AccessTokenClaims> {
        let ring = self.ring();
        let kid = signing::kid(token)?;
        ring.published.iter().find(|key| key.kid == kid)?.verify_access_token(token)
    }

    /// The JWK Set ([RFC 7517 §5](https://www.rfc-editor.org/rfc/rfc7517#section-5)).
    pub fn jwks(&self) -> String {
        self.ring().jwks.clone()
    }

    /// The `alg` of everything that is signed now.
    pub fn algorithm(&self) -> SigningAlgorithm {
        self.ring().active.algorithm
    }

    /// All keys, the oldest first.
    pub fn status(&self) -> Vec<KeyStatus> {
        let describe = |key: &StoredKey| KeyStatus {
            kid: key.id.to_string(),
            algorithm: key.algorithm.clone(),
            state: key.state.clone(),
            created_at: key.created_at.to_rfc3339(),
        };
        self.ring().stored.iter().map(describe).collect()
    }

    /// The keys that a rotation would touch at `now`: retire, activate, and the new one to publish.
    ///
    /// # Errors
    /// `TooSoon` while somebody may not have the next key yet.
    pub fn plan_rotation(&self, now: Timestamp) -> Result<Rotation, KeyError> {
        let ring = self.ring();
        let find = |state: &str| ring.stored.iter().rfind(|key| key.state == state).map(|key| (key.id, key.created_at));
        let (Some((retire, _)), Some((activate, published_at))) = (find("active"), find("next")) else {
            return Err(KeyError::Raced);
        };
        if now.since(published_at) < PUBLISHED_MIN {
            return Err(KeyError::TooSoon);
        }
        Ok(Rotation { retire, activate, publish: fresh_key(&self.secrets, self.algorithm, now, "next"), now })
    }

    /// Whether the schedule, or a changed `signing_algorithm`, asks for a rotation.
    pub fn is_rotation_due(&self, now: Timestamp) -> bool {
        let ring = self.ring();
        let active_since = ring.stored.iter().rfind(|key| key.state == "active").and_then(|key| key.activated_at);
        let aged = active_since.is_some_and(|since| now.since(since) >= self.rotation_interval);
        (aged || ring.active.algorithm != self.algorithm) && self.plan_rotation(now).is_ok()
    }

    /// Whether the keys should be read again, in case another node rotated.
    pub fn is_stale(&self, now: Timestamp) -> bool {
        now.since(self.ring().read_at) >= RELOAD_EVERY
    }

    /// Reads the keys again; drops those whose signatures have all expired.
    pub async fn reload(&self, storage: &Storage, now: Timestamp) -> Result<(), KeyError> {
        let retired_before = now.minus(RETIRED_FOR);
        let is_any_old = self.ring().stored.iter().any(|key| key.retired_at.is_some_and(|at| at < retired_before));
        if is_any_old {
            storage.write(move |tx| Box::pin(async move { signing_keys::delete_retired(tx, retired_before).await })).await?;
        }
        let stored = storage.read(|tx| Box::pin(async move { signing_keys::list(tx).await })).await?;
        let ring = Ring::new(&self.secrets, stored, now)?;
        *self.ring.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(ring);
        Ok(())
    }

    fn ring(&self) -> Arc<Ring> {
        Arc::clone(&self.ring.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

/// One rotation, to be written in one transaction with its event.
pub struct Rotation {
    pub retire: Id<KeyKind>,
    pub activate: Id<KeyKind>,
    pub publish: StoredKey,
    pub now: Timestamp,
}

impl Rotation {
    /// Writes the rotation. `false` if another node rotated first.
    pub async fn write(&self, tx: &mut Tx) -> Result<bool, StorageError> {
        // In this order there is never a second active key.
        let is_first =
            signing_keys::retire(tx, self.retire, self.now).await? && signing_keys::activate(tx, self.activate, self.now).await?;
        if !is_first {
            return Ok(false);
        }
        signing_keys::insert(tx, &self.publish).await?;
        Ok(true)
    }
}

impl Ring {
    fn new(secrets: &Secrets, stored: Vec<StoredKey>, read_at: Timestamp) -> Result<Ring, KeyError> {
        let active = stored.iter().rfind(|key| key.state == "active").ok_or(KeyError::WrongMasterKey)?;
        let private = secrets.open_private_key(&active.id.to_string(), &active.sealed).ok_or(KeyError::WrongMasterKey)?;
        let algorithm = SigningAlgorithm::parse(&active.algorithm).ok_or(KeyError::WrongMasterKey)?;
        let active = SigningKey::from_pkcs8(active.id, algorithm, private.reveal()).ok_or(KeyError::WrongMasterKey)?;
        let published = stored.iter().filter_map(|key| VerifyingKey::from_jwk(key.id, &key.public_jwk)).collect();
        let jwks = format!("{{\"keys\":[{}]}}", stored.iter().map(|key| key.public_jwk.as_str()).collect::<Vec<_>>().join(","));
        Ok(Ring { active, published, jwks, stored, read_at })
    }
}

async fn make_first(tx: &mut Tx, fresh: &[StoredKey; 2]) -> Result<(), StorageError> {
    if !signing_keys::list(tx).await?.is_empty() {
        return Ok(());
    }
    for key in fresh {
        signing_keys::insert(tx, key).await?;
    }
    Ok(())
}

fn fresh_key(secrets: &Secrets, algorithm: SigningAlgorithm, now: Timestamp, state: &str) -> StoredKey {
    let id = Id::new(now, secrets::random());
    let generated = signing::generate(id, algorithm);
    StoredKey {
        id,
        algorithm: algorithm.as_str().to_owned(),
        state: state.to_owned(),
        sealed: secrets.seal_private_key(&id.to_string(), generated.pkcs8.reveal()),
        public_jwk: generated.public_jwk,
        created_at: now,
        activated_at: (state == "active").then_some(now),
        retired_at: None,
    }
}
