//! For resource servers: introspection, and the keys to verify our tokens with.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};

use super::{
    body,
    clients::{authorization, json},
    layers::AnyOrigin,
};
use crate::{
    domain::refusal::{OAuthError, REQUEST_METHOD},
    keys::JWKS_MAX_AGE,
    protocol::introspection,
    world::World,
};

pub(crate) fn router() -> Router<Arc<World>> {
    let keys = Router::new().route("/jwks", get(jwks)).method_not_allowed_fallback(|| async { REQUEST_METHOD }).layer(AnyOrigin);
    Router::new().route("/introspect", post(introspect)).merge(keys).method_not_allowed_fallback(|| async { REQUEST_METHOD })
}

async fn introspect(State(world): State<Arc<World>>, request: Request) -> Result<Response, OAuthError> {
    let (head, body) = request.into_parts();
    let body = body::form(&head.headers, body).await?;
    let answer = introspection::respond(&world, authorization(&head.headers), &body, world.now()).await?;
    Ok(json(StatusCode::OK, answer.told.into_bytes()))
}

async fn jwks(State(world): State<Arc<World>>) -> Response {
    let caching = HeaderValue::try_from(format!("public, max-age={}", JWKS_MAX_AGE.as_secs())).expect("digits are ASCII");
    let headers = [(header::CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json")), (header::CACHE_CONTROL, caching)];
    (headers, world.keys.jwks()).into_response()
}
