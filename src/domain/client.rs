//! Clients: software that asks for tokens, and what we know of it.
//!
//! Metadata words are those of [RFC 7591 §2](https://www.rfc-editor.org/rfc/rfc7591#section-2).

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize, Serializer};
use url::Url;

use super::{
    actor::ActorKind,
    id::{ClientKind, Id},
    redirect_uri::RedirectUri,
    resource::ResourceIdentifier,
    scope::Scopes,
    secret::Digest,
    time::Timestamp,
};

const CLIENT_ID_BYTES_MAX: usize = 2_000;

/// What a client calls itself: an identifier that we made, or the URL of its metadata document. Clones share it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct ClientId(Arc<str>);

impl ClientId {
    /// Printable ASCII, as [RFC 6749 Appendix A.1](https://www.rfc-editor.org/rfc/rfc6749#appendix-A.1) has it; `None` otherwise.
    pub fn parse(text: &str) -> Option<ClientId> {
        let valid = !text.is_empty() && text.len() <= CLIENT_ID_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic());
        valid.then(|| ClientId(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this names a metadata document rather than a record of ours. Ours never begin so.
    pub fn is_url(&self) -> bool {
        self.0.starts_with("https://") || self.0.starts_with("http://")
    }

    /// The host that vouches, if this names a metadata document.
    pub fn host(&self) -> Option<String> {
        if !self.is_url() {
            return None;
        }
        Url::parse(&self.0).ok()?.host_str().map(str::to_owned)
    }
}

/// The SHA-256 thumbprint of a public key ([RFC 7638](https://www.rfc-editor.org/rfc/rfc7638)), in base64url.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyThumbprint(pub String);

impl From<Id<ClientKind>> for ClientId {
    fn from(id: Id<ClientKind>) -> ClientId {
        ClientId(id.to_string().into())
    }
}
impl TryFrom<String> for ClientId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<ClientId, &'static str> {
        ClientId::parse(&text).ok_or("not a client identifier")
    }
}
impl From<ClientId> for String {
    fn from(id: ClientId) -> String {
        id.as_str().to_owned()
    }
}
impl Serialize for ClientId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}
impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a client came to us, and so how far we can vouch for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// An operator made it.
    Operator,
    /// It registered itself; nobody vouches for its name.
    Dynamic,
    /// The host of its client_id vouches for it.
    MetadataDocument,
}

/// How a client proves at the token endpoint that it is itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuthMethod {
    None,
    ClientSecretBasic,
    ClientSecretPost,
    PrivateKeyJwt,
}

impl AuthMethod {
    /// Whether it is by a secret that we make.
    pub fn has_secret(self) -> bool {
        matches!(self, AuthMethod::ClientSecretBasic | AuthMethod::ClientSecretPost)
    }
}

/// The grants that exist here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GrantType {
    AuthorizationCode,
    RefreshToken,
    ClientCredentials,
}

impl GrantType {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            GrantType::AuthorizationCode => "authorization_code",
            GrantType::RefreshToken => "refresh_token",
            GrantType::ClientCredentials => "client_credentials",
        }
    }

    /// The grant of this word, if it exists here.
    pub fn parse(word: &str) -> Option<GrantType> {
        [GrantType::AuthorizationCode, GrantType::RefreshToken, GrantType::ClientCredentials]
            .into_iter()
            .find(|known| known.as_str() == word)
    }
}

/// Whether the client runs on a person's own machine or on a server
/// ([OpenID Connect Registration §2](https://openid.net/specs/openid-connect-registration-1_0.html#ClientMetadata)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ApplicationType {
    Native,
    #[default]
    Web,
}

/// What a client says about itself; everything that consent may depend on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientMetadata {
    pub client_name: String,
    #[serde(default)]
    pub redirect_uris: Vec<RedirectUri>,
    pub grant_types: Vec<GrantType>,
    pub token_endpoint_auth_method: AuthMethod,
    /// Whether it chose that method itself. One that never chose may use Basic or the form.
    #[serde(default)]
    pub auth_method_chosen: bool,
    #[serde(default)]
    pub application_type: ApplicationType,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_uri: Option<String>,
    /// The scopes it may ask for; any if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scopes>,
    /// The resources it may ask for; any if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Vec<ResourceIdentifier>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<serde_json::Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<Url>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub software_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub software_version: Option<String>,
}

/// A client as storage knows it.
#[derive(Debug, Clone)]
pub struct Client {
    pub id: ClientId,
    pub origin: Origin,
    pub metadata: ClientMetadata,
    pub secret_digest: Option<Digest>,
    pub created_at: Timestamp,
    pub disabled_at: Option<Timestamp>,
    /// Who it is taken for.
    pub kind: ActorKind,
    /// Until when its metadata document need not be fetched again; meaningful for `Origin::MetadataDocument` only.
    pub fresh_until: Timestamp,
}

impl Client {
    pub fn is_disabled(&self) -> bool {
        self.disabled_at.is_some()
    }

    /// Whether it can keep a secret. A public client is recognised by its client_id alone.
    pub fn is_confidential(&self) -> bool {
        self.metadata.token_endpoint_auth_method != AuthMethod::None
    }

    pub fn may_use(&self, grant_type: GrantType) -> bool {
        self.metadata.grant_types.contains(&grant_type)
    }

    /// The registered redirect URI that admits the requested one.
    pub fn redirect_uri(&self, requested: &str) -> Option<&RedirectUri> {
        self.metadata.redirect_uris.iter().find(|registered| registered.admits(requested))
    }
}
