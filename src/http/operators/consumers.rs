//! Consumers of the log: how far they have come, and what operators do to them.

use std::sync::Arc;

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde::{Deserialize, Serialize};

use super::{
    answer,
    request::{Body, Named, Operator},
};
use crate::{
    domain::{
        refusal::{ADMIN_VALUE, OAuthError},
        time::Timestamp,
    },
    events::consumers::{self, Beginning, ConsumerRecord},
    world::World,
};

/// All consumers.
#[derive(Serialize, utoipa::ToSchema)]
struct Consumers {
    items: Vec<ConsumerRecord>,
}

/// From where to read again: an offset or a time, one of them.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewReplay {
    from_offset: Option<u64>,
    /// The partition in which the offset counts; the first if absent.
    partition: Option<u16>,
    /// RFC 3339.
    from_time: Option<String>,
}

/// Lists who reads the log, how far each has come and which stand still.
#[utoipa::path(get, path = "/admin/v1/consumers", tag = "consumers",
    responses((status = 200, description = "All consumers", body = Consumers)))]
pub(super) async fn list(_: Operator, State(world): State<Arc<World>>) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::OK, &Consumers { items: consumers::list(&world, world.now()).await? }))
}

/// Has a consumer stand still, on all nodes, until it is resumed.
#[utoipa::path(post, path = "/admin/v1/consumers/{consumer}/pause", tag = "consumers", params(("consumer" = String, Path)),
    responses((status = 204, description = "It begins nothing new")))]
pub(super) async fn pause(
    Operator(operator): Operator,
    State(world): State<Arc<World>>,
    Named(consumer): Named<String>,
) -> Result<Response, OAuthError> {
    consumers::pause(&world, operator, &consumer, world.now()).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Lets a consumer go on from where it stands.
#[utoipa::path(post, path = "/admin/v1/consumers/{consumer}/resume", tag = "consumers", params(("consumer" = String, Path)),
    responses((status = 204, description = "It goes on")))]
pub(super) async fn resume(
    Operator(operator): Operator,
    State(world): State<Arc<World>>,
    Named(consumer): Named<String>,
) -> Result<Response, OAuthError> {
    consumers::resume(&world, operator, &consumer, world.now()).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Has a consumer read again what it has read, from an offset or a time on. What it has acted on already it does not act on again.
#[utoipa::path(post, path = "/admin/v1/consumers/{consumer}/replay", tag = "consumers", params(("consumer" = String, Path)),
    request_body = NewReplay, responses((status = 204, description = "It reads again")))]
pub(super) async fn replay(
    Operator(operator): Operator,
    State(world): State<Arc<World>>,
    Named(consumer): Named<String>,
    Body(new): Body<NewReplay>,
) -> Result<Response, OAuthError> {
    consumers::replay(&world, operator, &consumer, new.beginning()?, world.now()).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

impl NewReplay {
    fn beginning(&self) -> Result<Beginning, OAuthError> {
        match (self.from_offset, &self.from_time) {
            (Some(offset), None) => Ok(Beginning::Offset { partition: self.partition.unwrap_or_default(), offset }),
            (None, Some(time)) if self.partition.is_none() => Timestamp::parse_iso_8601(time)
                .map(Beginning::Time)
                .ok_or_else(|| ADMIN_VALUE.because("from_time must be a time such as 2026-11-01T00:00:00Z.")),
            _ => Err(ADMIN_VALUE.because("Say either from_offset, with or without partition, or from_time.")),
        }
    }
}
