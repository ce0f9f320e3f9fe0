//! What lets others in: initial access tokens for clients, and operators.

use std::sync::Arc;

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};

use super::{
    answer,
    request::{Body, Named, Operator, Query},
};
use crate::{
    domain::{
        id::{Id, OperatorKind},
        refusal::OAuthError,
    },
    protocol::administration::{
        operators::{self, NewOperator, OperatorCreated, OperatorRecord},
        paging::{Page, PageRequest},
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

/// Lists the operators.
#[utoipa::path(get, path = "/admin/v1/operators", tag = "operators", params(PageRequest),
    responses((status = 200, description = "A page of operators", body = Page<OperatorRecord>)))]
pub(super) async fn list_operators(
    _: Operator,
    State(world): State<Arc<World>>,
    Query(page): Query<PageRequest>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::OK, &operators::list(&world, page, world.now()).await?))
}

/// Adds an operator, whose token is told only now.
#[utoipa::path(post, path = "/admin/v1/operators", tag = "operators", request_body = NewOperator,
    responses((status = 201, description = "The operator", body = OperatorCreated)))]
pub(super) async fn create_operator(
    Operator(operator): Operator,
    State(world): State<Arc<World>>,
    Body(new): Body<NewOperator>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::CREATED, &operators::create(&world, operator, new, world.now()).await?))
}

/// Removes an operator, whose token is dead at once. The last one stays.
#[utoipa::path(delete, path = "/admin/v1/operators/{operator_id}", tag = "operators", params(("operator_id" = String, Path)),
    responses((status = 204, description = "They are removed")))]
pub(super) async fn remove_operator(
    Operator(operator): Operator,
    State(world): State<Arc<World>>,
    Named(id): Named<Id<OperatorKind>>,
) -> Result<Response, OAuthError> {
    operators::remove(&world, operator, id, world.now()).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
