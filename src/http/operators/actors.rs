//! Who is who. The id of an actor is percent-encoded in the path, slashes too.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};

use super::{
    answer,
    request::{Body, Named, Operator, Query},
};
use crate::{
    domain::{actor::ActorId, refusal::OAuthError},
    protocol::administration::{
        actors::{self, ActorRecord, ActorWithHistory, ActorsRequest, NewWord},
        paging::Page,
    },
    world::World,
};

/// Lists the actors of a kind.
#[utoipa::path(get, path = "/admin/v1/actors", tag = "actors", params(ActorsRequest),
    responses((status = 200, description = "A page of actors", body = Page<ActorRecord>)))]
pub(super) async fn list(
    _: Operator,
    State(world): State<Arc<World>>,
    Query(request): Query<ActorsRequest>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::OK, &actors::list(&world, request, world.now()).await?))
}

/// Shows an actor with the evidence that led to its kind.
#[utoipa::path(get, path = "/admin/v1/actors/{actor_id}", tag = "actors", params(("actor_id" = String, Path)),
    responses((status = 200, description = "The actor", body = ActorWithHistory)))]
pub(super) async fn show(
    _: Operator,
    State(world): State<Arc<World>>,
    Named(actor): Named<ActorId>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::OK, &actors::show(&world, actor).await?))
}

/// Says what an actor is, whatever was seen of it. A rogue gets no tokens, and those that it holds are dead.
#[utoipa::path(put, path = "/admin/v1/actors/{actor_id}/kind", tag = "actors", params(("actor_id" = String, Path)),
    request_body = NewWord, responses((status = 200, description = "The actor as it is now", body = ActorWithHistory)))]
pub(super) async fn set_kind(
    Operator(operator): Operator,
    State(world): State<Arc<World>>,
    Named(actor): Named<ActorId>,
    Body(word): Body<NewWord>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::OK, &actors::set_kind(&world, operator, actor, word, world.now()).await?))
}

/// Takes the operator's word back: what was seen counts again.
#[utoipa::path(delete, path = "/admin/v1/actors/{actor_id}/kind", tag = "actors", params(("actor_id" = String, Path)),
    responses((status = 200, description = "The actor as it is now", body = ActorWithHistory)))]
pub(super) async fn lift_kind(
    Operator(operator): Operator,
    State(world): State<Arc<World>>,
    Named(actor): Named<ActorId>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::OK, &actors::lift_kind(&world, operator, actor, world.now()).await?))
}
