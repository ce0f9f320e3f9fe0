//! Where axum lives: one file for each audience, which is one for each trust boundary. A handler extracts typed input, calls one
//! function and returns; it decides nothing.

/// Status and headers of refusals.
pub(crate) mod error;
/// From where a request comes.
pub(crate) mod address;
/// How many bodies are waited for.
pub(crate) mod arriving;
/// How bodies are read, within bounds.
pub(crate) mod body;
/// The files that the pages load.
pub(crate) mod assets;
/// Everything that a person sees.
pub(crate) mod pages;
/// For people: sign-in, consent, what acts for them.
pub(crate) mod people;
/// For clients: discovery, registration, tokens.
pub(crate) mod clients;
/// For resource servers: introspection and our keys.
pub(crate) mod resource_servers;
/// For producers: the tracking API.
pub(crate) mod producers;
/// For other services: webhooks.
pub(crate) mod webhooks;
/// For an organisation's own software: the Profile API.
pub(crate) mod profiles;
/// For operators: the admin API.
pub(crate) mod operators;
/// For those who run the process: health and metrics.
pub(crate) mod probes;
/// What happens to every request and response.
pub(crate) mod layers;

use std::sync::Arc;

use axum::Router;

use crate::world::World;

/// Everything that is served, below the issuer's path.
pub fn router(world: &Arc<World>) -> Router {
    let endpoints = Router::new()
        .merge(people::router(world))
        .merge(clients::router())
        .merge(resource_servers::router())
        .merge(producers::router())
        .merge(profiles::router())
        .merge(webhooks::router())
        .merge(operators::router())
        .merge(assets::router());
    let path = world.settings.issuer.path();
    let endpoints = if path.is_empty() { endpoints } else { Router::new().nest(path, endpoints) };
    endpoints
        .merge(clients::discovery(path))
        .merge(probes::router())
        .fallback(people::nothing)
        .method_not_allowed_fallback(people::not_so)
        .layer(layers::Admission::new(world))
        .with_state(Arc::clone(world))
}
