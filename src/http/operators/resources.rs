//! Resources: the servers that accept our tokens.

use std::sync::Arc;

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};

use super::{
    answer,
    request::{Body, Named, Operator, Query},
};
use crate::{
    domain::{
        id::{Id, ResourceKind},
        refusal::OAuthError,
    },
    protocol::administration::{
        paging::{Page, PageRequest},
        resources::{self, NewResource, ResourceChange, ResourceRecord, ResourceWithSecret},
    },
    world::World,
};

/// Lists the resources.
#[utoipa::path(get, path = "/admin/v1/resources", tag = "resources", params(PageRequest),
    responses((status = 200, description = "A page of resources", body = Page<ResourceRecord>)))]
pub(super) async fn list(
    _: Operator,
    State(world): State<Arc<World>>,
    Query(page): Query<PageRequest>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::OK, &resources::list(&world, page, world.now()).await?))
}

/// Registers a resource; the secret with which it may introspect tokens is told only now.
#[utoipa::path(post, path = "/admin/v1/resources", tag = "resources", request_body = NewResource,
    responses((status = 201, description = "The resource", body = ResourceWithSecret)))]
pub(super) async fn create(
    Operator(operator): Operator,
    State(world): State<Arc<World>>,
    Body(new): Body<NewResource>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::CREATED, &resources::create(&world, operator, new, world.now()).await?))
}

/// Changes name, scopes or token lifetime.
#[utoipa::path(patch, path = "/admin/v1/resources/{resource_id}", tag = "resources", params(("resource_id" = String, Path)),
    request_body = ResourceChange, responses((status = 200, description = "The resource as it is now", body = ResourceRecord)))]
pub(super) async fn change(
    Operator(operator): Operator,
    State(world): State<Arc<World>>,
    Named(id): Named<Id<ResourceKind>>,
    Body(change): Body<ResourceChange>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::OK, &resources::change(&world, operator, id, change, world.now()).await?))
}

/// Gives a resource a new secret, told only now; the one before is dead at once.
#[utoipa::path(post, path = "/admin/v1/resources/{resource_id}/secret", tag = "resources", params(("resource_id" = String, Path)),
    responses((status = 200, description = "The resource with its new secret", body = ResourceWithSecret)))]
pub(super) async fn renew_secret(
    Operator(operator): Operator,
    State(world): State<Arc<World>>,
    Named(id): Named<Id<ResourceKind>>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::OK, &resources::renew_secret(&world, operator, id, world.now()).await?))
}

/// Forgets a resource: no token is issued for it any more.
#[utoipa::path(delete, path = "/admin/v1/resources/{resource_id}", tag = "resources", params(("resource_id" = String, Path)),
    responses((status = 204, description = "It is forgotten")))]
pub(super) async fn delete(
    Operator(operator): Operator,
    State(world): State<Arc<World>>,
    Named(id): Named<Id<ResourceKind>>,
) -> Result<Response, OAuthError> {
    resources::delete(&world, operator, id, world.now()).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
