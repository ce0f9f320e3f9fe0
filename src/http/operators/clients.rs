//! Clients. A `client_id` that is a URL is percent-encoded in the path, slashes too.

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
    domain::{client::ClientId, refusal::OAuthError},
    protocol::administration::{
        clients::{self, ClientChange, ClientRecord, ClientWithSecret, NewClient},
        paging::{Page, PageRequest},
    },
    world::World,
};

/// Lists the clients, however they came to us.
#[utoipa::path(get, path = "/admin/v1/clients", tag = "clients", params(PageRequest),
    responses((status = 200, description = "A page of clients", body = Page<ClientRecord>)))]
pub(super) async fn list(
    _: Operator,
    State(world): State<Arc<World>>,
    Query(page): Query<PageRequest>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::OK, &clients::list(&world, page, world.now()).await?))
}

/// Registers a client; its secret, if it has one, is told only now.
#[utoipa::path(post, path = "/admin/v1/clients", tag = "clients", request_body = NewClient,
    responses((status = 201, description = "The client", body = ClientWithSecret)))]
pub(super) async fn create(
    Operator(operator): Operator,
    State(world): State<Arc<World>>,
    Body(new): Body<NewClient>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::CREATED, &clients::create(&world, operator, new, world.now()).await?))
}

/// Shows all that is known of a client.
#[utoipa::path(get, path = "/admin/v1/clients/{client_id}", tag = "clients", params(("client_id" = String, Path)),
    responses((status = 200, description = "The client", body = ClientRecord)))]
pub(super) async fn show(_: Operator, State(world): State<Arc<World>>, Named(id): Named<ClientId>) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::OK, &clients::show(&world, id).await?))
}

/// Disables a client, enables it, or changes what an operator registered.
#[utoipa::path(patch, path = "/admin/v1/clients/{client_id}", tag = "clients", params(("client_id" = String, Path)),
    request_body = ClientChange, responses((status = 200, description = "The client as it is now", body = ClientRecord)))]
pub(super) async fn change(
    Operator(operator): Operator,
    State(world): State<Arc<World>>,
    Named(id): Named<ClientId>,
    Body(change): Body<ClientChange>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::OK, &clients::change(&world, operator, id, change, world.now()).await?))
}

/// Forgets a client and ends all that was granted to it.
#[utoipa::path(delete, path = "/admin/v1/clients/{client_id}", tag = "clients", params(("client_id" = String, Path)),
    responses((status = 204, description = "It is forgotten")))]
pub(super) async fn delete(
    Operator(operator): Operator,
    State(world): State<Arc<World>>,
    Named(id): Named<ClientId>,
) -> Result<Response, OAuthError> {
    clients::delete(&world, operator, id, world.now()).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Gives a client a new secret, told only now; the one before is dead at once.
#[utoipa::path(post, path = "/admin/v1/clients/{client_id}/secret", tag = "clients", params(("client_id" = String, Path)),
    responses((status = 200, description = "The client with its new secret", body = ClientWithSecret)))]
pub(super) async fn renew_secret(
    Operator(operator): Operator,
    State(world): State<Arc<World>>,
    Named(id): Named<ClientId>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::OK, &clients::renew_secret(&world, operator, id, world.now()).await?))
}
