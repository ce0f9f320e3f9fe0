//! For other services: the addresses that they call when something happens there.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, State},
    http::HeaderMap,
    response::{IntoResponse, Response},
    routing::post,
};
use serde_json::json;

use super::{
    address::Address,
    body::{self, Unread},
};
use crate::{
    domain::{
        id::{Id, SourceKind},
        refusal::{OAuthError, REQUEST_TOO_LARGE, WEBHOOK_MALFORMED, WEBHOOK_UNKNOWN},
    },
    events::ingest::{
        place::Place,
        webhook::{self, BODY_BYTES_MAX},
    },
    world::World,
};

pub(crate) fn router() -> Router<Arc<World>> {
    Router::new().route("/v1/webhooks/{source_id}", post(receive))
}

async fn receive(
    State(world): State<Arc<World>>,
    Path(source): Path<String>,
    Address(address): Address,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, OAuthError> {
    let source: Id<SourceKind> = source.parse().map_err(|_| WEBHOOK_UNKNOWN)?;
    let mut place = Place::new(&world, address);
    let body = body::placed(body, BODY_BYTES_MAX, &mut place).await.map_err(|unread| match unread {
        Unread::Refused(refusal) => refusal,
        Unread::TooLarge => REQUEST_TOO_LARGE,
        Unread::BrokeOff | Unread::TooSlow => WEBHOOK_MALFORMED,
    })?;
    webhook::accept(&world, source, &headers, &body, world.now()).await?;
    Ok(Json(json!({"success": true})).into_response())
}
