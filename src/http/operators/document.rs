//! The description of the admin API, generated from its handlers: [OpenAPI 3.1](https://spec.openapis.org/oas/v3.1.0).

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::{
    Modify, OpenApi, ToSchema,
    openapi::{
        ContentBuilder, RefOr, ResponseBuilder, Server,
        path::Operation,
        security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
    },
};

use super::{
    actors, clients, consumers, definitions, facts, grants, keys, people, predicted_traits, profiles, resources, risk, sources,
    tokens, tracking_plans, transformations, warehouses, watch,
};
use crate::{
    domain::{client, intervention, source},
    world::World,
};

const BEARER: &str = "operator_token";

#[derive(OpenApi)]
#[openapi(
    info(title = "Deputy's admin API", description = "For operators. Every change is on record with who made it."),
    paths(
        clients::list, clients::create, clients::show, clients::change, clients::delete, clients::renew_secret,
        people::list, people::create, people::change, people::reset_password, people::invite,
        resources::list, resources::create, resources::change, resources::renew_secret, resources::delete,
        sources::list, sources::create, sources::show, sources::change, sources::renew_write_key, sources::delete,
        sources::show_webhook, sources::put_webhook, watch::watch, warehouses::show, warehouses::put, warehouses::try_out,
        transformations::list, transformations::create, transformations::try_out, transformations::show, transformations::change,
        transformations::delete,
        tracking_plans::list, tracking_plans::create, tracking_plans::show, tracking_plans::change, tracking_plans::delete,
        definitions::list_computed_traits, definitions::create_computed_trait, definitions::delete_computed_trait,
        definitions::list_audiences, definitions::create_audience, definitions::delete_audience,
        predicted_traits::list, predicted_traits::create, predicted_traits::delete,
        definitions::show_rules, definitions::put_rules,
        profiles::find, profiles::show, profiles::unmerge, profiles::take_away,
        profiles::regulate, profiles::list_regulations, profiles::show_regulation,
        profiles::list_tokens, profiles::issue_token, profiles::remove_token,
        grants::list, grants::end, keys::list, keys::rotate, tokens::issue,
        tokens::list_operators, tokens::create_operator, tokens::remove_operator, facts::list,
        risk::list, risk::list_people, risk::rule, risk::set_rule,
        actors::list, actors::show, actors::set_kind, actors::lift_kind,
        consumers::list, consumers::pause, consumers::resume, consumers::replay,
    ),
    components(schemas(
        Refusal, intervention::Regulation, intervention::Status, client::Origin, client::GrantType,
        client::AuthMethod, client::ApplicationType, source::Producer,
    )),
    modifiers(&Everywhere),
)]
struct Document;

/// What every refusal looks like.
#[derive(Serialize, ToSchema)]
struct Refusal {
    /// A code, for programs.
    error: &'static str,
    /// What is wrong and what to do, for people.
    error_description: &'static str,
}

/// What holds for every operation: the token, and the form of refusals.
struct Everywhere;

impl Modify for Everywhere {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        if let Some(components) = document.components.as_mut() {
            components.add_security_scheme(BEARER, SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
        }
        for item in document.paths.paths.values_mut() {
            let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.patch, &mut item.delete];
            operations.into_iter().flatten().for_each(complete);
        }
    }
}

fn complete(operation: &mut Operation) {
    let refusal = ContentBuilder::new().schema(Some(RefOr::Ref(utoipa::openapi::Ref::from_schema_name(Refusal::name())))).build();
    let refusal = ResponseBuilder::new().description("A refusal").content("application/json", refusal).build();
    operation.responses.responses.insert("default".to_owned(), RefOr::T(refusal));
    operation.security = Some(vec![SecurityRequirement::new(BEARER, Vec::<String>::new())]);
}

/// Serves the document. It is the same for everybody and holds nothing of this installation but its address.
pub(super) async fn serve(State(world): State<Arc<World>>) -> Response {
    let mut document = Document::openapi();
    document.servers = Some(vec![Server::new(world.settings.issuer.as_str())]);
    let text = serde_json::to_string(&document).expect("the document serialises to JSON");
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300")),
    ];
    (headers, text).into_response()
}
