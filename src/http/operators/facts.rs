//! The facts on record.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};

use super::{
    answer,
    request::{Operator, Query},
};
use crate::{
    domain::refusal::OAuthError,
    protocol::administration::facts::{self, FactsPage, FactsRequest},
    world::World,
};

/// Reads facts from an offset on, the oldest first.
#[utoipa::path(get, path = "/admin/v1/events", tag = "events", params(FactsRequest),
    responses((status = 200, description = "Facts", body = FactsPage)))]
pub(super) async fn list(
    _: Operator,
    State(world): State<Arc<World>>,
    Query(request): Query<FactsRequest>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::OK, &facts::list(&world, request).await?))
}
