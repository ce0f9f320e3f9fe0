//! For those who run the process: is it alive, is it ready, what does it do.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::json;

use crate::{telemetry, world::World};

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

/// A transaction can be had, so a request can be served.
async fn readyz(State(world): State<Arc<World>>) -> Response {
    match world.storage.ping().await {
        Ok(()) => answer(StatusCode::OK, &json!({"status": "ready"})),
        Err(error) => {
            tracing::warn!(%error, "not ready");
            answer(StatusCode::SERVICE_UNAVAILABLE, &json!({"status": "unavailable", "part": "storage"}))
        }
    }
}

async fn metrics() -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], telemetry::metrics().render()).into_response()
}

fn answer(status: StatusCode, body: &serde_json::Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")], body.to_string()).into_response()
}
