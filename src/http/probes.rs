//! For those who run the process: is it alive, is it ready, what does it do.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::json;

use crate::{telemetry, world::World};

/// How long what was found out is told again. Those who watch a process ask every few seconds.
const READINESS_TTL: Duration = Duration::from_secs(1);

pub(crate) fn router() -> Router<Arc<World>> {
    Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz)).route("/metrics", get(metrics))
}

/// Whether a path is one of these.
pub(crate) fn is_probe(path: &str) -> bool {
    matches!(path, "/healthz" | "/readyz" | "/metrics")
}

/// The process answers; nothing else is asked.
async fn healthz() -> Response {
    answer(StatusCode::OK, &json!({"status": "ok"}))
}

/// Requests can be served. Anybody may ask, so it is found out once in a while, for all who ask then.
async fn readyz(State(world): State<Arc<World>>) -> Response {
    let mut found = world.memory.readiness.lock().await;
    let now = world.now();
    let missing = match *found {
        // A clock that was set back finds it out anew.
        Some((at, missing)) if at <= now && now.since(at) < READINESS_TTL => missing,
        _ => {
            let missing = missing(&world).await;
            *found = Some((now, missing));
            missing
        }
    };
    match missing {
        None => answer(StatusCode::OK, &json!({"status": "ready"})),
        Some(part) => answer(StatusCode::SERVICE_UNAVAILABLE, &json!({"status": "unavailable", "part": part})),
    }
}

/// What cannot be had, though no request is served without it.
async fn missing(world: &World) -> Option<&'static str> {
    if let Err(error) = world.storage.ping().await {
        tracing::warn!(%error, "not ready: no transaction can be had");
        return Some("storage");
    }
    if let Err(error) = world.log.try_out().await {
        tracing::warn!(%error, "not ready: the log cannot be written");
        return Some("log");
    }
    None
}

async fn metrics() -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], telemetry::metrics().render()).into_response()
}

fn answer(status: StatusCode, body: &serde_json::Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")], body.to_string()).into_response()
}
