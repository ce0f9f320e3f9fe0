//! The keys that sign tokens.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};

use super::{
    answer,
    request::{Operator, Query},
};
use crate::{
    domain::refusal::OAuthError,
    keys::KeyStatus,
    protocol::administration::{
        keys,
        paging::{Page, PageRequest},
    },
    world::World,
};

/// Lists the keys: the one that signs, the one to come, and those whose tokens are still valid.
#[utoipa::path(get, path = "/admin/v1/keys", tag = "keys", params(PageRequest),
    responses((status = 200, description = "The keys", body = Page<KeyStatus>)))]
pub(super) async fn list(
    _: Operator,
    State(world): State<Arc<World>>,
    Query(page): Query<PageRequest>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::OK, &keys::list(&world, page, world.now()).await?))
}

/// Signs with the next key from now on; tokens that were signed before stay valid. Refused (409) until whoever caches our key set has
/// that key.
#[utoipa::path(post, path = "/admin/v1/keys/rotate", tag = "keys",
    responses((status = 200, description = "The key that signs now", body = KeyStatus)))]
pub(super) async fn rotate(Operator(operator): Operator, State(world): State<Arc<World>>) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::OK, &keys::rotate(&world, operator, world.now()).await?))
}
