//! Specifications, one file each; a test is named by its section.

/// RFC 8414, OpenID Connect Discovery, JWKS.
mod discovery;
/// OAuth 2.1 §4.1.1 and §4.1.2, RFC 9207, RFC 8707 at the authorization endpoint.
mod authorization_endpoint;
/// OAuth 2.1 §3.2 and §4: what the token endpoint answers.
mod token_endpoint;
/// RFC 9068: the access token.
mod access_token;
/// RFC 7662.
mod introspection;
/// RFC 7009.
mod revocation;
/// OpenID Connect Core: ID token and userinfo.
mod openid;
/// The Fetch standard's CORS, as clients in browsers need it.
mod cors;
/// The form of requests: RFC 6749 §3, RFC 9110.
mod requests;
/// RFC 6749 §2.3: how clients prove who they are.
mod client_authentication;
/// RFC 7523 §2.2: private_key_jwt.
mod client_assertion;
/// RFC 7591.
mod registration;
/// Client ID Metadata Documents.
mod client_metadata_document;
