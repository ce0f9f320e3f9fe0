//! For clients: discovery, registration, tokens, revocation, userinfo.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{FromRequestParts as _, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::error::Category;

use super::{address::Address, body, error::Refused, layers::AnyOrigin};
use crate::{
    domain::{
        client::ClientId,
        refusal::{OAuthError, REGISTRATION_METADATA, REQUEST_JSON, REQUEST_METHOD},
    },
    protocol::{metadata, parameters::Parameters, registration, revocation, token, userinfo},
    world::World,
};

/// How long others may keep our metadata, in seconds.
const METADATA_CACHING: HeaderValue = HeaderValue::from_static("public, max-age=300");
/// Room for the answer of the token endpoint, so that it need not grow; most are half as long.
const ANSWER_BYTES: usize = 2048;
/// The largest registration: whoever comes may send one, and all of it is kept.
const REGISTRATION_BYTES_MAX: usize = 16 * 1024;
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

pub(crate) fn router() -> Router<Arc<World>> {
    Router::new()
        .route("/token", post(token))
        .route("/register", post(register))
        .route("/revoke", post(revoke))
        .route("/userinfo", get(userinfo).post(userinfo))
        .method_not_allowed_fallback(|| async { REQUEST_METHOD })
        .layer(AnyOrigin)
}

/// Every form of the discovery address that clients try for an issuer with this path; all others are 404.
pub(crate) fn discovery(issuer_path: &str) -> Router<Arc<World>> {
    let mut router = Router::new()
        .route(&format!("/.well-known/oauth-authorization-server{issuer_path}"), get(metadata))
        .route(&format!("/.well-known/openid-configuration{issuer_path}"), get(metadata));
    if !issuer_path.is_empty() {
        router = router.route(&format!("{issuer_path}/.well-known/openid-configuration"), get(metadata));
    }
    router.method_not_allowed_fallback(|| async { REQUEST_METHOD }).layer(AnyOrigin)
}

async fn metadata(State(world): State<Arc<World>>) -> Response {
    let headers = [(header::CONTENT_TYPE, JSON), (header::CACHE_CONTROL, METADATA_CACHING)];
    (headers, metadata::document(&world).to_string()).into_response()
}

async fn token(State(world): State<Arc<World>>, request: Request) -> Result<Response, OAuthError> {
    let (mut head, body) = request.into_parts();
    let Ok(Address(address)) = Address::from_request_parts(&mut head, &world).await;
    let body = body::form(&head.headers, body).await?;
    let answered = token::respond(&world, authorization(&head.headers), &body, address, world.now()).await;
    let answer = match answered {
        Ok(answer) => answer,
        Err(refusal) => return Ok(refused_client(refusal, &body)),
    };
    let mut json_bytes = Vec::with_capacity(ANSWER_BYTES);
    serde_json::to_writer(&mut json_bytes, &answer).expect("our own types serialise to JSON");
    Ok(json(StatusCode::OK, json_bytes))
}

async fn register(
    State(world): State<Arc<World>>,
    Address(address): Address,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, OAuthError> {
    let bytes = body::json_bytes(&headers, body, REGISTRATION_BYTES_MAX).await.map_err(OAuthError::in_words_of_the_registry)?;
    let request = serde_json::from_slice(&bytes).map_err(|error| match error.classify() {
        Category::Data => REGISTRATION_METADATA.because(format!("The client metadata is not acceptable: {error}.")),
        Category::Io | Category::Syntax | Category::Eof => REQUEST_JSON,
    })?;
    let answer = registration::respond(&world, authorization(&headers), request, address, world.now()).await?;
    Ok(json(StatusCode::CREATED, serde_json::to_vec(&answer).expect("our own types serialise to JSON")))
}

async fn revoke(State(world): State<Arc<World>>, headers: HeaderMap, body: Body) -> Result<Response, OAuthError> {
    let body = body::form(&headers, body).await?;
    revocation::respond(&world, authorization(&headers), &body, world.now()).await?;
    Ok(json(StatusCode::OK, b"{}".to_vec()))
}

async fn userinfo(State(world): State<Arc<World>>, headers: HeaderMap) -> Result<Response, OAuthError> {
    let answer = userinfo::respond(&world, authorization(&headers), world.now()).await?;
    Ok(json(StatusCode::OK, serde_json::to_vec(&answer).expect("our own types serialise to JSON")))
}

/// A refusal, on record with the client that the form names.
fn refused_client(refusal: OAuthError, form: &[u8]) -> Response {
    let client = Parameters::parse(form).ok().and_then(|parameters| ClientId::parse(parameters.get("client_id")?));
    let refused = Refused { client, ..Refused::by_nobody(&refusal) };
    let mut response = refusal.into_response();
    response.extensions_mut().insert(refused);
    response
}

/// A JSON answer that nobody may keep.
pub(crate) fn json(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().extend([(header::CONTENT_TYPE, JSON), (header::CACHE_CONTROL, NO_STORE), (header::PRAGMA, NO_CACHE)]);
    response
}

/// The Authorization header. Of two, neither is believed: the caller finds the credentials malformed.
pub(crate) fn authorization(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (Some(only), None) => Some(only.as_bytes()),
        (Some(_), Some(_)) => Some(b""),
        (None, _) => None,
    }
}
