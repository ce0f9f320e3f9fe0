//! Grants: what clients were allowed.

use std::sync::Arc;

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};

use super::{
    answer,
    request::{Named, Operator, Query},
};
use crate::{
    domain::{
        id::{GrantKind, Id},
        refusal::OAuthError,
    },
    protocol::administration::{
        grants::{self, GrantRecord, GrantsRequest},
        paging::Page,
    },
    world::World,
};

/// Lists grants, of one person or client if named.
#[utoipa::path(get, path = "/admin/v1/grants", tag = "grants", params(GrantsRequest),
    responses((status = 200, description = "A page of grants", body = Page<GrantRecord>)))]
pub(super) async fn list(
    _: Operator,
    State(world): State<Arc<World>>,
    Query(request): Query<GrantsRequest>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::OK, &grants::list(&world, request, world.now()).await?))
}

/// Ends a grant and every token under it.
#[utoipa::path(delete, path = "/admin/v1/grants/{grant_id}", tag = "grants", params(("grant_id" = String, Path)),
    responses((status = 204, description = "It has ended")))]
pub(super) async fn end(
    Operator(operator): Operator,
    State(world): State<Arc<World>>,
    Named(id): Named<Id<GrantKind>>,
) -> Result<Response, OAuthError> {
    grants::end(&world, operator, id, world.now()).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
