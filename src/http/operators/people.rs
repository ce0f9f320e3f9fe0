//! People's accounts, and links with which people make their own.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};

use super::{
    answer,
    request::{Body, Named, Operator, Query},
};
use crate::{
    domain::{
        id::{Id, PersonKind},
        refusal::OAuthError,
    },
    protocol::administration::{
        paging::{Page, PageRequest},
        people::{self, LinkRecord, NewInvitation, NewPerson, PersonChange, PersonRecord},
    },
    world::World,
};

/// Lists the people who have an account.
#[utoipa::path(get, path = "/admin/v1/people", tag = "people", params(PageRequest),
    responses((status = 200, description = "A page of people", body = Page<PersonRecord>)))]
pub(super) async fn list(
    _: Operator,
    State(world): State<Arc<World>>,
    Query(page): Query<PageRequest>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::OK, &people::list(&world, page, world.now()).await?))
}

/// Makes an account.
#[utoipa::path(post, path = "/admin/v1/people", tag = "people", request_body = NewPerson,
    responses((status = 201, description = "The account", body = PersonRecord)))]
pub(super) async fn create(
    Operator(operator): Operator,
    State(world): State<Arc<World>>,
    Body(new): Body<NewPerson>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::CREATED, &people::create(&world, operator, new, world.now()).await?))
}

/// Locks a person out, with all that acts for them, or lets them in again.
#[utoipa::path(patch, path = "/admin/v1/people/{person_id}", tag = "people", params(("person_id" = String, Path)),
    request_body = PersonChange, responses((status = 200, description = "The account as it is now", body = PersonRecord)))]
pub(super) async fn change(
    Operator(operator): Operator,
    State(world): State<Arc<World>>,
    Named(id): Named<Id<PersonKind>>,
    Body(change): Body<PersonChange>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::OK, &people::change(&world, operator, id, change, world.now()).await?))
}

/// Makes a link, told only now, with which a person chooses a new password; their sessions end when they do.
#[utoipa::path(post, path = "/admin/v1/people/{person_id}/password-reset", tag = "people", params(("person_id" = String, Path)),
    responses((status = 201, description = "The link", body = LinkRecord)))]
pub(super) async fn reset_password(
    Operator(operator): Operator,
    State(world): State<Arc<World>>,
    Named(id): Named<Id<PersonKind>>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::CREATED, &people::reset_password(&world, operator, id, world.now()).await?))
}

/// Makes a link, told only now, with which a person makes their account and chooses a password.
#[utoipa::path(post, path = "/admin/v1/invitations", tag = "people", request_body = NewInvitation,
    responses((status = 201, description = "The link", body = LinkRecord)))]
pub(super) async fn invite(
    Operator(operator): Operator,
    State(world): State<Arc<World>>,
    Body(new): Body<NewInvitation>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::CREATED, &people::invite(&world, operator, new, world.now()).await?))
}
