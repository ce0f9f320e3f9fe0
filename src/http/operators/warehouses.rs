//! Warehouses: sources that send nothing, whose database is asked.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};

use super::{
    answer,
    request::{Body, Named, Operator},
};
use crate::{
    domain::{
        id::{Id, SourceKind},
        refusal::OAuthError,
    },
    protocol::administration::warehouses::{self, NewWarehouse, WarehouseRecord, WarehouseTrial, WarehouseWithTrial},
    world::World,
};

/// Shows what is asked of a source's warehouse and how it goes, without the password.
#[utoipa::path(get, path = "/admin/v1/sources/{source_id}/warehouse", tag = "sources", params(("source_id" = String, Path)),
    responses((status = 200, description = "What is asked", body = WarehouseRecord)))]
pub(super) async fn show(
    _: Operator,
    State(world): State<Arc<World>>,
    Named(id): Named<Id<SourceKind>>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::OK, &warehouses::show(&world, id, world.now()).await?))
}

/// Says what is asked of a source's warehouse from now on; its first rows are read, and shown as what they become.
#[utoipa::path(put, path = "/admin/v1/sources/{source_id}/warehouse", tag = "sources", params(("source_id" = String, Path)),
    request_body = NewWarehouse, responses((status = 200, description = "What is asked", body = WarehouseWithTrial)))]
pub(super) async fn put(
    Operator(operator): Operator,
    State(world): State<Arc<World>>,
    Named(id): Named<Id<SourceKind>>,
    Body(new): Body<NewWarehouse>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::OK, &warehouses::put(&world, operator, id, new, world.now()).await?))
}

/// Reads the first rows of a warehouse and shows what they would become; nothing is kept of either.
#[utoipa::path(post, path = "/admin/v1/sources/{source_id}/warehouse/test", tag = "sources", params(("source_id" = String, Path)),
    request_body = NewWarehouse, responses((status = 200, description = "The first rows", body = WarehouseTrial)))]
pub(super) async fn try_out(
    _: Operator,
    State(world): State<Arc<World>>,
    Named(id): Named<Id<SourceKind>>,
    Body(new): Body<NewWarehouse>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::OK, &warehouses::try_out(&world, id, new, world.now()).await?))
}
