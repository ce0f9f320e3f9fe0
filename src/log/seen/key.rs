//! What an id and a payload are known by: keyed hashes, so that nobody who chooses ids chooses where they land, or whose they hit.

use crate::domain::secret::Secret;
use aws_lc_rs::digest::{Context, SHA256};
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// 128 bits of a keyed SHA-256. Fewer would take one id for another, and lose its event, within a window's ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub(super) high: u64,
    pub(super) low: u64,
}

impl Key {
    /// A key that was made elsewhere, by a hash whose outcome nobody chooses.
    pub fn from_bytes(bytes: [u8; 16]) -> Key {
        Key::from_number(u128::from_be_bytes(bytes))
    }

    pub(super) fn from_number(number: u128) -> Key {
        Key { high: (number >> 64) as u64, low: number as u64 }
    }

    pub(super) fn number(self) -> u128 {
        u128::from(self.high) << 64 | u128::from(self.low)
    }
}

/// Its own bits are hash enough. The high ones choose among a bucket's shelves, so the low ones choose the place there.
impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.low);
    }
}

/// Hashes keys, and nothing else.
#[derive(Default)]
pub(super) struct KeyHasher(u64);

pub(super) type BuildKeyHasher = BuildHasherDefault<KeyHasher>;

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("a key writes one u64");
    }

    fn write_u64(&mut self, low: u64) {
        self.0 = low;
    }
}

/// Makes keys and prints under a secret of the installation. With another secret an index is of no use.
#[derive(Clone)]
pub struct Fingerprints {
    secret: Secret<[u8; 32]>,
}

impl Fingerprints {
    pub fn new(secret: [u8; 32]) -> Fingerprints {
        Fingerprints { secret: Secret::new(secret) }
    }

    /// The key of a message id, which counts within its source and organisation only.
    pub fn key(&self, organization: &str, source: &str, message_id: &str) -> Key {
        let mut context = self.begin(b'k');
        for part in [organization, source, message_id] {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part.as_bytes());
        }
        let digest = context.finish();
        let (first, _) = digest.as_ref().split_first_chunk().expect("SHA-256 has 32 bytes");
        Key::from_bytes(*first)
    }

    /// What tells one payload from another under the same key.
    pub fn print(&self, payload: &[u8]) -> u64 {
        let mut context = self.begin(b'p');
        context.update(payload);
        first_word(context)
    }

    /// By which an index knows whether it was made with this secret.
    pub(super) fn check(&self) -> u64 {
        first_word(self.begin(b'c'))
    }

    fn begin(&self, purpose: u8) -> Context {
        let mut context = Context::new(&SHA256);
        context.update(self.secret.reveal());
        context.update(&[purpose]);
        context
    }
}

fn first_word(context: Context) -> u64 {
    let digest = context.finish();
    let (first, _) = digest.as_ref().split_first_chunk().expect("SHA-256 has 32 bytes");
    u64::from_be_bytes(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_ids_share_a_key() {
        let made = Fingerprints::new([7; 32]);
        let ids = [("a", "b", "c"), ("ab", "", "c"), ("a", "bc", ""), ("a", "b", "d"), ("a", "c", "b"), ("", "", "abc")];
        let mut keys = ids.map(|(organization, source, id)| made.key(organization, source, id));
        keys.sort();
        assert!(keys.windows(2).all(|pair| pair[0] != pair[1]), "{keys:?}");
        assert_eq!(made.key("a", "b", "c"), Fingerprints::new([7; 32]).key("a", "b", "c"));
        let other = Fingerprints::new([8; 32]);
        assert!(made.key("a", "b", "c") != other.key("a", "b", "c") && made.check() != other.check());
        assert!(made.print(b"one") != made.print(b"two") && made.print(b"one") != other.print(b"one"));
    }
}
