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
        let url = Url::parse(text).map_err(|_| RESOURCE_MALFORMED)?;
        let clean = url.has_host()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none()
            && text.len() <= IDENTIFIER_BYTES_MAX
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        if clean { Ok(ResourceIdentifier(text.into())) } else { Err(RESOURCE_MALFORMED) }
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
}
