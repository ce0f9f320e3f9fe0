//! What models predict of profiles.

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
        id::{Id, PredictedTraitKind},
        refusal::OAuthError,
    },
    protocol::administration::predicted_traits::{self, NewPredictedTrait, PredictedTraitRecord, PredictedTraits},
    world::World,
};

/// Lists the predicted traits, and how their models are doing.
#[utoipa::path(get, path = "/admin/v1/predicted-traits", tag = "profiles",
    responses((status = 200, description = "All of them", body = PredictedTraits)))]
pub(super) async fn list(_: Operator, State(world): State<Arc<World>>) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::OK, &predicted_traits::list(&world).await?))
}

/// Has a trait predicted, by a model of your own, of the profiles that change from now on.
#[utoipa::path(post, path = "/admin/v1/predicted-traits", tag = "profiles", request_body = NewPredictedTrait,
    responses((status = 201, description = "The predicted trait", body = PredictedTraitRecord)))]
pub(super) async fn create(
    Operator(operator): Operator,
    State(world): State<Arc<World>>,
    Body(new): Body<NewPredictedTrait>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::CREATED, &predicted_traits::create(&world, operator, new, world.now()).await?))
}

/// Has a model asked no longer; what it said stays.
#[utoipa::path(delete, path = "/admin/v1/predicted-traits/{predicted_trait_id}", tag = "profiles",
    params(("predicted_trait_id" = String, Path)), responses((status = 204, description = "It is asked no longer")))]
pub(super) async fn delete(
    Operator(operator): Operator,
    State(world): State<Arc<World>>,
    Named(id): Named<Id<PredictedTraitKind>>,
) -> Result<Response, OAuthError> {
    predicted_traits::delete(&world, operator, id, world.now()).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
