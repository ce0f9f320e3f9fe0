//! Resources: the servers that accept our tokens, and the identifiers that name them.
//!
//! [RFC 8707 §2](https://www.rfc-editor.org/rfc/rfc8707#section-2),
//! [RFC 9728 §1.2](https://www.rfc-editor.org/rfc/rfc9728#section-1.2). A client may spell an identifier with another case in
//! scheme and host, or with one trailing slash more or less; the audience is always spelled as the resource itself spells it.

use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};
use url::Url;

use super::{
    id::{Id, ResourceKind},
    refusal::{OAuthError, RESOURCE_MALFORMED},
    scope::{self, Scopes},
    secret::Digest,
    time::Timestamp,
};

const IDENTIFIER_BYTES_MAX: usize = 2_000;

/// A resource identifier, spelled as it was given. Clones share it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct ResourceIdentifier(Arc<str>);

impl ResourceIdentifier {
    /// Reads an identifier: an absolute URI with a host, without fragment or userinfo.
    pub fn parse(text: &str) -> Result<ResourceIdentifier, OAuthError> {
        if is_plain(text) || is_clean(text) { Ok(ResourceIdentifier(text.into())) } else { Err(RESOURCE_MALFORMED) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form by which two spellings of one resource are equal: scheme and host in lower case, no trailing slash.
    pub fn canonical(&self) -> String {
        let url = Url::parse(&self.0).expect("it was parsed at construction");
        url.as_str().strip_suffix('/').unwrap_or(url.as_str()).to_owned()
    }
}

fn is_clean(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else { return false };
    url.has_host()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none()
        && text.len() <= IDENTIFIER_BYTES_MAX
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whether the text is an identifier that needs no parser to be seen as one, as those of nearly all events are: each stage reads it
/// again, with every event that names it.
fn is_plain(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) else { return false };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let is_path = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.' | b'~'));
    let (host, port) = authority.split_once(':').unwrap_or((authority, "0"));
    let is_label = |label: &str| {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        // A name that begins with a digit may be an address, and what has `--` may stand for another name.
        label.starts_with(|first: char| first.is_ascii_lowercase()) && !label.contains("--") && label.bytes().all(is_plain)
    };
    let is_host = host == "127.0.0.1" || host.split('.').all(is_label);
    let is_port = (1..=4).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
    is_host && is_port && is_path && text.len() <= IDENTIFIER_BYTES_MAX
}

impl TryFrom<String> for ResourceIdentifier {
    type Error = &'static str;

    fn try_from(text: String) -> Result<ResourceIdentifier, &'static str> {
        ResourceIdentifier::parse(&text).map_err(|_| "not a resource identifier")
    }
}
impl From<ResourceIdentifier> for String {
    fn from(identifier: ResourceIdentifier) -> String {
        identifier.as_str().to_owned()
    }
}
impl Serialize for ResourceIdentifier {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// One permission at a resource, and how to tell a person about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScopeDefinition {
    pub name: String,
    /// What the person reads on the consent page.
    pub description: String,
    /// Scopes of the same resource that this one includes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub implies: Vec<String>,
}

/// A registered resource server.
#[derive(Debug, Clone)]
pub struct Resource {
    pub id: Id<ResourceKind>,
    pub identifier: ResourceIdentifier,
    pub name: String,
    pub scopes: Vec<ScopeDefinition>,
    /// How long an access token for it lives; the installation's default if `None`.
    pub access_token_ttl_s: Option<u32>,
    /// Of the secret with which it calls the introspection endpoint.
    pub secret_digest: Digest,
    pub created_at: Timestamp,
}

impl Resource {
    /// Whether the scope means something here: its own, or one that exists everywhere.
    pub fn knows(&self, word: &str) -> bool {
        scope::BUILT_IN.contains(&word) || self.definition(word).is_some()
    }

    pub fn definition(&self, word: &str) -> Option<&ScopeDefinition> {
        self.scopes.iter().find(|definition| definition.name == word)
    }

    /// `scopes` and all that they imply here, directly or through others.
    pub fn closure(&self, scopes: &Scopes) -> Scopes {
        let mut reached = scopes.clone();
        loop {
            let implied = reached.iter().filter_map(|word| self.definition(word)).flat_map(|definition| &definition.implies);
            let missing = Scopes::of(implied.map(String::as_str).filter(|word| !reached.contains(word)));
            if missing.is_empty() {
                return reached;
            }
            reached = reached.union(&missing);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        ResourceIdentifier::parse(text).expect(text).canonical()
    }

    #[test]
    fn spellings_of_one_resource_are_equal() {
        assert_eq!(canonical("https://H.example/mcp/"), canonical("HTTPS://h.example/mcp"));
        assert_eq!(canonical("https://h.example"), canonical("https://h.example/"));
        assert_ne!(canonical("https://h.example/mcp"), canonical("https://h.example/MCP"));
        assert_ne!(canonical("https://h.example/mcp"), canonical("https://h.example/mcp/x"));
        assert_ne!(canonical("https://h.example:444/"), canonical("https://h.example/"));
    }

    #[test]
    fn what_is_not_an_identifier_is_refused() {
        for text in
            ["", "/mcp", "mcp", "https://h/#f", "https://u@h/", "https://u:p@h/", "https://h/ x", "urn:x:y", "https://h/\tx"]
        {
            assert!(ResourceIdentifier::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn usual_identifiers_need_no_parser() {
        for text in ["http://127.0.0.1:9401/mcp", "https://api.notes-2.example/v1/mcp.json", "https://localhost"] {
            assert!(is_plain(text), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_needs_no_parser_satisfies_it(
            text in "https?://[a-z0-9.:-]{0,12}(/[a-zA-Z0-9._~/-]{0,12})?|https?:/{1,3}[ -~]{0,16}|http://127.0.0.1[.:0-9]{0,6}"
        ) {
            if is_plain(&text) {
                proptest::prop_assert!(is_clean(&text), "{}", text);
            }
        }
    }
}
