//! For people: the pages where they arrive, sign in, decide, and look after what acts for them.
//!
//! The only endpoints that read cookies, and so the only ones that no other origin may call. What a person sends back is believed
//! only if it came from a page of ours in the same browser.

/// Who is at the door: cookies, address, and who is signed in.
mod visit;
/// Forms that our own pages sent.
mod sent_form;
/// Signing in and out, signing up, accepting an invitation.
mod entry;
/// Choosing a new password by a link from an operator.
mod password_reset;
/// The authorization endpoint and the consent page.
mod consent;
/// What a signed-in person looks after.
mod account;

use std::{convert::Infallible, sync::Arc};

use axum::{
    Router,
    extract::{FromRequestParts, Path, Request, State},
    http::{HeaderValue, StatusCode, header, request::Parts},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::get,
};

use super::{
    error,
    layers::RequestId,
    pages::{
        self, Leads, Site,
        entry::Home,
        refusal::{Obstacle, Refusal},
    },
};
use crate::{
    domain::{
        client::ClientId,
        refusal::{OAuthError, REQUEST_METHOD, REQUEST_NOT_FOUND},
    },
    protocol::{authorize::Refused, parameters::Parameters},
    world::World,
};

pub(crate) fn router(world: &Arc<World>) -> Router<Arc<World>> {
    Router::new()
        .route("/", get(home))
        .merge(entry::router())
        .merge(password_reset::router())
        .merge(consent::router())
        .merge(account::router())
        .layer(from_fn_with_state(Arc::clone(world), show_refusals))
}

async fn home(State(world): State<Arc<World>>) -> Response {
    let issuer = &world.settings.issuer;
    let discovery = vec![
        format!("{}/.well-known/oauth-authorization-server{}", issuer.origin(), issuer.path()),
        format!("{issuer}/.well-known/openid-configuration"),
    ];
    pages::respond(StatusCode::OK, &Home { site: Site::of(&world.settings), discovery }, Leads::Here)
}

/// The secret of a link, from its path. Bytes that are no text are the secret of none.
struct Linked(String);

impl<S: Send + Sync> FromRequestParts<S> for Linked {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Linked, Infallible> {
        let token = Path::<String>::from_request_parts(parts, state).await;
        Ok(Linked(token.map_or_else(|_| String::new(), |Path(token)| token)))
    }
}

/// A person who cannot go on here, and why.
#[derive(Debug, Clone)]
enum TurnedAway {
    /// They see a page.
    Here { refusal: OAuthError, client: Option<ClientId> },
    /// The client is told.
    ToClient { refusal: OAuthError, client: Option<ClientId>, location: String },
    /// They are to sign in first.
    ToSignIn,
}

impl TurnedAway {
    /// The refusal of an authorization request, on record with the client that its query names.
    fn from_authorize(refused: Refused, query: &str) -> TurnedAway {
        let client = Parameters::parse(query.as_bytes()).ok().and_then(|parameters| ClientId::parse(parameters.get("client_id")?));
        match refused {
            Refused::Page(refusal) => TurnedAway::Here { refusal, client },
            Refused::Redirect { refusal, location } => TurnedAway::ToClient { refusal, client, location },
        }
    }
}

impl From<Refused> for TurnedAway {
    fn from(refused: Refused) -> TurnedAway {
        TurnedAway::from_authorize(refused, "")
    }
}
impl From<OAuthError> for TurnedAway {
    fn from(refusal: OAuthError) -> TurnedAway {
        TurnedAway::Here { refusal, client: None }
    }
}

/// Carries the refusal to `show_refusals`, which knows how this installation looks and which request it was.
impl IntoResponse for TurnedAway {
    fn into_response(self) -> Response {
        let mut response = StatusCode::INTERNAL_SERVER_ERROR.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Where nothing is served.
pub(crate) async fn nothing(State(world): State<Arc<World>>, request: Request) -> Response {
    refuse_anybody(&world, &request, REQUEST_NOT_FOUND)
}

/// Where something is served, but not by this method.
pub(crate) async fn not_so(State(world): State<Arc<World>>, request: Request) -> Response {
    refuse_anybody(&world, &request, REQUEST_METHOD)
}

/// A page for a browser, the refusal itself for a program.
fn refuse_anybody(world: &World, request: &Request, refusal: OAuthError) -> Response {
    let accepted = request.headers().get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    if !accepted.flat_map(|text| text.split(',')).any(|kind| kind.trim_start().starts_with("text/html")) {
        return refusal.into_response();
    }
    on_record(refusal_page(world, &refusal, request_id(request)), &refusal, None)
}

/// Whether this route, below the issuer's path, is one that people come to.
pub(crate) fn is_theirs(route: &str) -> bool {
    let first = route.trim_start_matches('/').split('/').next().unwrap_or_default();
    matches!(first, "" | "sign-in" | "sign-up" | "sign-out" | "invitation" | "password-reset" | "authorize" | "consent" | "account")
}

/// What somebody sees whose request was not looked at, or not to its end.
pub(crate) fn unheard(world: &World, refusal: &OAuthError, request_id: Option<RequestId>) -> Response {
    on_record(refusal_page(world, refusal, request_id.map(|id| id.0.to_string()).unwrap_or_default()), refusal, None)
}

fn request_id(request: &Request) -> String {
    request.extensions().get::<RequestId>().map(|id| id.0.to_string()).unwrap_or_default()
}

/// Turns every refusal into what the person sees of it.
async fn show_refusals(State(world): State<Arc<World>>, request: Request, next: Next) -> Response {
    let request_id = request_id(&request);
    let mut response = next.run(request).await;
    let Some(turned_away) = response.extensions_mut().remove::<TurnedAway>() else { return response };
    match turned_away {
        TurnedAway::Here { refusal, client } => on_record(refusal_page(&world, &refusal, request_id), &refusal, client),
        TurnedAway::ToClient { refusal, client, location } => on_record(see_other(&location), &refusal, client),
        TurnedAway::ToSignIn => see_other(&format!("{}/sign-in", world.settings.issuer.path())),
    }
}

fn refusal_page(world: &World, refusal: &OAuthError, request_id: String) -> Response {
    let obstacle = Obstacle::of(refusal);
    let page = Refusal::for_obstacle(Site::of(&world.settings), obstacle, refusal.reason, request_id);
    let mut response = pages::respond(obstacle.status(refusal), &page, Leads::Here);
    tell_when_to_return(&mut response, refusal);
    response
}

/// `Retry-After`, where waiting helps.
fn tell_when_to_return(response: &mut Response, refusal: &OAuthError) {
    let header = error::extra_header(refusal).filter(|(name, _)| *name == header::RETRY_AFTER);
    response.headers_mut().extend(header);
}

/// Lets the outer layer put the refusal on record.
fn on_record(mut response: Response, refusal: &OAuthError, client: Option<ClientId>) -> Response {
    response.extensions_mut().insert(error::Refused { client, ..error::Refused::by_nobody(refusal) });
    response
}

/// Sends the browser on with a GET. The location is one that we made, or a redirect URI that was compared byte by byte.
fn see_other(location: &str) -> Response {
    let Ok(location) = HeaderValue::from_str(location) else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let headers = [
        (header::LOCATION, location),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    (StatusCode::SEE_OTHER, headers).into_response()
}
