//! The installation's own secrets, all derived from one master key by HKDF ([RFC 5869](https://www.rfc-editor.org/rfc/rfc5869)).
//!
//! - Digests: HMAC-SHA256 over purpose and value. A stolen database yields no secret, and a value made for one purpose is
//!   unknown for any other.
//! - Refresh tokens: derived from grant and generation, so that the successor of a token can be told again inside the grace
//!   window without being stored anywhere.
//! - Sealed values: AES-256-GCM with purpose and expiry, for state that travels through a browser.
//!
//! Changing the master key makes every secret unknown; it is never changed, only restored.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey},
    constant_time::verify_slices_are_equal,
    hkdf::{HKDF_SHA256, Salt},
    hmac,
    rand::{SecureRandom, SystemRandom},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::domain::{
    id::{GrantKind, Id},
    identity::external_id::ExternalId,
    secret::{Digest, Secret},
    time::Timestamp,
};

const REFRESH_TOKEN_BYTES: usize = 16 + 4 + 32;
const NONCE_BYTES: usize = 12;

/// What a digest or a sealed value is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    ClientSecret,
    ResourceSecret,
    WriteKey,
    OperatorToken,
    InitialAccessToken,
    AuthorizationCode,
    ClientAssertionId,
    Invitation,
    PasswordReset,
    SessionCookie,
    Attempt,
    Form,
    Cursor,
    ProfileToken,
    /// An external id whose events are left out.
    LeftOut,
    WebhookSecret,
    /// A network, as facts name it.
    Network,
    WarehouseConnection,
    ModelToken,
}

impl Purpose {
    /// As it is mixed into the digest or the seal; also the `purpose` of stored one-time values.
    pub fn as_str(self) -> &'static str {
        match self {
            Purpose::ClientSecret => "client_secret",
            Purpose::ResourceSecret => "resource_secret",
            Purpose::WriteKey => "write_key",
            Purpose::OperatorToken => "operator_token",
            Purpose::InitialAccessToken => "initial_access_token",
            Purpose::AuthorizationCode => "authorization_code",
            Purpose::ClientAssertionId => "client_assertion_id",
            Purpose::Invitation => "invitation",
            Purpose::PasswordReset => "password_reset",
            Purpose::SessionCookie => "session_cookie",
            Purpose::Attempt => "attempt",
            Purpose::Form => "form",
            Purpose::Cursor => "cursor",
            Purpose::ProfileToken => "profile_token",
            Purpose::LeftOut => "left_out",
            Purpose::WebhookSecret => "webhook_secret",
            Purpose::Network => "network",
            Purpose::WarehouseConnection => "warehouse_connection",
            Purpose::ModelToken => "model_token",
        }
    }
}

/// Keys derived from the master key.
pub struct Secrets {
    digests: hmac::Key,
    refresh_tokens: hmac::Key,
    seals: RandomizedNonceKey,
    private_keys: RandomizedNonceKey,
    seen_ids: Secret<[u8; 32]>,
}

#[derive(Serialize, Deserialize)]
struct Sealed<T> {
    expires_at: Timestamp,
    value: T,
}

impl Secrets {
    /// Derives everything from 32 bytes.
    pub fn derive(master_key: &[u8; 32]) -> Secrets {
        let master = Salt::new(HKDF_SHA256, b"deputy").extract(master_key);
        let derive = |label: &[u8]| {
            let mut key = [0u8; 32];
            let info = [label];
            let material = master.expand(&info, HKDF_SHA256).expect("32 bytes are within HKDF's limit");
            material.fill(&mut key).expect("32 bytes were asked for");
            key
        };
        let aead = |label: &[u8]| RandomizedNonceKey::new(&AES_256_GCM, &derive(label)).expect("the key has 32 bytes");
        Secrets {
            digests: hmac::Key::new(hmac::HMAC_SHA256, &derive(b"digests")),
            refresh_tokens: hmac::Key::new(hmac::HMAC_SHA256, &derive(b"refresh tokens")),
            seals: aead(b"seals"),
            private_keys: aead(b"private keys"),
            seen_ids: Secret::new(derive(b"seen ids")),
        }
    }

    /// What the index of seen ids makes its keys with.
    pub fn seen_ids(&self) -> [u8; 32] {
        *self.seen_ids.reveal()
    }

    /// By what an external id is known where it may not be named: among those whose events are left out, and what goes with it.
    pub fn digest_of_id(&self, id: &ExternalId) -> Digest {
        self.digest(Purpose::LeftOut, &format!("{}/{id}", id.collection().as_str()))
    }

    /// By what a value is known here. Different for every purpose.
    pub fn digest(&self, purpose: Purpose, value: &str) -> Digest {
        let mut context = hmac::Context::with_key(&self.digests);
        context.update(purpose.as_str().as_bytes());
        context.update(&[0]);
        context.update(value.as_bytes());
        Digest(context.sign().as_ref().try_into().expect("HMAC-SHA256 has 32 bytes"))
    }

    /// The refresh token of this grant and generation.
    pub fn refresh_token(&self, grant: Id<GrantKind>, generation: u32) -> String {
        let mut bytes = Vec::with_capacity(REFRESH_TOKEN_BYTES);
        bytes.extend_from_slice(&grant.to_bytes());
        bytes.extend_from_slice(&generation.to_be_bytes());
        let tag = hmac::sign(&self.refresh_tokens, &bytes);
        bytes.extend_from_slice(tag.as_ref());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The grant and generation of a refresh token that we made; `None` for any other text.
    pub fn read_refresh_token(&self, text: &str) -> Option<(Id<GrantKind>, u32)> {
        if text.len() > 2 * REFRESH_TOKEN_BYTES {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok().filter(|bytes| bytes.len() == REFRESH_TOKEN_BYTES)?;
        let (told, tag) = bytes.split_at(20);
        hmac::verify(&self.refresh_tokens, told, tag).ok()?;
        let (grant, generation) = told.split_at(16);
        Some((Id::from_bytes(grant.try_into().ok()?), u32::from_be_bytes(generation.try_into().ok()?)))
    }

    /// Encrypts and authenticates a value that travels through a browser, or that is kept where others may read. `context` is what it is bound to.
    pub fn seal<T: Serialize>(&self, purpose: Purpose, context: &str, expires_at: Timestamp, value: &T) -> String {
        let plain = serde_json::to_vec(&Sealed { expires_at, value }).expect("our own types serialise to JSON");
        URL_SAFE_NO_PAD.encode(encrypt(&self.seals, &associated(purpose.as_str(), context), plain))
    }

    /// The value, if it was sealed here for this purpose and context and has not expired.
    pub fn open<T: DeserializeOwned>(&self, purpose: Purpose, context: &str, now: Timestamp, text: &str) -> Option<T> {
        let sealed = URL_SAFE_NO_PAD.decode(text).ok()?;
        let plain = decrypt(&self.seals, &associated(purpose.as_str(), context), &sealed)?;
        let sealed: Sealed<T> = serde_json::from_slice(&plain).ok()?;
        (sealed.expires_at > now).then_some(sealed.value)
    }

    pub(super) fn seal_private_key(&self, kid: &str, pkcs8: &[u8]) -> Vec<u8> {
        encrypt(&self.private_keys, kid.as_bytes(), pkcs8.to_vec())
    }

    pub(super) fn open_private_key(&self, kid: &str, sealed: &[u8]) -> Option<Secret<Vec<u8>>> {
        decrypt(&self.private_keys, kid.as_bytes(), sealed).map(Secret::new)
    }
}

fn associated(purpose: &str, context: &str) -> Vec<u8> {
    [purpose.as_bytes(), &[0], context.as_bytes()].concat()
}

/// Nonce, then ciphertext and tag.
fn encrypt(key: &RandomizedNonceKey, associated: &[u8], mut plain: Vec<u8>) -> Vec<u8> {
    let nonce = key.seal_in_place_append_tag(Aad::from(associated), &mut plain).expect("the value is far below the cipher's limit");
    [&nonce.as_ref()[..], &plain].concat()
}

fn decrypt(key: &RandomizedNonceKey, associated: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, rest) = sealed.split_at_checked(NONCE_BYTES)?;
    let mut rest = rest.to_vec();
    let plain = key.open_in_place(Nonce::try_assume_unique_for_key(nonce).ok()?, Aad::from(associated), &mut rest).ok()?;
    Some(plain.to_vec())
}

/// Random bytes of the operating system.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0u8; N];
    SystemRandom::new().fill(&mut bytes).expect("the operating system gives randomness");
    bytes
}

/// Whether two texts are equal, in constant time.
pub fn are_equal(left: &str, right: &str) -> bool {
    verify_slices_are_equal(left.as_bytes(), right.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> Secrets {
        Secrets::derive(&[7; 32])
    }

    #[test]
    fn a_sealed_value_opens_only_for_its_purpose_context_and_time() {
        let (secrets, now) = (secrets(), Timestamp(1_000));
        let sealed = secrets.seal(Purpose::Form, "browser", Timestamp(2_000), &"x");
        assert_eq!(secrets.open::<String>(Purpose::Form, "browser", now, &sealed).as_deref(), Some("x"));
        assert!(secrets.open::<String>(Purpose::Form, "another browser", now, &sealed).is_none());
        assert!(secrets.open::<String>(Purpose::Cursor, "browser", now, &sealed).is_none());
        assert!(secrets.open::<String>(Purpose::Form, "browser", Timestamp(2_000), &sealed).is_none());
        assert!(Secrets::derive(&[8; 32]).open::<String>(Purpose::Form, "browser", now, &sealed).is_none());
        for text in ["", "AAAA", "!", &sealed[1..]] {
            assert!(secrets.open::<String>(Purpose::Form, "browser", now, text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_refresh_token_tells_grant_and_generation_and_cannot_be_altered() {
        let (secrets, grant) = (secrets(), Id::new(Timestamp(5), [3; 10]));
        let token = secrets.refresh_token(grant, 4);
        assert_eq!(secrets.read_refresh_token(&token), Some((grant, 4)));
        assert_ne!(token, secrets.refresh_token(grant, 5));
        for place in 0..token.len() {
            let mut altered = token.clone().into_bytes();
            altered[place] = if altered[place] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(altered).expect("ASCII");
            assert_eq!(secrets.read_refresh_token(&altered), None, "{place}");
        }
    }

    #[test]
    fn a_digest_depends_on_its_purpose() {
        assert_ne!(secrets().digest(Purpose::ClientSecret, "x"), secrets().digest(Purpose::OperatorToken, "x"));
        assert_eq!(secrets().digest(Purpose::ClientSecret, "x"), secrets().digest(Purpose::ClientSecret, "x"));
    }
}
