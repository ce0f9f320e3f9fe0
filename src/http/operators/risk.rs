//! What speaks against agents and people, and the rule that acts on it.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};

use super::{
    answer,
    request::{Body, Operator, Query},
};
use crate::{
    domain::{refusal::OAuthError, risk::RiskRule},
    protocol::administration::{
        paging::{Page, PageRequest},
        risk::{self, PersonRiskRecord, RiskRecord},
    },
    world::World,
};

/// Lists the agents that something speaks against, with the events that led to it.
#[utoipa::path(get, path = "/admin/v1/risk", tag = "risk", params(PageRequest),
    responses((status = 200, description = "A page of agents", body = Page<RiskRecord>)))]
pub(super) async fn list(
    _: Operator,
    State(world): State<Arc<World>>,
    Query(page): Query<PageRequest>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::OK, &risk::list(&world, page, world.now()).await?))
}

/// Lists the people about whose account, or about an agent as it acts for them, there is a signal, with the events that led to it.
#[utoipa::path(get, path = "/admin/v1/risk/people", tag = "risk", params(PageRequest),
    responses((status = 200, description = "A page of people", body = Page<PersonRiskRecord>)))]
pub(super) async fn list_people(
    _: Operator,
    State(world): State<Arc<World>>,
    Query(page): Query<PageRequest>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::OK, &risk::list_people(&world, page, world.now()).await?))
}

/// Shows what is done about risk, and from which score on.
#[utoipa::path(get, path = "/admin/v1/risk/rule", tag = "risk", responses((status = 200, description = "The rule", body = RiskRule)))]
pub(super) async fn rule(_: Operator, State(world): State<Arc<World>>) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::OK, &risk::rule(&world).await?))
}

/// Sets what is done about risk, and from which score on. A suspended agent is a disabled client: enabling it forgets what spoke against
/// it. What a person granted rests until they consent again, or ends.
#[utoipa::path(put, path = "/admin/v1/risk/rule", tag = "risk", request_body = RiskRule,
    responses((status = 200, description = "The rule as it is now", body = RiskRule)))]
pub(super) async fn set_rule(
    Operator(operator): Operator,
    State(world): State<Arc<World>>,
    Body(rule): Body<RiskRule>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::OK, &risk::set_rule(&world, operator, rule, world.now()).await?))
}
