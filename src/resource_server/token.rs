//! What a verified token says, and the checks that every token must pass.
//! [RFC 9068 §4](https://www.rfc-editor.org/rfc/rfc9068#section-4), [RFC 8725](https://www.rfc-editor.org/rfc/rfc8725)

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, decode, decode_header};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::challenge::{self, Challenge, Demands};
use crate::domain::refusal::OAuthError;
use crate::domain::scope::Scopes;
use crate::domain::time::Timestamp;

/// How far the issuer's clock may be ahead of ours. Nothing is added to `exp`: an expired token is expired.
const CLOCK_AHEAD_MAX: Duration = Duration::from_secs(10);
/// Longer tokens are refused unread.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// A verified access token, found in the request's extensions.
#[derive(Debug, Clone)]
pub struct Token {
    /// For whom the client acts: a person, or the client itself.
    pub subject: String,
    pub client_id: String,
    /// As granted; [`Token::require`] also knows what they imply.
    pub scopes: Scopes,
    /// The grant that ends with all its tokens.
    pub grant_id: Option<String>,
    /// Who acts for the subject, outermost actor first, each holding the one before it under `act`
    /// ([RFC 8693 §4.1](https://www.rfc-editor.org/rfc/rfc8693#section-4.1)).
    pub act: Option<Map<String, Value>>,
    pub token_id: Option<String>,
    pub expires_at: Timestamp,
    demands: Arc<Demands>,
}

impl Token {
    /// Checks that the token covers the scopes that every request needs, and `scopes`.
    ///
    /// # Errors
    /// The [`Challenge`] to answer with. An MCP client sees it only as an HTTP status: inside a tool it is too late, see
    /// [`tool_scopes`](super::ResourceServer::tool_scopes).
    pub fn require(&self, scopes: &[&str]) -> Result<(), Challenge> {
        self.demands.check(&self.scopes, &Scopes::of(scopes.iter().copied()))
    }

    pub(super) fn new(claims: Claims, demands: Arc<Demands>) -> Self {
        Self {
            subject: claims.sub,
            client_id: claims.client_id,
            scopes: claims.scope.unwrap_or_default(),
            grant_id: claims.gid,
            act: claims.act,
            token_id: claims.jti,
            expires_at: Timestamp::from_seconds(claims.exp),
            demands,
        }
    }
}

/// What a token says, in a signed token or in an introspection answer. A claim of the wrong type is an error, `null` and repeated
/// names included, and never an absent claim.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Claims {
    sub: String,
    aud: Audience,
    exp: i64,
    client_id: String,
    #[serde(default, deserialize_with = "present")]
    iss: Option<String>,
    #[serde(default, deserialize_with = "present")]
    iat: Option<i64>,
    #[serde(default, deserialize_with = "present")]
    nbf: Option<i64>,
    #[serde(default, deserialize_with = "present")]
    jti: Option<String>,
    #[serde(default, deserialize_with = "present")]
    scope: Option<Scopes>,
    #[serde(default, deserialize_with = "present")]
    gid: Option<String>,
    #[serde(default, deserialize_with = "present")]
    act: Option<Map<String, Value>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Claims {
    /// Whether these claims make a token good at `now`, for the resource `audience`. `iss` may be absent only where the issuer itself
    /// is speaking.
    pub(super) fn check(&self, issuer: &str, audience: &str, now: Timestamp) -> Result<(), OAuthError> {
        if self.iss.as_deref().is_some_and(|iss| iss != issuer) {
            return Err(challenge::ISSUER);
        }
        let is_ours = match &self.aud {
            Audience::One(aud) => aud == audience,
            Audience::Several(auds) => auds.iter().any(|aud| aud == audience),
        };
        if !is_ours {
            return Err(challenge::AUDIENCE);
        }
        if Timestamp::from_seconds(self.exp) <= now {
            return Err(challenge::EXPIRED);
        }
        let latest = now.plus(CLOCK_AHEAD_MAX);
        if [self.iat, self.nbf].into_iter().flatten().any(|from| Timestamp::from_seconds(from) > latest) {
            return Err(challenge::NOT_YET);
        }
        Ok(())
    }
}

/// A signed token whose header has been read and nothing believed.
pub(super) struct Unverified<'a> {
    token: &'a str,
    header: Header,
    pub(super) kid: String,
}

impl<'a> Unverified<'a> {
    /// Reads the header and refuses what no key could make good.
    pub(super) fn parse(token: &'a str) -> Result<Self, OAuthError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(challenge::MALFORMED);
        }
        let header = decode_header(token).map_err(|_| challenge::MALFORMED)?;
        if !header.typ.as_deref().is_some_and(is_access_token_type) {
            return Err(challenge::TYPE);
        }
        // We understand no critical extension, so there must be none (RFC 7515 §4.1.11).
        if header.crit.is_some() {
            return Err(challenge::MALFORMED);
        }
        let kid = header.kid.clone().ok_or(challenge::KEY)?;
        Ok(Self { token, header, kid })
    }

    /// Verifies the signature, by the key's own algorithm and no other, then all the claims.
    pub(super) fn verify(
        &self,
        (algorithm, key): &(Algorithm, DecodingKey),
        issuer: &str,
        audience: &str,
        now: Timestamp,
    ) -> Result<Claims, OAuthError> {
        if self.header.alg != *algorithm {
            return Err(challenge::KEY);
        }
        // Only signature and form are left to the library: it takes a claim of the wrong type for an absent one, and its own clock.
        let mut signature_only = Validation::new(*algorithm);
        signature_only.required_spec_claims.clear();
        signature_only.validate_exp = false;
        signature_only.validate_aud = false;
        let claims = decode::<Claims>(self.token, key, &signature_only).map_err(|error| match error.kind() {
            jsonwebtoken::errors::ErrorKind::InvalidSignature => challenge::SIGNATURE,
            _ => challenge::CLAIMS,
        })?;
        let claims = claims.claims;
        // RFC 9068 §2.2 requires these of a signed token.
        if claims.iss.is_none() || claims.iat.is_none() || claims.jti.is_none() {
            return Err(challenge::CLAIMS);
        }
        claims.check(issuer, audience, now)?;
        Ok(claims)
    }
}

fn is_access_token_type(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    typ.strip_prefix("application/").unwrap_or(&typ) == "at+jwt"
}

fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
