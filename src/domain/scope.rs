//! Scopes: what a token may do, in the words of [RFC 6749 §3.3](https://www.rfc-editor.org/rfc/rfc6749#section-3.3).

use std::{collections::BTreeSet, fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::refusal::{OAuthError, SCOPE_MALFORMED};

/// Asks for an ID token and for userinfo ([OpenID Connect Core §5.4](https://openid.net/specs/openid-connect-core-1_0.html#ScopeClaims)).
pub const OPENID: &str = "openid";
/// Asks for the person's name.
pub const PROFILE: &str = "profile";
/// Asks for the person's e-mail address.
pub const EMAIL: &str = "email";
/// Asks to stay connected when the person is away.
pub const OFFLINE_ACCESS: &str = "offline_access";
/// Lets a client send customer events to the tracking API of this installation, and nothing else.
pub const TRACKING_WRITE: &str = "tracking_api:write";
/// Scopes that exist at every resource, because they are about the person and not about the resource.
pub const BUILT_IN: [&str; 4] = [OPENID, PROFILE, EMAIL, OFFLINE_ACCESS];

/// More scopes than this in one request are refused.
pub const SCOPES_MAX: usize = 100;
const SCOPE_CHARS_MAX: usize = 200;

/// A set of scopes; the order in which they were asked for does not matter, a repetition neither. Clones share it: one issuance
/// puts the same set into authorization, claims, event and answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scopes(Arc<BTreeSet<String>>);

impl Scopes {
    /// Reads `scope` as it stands on the wire.
    pub fn parse(text: &str) -> Result<Scopes, OAuthError> {
        let mut scopes = BTreeSet::new();
        for scope in text.split(' ').filter(|word| !word.is_empty()) {
            if !is_scope(scope) {
                return Err(SCOPE_MALFORMED);
            }
            scopes.insert(scope.to_owned());
            if scopes.len() > SCOPES_MAX {
                return Err(SCOPE_MALFORMED.because(format!("At most {SCOPES_MAX} scopes can be asked for at once.")));
            }
        }
        Ok(Scopes(scopes.into()))
    }

    /// The set of these words, all of which are well-formed.
    pub fn of<'a>(words: impl IntoIterator<Item = &'a str>) -> Scopes {
        words.into_iter().filter(|word| is_scope(word)).map(str::to_owned).collect()
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    pub fn contains(&self, scope: &str) -> bool {
        self.0.contains(scope)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn is_subset(&self, other: &Scopes) -> bool {
        self.0.is_subset(&other.0)
    }

    pub fn union(&self, other: &Scopes) -> Scopes {
        self.0.union(&other.0).cloned().collect()
    }

    pub fn intersection(&self, other: &Scopes) -> Scopes {
        self.0.intersection(&other.0).cloned().collect()
    }

    pub fn difference(&self, other: &Scopes) -> Scopes {
        self.0.difference(&other.0).cloned().collect()
    }
}

/// For words that are well-formed.
impl FromIterator<String> for Scopes {
    fn from_iter<I: IntoIterator<Item = String>>(words: I) -> Scopes {
        Scopes(Arc::new(words.into_iter().collect()))
    }
}

/// `scope-token`: printable ASCII but space, quote and backslash; the length bound is ours.
pub fn is_scope(word: &str) -> bool {
    !word.is_empty() && word.len() <= SCOPE_CHARS_MAX && word.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, scope) in self.iter().enumerate() {
            if place > 0 {
                f.write_str(" ")?;
            }
            f.write_str(scope)?;
        }
        Ok(())
    }
}

impl Serialize for Scopes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for Scopes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Scopes, D::Error> {
        Scopes::parse(&String::deserialize(deserializer)?).map_err(|refusal| serde::de::Error::custom(refusal.description))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_repetition_do_not_matter() {
        assert_eq!(Scopes::parse("b a  b"), Scopes::parse("a b"));
        assert_eq!(Scopes::parse("b a").map(|scopes| scopes.to_string()), Ok("a b".to_owned()));
    }

    #[test]
    fn what_is_not_a_scope_is_refused() {
        for text in ["a\"b", "a\\b", "ä", "a\tb", "a\nb", &"x".repeat(201)] {
            assert_eq!(Scopes::parse(text).map_err(|refusal| refusal.reason), Err("scope.malformed"), "{text:?}");
        }
        let many = (0..101).map(|number| format!("s{number}")).collect::<Vec<_>>().join(" ");
        assert!(Scopes::parse(&many).is_err());
    }
}
