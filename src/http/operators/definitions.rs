//! What is computed of profiles, and how they are told apart.

use std::sync::Arc;

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};

use super::{
    answer,
    request::{Body, Named, Operator},
};
use crate::{
    domain::{
        id::{AudienceKind, ComputedTraitKind, Id},
        refusal::OAuthError,
    },
    protocol::administration::definitions::{self, Definition, Definitions},
    world::World,
};

/// Lists the computed traits.
#[utoipa::path(get, path = "/admin/v1/computed-traits", tag = "profiles",
    responses((status = 200, description = "All of them", body = Definitions)))]
pub(super) async fn list_computed_traits(_: Operator, State(world): State<Arc<World>>) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::OK, &definitions::computed_traits(&world).await?))
}

/// Has a trait computed of the events that come from now on: `key`, `over` (`event`, `only_if`), `function`, `property`, `days`.
#[utoipa::path(post, path = "/admin/v1/computed-traits", tag = "profiles", request_body = Definition,
    responses((status = 201, description = "The computed trait", body = Definition)))]
pub(super) async fn create_computed_trait(
    Operator(operator): Operator,
    State(world): State<Arc<World>>,
    Body(new): Body<Definition>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::CREATED, &definitions::create_computed_trait(&world, operator, new, world.now()).await?))
}

/// Takes a computed trait away.
#[utoipa::path(delete, path = "/admin/v1/computed-traits/{computed_trait_id}", tag = "profiles",
    params(("computed_trait_id" = String, Path)), responses((status = 204, description = "It is not shown any longer")))]
pub(super) async fn delete_computed_trait(
    Operator(operator): Operator,
    State(world): State<Arc<World>>,
    Named(id): Named<Id<ComputedTraitKind>>,
) -> Result<Response, OAuthError> {
    definitions::delete_computed_trait(&world, operator, id, world.now()).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Lists the audiences.
#[utoipa::path(get, path = "/admin/v1/audiences", tag = "profiles",
    responses((status = 200, description = "All of them", body = Definitions)))]
pub(super) async fn list_audiences(_: Operator, State(world): State<Arc<World>>) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::OK, &definitions::audiences(&world).await?))
}

/// Makes an audience; whoever belongs to it enters it soon: `key`, `collection`, `condition`.
#[utoipa::path(post, path = "/admin/v1/audiences", tag = "profiles", request_body = Definition,
    responses((status = 201, description = "The audience", body = Definition)))]
pub(super) async fn create_audience(
    Operator(operator): Operator,
    State(world): State<Arc<World>>,
    Body(new): Body<Definition>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::CREATED, &definitions::create_audience(&world, operator, new, world.now()).await?))
}

/// Takes an audience away; nobody is told to have left it.
#[utoipa::path(delete, path = "/admin/v1/audiences/{audience_id}", tag = "profiles", params(("audience_id" = String, Path)),
    responses((status = 204, description = "It is gone")))]
pub(super) async fn delete_audience(
    Operator(operator): Operator,
    State(world): State<Arc<World>>,
    Named(id): Named<Id<AudienceKind>>,
) -> Result<Response, OAuthError> {
    definitions::delete_audience(&world, operator, id, world.now()).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Shows the rules of identity, as they were last set.
#[utoipa::path(get, path = "/admin/v1/identity-rules", tag = "profiles",
    responses((status = 200, description = "The rules", body = Definition)))]
pub(super) async fn show_rules(_: Operator, State(world): State<Arc<World>>) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::OK, &definitions::rules(&world).await?))
}

/// Sets rules for what comes from now on; what is left out is as in the default. They are in force from their place in the log.
#[utoipa::path(put, path = "/admin/v1/identity-rules", tag = "profiles", request_body = Definition,
    responses((status = 200, description = "The rules", body = Definition)))]
pub(super) async fn put_rules(
    Operator(operator): Operator,
    State(world): State<Arc<World>>,
    Body(rules): Body<Definition>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::OK, &definitions::set_rules(&world, operator, rules, world.now()).await?))
}
