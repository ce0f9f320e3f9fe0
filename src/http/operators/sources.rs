//! Sources: whatever sends customer events to us.

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
        id::{Id, SourceKind},
        refusal::OAuthError,
    },
    protocol::administration::{
        paging::{Page, PageRequest},
        sources::{self, NewSource, SourceChange, SourceRecord, SourceWithKey},
        webhooks::{self, NewWebhook, WebhookRecord},
    },
    world::World,
};

/// Lists the sources.
#[utoipa::path(get, path = "/admin/v1/sources", tag = "sources", params(PageRequest),
    responses((status = 200, description = "A page of sources", body = Page<SourceRecord>)))]
pub(super) async fn list(
    _: Operator,
    State(world): State<Arc<World>>,
    Query(page): Query<PageRequest>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::OK, &sources::list(&world, page, world.now()).await?))
}

/// Makes a source; the write key with which it sends events is told only now.
#[utoipa::path(post, path = "/admin/v1/sources", tag = "sources", request_body = NewSource,
    responses((status = 201, description = "The source", body = SourceWithKey)))]
pub(super) async fn create(
    Operator(operator): Operator,
    State(world): State<Arc<World>>,
    Body(new): Body<NewSource>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::CREATED, &sources::create(&world, operator, new, world.now()).await?))
}

/// Shows all that is known of a source.
#[utoipa::path(get, path = "/admin/v1/sources/{source_id}", tag = "sources", params(("source_id" = String, Path)),
    responses((status = 200, description = "The source", body = SourceRecord)))]
pub(super) async fn show(
    _: Operator,
    State(world): State<Arc<World>>,
    Named(id): Named<Id<SourceKind>>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::OK, &sources::show(&world, id).await?))
}

/// Changes name, client or demands; disables or enables.
#[utoipa::path(patch, path = "/admin/v1/sources/{source_id}", tag = "sources", params(("source_id" = String, Path)),
    request_body = SourceChange, responses((status = 200, description = "The source as it is now", body = SourceRecord)))]
pub(super) async fn change(
    Operator(operator): Operator,
    State(world): State<Arc<World>>,
    Named(id): Named<Id<SourceKind>>,
    Body(change): Body<SourceChange>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::OK, &sources::change(&world, operator, id, change, world.now()).await?))
}

/// Gives a source a new write key, told only now; the one before is dead at once.
#[utoipa::path(post, path = "/admin/v1/sources/{source_id}/write-key", tag = "sources", params(("source_id" = String, Path)),
    responses((status = 200, description = "The source with its new write key", body = SourceWithKey)))]
pub(super) async fn renew_write_key(
    Operator(operator): Operator,
    State(world): State<Arc<World>>,
    Named(id): Named<Id<SourceKind>>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::OK, &sources::renew_write_key(&world, operator, id, world.now()).await?))
}

/// Forgets a source; what it sent stays.
#[utoipa::path(delete, path = "/admin/v1/sources/{source_id}", tag = "sources", params(("source_id" = String, Path)),
    responses((status = 204, description = "It is forgotten")))]
pub(super) async fn delete(
    Operator(operator): Operator,
    State(world): State<Arc<World>>,
    Named(id): Named<Id<SourceKind>>,
) -> Result<Response, OAuthError> {
    sources::delete(&world, operator, id, world.now()).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Shows how the calls of a webhook's service are checked, without the secret.
#[utoipa::path(get, path = "/admin/v1/sources/{source_id}/webhook", tag = "sources", params(("source_id" = String, Path)),
    responses((status = 200, description = "How they are checked", body = WebhookRecord)))]
pub(super) async fn show_webhook(
    _: Operator,
    State(world): State<Arc<World>>,
    Named(id): Named<Id<SourceKind>>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::OK, &webhooks::show(&world, id).await?))
}

/// Says how the calls of a webhook's service are checked from now on.
#[utoipa::path(put, path = "/admin/v1/sources/{source_id}/webhook", tag = "sources", params(("source_id" = String, Path)),
    request_body = NewWebhook, responses((status = 200, description = "How they are checked", body = WebhookRecord)))]
pub(super) async fn put_webhook(
    Operator(operator): Operator,
    State(world): State<Arc<World>>,
    Named(id): Named<Id<SourceKind>>,
    Body(new): Body<NewWebhook>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::OK, &webhooks::put(&world, operator, id, new, world.now()).await?))
}
