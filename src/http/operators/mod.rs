//! For operators: the admin API under `/admin/v1`, one file for each noun.
//!
//! Every path below it, whether it exists or not, demands the operator's token before anything else is looked at; only the document
//! that describes the API is open. Paths are compared as they were sent: nothing is decoded or normalised first, so no other spelling
//! of a path reaches a handler.

mod request;
mod document;
mod clients;
mod people;
mod resources;
mod sources;
mod watch;
mod warehouses;
mod transformations;
mod tracking_plans;
mod grants;
mod keys;
mod tokens;
mod definitions;
mod predicted_traits;
mod profiles;
mod facts;
mod consumers;
mod risk;
mod actors;

use std::sync::Arc;

use axum::{
    Router,
    http::StatusCode,
    response::Response,
    routing::{any, delete, get, post},
};
use serde::Serialize;

use super::clients::json;
use crate::{
    domain::refusal::{OAuthError, REQUEST_METHOD, REQUEST_NOT_FOUND},
    world::World,
};
use request::Operator;

pub(crate) fn router() -> Router<Arc<World>> {
    Router::new()
        .route("/admin/v1/clients", get(clients::list).post(clients::create))
        .route("/admin/v1/clients/{client_id}", get(clients::show).patch(clients::change).delete(clients::delete))
        .route("/admin/v1/clients/{client_id}/secret", post(clients::renew_secret))
        .route("/admin/v1/people", get(people::list).post(people::create))
        .route("/admin/v1/people/{person_id}", axum::routing::patch(people::change))
        .route("/admin/v1/people/{person_id}/password-reset", post(people::reset_password))
        .route("/admin/v1/invitations", post(people::invite))
        .route("/admin/v1/resources", get(resources::list).post(resources::create))
        .route("/admin/v1/resources/{resource_id}", axum::routing::patch(resources::change).delete(resources::delete))
        .route("/admin/v1/resources/{resource_id}/secret", post(resources::renew_secret))
        .route("/admin/v1/sources", get(sources::list).post(sources::create))
        .route("/admin/v1/sources/{source_id}", get(sources::show).patch(sources::change).delete(sources::delete))
        .route("/admin/v1/sources/{source_id}/write-key", post(sources::renew_write_key))
        .route("/admin/v1/sources/{source_id}/watch", get(watch::watch))
        .route("/admin/v1/sources/{source_id}/webhook", get(sources::show_webhook).put(sources::put_webhook))
        .route("/admin/v1/sources/{source_id}/warehouse", get(warehouses::show).put(warehouses::put))
        .route("/admin/v1/sources/{source_id}/warehouse/test", post(warehouses::try_out))
        .route("/admin/v1/transformations", get(transformations::list).post(transformations::create))
        .route("/admin/v1/transformations/test", post(transformations::try_out))
        .route(
            "/admin/v1/transformations/{transformation_id}",
            get(transformations::show).patch(transformations::change).delete(transformations::delete),
        )
        .route("/admin/v1/tracking-plans", get(tracking_plans::list).post(tracking_plans::create))
        .route(
            "/admin/v1/tracking-plans/{tracking_plan_id}",
            get(tracking_plans::show).patch(tracking_plans::change).delete(tracking_plans::delete),
        )
        .route("/admin/v1/computed-traits", get(definitions::list_computed_traits).post(definitions::create_computed_trait))
        .route("/admin/v1/computed-traits/{computed_trait_id}", delete(definitions::delete_computed_trait))
        .route("/admin/v1/predicted-traits", get(predicted_traits::list).post(predicted_traits::create))
        .route("/admin/v1/predicted-traits/{predicted_trait_id}", delete(predicted_traits::delete))
        .route("/admin/v1/audiences", get(definitions::list_audiences).post(definitions::create_audience))
        .route("/admin/v1/audiences/{audience_id}", delete(definitions::delete_audience))
        .route("/admin/v1/identity-rules", get(definitions::show_rules).put(definitions::put_rules))
        .route("/admin/v1/profiles", get(profiles::find))
        .route("/admin/v1/profiles/{profile_id}", get(profiles::show))
        .route("/admin/v1/profiles/{profile_id}/unmerge", post(profiles::unmerge))
        .route("/admin/v1/profiles/{profile_id}/take-away", post(profiles::take_away))
        .route("/admin/v1/regulations", get(profiles::list_regulations).post(profiles::regulate))
        .route("/admin/v1/regulations/{intervention_id}", get(profiles::show_regulation))
        .route("/admin/v1/profile-tokens", get(profiles::list_tokens).post(profiles::issue_token))
        .route("/admin/v1/profile-tokens/{profile_token_id}", delete(profiles::remove_token))
        .route("/admin/v1/grants", get(grants::list))
        .route("/admin/v1/grants/{grant_id}", delete(grants::end))
        .route("/admin/v1/keys", get(keys::list))
        .route("/admin/v1/keys/rotate", post(keys::rotate))
        .route("/admin/v1/initial-access-tokens", post(tokens::issue))
        .route("/admin/v1/operators", get(tokens::list_operators).post(tokens::create_operator))
        .route("/admin/v1/operators/{operator_id}", delete(tokens::remove_operator))
        .route("/admin/v1/events", get(facts::list))
        .route("/admin/v1/consumers", get(consumers::list))
        .route("/admin/v1/consumers/{consumer}/pause", post(consumers::pause))
        .route("/admin/v1/consumers/{consumer}/resume", post(consumers::resume))
        .route("/admin/v1/consumers/{consumer}/replay", post(consumers::replay))
        .route("/admin/v1/risk", get(risk::list))
        .route("/admin/v1/risk/people", get(risk::list_people))
        .route("/admin/v1/risk/rule", get(risk::rule).put(risk::set_rule))
        .route("/admin/v1/actors", get(actors::list))
        .route("/admin/v1/actors/{actor_id}", get(actors::show))
        .route("/admin/v1/actors/{actor_id}/kind", axum::routing::put(actors::set_kind).delete(actors::lift_kind))
        .route("/admin/v1/openapi.json", get(document::serve))
        .route("/admin", any(nothing))
        .route("/admin/", any(nothing))
        .route("/admin/{*path}", any(nothing))
        .method_not_allowed_fallback(wrong_method)
}

async fn nothing(_: Operator) -> OAuthError {
    REQUEST_NOT_FOUND
}

async fn wrong_method(_: Operator) -> OAuthError {
    REQUEST_METHOD
}

fn answer(status: StatusCode, body: &impl Serialize) -> Response {
    json(status, serde_json::to_vec(body).expect("our own types serialise to JSON"))
}
