//! Secrets that cannot be printed, and the digests by which we know them again.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A value that no log line, event or error shows: no `Display`, no `Serialize`, and `Debug` hides it.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Wraps a value.
    pub fn new(value: T) -> Secret<T> {
        Secret(value)
    }

    /// The value, for the one place that must send it or compare it.
    pub fn reveal(&self) -> &T {
        &self.0
    }
}

/// As it is told to us; it is told to nobody.
impl<'de, T: Zeroize + Deserialize<'de>> Deserialize<'de> for Secret<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Secret<T>, D::Error> {
        T::deserialize(deserializer).map(Secret)
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A keyed SHA-256 of a secret that we made: enough to recognise it, not to use it.
#[derive(Debug, Clone, Copy, Eq)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Reads a digest as storage holds it; `None` if it is not 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<Digest> {
        bytes.try_into().ok().map(Digest)
    }
}

/// In constant time.
impl PartialEq for Digest {
    fn eq(&self, other: &Digest) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

/// 256 random bits as 43 characters of `[A-Za-z0-9_-]`, which survive Basic authentication form-encoded or raw.
pub fn secret_text(random: [u8; 32]) -> Secret<String> {
    Secret::new(URL_SAFE_NO_PAD.encode(random))
}
