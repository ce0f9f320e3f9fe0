//! Identifiers: a prefix that names the kind, then a time-ordered UUID, as in `gra_01kb6v3q5wf6y8z0c2d4e6g8h0`.
//!
//! The text is a [TypeID](https://github.com/jetify-com/typeid): a UUIDv7
//! ([RFC 9562 §5.7](https://www.rfc-editor.org/rfc/rfc9562#section-5.7)) in lowercase Crockford base 32. Time order keeps
//! inserts at one end of an index.

use std::{fmt, marker::PhantomData, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::time::Timestamp;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// The characters behind the underscore.
const TEXT_CHARS: usize = 26;
const PREFIX_CHARS: usize = 3;

/// A kind of thing that has identifiers.
pub trait Kind {
    /// The text before the underscore, of three letters.
    const PREFIX: &'static str;
}

/// A person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PersonKind {}
impl Kind for PersonKind {
    const PREFIX: &'static str = "per";
}

/// A session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SessionKind {}
impl Kind for SessionKind {
    const PREFIX: &'static str = "ses";
}

/// A grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GrantKind {}
impl Kind for GrantKind {
    const PREFIX: &'static str = "gra";
}

/// A resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceKind {}
impl Kind for ResourceKind {
    const PREFIX: &'static str = "res";
}

/// An operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OperatorKind {}
impl Kind for OperatorKind {
    const PREFIX: &'static str = "opr";
}

/// An event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {}
impl Kind for EventKind {
    const PREFIX: &'static str = "evt";
}

/// An access token (`jti`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TokenKind {}
impl Kind for TokenKind {
    const PREFIX: &'static str = "tok";
}

/// A client that is registered here; see `ClientId`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClientKind {}
impl Kind for ClientKind {
    const PREFIX: &'static str = "cli";
}

/// A transformation: a program for events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TransformationKind {}
impl Kind for TransformationKind {
    const PREFIX: &'static str = "trf";
}

/// A tracking plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TrackingPlanKind {}
impl Kind for TrackingPlanKind {
    const PREFIX: &'static str = "tpl";
}

/// A signing key (`kid`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyKind {}
impl Kind for KeyKind {
    const PREFIX: &'static str = "key";
}

/// A source of customer events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceKind {}
impl Kind for SourceKind {
    const PREFIX: &'static str = "src";
}

/// A profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProfileKind {}
impl Kind for ProfileKind {
    const PREFIX: &'static str = "prf";
}

/// A computed trait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ComputedTraitKind {}
impl Kind for ComputedTraitKind {
    const PREFIX: &'static str = "ctr";
}

/// A predicted trait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PredictedTraitKind {}
impl Kind for PredictedTraitKind {
    const PREFIX: &'static str = "ptr";
}

/// An audience.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AudienceKind {}
impl Kind for AudienceKind {
    const PREFIX: &'static str = "aud";
}

/// An intervention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InterventionKind {}
impl Kind for InterventionKind {
    const PREFIX: &'static str = "itv";
}

/// A token for the Profile API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProfileTokenKind {}
impl Kind for ProfileTokenKind {
    const PREFIX: &'static str = "pat";
}

/// A request, for logs and error pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RequestKind {}
impl Kind for RequestKind {
    const PREFIX: &'static str = "req";
}

/// An identifier of a `K`. Not a secret.
pub struct Id<K>(u128, PhantomData<fn() -> K>);

impl<K: Kind> Id<K> {
    /// An identifier made at `now` from 80 random bits, of which 74 are used.
    pub fn new(now: Timestamp, random: [u8; 10]) -> Id<K> {
        let mut bytes = [0u8; 16];
        bytes[..6].copy_from_slice(&now.0.to_be_bytes()[2..]);
        bytes[6..].copy_from_slice(&random);
        let form = uuid::Builder::from_bytes(bytes).with_variant(uuid::Variant::RFC4122).with_version(uuid::Version::SortRand);
        Id(u128::from_be_bytes(*form.as_uuid().as_bytes()), PhantomData)
    }

    /// The `n`th identifier after this one, of the same moment: for many things made at once, from one draw of random bits.
    pub fn nth(self, n: u64) -> Id<K> {
        const LOW_MASK: u128 = (1 << 62) - 1;
        let low = (self.0 & LOW_MASK).wrapping_add(u128::from(n)) & LOW_MASK;
        Id(self.0 & !LOW_MASK | low, PhantomData)
    }

    /// The 128 bits.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// The identifier of these 128 bits.
    pub fn from_bytes(bytes: [u8; 16]) -> Id<K> {
        Id(u128::from_be_bytes(bytes), PhantomData)
    }
}

/// An identifier as text, where it stands.
struct Text([u8; PREFIX_CHARS + 1 + TEXT_CHARS]);

impl Text {
    fn of<K: Kind>(id: Id<K>) -> Text {
        const { assert!(K::PREFIX.len() == PREFIX_CHARS) };
        let mut text = [b'_'; PREFIX_CHARS + 1 + TEXT_CHARS];
        text[..PREFIX_CHARS].copy_from_slice(K::PREFIX.as_bytes());
        let mut rest = id.0;
        for character in text[PREFIX_CHARS + 1..].iter_mut().rev() {
            *character = ALPHABET[rest as usize & 31];
            rest >>= 5;
        }
        Text(text)
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("prefixes and the alphabet are ASCII")
    }
}

impl<K: Kind> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Text::of(*self).as_str())
    }
}

/// The text is not an identifier of the kind that was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not an identifier of the expected kind")]
pub struct NotAnId;

impl<K: Kind> FromStr for Id<K> {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Id<K>, NotAnId> {
        let digits = text.strip_prefix(K::PREFIX).and_then(|rest| rest.strip_prefix('_')).ok_or(NotAnId)?;
        // 26 characters hold 130 bits: the first may use only three of its five.
        if digits.len() != TEXT_CHARS || digits.as_bytes()[0] > b'7' {
            return Err(NotAnId);
        }
        let mut value = 0u128;
        for character in digits.bytes() {
            let digit = ALPHABET.iter().position(|known| *known == character).ok_or(NotAnId)?;
            value = value << 5 | digit as u128;
        }
        Ok(Id(value, PhantomData))
    }
}

impl<K> Clone for Id<K> {
    fn clone(&self) -> Id<K> {
        *self
    }
}
impl<K> Copy for Id<K> {}
impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Id<K>) -> bool {
        self.0 == other.0
    }
}
impl<K> Eq for Id<K> {}
impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Id<K>) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Id<K>) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}
impl<K> std::hash::Hash for Id<K> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}
impl<K: Kind> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl<K: Kind> Serialize for Id<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(Text::of(*self).as_str())
    }
}
impl<'de, K: Kind> Deserialize<'de> for Id<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Id<K>, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn text_and_back(bytes: [u8; 16]) {
            let id = Id::<GrantKind>::from_bytes(bytes);
            prop_assert_eq!(id.to_string().parse(), Ok(id));
        }

        #[test]
        fn any_text_is_an_id_or_an_error(text in "\\PC{0,40}") {
            if let Ok(id) = text.parse::<Id<GrantKind>>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }

    #[test]
    fn later_ids_sort_later() {
        let earlier = Id::<EventKind>::new(Timestamp(1_000), [255; 10]);
        let later = Id::<EventKind>::new(Timestamp(1_001), [0; 10]);
        assert!(earlier < later && earlier.to_string() < later.to_string());
    }

    #[test]
    fn the_identifiers_of_one_draw_differ_and_keep_their_form() {
        let first = Id::<EventKind>::new(Timestamp(1_000), [255; 10]);
        let second = first.nth(1);
        assert_ne!(first, second);
        assert_eq!((first.nth(0), first.to_bytes()[..8].to_vec()), (first, second.to_bytes()[..8].to_vec()));
        assert_eq!(second.to_bytes()[8] >> 6, 2, "the variant's bits stay, also where the count overflows");
    }

    #[test]
    fn another_kind_is_refused() {
        let id = Id::<PersonKind>::new(Timestamp(0), [7; 10]);
        assert_eq!(id.to_string().parse::<Id<GrantKind>>(), Err(NotAnId));
        assert_eq!("gra_8zzzzzzzzzzzzzzzzzzzzzzzzz".parse::<Id<GrantKind>>(), Err(NotAnId));
    }
}
