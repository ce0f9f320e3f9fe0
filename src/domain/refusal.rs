//! Every refusal: a public code from the registry, a stable private reason, and a sentence that says what to do.
//!
//! The codes are those of the [OAuth error registry](https://www.iana.org/assignments/oauth-parameters), and at our own APIs some
//! words of ours beside them. Status and headers are derived from the code in `http/error.rs`. `invalid_grant` makes clients throw
//! tokens away, and `invalid_client` their registration, so neither is ever used for trouble that passes (promise 12).

use std::{borrow::Cow, time::Duration};

/// The public code of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    InvalidRequest,
    InvalidClient,
    InvalidGrant,
    UnauthorizedClient,
    UnsupportedGrantType,
    UnsupportedResponseType,
    InvalidScope,
    InvalidTarget,
    AccessDenied,
    RequestNotSupported,
    RequestUriNotSupported,
    LoginRequired,
    ConsentRequired,
    InvalidRedirectUri,
    InvalidClientMetadata,
    InvalidToken,
    /// Says `invalid_token` with status 511, at the tracking API only: the answer on which its SDKs fetch a new token and send again,
    /// where on any other they throw away what they hold.
    StaleToken,
    InsufficientScope,
    UnsupportedTokenType,
    TemporarilyUnavailable,
    /// Says `temporarily_unavailable` with status 429: the registry has no code of its own for it.
    TooManyRequests,
    ServerError,
    NotFound,
    Conflict,
    MethodNotAllowed,
    PayloadTooLarge,
    UnsupportedMediaType,
}

impl Code {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::InvalidRequest => "invalid_request",
            Code::InvalidClient => "invalid_client",
            Code::InvalidGrant => "invalid_grant",
            Code::UnauthorizedClient => "unauthorized_client",
            Code::UnsupportedGrantType => "unsupported_grant_type",
            Code::UnsupportedResponseType => "unsupported_response_type",
            Code::InvalidScope => "invalid_scope",
            Code::InvalidTarget => "invalid_target",
            Code::AccessDenied => "access_denied",
            Code::RequestNotSupported => "request_not_supported",
            Code::RequestUriNotSupported => "request_uri_not_supported",
            Code::LoginRequired => "login_required",
            Code::ConsentRequired => "consent_required",
            Code::InvalidRedirectUri => "invalid_redirect_uri",
            Code::InvalidClientMetadata => "invalid_client_metadata",
            Code::InvalidToken | Code::StaleToken => "invalid_token",
            Code::InsufficientScope => "insufficient_scope",
            Code::UnsupportedTokenType => "unsupported_token_type",
            Code::TemporarilyUnavailable | Code::TooManyRequests => "temporarily_unavailable",
            Code::ServerError => "server_error",
            Code::NotFound => "not_found",
            Code::Conflict => "conflict",
            Code::MethodNotAllowed => "method_not_allowed",
            Code::PayloadTooLarge => "payload_too_large",
            Code::UnsupportedMediaType => "unsupported_media_type",
        }
    }
}

/// A refusal, the only error that leaves `protocol`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuthError {
    pub code: Code,
    /// Ours, stable, tested, such as `code.expired`. Recorded, and shown to people as a reference, never needed by a client.
    pub reason: &'static str,
    /// What is wrong and what to do, for the developer of the client.
    pub description: Cow<'static, str>,
    /// How long to wait before another try; `None` leaves it to what the code usually means.
    pub retry_after: Option<Duration>,
}

impl OAuthError {
    /// A refusal with its usual sentence.
    pub const fn new(code: Code, reason: &'static str, description: &'static str) -> OAuthError {
        OAuthError { code, reason, description: Cow::Borrowed(description), retry_after: None }
    }

    /// The same refusal, and how long to wait before another try.
    pub fn retry_after(self, wait: Duration) -> OAuthError {
        OAuthError { retry_after: Some(wait), ..self }
    }

    /// The same refusal for a client of OAuth, which knows the codes of the registry and none of our own.
    pub fn in_words_of_the_registry(self) -> OAuthError {
        match self.code {
            Code::PayloadTooLarge | Code::UnsupportedMediaType => OAuthError { code: Code::InvalidRequest, ..self },
            _ => self,
        }
    }

    /// The same refusal with a sentence that names what was met. Only characters that
    /// [RFC 6749 §5.2](https://www.rfc-editor.org/rfc/rfc6749#section-5.2) allows are kept.
    pub fn because(self, description: impl Into<String>) -> OAuthError {
        let allowed = |c: char| {
            if c == '"' {
                '\''
            } else if c == '\\' || !(' '..='~').contains(&c) {
                '?'
            } else {
                c
            }
        };
        OAuthError { description: Cow::Owned(description.into().chars().take(400).map(allowed).collect()), ..self }
    }
}

// The form of a request.
pub const REQUEST_MALFORMED: OAuthError = OAuthError::new(
    Code::InvalidRequest,
    "request.malformed",
    "The request body is not application/x-www-form-urlencoded text in UTF-8.",
);
pub const REQUEST_MEDIA_TYPE: OAuthError = OAuthError::new(
    Code::InvalidRequest,
    "request.media_type",
    "Send the body with Content-Type: application/x-www-form-urlencoded.",
);
pub const REQUEST_JSON_MEDIA_TYPE: OAuthError =
    OAuthError::new(Code::UnsupportedMediaType, "request.json_media_type", "Send the body with Content-Type: application/json.");
pub const REQUEST_JSON: OAuthError =
    OAuthError::new(Code::InvalidRequest, "request.json", "The request body is not the JSON that this endpoint reads.");
pub const REQUEST_PARAMETER_REPEATED: OAuthError =
    OAuthError::new(Code::InvalidRequest, "request.parameter_repeated", "A parameter was sent more than once; send each once.");
pub const REQUEST_PARAMETER_MISSING: OAuthError =
    OAuthError::new(Code::InvalidRequest, "request.parameter_missing", "A required parameter is missing.");
pub const REQUEST_PARAMETER_TOO_LONG: OAuthError =
    OAuthError::new(Code::InvalidRequest, "request.parameter_too_long", "A parameter is longer than this server accepts.");
pub const REQUEST_TOO_LARGE: OAuthError =
    OAuthError::new(Code::PayloadTooLarge, "request.too_large", "The request is larger than this server accepts.");
pub const REQUEST_NOT_FOUND: OAuthError = OAuthError::new(Code::NotFound, "request.not_found", "Nothing is served at this path.");
pub const REQUEST_METHOD: OAuthError =
    OAuthError::new(Code::MethodNotAllowed, "request.method", "This path is not served for this method.");

// Authenticating a client.
pub const CLIENT_UNKNOWN: OAuthError = OAuthError::new(
    Code::InvalidClient,
    "client.unknown",
    "This client is not registered here. Register it again, or check the client_id.",
);
pub const CLIENT_AUTHENTICATION_MISSING: OAuthError =
    OAuthError::new(Code::InvalidClient, "client.authentication_missing", "This client must authenticate; it sent no credentials.");
pub const CLIENT_AUTHENTICATION_METHOD: OAuthError = OAuthError::new(
    Code::InvalidClient,
    "client.authentication_method",
    "This client is registered with another authentication method.",
);
pub const CLIENT_AUTHENTICATION_REPEATED: OAuthError = OAuthError::new(
    Code::InvalidRequest,
    "client.authentication_repeated",
    "The client authenticated in more than one way; use one.",
);
pub const CLIENT_CREDENTIALS_MALFORMED: OAuthError = OAuthError::new(
    Code::InvalidClient,
    "client.credentials_malformed",
    "The Authorization header is not well-formed Basic credentials.",
);
pub const CLIENT_SECRET_WRONG: OAuthError =
    OAuthError::new(Code::InvalidClient, "client.secret_wrong", "The client credentials are wrong.");
pub const CLIENT_DISABLED: OAuthError =
    OAuthError::new(Code::UnauthorizedClient, "client.disabled", "An operator disabled this client.");
pub const CLIENT_ROGUE: OAuthError = OAuthError::new(
    Code::UnauthorizedClient,
    "client.rogue",
    "This client was found to do what it may not, and gets no tokens. Only an operator can lift that.",
);
pub const CLIENT_GRANT_TYPE: OAuthError =
    OAuthError::new(Code::UnauthorizedClient, "client.grant_type", "This client is not registered for this grant type.");
pub const CLIENT_ASSERTION_TYPE: OAuthError = OAuthError::new(
    Code::InvalidClient,
    "client_assertion.type",
    "client_assertion_type must be urn:ietf:params:oauth:client-assertion-type:jwt-bearer.",
);
pub const CLIENT_ASSERTION_MALFORMED: OAuthError = OAuthError::new(
    Code::InvalidClient,
    "client_assertion.malformed",
    "The client assertion is not a well-formed signed JWT with the claims iss, sub, aud, exp and jti.",
);
pub const CLIENT_ASSERTION_ALGORITHM: OAuthError = OAuthError::new(
    Code::InvalidClient,
    "client_assertion.algorithm",
    "The client assertion must be signed with ES256, EdDSA or RS256/PS256 by a key of the client's JWKS.",
);
pub const CLIENT_ASSERTION_SIGNATURE: OAuthError = OAuthError::new(
    Code::InvalidClient,
    "client_assertion.signature",
    "No key of the client's JWKS verifies the client assertion.",
);
pub const CLIENT_ASSERTION_AUDIENCE: OAuthError = OAuthError::new(
    Code::InvalidClient,
    "client_assertion.audience",
    "The aud of the client assertion must be this server's issuer.",
);
pub const CLIENT_ASSERTION_ISSUER: OAuthError = OAuthError::new(
    Code::InvalidClient,
    "client_assertion.issuer",
    "iss and sub of the client assertion must both be the client_id.",
);
pub const CLIENT_ASSERTION_EXPIRED: OAuthError =
    OAuthError::new(Code::InvalidClient, "client_assertion.expired", "The client assertion has expired, or is not valid yet.");
pub const CLIENT_ASSERTION_TOO_LONG: OAuthError =
    OAuthError::new(Code::InvalidClient, "client_assertion.too_long", "The client assertion must expire within an hour.");
pub const CLIENT_ASSERTION_REPLAYED: OAuthError = OAuthError::new(
    Code::InvalidClient,
    "client_assertion.replayed",
    "This client assertion was used before; make a new one with a new jti.",
);
pub const CLIENT_KEYS_UNAVAILABLE: OAuthError = OAuthError::new(
    Code::TemporarilyUnavailable,
    "client.keys_unavailable",
    "The client's jwks_uri could not be read now. Try again.",
);

// Client id metadata documents.
pub const DOCUMENT_URL: OAuthError = OAuthError::new(
    Code::InvalidClient,
    "client_document.url",
    "A client_id that is a URL must be https, with a path, without fragment, userinfo, query or dot segments.",
);
pub const DOCUMENTS_OFF: OAuthError =
    OAuthError::new(Code::InvalidClient, "client_document.off", "This server does not accept client ID metadata documents.");
pub const DOCUMENT_REFUSED: OAuthError = OAuthError::new(
    Code::InvalidClient,
    "client_document.refused",
    "The address of the client ID metadata document is not one that this server fetches.",
);
pub const DOCUMENT_UNAVAILABLE: OAuthError = OAuthError::new(
    Code::TemporarilyUnavailable,
    "client_document.unavailable",
    "The client ID metadata document could not be fetched now. Try again.",
);
pub const DOCUMENT_INVALID: OAuthError =
    OAuthError::new(Code::InvalidClient, "client_document.invalid", "The client ID metadata document is not valid.");

// Registration.
pub const REGISTRATION_OFF: OAuthError = OAuthError::new(
    Code::AccessDenied,
    "registration.off",
    "This server does not take dynamic registrations; ask its operator for a client_id.",
);
pub const REGISTRATION_TOKEN: OAuthError =
    OAuthError::new(Code::InvalidToken, "registration.token", "Registration here needs an initial access token from an operator.");
pub const REGISTRATION_LIMIT: OAuthError = OAuthError::new(
    Code::TooManyRequests,
    "registration.limit",
    "Too many new registrations at the moment. Try again later, or reuse the one you have.",
);
pub const REGISTRATION_REDIRECT_URI: OAuthError =
    OAuthError::new(Code::InvalidRedirectUri, "registration.redirect_uri", "A redirect URI is not acceptable.");
pub const REGISTRATION_METADATA: OAuthError =
    OAuthError::new(Code::InvalidClientMetadata, "registration.metadata", "The client metadata is not acceptable.");
pub const REGISTRATION_GRANT_TYPE: OAuthError = OAuthError::new(
    Code::InvalidClientMetadata,
    "registration.grant_type",
    "A client that registers itself may ask for authorization_code and refresh_token only.",
);
pub const REGISTRATION_KEYS: OAuthError = OAuthError::new(
    Code::InvalidClientMetadata,
    "registration.keys",
    "private_key_jwt needs either jwks with public keys or an https jwks_uri.",
);

// The authorization endpoint.
pub const RESPONSE_TYPE: OAuthError =
    OAuthError::new(Code::UnsupportedResponseType, "authorize.response_type", "response_type must be code.");
pub const RESPONSE_MODE: OAuthError =
    OAuthError::new(Code::InvalidRequest, "authorize.response_mode", "response_mode must be query.");
pub const REDIRECT_URI_MISSING: OAuthError =
    OAuthError::new(Code::InvalidRequest, "authorize.redirect_uri_missing", "redirect_uri is required.");
pub const REDIRECT_URI_UNREGISTERED: OAuthError = OAuthError::new(
    Code::InvalidRequest,
    "authorize.redirect_uri_unregistered",
    "The redirect_uri is not registered for this client.",
);
pub const PKCE_MISSING: OAuthError =
    OAuthError::new(Code::InvalidRequest, "pkce.missing", "code_challenge is required (RFC 7636).");
pub const PKCE_METHOD: OAuthError = OAuthError::new(Code::InvalidRequest, "pkce.method", "code_challenge_method must be S256.");
pub const PKCE_CHALLENGE: OAuthError =
    OAuthError::new(Code::InvalidRequest, "pkce.challenge", "code_challenge must be 43 characters of base64url.");
pub const REQUEST_OBJECT: OAuthError =
    OAuthError::new(Code::RequestNotSupported, "authorize.request_object", "request is not supported here.");
pub const REQUEST_URI: OAuthError =
    OAuthError::new(Code::RequestUriNotSupported, "authorize.request_uri", "request_uri is not supported here.");
pub const PROMPT_INVALID: OAuthError =
    OAuthError::new(Code::InvalidRequest, "authorize.prompt", "prompt must be none, or some of login, consent and select_account.");
pub const MAX_AGE_INVALID: OAuthError =
    OAuthError::new(Code::InvalidRequest, "authorize.max_age", "max_age must be a number of seconds.");
pub const LOGIN_REQUIRED: OAuthError =
    OAuthError::new(Code::LoginRequired, "authorize.login_required", "The person must sign in, and prompt=none forbids asking.");
pub const CONSENT_REQUIRED: OAuthError = OAuthError::new(
    Code::ConsentRequired,
    "authorize.consent_required",
    "The person must consent, and prompt=none forbids asking.",
);
pub const CONSENT_REFUSED: OAuthError = OAuthError::new(Code::AccessDenied, "authorize.refused", "The person refused.");
pub const CONSENT_BOT: OAuthError = OAuthError::new(
    Code::AccessDenied,
    "authorize.bot",
    "This account is taken for a program, and can let nobody act for it until an operator has looked at it.",
);
pub const AUTHORIZE_CLIENT_DISABLED: OAuthError =
    OAuthError::new(Code::UnauthorizedClient, "authorize.client_disabled", "An operator disabled this client.");

// Forms that people send.
pub const FORM_EXPIRED: OAuthError =
    OAuthError::new(Code::InvalidRequest, "form.expired", "This form is no longer valid here. Go back to the app and start again.");
pub const FORM_FOREIGN: OAuthError =
    OAuthError::new(Code::InvalidRequest, "form.foreign", "This form was not sent from our own page in the same browser.");
pub const SIGN_IN_WRONG: OAuthError = OAuthError::new(Code::AccessDenied, "sign_in.wrong", "The name or the password is wrong.");
pub const SIGN_IN_SLOWED: OAuthError =
    OAuthError::new(Code::TooManyRequests, "sign_in.slowed", "Too many attempts. Wait a little and try again.");
pub const SIGN_UP_OFF: OAuthError = OAuthError::new(Code::AccessDenied, "sign_up.off", "Accounts here are made by invitation.");
pub const LOGIN_TAKEN: OAuthError = OAuthError::new(Code::Conflict, "person.login_taken", "This name is taken.");
pub const LOGIN_INVALID: OAuthError =
    OAuthError::new(Code::InvalidRequest, "person.login_invalid", "A login is 3 to 254 characters without spaces.");
pub const PASSWORD_WEAK: OAuthError =
    OAuthError::new(Code::InvalidRequest, "password.weak", "Use at least 12 characters, and not a well-known password.");
pub const PASSWORD_WRONG: OAuthError = OAuthError::new(Code::AccessDenied, "password.wrong", "The current password is wrong.");
pub const INVITATION_INVALID: OAuthError = OAuthError::new(
    Code::NotFound,
    "invitation.invalid",
    "This invitation was used, has expired, or never existed. Ask for a new one.",
);
pub const PASSWORD_RESET_INVALID: OAuthError = OAuthError::new(
    Code::NotFound,
    "password_reset.invalid",
    "This link was used, has expired, or never existed. Ask for a new one.",
);
pub const NOT_SIGNED_IN: OAuthError = OAuthError::new(Code::LoginRequired, "session.missing", "Sign in first.");

// Scopes and resources.
pub const SCOPE_MALFORMED: OAuthError =
    OAuthError::new(Code::InvalidScope, "scope.malformed", "scope must be words of printable ASCII separated by single spaces.");
pub const SCOPE_UNKNOWN: OAuthError =
    OAuthError::new(Code::InvalidScope, "scope.unknown", "A requested scope does not exist at this resource.");
pub const SCOPE_UNREGISTERED: OAuthError =
    OAuthError::new(Code::InvalidScope, "scope.unregistered", "This client is not registered for a requested scope.");
pub const SCOPE_WIDENED: OAuthError =
    OAuthError::new(Code::InvalidScope, "scope.widened", "The requested scope is wider than the grant.");
pub const SCOPE_EMPTY: OAuthError = OAuthError::new(Code::InvalidScope, "scope.empty", "Ask for at least one scope.");
pub const RESOURCE_MALFORMED: OAuthError =
    OAuthError::new(Code::InvalidTarget, "resource.malformed", "resource must be an absolute URI without a fragment.");
pub const RESOURCE_UNKNOWN: OAuthError =
    OAuthError::new(Code::InvalidTarget, "resource.unknown", "This server issues no tokens for this resource.");
pub const RESOURCE_MISSING: OAuthError =
    OAuthError::new(Code::InvalidTarget, "resource.missing", "Name the resource (RFC 8707) that the token is for.");
pub const RESOURCE_WIDENED: OAuthError =
    OAuthError::new(Code::InvalidTarget, "resource.widened", "The grant is for another resource.");
pub const RESOURCE_REPEATED: OAuthError =
    OAuthError::new(Code::InvalidTarget, "resource.repeated", "A token of this server is for one resource; send resource once.");
pub const RESOURCE_UNREGISTERED: OAuthError =
    OAuthError::new(Code::InvalidTarget, "resource.unregistered", "This client is not registered for this resource.");

// The token endpoint.
pub const GRANT_TYPE_UNKNOWN: OAuthError =
    OAuthError::new(Code::UnsupportedGrantType, "grant_type.unknown", "This grant_type is not supported here.");
pub const CODE_INVALID: OAuthError = OAuthError::new(
    Code::InvalidGrant,
    "code.invalid",
    "The authorization code is not one that this server issued to this client.",
);
pub const CODE_EXPIRED: OAuthError =
    OAuthError::new(Code::InvalidGrant, "code.expired", "The authorization code has expired. Start the authorization again.");
pub const CODE_REPLAYED: OAuthError =
    OAuthError::new(Code::InvalidGrant, "code.replayed", "The authorization code was used before. What it granted has been ended.");
pub const CODE_REDIRECT_URI: OAuthError =
    OAuthError::new(Code::InvalidGrant, "code.redirect_uri", "redirect_uri differs from the one of the authorization request.");
pub const CODE_VERIFIER_MISSING: OAuthError =
    OAuthError::new(Code::InvalidGrant, "code.verifier_missing", "code_verifier is required.");
pub const CODE_VERIFIER_WRONG: OAuthError =
    OAuthError::new(Code::InvalidGrant, "code.verifier_wrong", "code_verifier does not fit the code_challenge.");
pub const REFRESH_INVALID: OAuthError =
    OAuthError::new(Code::InvalidGrant, "refresh.invalid", "The refresh token is not one that this server issued to this client.");
pub const REFRESH_EXPIRED: OAuthError = OAuthError::new(Code::InvalidGrant, "refresh.expired", "The refresh token has expired.");
pub const REFRESH_REPLAYED: OAuthError =
    OAuthError::new(Code::InvalidGrant, "refresh.replayed", "The refresh token was used before. What it granted has been ended.");
pub const REFRESH_ENDED: OAuthError =
    OAuthError::new(Code::InvalidGrant, "refresh.ended", "The grant behind this refresh token has ended.");
pub const GRANT_PERSON: OAuthError =
    OAuthError::new(Code::InvalidGrant, "grant.person", "The person behind this grant may no longer act.");
pub const GRANT_CONSENT: OAuthError =
    OAuthError::new(Code::InvalidGrant, "grant.consent", "The consent behind this grant was withdrawn.");
pub const GRANT_APPROVAL: OAuthError = OAuthError::new(
    Code::InvalidGrant,
    "grant.approval",
    "The person behind this grant has to approve it again: send them to the authorization endpoint.",
);
pub const GRANT_RESOURCE: OAuthError =
    OAuthError::new(Code::InvalidGrant, "grant.resource", "The resource of this grant is no longer served.");

// Bearer tokens at our own endpoints.
pub const TOKEN_MISSING: OAuthError =
    OAuthError::new(Code::InvalidToken, "token.missing", "Send an access token in the Authorization header.");
pub const TOKEN_INVALID: OAuthError =
    OAuthError::new(Code::InvalidToken, "token.invalid", "The access token is invalid, expired or revoked.");
pub const TOKEN_SCOPE: OAuthError =
    OAuthError::new(Code::InsufficientScope, "token.scope", "The access token lacks the scope openid.");
pub const OPERATOR_TOKEN: OAuthError =
    OAuthError::new(Code::InvalidToken, "operator.token", "Send a valid operator token: Authorization: Bearer <token>.");
pub const TOKEN_TYPE_UNSUPPORTED: OAuthError =
    OAuthError::new(Code::UnsupportedTokenType, "revocation.token_type", "This kind of token cannot be revoked here.");

// The tracking API. Its SDKs throw events away on most answers: see `events::ingest`.
pub const TRACKING_JSON: OAuthError =
    OAuthError::new(Code::InvalidRequest, "tracking.json", "The request body is not JSON of this API.");
pub const TRACKING_TOO_LARGE: OAuthError = OAuthError::new(
    Code::InvalidRequest,
    "tracking.too_large",
    "The request is too large: 32 KB for a message, 500 KB for a batch.",
);
pub const TRACKING_ENCODING: OAuthError =
    OAuthError::new(Code::InvalidRequest, "tracking.encoding", "Send the body as it is, or with Content-Encoding: gzip.");
pub const TRACKING_INCOMPLETE: OAuthError = OAuthError::new(
    Code::TemporarilyUnavailable,
    "tracking.incomplete",
    "The request body broke off or took too long to arrive. Send it again.",
);
pub const TRACKING_CREDENTIALS: OAuthError = OAuthError::new(
    Code::InvalidClient,
    "tracking.credentials",
    "The Authorization header must be Basic with the write key, or Bearer with an access token.",
);
pub const TRACKING_KEY_MISSING: OAuthError =
    OAuthError::new(Code::InvalidClient, "tracking.key_missing", "Name the source by its write key: writeKey in the body.");
pub const TRACKING_KEY_UNKNOWN: OAuthError =
    OAuthError::new(Code::InvalidClient, "tracking.key_unknown", "No source here has this write key.");
pub const TRACKING_KEYS_DIFFER: OAuthError =
    OAuthError::new(Code::InvalidRequest, "tracking.keys_differ", "The Authorization header and the body name different sources.");
pub const TRACKING_SOURCE_UNKNOWN: OAuthError =
    OAuthError::new(Code::NotFound, "tracking.source_unknown", "No source here has this write key.");
pub const TRACKING_SOURCE_DISABLED: OAuthError =
    OAuthError::new(Code::AccessDenied, "tracking.source_disabled", "This source has been disabled by an operator.");
pub const TRACKING_CLIENT: OAuthError =
    OAuthError::new(Code::AccessDenied, "tracking.client", "This source takes the access tokens of another client.");
pub const TRACKING_CLIENT_DISABLED: OAuthError =
    OAuthError::new(Code::InvalidToken, "tracking.client_disabled", "The client of this access token is disabled or gone.");
pub const TRACKING_TOKEN: OAuthError =
    OAuthError::new(Code::InvalidToken, "tracking.token", "The access token is not one of this server for its tracking API.");
pub const TRACKING_TOKEN_NEEDED: OAuthError =
    OAuthError::new(Code::InvalidToken, "tracking.token_needed", "This source takes its write key only with an access token.");
pub const TRACKING_TOKEN_STALE: OAuthError = OAuthError::new(
    Code::StaleToken,
    "tracking.token_stale",
    "The access token has expired or was revoked. Fetch a new one and send this again.",
);
pub const TRACKING_BUSY: OAuthError =
    OAuthError::new(Code::TooManyRequests, "tracking.busy", "More events come in than can be taken at once. Send this again.");

// The Profile API.
pub const PROFILE_TOKEN: OAuthError = OAuthError::new(
    Code::InvalidClient,
    "profile.token",
    "Send a token of the Profile API as the user name of Authorization: Basic.",
);
pub const PROFILE_NOT_FOUND: OAuthError = OAuthError::new(Code::NotFound, "profile.not_found", "Profile was not found.");
pub const PROFILE_VALUE: OAuthError = OAuthError::new(Code::InvalidRequest, "profile.value", "A value is not acceptable.");
pub const PROFILE_RATE: OAuthError =
    OAuthError::new(Code::TooManyRequests, "profile.rate", "This space is asked more often than 100 times in a second.");

// The admin api.
pub const ADMIN_NOT_FOUND: OAuthError = OAuthError::new(Code::NotFound, "admin.not_found", "There is no such thing.");
pub const ADMIN_CONFLICT: OAuthError = OAuthError::new(Code::Conflict, "admin.conflict", "It exists already.");
pub const ADMIN_VALUE: OAuthError = OAuthError::new(Code::InvalidRequest, "admin.value", "A value is not acceptable.");
pub const ADMIN_CURSOR: OAuthError =
    OAuthError::new(Code::InvalidRequest, "admin.cursor", "This cursor is not one that this server made.");
pub const CONSUMER_REPLAY: OAuthError =
    OAuthError::new(Code::Conflict, "consumer.replay", "This consumer cannot read again what it has read.");
pub const WATCH_VIEWERS: OAuthError = OAuthError::new(
    Code::TooManyRequests,
    "watch.viewers",
    "As many watch the events of sources as may at once. End another view first.",
);

// Webhooks.
pub const WEBHOOK_UNKNOWN: OAuthError = OAuthError::new(Code::NotFound, "webhook.unknown", "No service is expected to call here.");
pub const WEBHOOK_SIGNATURE: OAuthError = OAuthError::new(
    Code::AccessDenied,
    "webhook.signature",
    "The call is not signed with the secret that is set for it here, or not in the form that is.",
);
pub const WEBHOOK_STALE: OAuthError = OAuthError::new(
    Code::AccessDenied,
    "webhook.stale",
    "The call was signed more than five minutes ago, or by a clock that is wrong.",
);
pub const WEBHOOK_MALFORMED: OAuthError = OAuthError::new(
    Code::InvalidRequest,
    "webhook.malformed",
    "The body is not text in UTF-8, or not all of it arrived, or its JSON is unreadable.",
);

// Trouble that passes.
pub const BUSY: OAuthError =
    OAuthError::new(Code::TemporarilyUnavailable, "server.busy", "The server is busy. Try again in a moment.");
pub const STORAGE_UNAVAILABLE: OAuthError =
    OAuthError::new(Code::TemporarilyUnavailable, "storage.unavailable", "Storage cannot be reached at the moment. Try again.");
pub const STORAGE_FULL: OAuthError =
    OAuthError::new(Code::TemporarilyUnavailable, "storage.full", "Storage is full. Try again later; nothing was lost.");
pub const LOG_UNAVAILABLE: OAuthError = OAuthError::new(
    Code::TemporarilyUnavailable,
    "log.unavailable",
    "The record of events cannot be written at the moment. Try again.",
);
pub const OVERLOADED: OAuthError =
    OAuthError::new(Code::TemporarilyUnavailable, "server.overloaded", "Too many requests at once. Try again in a moment.");
pub const INTERNAL: OAuthError =
    OAuthError::new(Code::ServerError, "server.internal", "Something went wrong here. It is on record under the request id.");

/// Every refusal there is. A house test holds that each has a test that provokes it.
pub const ALL: &[&OAuthError] = &[
    &REQUEST_MALFORMED,
    &REQUEST_MEDIA_TYPE,
    &REQUEST_JSON_MEDIA_TYPE,
    &REQUEST_JSON,
    &REQUEST_PARAMETER_REPEATED,
    &REQUEST_PARAMETER_MISSING,
    &REQUEST_PARAMETER_TOO_LONG,
    &REQUEST_TOO_LARGE,
    &REQUEST_NOT_FOUND,
    &REQUEST_METHOD,
    &CLIENT_UNKNOWN,
    &CLIENT_AUTHENTICATION_MISSING,
    &CLIENT_AUTHENTICATION_METHOD,
    &CLIENT_AUTHENTICATION_REPEATED,
    &CLIENT_CREDENTIALS_MALFORMED,
    &CLIENT_SECRET_WRONG,
    &CLIENT_DISABLED,
    &CLIENT_ROGUE,
    &CLIENT_GRANT_TYPE,
    &CLIENT_ASSERTION_TYPE,
    &CLIENT_ASSERTION_MALFORMED,
    &CLIENT_ASSERTION_ALGORITHM,
    &CLIENT_ASSERTION_SIGNATURE,
    &CLIENT_ASSERTION_AUDIENCE,
    &CLIENT_ASSERTION_ISSUER,
    &CLIENT_ASSERTION_EXPIRED,
    &CLIENT_ASSERTION_TOO_LONG,
    &CLIENT_ASSERTION_REPLAYED,
    &CLIENT_KEYS_UNAVAILABLE,
    &DOCUMENT_URL,
    &DOCUMENTS_OFF,
    &DOCUMENT_REFUSED,
    &DOCUMENT_UNAVAILABLE,
    &DOCUMENT_INVALID,
    &REGISTRATION_OFF,
    &REGISTRATION_TOKEN,
    &REGISTRATION_LIMIT,
    &REGISTRATION_REDIRECT_URI,
    &REGISTRATION_METADATA,
    &REGISTRATION_GRANT_TYPE,
    &REGISTRATION_KEYS,
    &RESPONSE_TYPE,
    &RESPONSE_MODE,
    &REDIRECT_URI_MISSING,
    &REDIRECT_URI_UNREGISTERED,
    &PKCE_MISSING,
    &PKCE_METHOD,
    &PKCE_CHALLENGE,
    &REQUEST_OBJECT,
    &REQUEST_URI,
    &PROMPT_INVALID,
    &MAX_AGE_INVALID,
    &LOGIN_REQUIRED,
    &CONSENT_REQUIRED,
    &CONSENT_REFUSED,
    &CONSENT_BOT,
    &AUTHORIZE_CLIENT_DISABLED,
    &FORM_EXPIRED,
    &FORM_FOREIGN,
    &SIGN_IN_WRONG,
    &SIGN_IN_SLOWED,
    &SIGN_UP_OFF,
    &LOGIN_TAKEN,
    &LOGIN_INVALID,
    &PASSWORD_WEAK,
    &PASSWORD_WRONG,
    &INVITATION_INVALID,
    &PASSWORD_RESET_INVALID,
    &NOT_SIGNED_IN,
    &SCOPE_MALFORMED,
    &SCOPE_UNKNOWN,
    &SCOPE_UNREGISTERED,
    &SCOPE_WIDENED,
    &SCOPE_EMPTY,
    &RESOURCE_MALFORMED,
    &RESOURCE_UNKNOWN,
    &RESOURCE_MISSING,
    &RESOURCE_WIDENED,
    &RESOURCE_REPEATED,
    &RESOURCE_UNREGISTERED,
    &GRANT_TYPE_UNKNOWN,
    &CODE_INVALID,
    &CODE_EXPIRED,
    &CODE_REPLAYED,
    &CODE_REDIRECT_URI,
    &CODE_VERIFIER_MISSING,
    &CODE_VERIFIER_WRONG,
    &REFRESH_INVALID,
    &REFRESH_EXPIRED,
    &REFRESH_REPLAYED,
    &REFRESH_ENDED,
    &GRANT_PERSON,
    &GRANT_CONSENT,
    &GRANT_APPROVAL,
    &GRANT_RESOURCE,
    &TOKEN_MISSING,
    &TOKEN_INVALID,
    &TOKEN_SCOPE,
    &OPERATOR_TOKEN,
    &TOKEN_TYPE_UNSUPPORTED,
    &TRACKING_JSON,
    &TRACKING_TOO_LARGE,
    &TRACKING_ENCODING,
    &TRACKING_INCOMPLETE,
    &TRACKING_CREDENTIALS,
    &TRACKING_KEY_MISSING,
    &TRACKING_KEY_UNKNOWN,
    &TRACKING_KEYS_DIFFER,
    &TRACKING_SOURCE_UNKNOWN,
    &TRACKING_SOURCE_DISABLED,
    &TRACKING_CLIENT,
    &TRACKING_CLIENT_DISABLED,
    &TRACKING_TOKEN,
    &TRACKING_TOKEN_NEEDED,
    &TRACKING_TOKEN_STALE,
    &TRACKING_BUSY,
    &PROFILE_TOKEN,
    &PROFILE_NOT_FOUND,
    &PROFILE_VALUE,
    &PROFILE_RATE,
    &ADMIN_NOT_FOUND,
    &ADMIN_CONFLICT,
    &ADMIN_VALUE,
    &ADMIN_CURSOR,
    &CONSUMER_REPLAY,
    &WATCH_VIEWERS,
    &BUSY,
    &WEBHOOK_UNKNOWN,
    &WEBHOOK_SIGNATURE,
    &WEBHOOK_STALE,
    &WEBHOOK_MALFORMED,
    &STORAGE_UNAVAILABLE,
    &STORAGE_FULL,
    &LOG_UNAVAILABLE,
    &OVERLOADED,
    &INTERNAL,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_unique_and_descriptions_fit_the_header_grammar() {
        let mut reasons: Vec<_> = ALL.iter().map(|refusal| refusal.reason).collect();
        reasons.sort_unstable();
        let count = reasons.len();
        reasons.dedup();
        assert_eq!(reasons.len(), count);
        for refusal in ALL {
            assert_eq!((*refusal).clone().because(refusal.description.clone()), **refusal, "{}", refusal.reason);
        }
    }
}
