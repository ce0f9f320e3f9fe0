//! What happens to every request and response: admission within a bound, a trace, and what browsers may do across origins.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::sync::Semaphore;
use tracing::Instrument as _;

use super::{error::Refused, probes, producers};
use crate::{
    domain::{
        event::{Actor, Fact},
        refusal::OVERLOADED,
    },
    protocol::record_refusal,
    telemetry::RequestTrace,
    world::World,
};

/// How many requests are worked on at once.
#[derive(Clone)]
pub(crate) struct Admission {
    world: Arc<World>,
    places: Arc<Semaphore>,
}

impl Admission {
    pub(crate) fn new(world: &Arc<World>) -> Admission {
        Admission { world: Arc::clone(world), places: Arc::new(Semaphore::new(world.settings.requests_in_flight_max)) }
    }
}

/// The reference by which a person and an operator talk about one request.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub(crate) String);

/// Lets a request in, or tells it to come again; traces it; puts its refusal on record.
pub(crate) async fn admit(State(admission): State<Admission>, mut request: Request, next: Next) -> Response {
    let place = admission.places.try_acquire();
    // Whether the process is alive is asked above all when it is busy.
    if place.is_err() && !probes::is_probe(request.uri().path()) {
        metrics::counter!("deputy_refusals_total", "reason" => OVERLOADED.reason).increment(1);
        let is_producer = request.extensions().get::<MatchedPath>().is_some_and(|route| producers::is_theirs(route.as_str()));
        return if is_producer { producers::refusal(&admission.world, OVERLOADED) } else { OVERLOADED.into_response() };
    }
    let started = Instant::now();
    let trace = RequestTrace::begin(request.method(), request.headers());
    request.extensions_mut().insert(RequestId(trace.trace_id.clone()));
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).instrument(trace.span.clone()).await;
    if let Some(refused) = response.extensions().get::<Refused>() {
        let route = route.as_ref().map_or("unmatched", MatchedPath::as_str).to_owned();
        let (code, reason) = (refused.code.as_str().to_owned(), refused.reason.to_owned());
        let fact = Fact::RequestRefused { route, client: refused.client.clone(), code, reason };
        let event = admission.world.event(admission.world.now(), Actor::Anonymous, fact);
        record_refusal(&admission.world, refused.code, refused.reason, event).await;
    }
    trace.end(route.as_ref().map(MatchedPath::as_str), response.status(), started.elapsed());
    response
}

const ALLOWED_HEADERS: HeaderValue =
    HeaderValue::from_static("authorization, content-type, x-retry-count, dpop, mcp-protocol-version, mcp-method, mcp-name");
const EXPOSED_HEADERS: HeaderValue = HeaderValue::from_static("WWW-Authenticate, DPoP-Nonce, Retry-After, X-RateLimit-Reset");
const ALLOWED_METHODS: HeaderValue = HeaderValue::from_static("GET, POST, OPTIONS");
/// How long a browser may remember a preflight, in seconds.
const PREFLIGHT_MAX_AGE_S: HeaderValue = HeaderValue::from_static("7200");
const ANY_ORIGIN: (HeaderName, HeaderValue) = (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));

/// Lets clients that run in a browser call. No cookie is ever read behind this layer, so any origin may.
pub(crate) async fn any_origin(request: Request, next: Next) -> Response {
    let is_preflight = request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let is_cross_origin = request.headers().contains_key(header::ORIGIN);
    if is_preflight {
        let headers = [
            ANY_ORIGIN,
            (header::ACCESS_CONTROL_ALLOW_METHODS, ALLOWED_METHODS),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS),
            (header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_MAX_AGE_S),
        ];
        return (StatusCode::NO_CONTENT, headers).into_response();
    }
    let mut response = next.run(request).await;
    if is_cross_origin {
        response.headers_mut().extend([ANY_ORIGIN, (header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS)]);
    }
    response
}
