//! Tracking plans: which events a source is to send, and what is to be in them.

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
        id::{Id, TrackingPlanKind},
        refusal::OAuthError,
    },
    protocol::administration::{
        paging::{Page, PageRequest},
        tracking_plans::{self, NewTrackingPlan, TrackingPlanChange, TrackingPlanRecord},
    },
    world::World,
};

/// Lists the tracking plans.
#[utoipa::path(get, path = "/admin/v1/tracking-plans", tag = "tracking-plans", params(PageRequest),
    responses((status = 200, description = "A page of tracking plans", body = Page<TrackingPlanRecord>)))]
pub(super) async fn list(
    _: Operator,
    State(world): State<Arc<World>>,
    Query(page): Query<PageRequest>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::OK, &tracking_plans::list(&world, page, world.now()).await?))
}

/// Makes a tracking plan. What could not be applied is refused, with what is wrong in it.
#[utoipa::path(post, path = "/admin/v1/tracking-plans", tag = "tracking-plans", request_body = NewTrackingPlan,
    responses((status = 201, description = "The tracking plan", body = TrackingPlanRecord)))]
pub(super) async fn create(
    Operator(operator): Operator,
    State(world): State<Arc<World>>,
    Body(new): Body<NewTrackingPlan>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::CREATED, &tracking_plans::create(&world, operator, new, world.now()).await?))
}

/// Shows all that is known of a tracking plan.
#[utoipa::path(get, path = "/admin/v1/tracking-plans/{tracking_plan_id}", tag = "tracking-plans", params(("tracking_plan_id" = String, Path)),
    responses((status = 200, description = "The tracking plan", body = TrackingPlanRecord)))]
pub(super) async fn show(
    _: Operator,
    State(world): State<Arc<World>>,
    Named(id): Named<Id<TrackingPlanKind>>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::OK, &tracking_plans::show(&world, id).await?))
}

/// Changes a tracking plan; what is absent stays.
#[utoipa::path(patch, path = "/admin/v1/tracking-plans/{tracking_plan_id}", tag = "tracking-plans", params(("tracking_plan_id" = String, Path)),
    request_body = TrackingPlanChange, responses((status = 200, description = "The tracking plan as it is now", body = TrackingPlanRecord)))]
pub(super) async fn change(
    Operator(operator): Operator,
    State(world): State<Arc<World>>,
    Named(id): Named<Id<TrackingPlanKind>>,
    Body(change): Body<TrackingPlanChange>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::OK, &tracking_plans::change(&world, operator, id, change, world.now()).await?))
}

/// Forgets a tracking plan: the events of its sources go on as they are.
#[utoipa::path(delete, path = "/admin/v1/tracking-plans/{tracking_plan_id}", tag = "tracking-plans", params(("tracking_plan_id" = String, Path)),
    responses((status = 204, description = "It is forgotten")))]
pub(super) async fn delete(
    Operator(operator): Operator,
    State(world): State<Arc<World>>,
    Named(id): Named<Id<TrackingPlanKind>>,
) -> Result<Response, OAuthError> {
    tracking_plans::delete(&world, operator, id, world.now()).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
