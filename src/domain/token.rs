//! Tokens: what leaves the process.
//!
//! Access tokens are JWTs ([RFC 9068 §2.2](https://www.rfc-editor.org/rfc/rfc9068#section-2.2)); ID tokens follow
//! [OpenID Connect Core §2](https://openid.net/specs/openid-connect-core-1_0.html#IDToken).

use serde::{Deserialize, Serialize};

use super::{
    client::ClientId,
    grant::Authorization,
    id::{GrantKind, Id, PersonKind, TokenKind},
    scope::Scopes,
    time::Timestamp,
};

/// How tokens are signed, by the name that JOSE has for it ([RFC 7518 §3.1](https://www.rfc-editor.org/rfc/rfc7518#section-3.1)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SigningAlgorithm {
    Es256,
    EdDsa,
    Rs256,
}

impl SigningAlgorithm {
    /// The `alg` of JOSE.
    pub fn as_str(self) -> &'static str {
        match self {
            SigningAlgorithm::Es256 => "ES256",
            SigningAlgorithm::EdDsa => "EdDSA",
            SigningAlgorithm::Rs256 => "RS256",
        }
    }

    /// The algorithm of this name, if it exists here.
    pub fn parse(word: &str) -> Option<SigningAlgorithm> {
        [SigningAlgorithm::Es256, SigningAlgorithm::EdDsa, SigningAlgorithm::Rs256].into_iter().find(|known| known.as_str() == word)
    }
}

/// The JOSE `typ` of an access token.
pub const ACCESS_TOKEN_TYPE: &str = "at+jwt";
/// The JOSE `typ` of an ID token.
pub const ID_TOKEN_TYPE: &str = "JWT";

/// The claims of an access token. A claim of the wrong JSON type is an error, never "absent".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessTokenClaims {
    pub iss: String,
    /// The person, or the client itself when it acts for nobody.
    pub sub: String,
    pub aud: String,
    pub exp: i64,
    pub iat: i64,
    pub jti: Id<TokenKind>,
    pub client_id: ClientId,
    pub scope: Scopes,
    /// The grant: the node of the delegation tree that ends this token when it ends.
    pub gid: Id<GrantKind>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<i64>,
}

impl AccessTokenClaims {
    /// The claims that an authorization allows at `now`. Never outlives the authorization.
    pub fn new(authorization: &Authorization, issuer: &str, jti: Id<TokenKind>, now: Timestamp) -> AccessTokenClaims {
        AccessTokenClaims {
            iss: issuer.to_owned(),
            sub: authorization.person.map_or_else(|| authorization.client.as_str().to_owned(), |person| person.to_string()),
            aud: authorization.resource.as_ref().map_or_else(|| issuer.to_owned(), |resource| resource.as_str().to_owned()),
            exp: (now.seconds() + i64::from(authorization.access_token_ttl_s)).min(authorization.expires_at.seconds()),
            iat: now.seconds(),
            jti,
            client_id: authorization.client.clone(),
            scope: authorization.scopes.clone(),
            gid: authorization.grant,
            auth_time: authorization.identity.as_ref().map(|identity| identity.authenticated_at.seconds()),
        }
    }

    /// For whom the client acts; `None` if it acts for itself.
    pub fn person(&self) -> Option<Id<PersonKind>> {
        if self.sub == self.client_id.as_str() { None } else { self.sub.parse().ok() }
    }
}

/// An access token whose signature was found to be ours, with all that can be made of it once.
#[derive(Debug)]
pub struct VerifiedToken {
    pub claims: AccessTokenClaims,
    /// What the token hangs from in the delegation tree: any of these being revoked kills it.
    pub nodes: [String; 4],
    /// The introspection response while it is alive ([RFC 7662 §2.2](https://www.rfc-editor.org/rfc/rfc7662#section-2.2)).
    pub introspection: String,
}

impl VerifiedToken {
    pub fn new(claims: AccessTokenClaims) -> VerifiedToken {
        #[derive(Serialize)]
        struct Introspection<'c> {
            active: bool,
            token_type: &'static str,
            #[serde(flatten)]
            claims: &'c AccessTokenClaims,
        }
        let introspection = serde_json::to_string(&Introspection { active: true, token_type: "Bearer", claims: &claims });
        let nodes = [claims.gid.to_string(), claims.jti.to_string(), claims.client_id.as_str().to_owned(), claims.sub.clone()];
        VerifiedToken { introspection: introspection.expect("our own claims serialise to JSON"), nodes, claims }
    }
}

/// The claims of an ID token.
#[derive(Debug, Clone, Serialize)]
pub struct IdTokenClaims {
    pub iss: String,
    pub sub: Id<PersonKind>,
    pub aud: ClientId,
    pub exp: i64,
    pub iat: i64,
    pub auth_time: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_hash: Option<String>,
}

/// The answer of the token endpoint ([RFC 6749 §5.1](https://www.rfc-editor.org/rfc/rfc6749#section-5.1)). `scope` is always
/// there: some clients read its absence as "none".
#[derive(Serialize)]
pub struct TokenResponse {
    pub access_token: String,
    pub token_type: &'static str,
    pub expires_in: i64,
    pub scope: Scopes,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_token: Option<String>,
}
