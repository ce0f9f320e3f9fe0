//! A source's events, live, as [server-sent events](https://html.spec.whatwg.org/multipage/server-sent-events.html).

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::State,
    http::{HeaderValue, header},
    response::{
        IntoResponse as _, Response,
        sse::{Event, Sse},
    },
};
use futures_util::{Stream, stream};
use serde::Deserialize;

use super::request::{Named, Operator, Query};
use crate::{
    domain::{
        id::{Id, OperatorKind, SourceKind},
        refusal::{ADMIN_VALUE, OAuthError},
        time::Timestamp,
    },
    events::watch::{self, LAST_MAX, Watch},
    protocol::administration::{operators, sources},
    world::{World, viewers::Told},
};

const LAST_DEFAULT: usize = 20;
/// Proxies end what is silent for longer, and viewers take it for dead.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Why a view ends.
const STOPS: &str = "The server stops.";
const NOT_KNOWN: &str = "The operator's token is good no longer.";
const NOT_FOUND_OUT: &str = "Whether the operator's token is still good cannot be found out now; look on again in a moment.";
/// How long an operator may be gone and still see something.
const KNOWN_FOR: Duration = Duration::from_secs(1);

/// How to look on.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WatchRequest {
    /// How many of the last events come first: 0 to 100, 20 if absent.
    last: Option<usize>,
}

/// Shows what a source sends and what becomes of it, as it happens: `accepted`, `refused`, `published`, `dropped`, `kept_aside` and
/// `duplicate` events. `lost` says how many came too fast to be shown; `end` says why there is nothing more.
#[utoipa::path(get, path = "/admin/v1/sources/{source_id}/watch", tag = "sources", params(("source_id" = String, Path), WatchRequest),
    responses((status = 200, description = "Server-sent events, until the viewer goes away", content_type = "text/event-stream", body = String)))]
pub(super) async fn watch(
    Operator(operator): Operator,
    State(world): State<Arc<World>>,
    Named(source): Named<Id<SourceKind>>,
    Query(request): Query<WatchRequest>,
) -> Result<Response, OAuthError> {
    let last = request.last.unwrap_or(LAST_DEFAULT);
    if last > LAST_MAX {
        return Err(ADMIN_VALUE.because(format!("last must be 0 to {LAST_MAX}.")));
    }
    // There must be such a source.
    sources::show(&world, source).await?;
    let watch = watch::begin(&world, source, last).await?;
    let known_at = world.now();
    let mut response = Sse::new(events(Looking { world, operator, known_at, watch })).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// An operator who looks on.
struct Looking {
    world: Arc<World>,
    operator: Id<OperatorKind>,
    /// When they were last known to be one.
    known_at: Timestamp,
    watch: Watch,
}

/// Begins with a comment, so that the viewer hears at once that it looks on.
fn events(looking: Looking) -> impl Stream<Item = Result<Event, Infallible>> + Send + 'static {
    let begin = stream::once(async { Ok(Event::default().comment("looking on")) });
    let follow = stream::unfold(Some(looking), |looking| async {
        let mut looking = looking?;
        let told = looking.watch.next(HEARTBEAT).await;
        let ended = if matches!(told, Told::Ended) { Err(STOPS) } else { looking.check().await };
        if let Err(why) = ended {
            return Some((Ok(named("end", format!("{{\"why\":\"{why}\"}}"))), None));
        }
        let event = match told {
            Told::Ended => return None,
            Told::Quiet => Event::default().comment("nothing new"),
            Told::Lost(count) => named("lost", format!("{{\"count\":{count}}}")),
            Told::Seen(sighting) => {
                let text = serde_json::to_string(&*sighting).expect("our own types serialise to JSON");
                named(sighting.stage.as_str(), text)
            }
        };
        Some((Ok(event), Some(looking)))
    });
    stream::StreamExt::chain(begin, follow)
}

impl Looking {
    /// Whether the operator still is one; who cannot be asked for sees nothing either.
    async fn check(&mut self) -> Result<(), &'static str> {
        let now = self.world.now();
        if now.since(self.known_at) < KNOWN_FOR {
            return Ok(());
        }
        match operators::is_known(&self.world, self.operator).await {
            Ok(true) => self.known_at = now,
            Ok(false) => return Err(NOT_KNOWN),
            Err(_) => return Err(NOT_FOUND_OUT),
        }
        Ok(())
    }
}

/// On one line: a message may have line breaks between its parts, never within a text.
fn named(name: &str, json: String) -> Event {
    let is_broken = json.contains(['\r', '\n']);
    Event::default().event(name).data(if is_broken { json.replace(['\r', '\n'], " ") } else { json })
}
