//! What happens to every request and response: admission within a bound, a trace, and what browsers may do across origins.

use std::{
    future::{Ready, ready},
    net::IpAddr,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use axum::{
    extract::{MatchedPath, Request},
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::{
    TryFutureExt as _,
    future::{BoxFuture, Either, MapOk},
};
use tokio::sync::Semaphore;
use tower::{Layer, Service};

use super::{address, arriving::Arrivals, error::Refused, people, probes, producers};
use crate::{
    domain::refusal::{INTERNAL, OAuthError, OVERLOADED},
    protocol::refusals::{self, RefusedRequest},
    telemetry::{Panicked, RequestTrace, TraceId},
    world::World,
};

/// Lets a request in, or tells it to come again; traces it; puts its refusal on record.
#[derive(Clone)]
pub(crate) struct Admission {
    world: Arc<World>,
    /// How many requests may be worked on besides.
    places: Arc<Semaphore>,
    /// Those among them whose body is waited for.
    arrivals: Arc<Arrivals>,
}

/// A service behind an [`Admission`].
#[derive(Clone)]
pub(crate) struct Admitted<S> {
    admission: Admission,
    inner: S,
}

/// By what a person and an operator talk about one request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestId(pub(crate) TraceId);

impl Admission {
    pub(crate) fn new(world: &Arc<World>) -> Admission {
        let requests_max = world.settings.requests_in_flight_max;
        let (places, arrivals) = (Arc::new(Semaphore::new(requests_max)), Arc::new(Arrivals::new(requests_max)));
        Admission { world: Arc::clone(world), places, arrivals }
    }
}

impl<S> Layer<S> for Admission {
    type Service = Admitted<S>;

    fn layer(&self, inner: S) -> Admitted<S> {
        Admitted { admission: self.clone(), inner }
    }
}

impl<S> Service<Request> for Admitted<S>
where
    S: Service<Request, Response = Response, Future: Send + 'static>,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Either<Ready<Result<Response, S::Error>>, BoxFuture<'static, Result<Response, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let place = Arc::clone(&self.admission.places).try_acquire_owned();
        // Whether the process is alive is asked above all when it is busy.
        if place.is_err() && !probes::is_probe(request.uri().path()) {
            if is_preflight(&request) {
                // It costs nothing, and only who is asked knows whether it may be answered.
                return Either::Right(Box::pin(self.inner.call(request)));
            }
            metrics::counter!("deputy_refusals_total", "reason" => OVERLOADED.reason).increment(1);
            return Either::Left(ready(Ok(Asker::of(&request).told(&self.admission.world, OVERLOADED))));
        }
        let started = Instant::now();
        let trace = RequestTrace::begin(request.method(), request.headers());
        request.extensions_mut().insert(RequestId(trace.trace_id));
        let asker = Asker::of(&request);
        let address = address::of(request.extensions(), request.headers(), &self.admission.world.settings);
        let request = request.map(|body| self.admission.arrivals.counted(body, address));
        let answering = trace.cover(self.inner.call(request));
        let world = Arc::clone(&self.admission.world);
        Either::Right(Box::pin(async move {
            let _place = place;
            let response = match answering.await {
                Ok(answered) => answered?,
                Err(Panicked) => asker.told(&world, INTERNAL),
            };
            let route = asker.route();
            if let Some(refused) = response.extensions().get::<Refused>() {
                put_on_record(&world, refused, route, address).await;
            }
            trace.end(route, response.status(), started.elapsed());
            Ok(response)
        }))
    }
}

/// Who asks, as far as it decides in which words they are told of what has nothing to do with them.
struct Asker {
    route: Option<MatchedPath>,
    request_id: Option<RequestId>,
    is_in_browser: bool,
}

impl Asker {
    fn of(request: &Request) -> Asker {
        Asker {
            route: request.extensions().get::<MatchedPath>().cloned(),
            request_id: request.extensions().get::<RequestId>().copied(),
            is_in_browser: request.headers().contains_key(header::ORIGIN),
        }
    }

    fn route(&self) -> Option<&str> {
        self.route.as_ref().map(MatchedPath::as_str)
    }

    fn told(&self, world: &World, refusal: OAuthError) -> Response {
        let route = self.route();
        if route.is_some_and(|route| people::is_theirs(route.strip_prefix(world.settings.issuer.path()).unwrap_or(route))) {
            return people::unheard(world, &refusal, self.request_id);
        }
        let is_producer = route.is_some_and(producers::is_theirs);
        let told = if is_producer { producers::refusal(world, refusal) } else { refusal.into_response() };
        // Nothing in it is about anybody, so it may be read from any origin.
        if self.is_in_browser { expose(told) } else { told }
    }
}

async fn put_on_record(world: &World, refused: &Refused, route: Option<&str>, address: IpAddr) {
    let Refused { code, reason, client } = refused.clone();
    let route = route.unwrap_or("unmatched").to_owned();
    refusals::record(world, RefusedRequest { code, reason, route, client, address }, world.now()).await;
}

const ALLOWED_HEADERS: HeaderValue =
    HeaderValue::from_static("authorization, content-type, x-retry-count, dpop, mcp-protocol-version, mcp-method, mcp-name");
const EXPOSED_HEADERS: HeaderValue = HeaderValue::from_static("WWW-Authenticate, DPoP-Nonce, Retry-After, X-RateLimit-Reset");
const ALLOWED_METHODS: HeaderValue = HeaderValue::from_static("GET, POST, OPTIONS");
/// How long a browser may remember a preflight, in seconds.
const PREFLIGHT_MAX_AGE_S: HeaderValue = HeaderValue::from_static("7200");
const ANY_ORIGIN: (HeaderName, HeaderValue) = (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));

/// Lets clients that run in a browser call. No cookie is ever read behind this layer, so any origin may.
#[derive(Clone, Copy)]
pub(crate) struct AnyOrigin;

/// A service behind [`AnyOrigin`].
#[derive(Clone)]
pub(crate) struct OpenToAnyOrigin<S>(S);

impl<S> Layer<S> for AnyOrigin {
    type Service = OpenToAnyOrigin<S>;

    fn layer(&self, inner: S) -> OpenToAnyOrigin<S> {
        OpenToAnyOrigin(inner)
    }
}

impl<S> Service<Request> for OpenToAnyOrigin<S>
where
    S: Service<Request, Response = Response>,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Either<Ready<Result<Response, S::Error>>, MapOk<S::Future, fn(Response) -> Response>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let headers = request.headers();
        if is_preflight(&request) {
            return Either::Left(ready(Ok(preflight())));
        }
        let open = if headers.contains_key(header::ORIGIN) { expose } else { std::convert::identity };
        Either::Right(self.0.call(request).map_ok(open))
    }
}

fn is_preflight(request: &Request) -> bool {
    request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

fn preflight() -> Response {
    let headers = [
        ANY_ORIGIN,
        (header::ACCESS_CONTROL_ALLOW_METHODS, ALLOWED_METHODS),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS),
        (header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_MAX_AGE_S),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

fn expose(mut response: Response) -> Response {
    response.headers_mut().extend([ANY_ORIGIN, (header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS)]);
    response
}
