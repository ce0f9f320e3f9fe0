//! For producers: the tracking API, as Segment's SDKs speak it.
//! [HTTP Tracking API](https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/)
//!
//! Nothing here is ever redirected, and no media type is refused: the SDKs take the one for delivered and the other for final.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};

use super::{
    address::Address,
    body::{self, Unread},
    clients::authorization,
    layers::AnyOrigin,
};
use crate::{
    domain::call::Call,
    domain::refusal::{
        Code, OAuthError, REQUEST_METHOD, REQUEST_NOT_FOUND, TRACKING_INCOMPLETE, TRACKING_KEY_UNKNOWN, TRACKING_SOURCE_DISABLED,
        TRACKING_SOURCE_UNKNOWN, TRACKING_TOO_LARGE,
    },
    events::ingest::{
        self,
        authority::{self, Caller},
        body::{BODY_BYTES_MAX, inflate},
        place::Place,
    },
    protocol::{bearer, tracking_api},
    world::World,
};

/// How long browsers may keep the settings, in seconds: a source that is disabled is asked for no longer.
const SETTINGS_CACHING: HeaderValue = HeaderValue::from_static("public, max-age=60");
/// The most tries and the longest waits that the browser's SDK allows: its events outlive an outage of half a day.
const RETRIES_MAX: u32 = 100;
const RETRY_WAIT_MAX_S: u32 = 300;
const RETRY_SPAN_MAX_S: u32 = 12 * 3600;

pub(crate) fn router() -> Router<Arc<World>> {
    Router::new()
        .route("/v1/{call}", post(receive))
        .route("/v1/{call}/", post(receive))
        .route("/v1/projects/{write_key}/settings", get(settings))
        .method_not_allowed_fallback(|| async { REQUEST_METHOD })
        .layer(AnyOrigin)
}

/// Whether this route's callers are producers.
pub(crate) fn is_theirs(route: &str) -> bool {
    route.ends_with("/v1/{call}") || route.ends_with("/v1/{call}/")
}

/// A refusal in the words of this API. Trouble that passes says for how long to stay away.
pub(crate) fn refusal(world: &World, refusal: OAuthError) -> Response {
    let passes = matches!(refusal.code, Code::TooManyRequests | Code::TemporarilyUnavailable | Code::ServerError);
    let refusal = if passes && refusal.retry_after.is_none() { refusal.retry_after(ingest::wait(world)) } else { refusal };
    let body = json!({"success": false, "code": refusal.code.as_str(), "message": refusal.description}).to_string();
    let mut response = refusal.into_response();
    response.headers_mut().remove(header::CONTENT_LENGTH);
    *response.body_mut() = body.into();
    response
}

async fn receive(
    State(world): State<Arc<World>>,
    Path(call): Path<String>,
    Address(address): Address,
    headers: HeaderMap,
    body: Body,
) -> Response {
    // One letter is how the browser's SDK says it.
    let call = match call.as_str() {
        "batch" | "import" | "b" => None,
        // Metrics of the SDK about itself: nothing that an organisation asked for.
        "m" => return taken(),
        "i" => Some(Call::Identify),
        "t" => Some(Call::Track),
        "p" => Some(Call::Page),
        "s" => Some(Call::Screen),
        "g" => Some(Call::Group),
        "a" => Some(Call::Alias),
        word => match Call::parse(word) {
            Some(call) => Some(call),
            None => return refusal(&world, REQUEST_NOT_FOUND),
        },
    };
    match take(&world, call, address, &headers, body).await {
        Ok(()) => taken(),
        Err(refused) => refusal(&world, refused),
    }
}

fn taken() -> Response {
    Json(json!({"success": true})).into_response()
}

async fn take(
    world: &World,
    call: Option<Call>,
    address: std::net::IpAddr,
    headers: &HeaderMap,
    body: Body,
) -> Result<(), OAuthError> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let encoding = text(header::CONTENT_ENCODING);
    let mut place = Place::new(world, address);
    let body = body::placed(body, BODY_BYTES_MAX, &mut place).await.map_err(|unread| match unread {
        Unread::Refused(refusal) => refusal,
        Unread::TooLarge => TRACKING_TOO_LARGE,
        Unread::BrokeOff | Unread::TooSlow => TRACKING_INCOMPLETE,
    })?;
    let now = world.now();
    let caller = match authorization(headers) {
        None => Caller::Nobody,
        Some(header) if bearer(header).is_some() => Caller::Client(tracking_api::authorize(world, header, now).await?),
        Some(header) => authority::basic(header)?,
    };
    let sent_bytes = body.len();
    let body = inflate(encoding, &body)?;
    place.widen(body.len().saturating_sub(sent_bytes)).await?;
    ingest::accept(world, ingest::Request { call, caller, body: &body, address }, now).await
}

/// What the browser's SDK asks for before it sends anything. It loads nothing more, and keeps trying for as long as it can.
async fn settings(State(world): State<Arc<World>>, Path(write_key): Path<String>) -> Response {
    match authority::of_write_key(&world, &write_key, world.now()).await {
        Ok(source) if source.is_disabled() => refusal(&world, TRACKING_SOURCE_DISABLED),
        Ok(_) => {
            let headers = [(header::CACHE_CONTROL, SETTINGS_CACHING), (header::VARY, HeaderValue::from_static("Origin"))];
            (StatusCode::OK, headers, Json(settings_of(&world, &write_key))).into_response()
        }
        Err(unknown) if unknown == TRACKING_KEY_UNKNOWN => refusal(&world, TRACKING_SOURCE_UNKNOWN),
        Err(refused) => refusal(&world, refused),
    }
}

fn settings_of(world: &World, write_key: &str) -> Value {
    let issuer = world.settings.issuer.as_str();
    let (protocol, host) = issuer.split_once("://").expect("an issuer is a URL");
    let http_config = json!({
        "rateLimitConfig": {
            "maxRetryCount": RETRIES_MAX, "maxRetryInterval": RETRY_WAIT_MAX_S, "maxRateLimitDuration": RETRY_SPAN_MAX_S,
        },
        "backoffConfig": {
            "maxRetryCount": RETRIES_MAX, "baseBackoffInterval": 0.5, "maxBackoffInterval": RETRY_WAIT_MAX_S,
            "maxTotalBackoffDuration": RETRY_SPAN_MAX_S, "jitterPercent": 10, "default4xxBehavior": "drop",
            "default5xxBehavior": "retry", "statusCodeOverrides": {},
        },
    });
    json!({
        "integrations": {
            "Segment.io": {
                "apiKey": write_key, "apiHost": format!("{host}/v1"), "protocol": protocol,
                // One request for each event: what is on its way is kept by the browser when the page is left.
                "deliveryStrategy": {}, "httpConfig": http_config,
            },
        },
        "plan": {"track": {"__default": {"enabled": true, "integrations": {}}}},
        "edgeFunction": {}, "analyticsNextEnabled": true, "middlewareSettings": {}, "legacyVideoPluginsEnabled": false,
        "remotePlugins": [], "enabledMiddleware": {},
    })
}
