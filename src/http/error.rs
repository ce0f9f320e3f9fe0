//! Refusals on the wire: status and headers follow from the code, here and nowhere else.
//! [RFC 6749 §5.2](https://www.rfc-editor.org/rfc/rfc6749#section-5.2), [RFC 6750 §3](https://www.rfc-editor.org/rfc/rfc6750#section-3)

use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::domain::{
    client::ClientId,
    refusal::{Code, OAuthError, TOKEN_MISSING},
};

/// After how many seconds trouble that passes is worth another try.
const RETRY_AFTER_S: &str = "1";
/// After how many seconds someone who asked too often may ask again.
const RETRY_AFTER_LIMIT_S: &str = "10";

const RATE_LIMIT_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// The status that a code means.
pub(crate) fn status(code: Code) -> StatusCode {
    match code {
        Code::InvalidClient | Code::InvalidToken | Code::LoginRequired => StatusCode::UNAUTHORIZED,
        Code::StaleToken => StatusCode::NETWORK_AUTHENTICATION_REQUIRED,
        Code::AccessDenied | Code::InsufficientScope => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Code::Conflict => StatusCode::CONFLICT,
        Code::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Code::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
        Code::TemporarilyUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::ServerError => StatusCode::INTERNAL_SERVER_ERROR,
        Code::InvalidRequest
        | Code::RequestNotSupported
        | Code::RequestUriNotSupported
        | Code::InvalidGrant
        | Code::UnauthorizedClient
        | Code::UnsupportedGrantType
        | Code::UnsupportedResponseType
        | Code::InvalidScope
        | Code::InvalidTarget
        | Code::ConsentRequired
        | Code::InvalidRedirectUri
        | Code::InvalidClientMetadata
        | Code::UnsupportedTokenType => StatusCode::BAD_REQUEST,
    }
}

/// The header that a code brings with it.
pub(crate) fn extra_header(refusal: &OAuthError) -> Option<(HeaderName, HeaderValue)> {
    if let Some(wait) = refusal.retry_after {
        return Some((header::RETRY_AFTER, HeaderValue::from(wait.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX))));
    }
    let challenge = |text: String| Some((header::WWW_AUTHENTICATE, HeaderValue::from_str(&text).ok()?));
    match refusal.code {
        Code::InvalidClient => challenge("Basic realm=\"deputy\", charset=\"UTF-8\"".to_owned()),
        // Who sent no token did not know that one is needed: no error to explain.
        Code::InvalidToken if refusal.reason == TOKEN_MISSING.reason => challenge("Bearer realm=\"deputy\"".to_owned()),
        Code::InvalidToken | Code::StaleToken | Code::InsufficientScope => challenge(format!(
            "Bearer realm=\"deputy\", error=\"{}\", error_description=\"{}\"",
            refusal.code.as_str(),
            refusal.description
        )),
        Code::TemporarilyUnavailable => Some((header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S))),
        Code::TooManyRequests => Some((header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_LIMIT_S))),
        _ => None,
    }
}

/// What a response tells the outer layer about the refusal in it, so that it is put on record.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    pub(crate) code: Code,
    pub(crate) reason: &'static str,
    /// Who the request says it is from.
    pub(crate) client: Option<ClientId>,
}

impl Refused {
    pub(crate) fn by_nobody(refusal: &OAuthError) -> Refused {
        Refused { code: refusal.code, reason: refusal.reason, client: None }
    }
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        tracing::debug!(code = self.code.as_str(), reason = self.reason, "refused");
        let body = json!({"error": self.code.as_str(), "error_description": self.description}).to_string();
        let mut response = (status(self.code), [(header::CONTENT_TYPE, "application/json")], body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
        headers.extend(extra_header(&self));
        // The same under the name that some clients look for.
        if let (Code::TooManyRequests, Some(wait)) = (self.code, headers.get(header::RETRY_AFTER).cloned()) {
            headers.insert(RATE_LIMIT_RESET, wait);
        }
        response.extensions_mut().insert(Refused::by_nobody(&self));
        response
    }
}
