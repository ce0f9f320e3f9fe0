//! The answers to a request that may not pass.
//! [RFC 6750 §3](https://www.rfc-editor.org/rfc/rfc6750#section-3), [RFC 9728 §5.1](https://www.rfc-editor.org/rfc/rfc9728#section-5.1)
//!
//! Status and headers follow from the code here, and not in `http`, because resource servers elsewhere have only this module.

use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use serde_json::json;

use super::scopes::Implied;
use crate::domain::refusal::{Code, OAuthError};
use crate::domain::scope::Scopes;

/// How long a client is asked to wait while the issuer cannot be reached.
const RETRY_AFTER_S: u32 = 5;

const fn invalid_token(reason: &'static str, description: &'static str) -> OAuthError {
    OAuthError::new(Code::InvalidToken, reason, description)
}

pub(super) const CREDENTIALS_ABSENT: OAuthError = invalid_token("credentials.absent", "This resource needs an access token");
pub(super) const CREDENTIALS_REPEATED: OAuthError =
    OAuthError::new(Code::InvalidRequest, "credentials.repeated", "The request has more than one Authorization header");
pub(super) const MALFORMED: OAuthError = invalid_token("access_token.malformed", "The access token is malformed");
pub(super) const TYPE: OAuthError = invalid_token("access_token.type", "The token is not an access token");
pub(super) const KEY: OAuthError =
    invalid_token("access_token.key", "The issuer publishes no key for this access token and its algorithm");
pub(super) const SIGNATURE: OAuthError = invalid_token("access_token.signature", "The signature of the access token is wrong");
pub(super) const CLAIMS: OAuthError =
    invalid_token("access_token.claims", "A claim is absent from the access token, or has the wrong type");
pub(super) const ISSUER: OAuthError = invalid_token("access_token.issuer", "Another authorization server issued the access token");
pub(super) const AUDIENCE: OAuthError = invalid_token("access_token.audience", "The access token is for another resource");
pub(super) const EXPIRED: OAuthError = invalid_token("access_token.expired", "The access token has expired");
pub(super) const NOT_YET: OAuthError = invalid_token("access_token.not_yet", "The access token is not valid yet");
pub(super) const INACTIVE: OAuthError = invalid_token("access_token.inactive", "The access token is not active");
pub(super) const BODY_TOO_LARGE: OAuthError = OAuthError::new(Code::PayloadTooLarge, "body.too_large", "The body is too long");
pub(super) const BODY_UNREADABLE: OAuthError =
    OAuthError::new(Code::InvalidRequest, "body.unreadable", "The body could not be read");
/// Never `invalid_token`: a client would throw away a token that may be good.
pub(super) const ISSUER_UNAVAILABLE: OAuthError =
    OAuthError::new(Code::TemporarilyUnavailable, "issuer.unavailable", "The access token cannot be checked at the moment");
const SCOPE: OAuthError =
    OAuthError::new(Code::InsufficientScope, "access_token.scope", "This operation needs more scopes than the access token has");

/// A verified token without enough scope: `403 insufficient_scope`, naming all scopes that the operation needs.
///
/// It turns into a response of any body type that can be made from text, so `?` works in axum handlers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// All that the operation needs, held or not: a client asks for exactly this.
    pub scopes: Scopes,
    metadata_url: String,
}

impl<B: From<String>> From<Challenge> for Response<B> {
    fn from(challenge: Challenge) -> Self {
        answer(&SCOPE, &challenge.scopes, &challenge.metadata_url)
    }
}

/// What this resource demands, as its challenges say it.
#[derive(Debug)]
pub(super) struct Demands {
    metadata_url: String,
    required: Scopes,
    implied: Implied,
}

impl Demands {
    pub(super) fn new(metadata_url: &str, required: &[String], implied: Implied) -> Self {
        Self { metadata_url: metadata_url.to_owned(), required: Scopes::of(required.iter().map(String::as_str)), implied }
    }

    /// Whether the granted scopes cover the required and the `needed` ones.
    pub(super) fn check(&self, granted: &Scopes, needed: &Scopes) -> Result<(), Challenge> {
        let scopes = self.required.union(needed);
        if self.implied.covers(granted, &scopes) {
            return Ok(());
        }
        Err(Challenge { scopes, metadata_url: self.metadata_url.clone() })
    }

    /// The answer to a request without a verified token.
    pub(super) fn refuse<B: From<String>>(&self, refusal: &OAuthError) -> Response<B> {
        answer(refusal, &self.required, &self.metadata_url)
    }
}

fn answer<B: From<String>>(refusal: &OAuthError, scopes: &Scopes, metadata_url: &str) -> Response<B> {
    let status = match refusal.code {
        Code::InvalidToken => StatusCode::UNAUTHORIZED,
        Code::InsufficientScope => StatusCode::FORBIDDEN,
        Code::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::TemporarilyUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    };
    let mut body = json!({ "error_description": refusal.description });
    if is_error(refusal) {
        body["error"] = json!(refusal.code.as_str());
    }
    let mut response = Response::new(B::from(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        headers.insert(WWW_AUTHENTICATE, challenge(refusal, scopes, metadata_url));
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, RETRY_AFTER_S.into());
    }
    response
}

/// Scopes, our own sentences and canonical URLs hold nothing that a quoted string must escape.
fn challenge(refusal: &OAuthError, scopes: &Scopes, metadata_url: &str) -> HeaderValue {
    let error = if is_error(refusal) {
        format!("error=\"{}\", error_description=\"{}\", ", refusal.code.as_str(), refusal.description)
    } else {
        String::new()
    };
    let scope = if scopes.is_empty() { String::new() } else { format!("scope=\"{scopes}\", ") };
    HeaderValue::try_from(format!("Bearer {error}{scope}resource_metadata=\"{metadata_url}\""))
        .expect("scopes, sentences and canonical URLs are printable ASCII")
}

/// A request without credentials made no error: its challenge is bare (RFC 6750 §3.1).
fn is_error(refusal: &OAuthError) -> bool {
    *refusal != CREDENTIALS_ABSENT
}
