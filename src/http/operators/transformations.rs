//! Transformations: programs for the events of sources.

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
        id::{Id, TransformationKind},
        refusal::OAuthError,
    },
    protocol::administration::{
        paging::{Page, PageRequest},
        transformations::{self, NewTransformation, TransformationChange, TransformationRecord, TransformationTrial, TrialRecord},
    },
    world::World,
};

/// Lists the transformations.
#[utoipa::path(get, path = "/admin/v1/transformations", tag = "transformations", params(PageRequest),
    responses((status = 200, description = "A page of transformations", body = Page<TransformationRecord>)))]
pub(super) async fn list(
    _: Operator,
    State(world): State<Arc<World>>,
    Query(page): Query<PageRequest>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::OK, &transformations::list(&world, page, world.now()).await?))
}

/// Makes a transformation. What could not be applied is refused, with what is wrong in it.
#[utoipa::path(post, path = "/admin/v1/transformations", tag = "transformations", request_body = NewTransformation,
    responses((status = 201, description = "The transformation", body = TransformationRecord)))]
pub(super) async fn create(
    Operator(operator): Operator,
    State(world): State<Arc<World>>,
    Body(new): Body<NewTransformation>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::CREATED, &transformations::create(&world, operator, new, world.now()).await?))
}

/// Compiles a program and runs it on a sample event, inside the bounds that it would have; changes nothing.
#[utoipa::path(post, path = "/admin/v1/transformations/test", tag = "transformations", request_body = TransformationTrial,
    responses((status = 200, description = "What came of it; empty if the program is sound and there was no event", body = TrialRecord)))]
pub(super) async fn try_out(
    _: Operator,
    State(world): State<Arc<World>>,
    Body(trial): Body<TransformationTrial>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::OK, &transformations::try_out(&world, trial).await?))
}

/// Shows all that is known of a transformation.
#[utoipa::path(get, path = "/admin/v1/transformations/{transformation_id}", tag = "transformations", params(("transformation_id" = String, Path)),
    responses((status = 200, description = "The transformation", body = TransformationRecord)))]
pub(super) async fn show(
    _: Operator,
    State(world): State<Arc<World>>,
    Named(id): Named<Id<TransformationKind>>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::OK, &transformations::show(&world, id).await?))
}

/// Changes a transformation; what is absent stays.
#[utoipa::path(patch, path = "/admin/v1/transformations/{transformation_id}", tag = "transformations", params(("transformation_id" = String, Path)),
    request_body = TransformationChange, responses((status = 200, description = "The transformation as it is now", body = TransformationRecord)))]
pub(super) async fn change(
    Operator(operator): Operator,
    State(world): State<Arc<World>>,
    Named(id): Named<Id<TransformationKind>>,
    Body(change): Body<TransformationChange>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::OK, &transformations::change(&world, operator, id, change, world.now()).await?))
}

/// Forgets a transformation: the events of its sources go on as they are.
#[utoipa::path(delete, path = "/admin/v1/transformations/{transformation_id}", tag = "transformations", params(("transformation_id" = String, Path)),
    responses((status = 204, description = "It is forgotten")))]
pub(super) async fn delete(
    Operator(operator): Operator,
    State(world): State<Arc<World>>,
    Named(id): Named<Id<TransformationKind>>,
) -> Result<Response, OAuthError> {
    transformations::delete(&world, operator, id, world.now()).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
