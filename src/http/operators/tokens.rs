//! What lets others in: initial access tokens for clients, and operators.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};

use super::{
    answer,
    request::{Body, Operator},
};
use crate::{
    domain::refusal::OAuthError,
    protocol::administration::{
        self, NewOperator, OperatorCreated,
        tokens::{self, InitialAccessToken, NewInitialAccessToken},
    },
    world::World,
};

/// Makes a token, told only now, whose holder may register clients for a week where registration needs one.
#[utoipa::path(post, path = "/admin/v1/initial-access-tokens", tag = "clients", request_body = NewInitialAccessToken,
    responses((status = 201, description = "The token", body = InitialAccessToken)))]
pub(super) async fn issue(
    Operator(operator): Operator,
    State(world): State<Arc<World>>,
    Body(new): Body<NewInitialAccessToken>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::CREATED, &tokens::issue(&world, operator, new, world.now()).await?))
}

/// Adds an operator, whose token is told only now.
#[utoipa::path(post, path = "/admin/v1/operators", tag = "operators", request_body = NewOperator,
    responses((status = 201, description = "The operator", body = OperatorCreated)))]
pub(super) async fn create_operator(
    Operator(operator): Operator,
    State(world): State<Arc<World>>,
    Body(new): Body<NewOperator>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::CREATED, &administration::create_operator(&world, operator, new, world.now()).await?))
}
