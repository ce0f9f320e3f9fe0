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

/// A transaction can be had, so a request can be served. Anybody may ask, so it is found out once in a while, for all who ask then.
async fn readyz(State(world): State<Arc<World>>) -> Response {
    let mut found = world.memory.readiness.lock().await;
    let now = world.now();
    let is_ready = match *found {
        // A clock that was set back finds it out anew.
        Some((at, is_ready)) if at <= now && now.since(at) < READINESS_TTL => is_ready,
        _ => {
            let pinged = world.storage.ping().await;
            if let Err(error) = &pinged {
                tracing::warn!(%error, "not ready");
            }
            *found = Some((now, pinged.is_ok()));
            pinged.is_ok()
        }
    };
    match is_ready {
        true => answer(StatusCode::OK, &json!({"status": "ready"})),
        false => answer(StatusCode::SERVICE_UNAVAILABLE, &json!({"status": "unavailable", "part": "storage"})),
    }
}

async fn metrics() -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], telemetry::metrics().render()).into_response()
}

fn answer(status: StatusCode, body: &serde_json::Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")], body.to_string()).into_response()
}
