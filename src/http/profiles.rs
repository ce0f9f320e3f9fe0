//! For an organisation's own software: the [Profile API](https://segment.com/docs/unify/profile-api/).
//!
//! A token that an operator made stands where Basic authentication has a user name. Refusals are in the words of this API.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::Body,
    extract::{FromRequestParts as _, Path, Query, Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header, request::Parts},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{body, clients::authorization, layers::RequestId};
use crate::{
    domain::{
        event::Actor,
        identity::external_id::ExternalId,
        identity::external_id::ExternalIdType,
        profile::Collection,
        refusal::{Code, OAuthError, PROFILE_NOT_FOUND, PROFILE_VALUE, REQUEST_METHOD, REQUEST_NOT_FOUND},
        time::Timestamp,
    },
    events::profiles::{
        access,
        interventions::{self, InterventionError},
        read::{self, Class, Part, Profile, TraitView, events},
    },
    keys::secrets::Purpose,
    world::{StageError, World},
};

const LIMIT_DEFAULT: usize = 10;
const LIMIT_MAX: usize = 200;
/// How far back events are told.
const EVENTS_AGE_MAX: Duration = Duration::from_secs(14 * 86_400);
const CURSOR_TTL: Duration = Duration::from_secs(86_400);
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

pub(crate) fn router() -> Router<Arc<World>> {
    Router::new()
        .route("/v1/spaces/{space}/collections/{collection}/profiles/{external_id}/{view}", get(show))
        .route("/v1/spaces/{space}/collections/{collection}/profiles/{external_id}/external_ids/delete", post(take_away))
        .method_not_allowed_fallback(|| async { refusal(REQUEST_METHOD) })
        .layer(from_fn(identify))
}

/// A reference for whoever asks about one request.
async fn identify(request: Request, next: Next) -> Response {
    let id = request.extensions().get::<RequestId>().and_then(|id| HeaderValue::from_str(&id.0.to_string()).ok());
    let mut response = next.run(request).await;
    if let Some(id) = id {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// A refusal in the words of this API.
fn refusal(refusal: OAuthError) -> Response {
    let code = match refusal.code {
        Code::InvalidClient => "authentication_error",
        Code::NotFound => "not_found",
        Code::TooManyRequests => "rate_limit_error",
        _ if refusal.reason == PROFILE_VALUE.reason => "validation_error",
        Code::TemporarilyUnavailable | Code::ServerError => "server_error",
        _ => "invalid_request_error",
    };
    let body = json!({"error": {"code": code, "message": refusal.description}}).to_string();
    let mut response = refusal.into_response();
    response.headers_mut().remove(header::CONTENT_LENGTH);
    *response.body_mut() = body.into();
    response
}

/// What the address names.
#[derive(Deserialize)]
struct Place {
    space: String,
    collection: String,
    external_id: String,
    view: Option<String>,
}

/// What may be asked in the query; what a view has no use for is not looked at.
#[derive(Default, Deserialize)]
struct Asked {
    limit: Option<usize>,
    next: Option<String>,
    include: Option<String>,
    exclude: Option<String>,
    class: Option<String>,
    verbose: Option<bool>,
    start: Option<String>,
    end: Option<String>,
    sort: Option<String>,
}

/// What the call to delete an id says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Deletion {
    delete_external_ids: Vec<Deleted>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Deleted {
    id: String,
    #[serde(rename = "type")]
    id_type: String,
}

async fn show(State(world): State<Arc<World>>, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    tell(&world, &mut parts).await.unwrap_or_else(refusal)
}

async fn take_away(State(world): State<Arc<World>>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    delete(&world, &mut parts, body).await.unwrap_or_else(refusal)
}

async fn tell(world: &World, parts: &mut Parts) -> Result<Response, OAuthError> {
    let now = world.now();
    let place = place(parts).await?;
    access::authorize(world, authorization(&parts.headers), &place.space, now).await?;
    let Query(asked) = Query::<Asked>::try_from_uri(&parts.uri)
        .map_err(|rejection| PROFILE_VALUE.because(format!("{}.", rejection.body_text().trim_end_matches('.'))))?;
    let profile = profile(world, &place).await?;
    let page = Page { world, path: parts.uri.path(), limit: limit(&asked)?, asked: &asked, now };
    let body = match place.view.as_deref() {
        Some("traits") => page.traits(&profile)?,
        Some("external_ids") => page.external_ids(&profile).await?,
        Some("events") => page.events(&profile).await?,
        Some("metadata") => json!(profile.metadata()),
        Some("links") => json!({"data": profile.links(world).await?}),
        _ => return Err(REQUEST_NOT_FOUND),
    };
    Ok(Json(body).into_response())
}

/// Asks that one id be taken from the profile. It is when the answer's status is followed by the profile without it.
async fn delete(world: &World, parts: &mut Parts, body: Body) -> Result<Response, OAuthError> {
    let now = world.now();
    let place = place(parts).await?;
    let operator = access::authorize(world, authorization(&parts.headers), &place.space, now).await?;
    let Deletion { delete_external_ids } = body::json(&parts.headers, body).await?;
    let [Deleted { id, id_type }] = &delete_external_ids[..] else {
        return Err(PROFILE_VALUE.because("delete_external_ids must name one id."));
    };
    let profile = profile(world, &place).await?;
    let id = ExternalIdType::parse(id_type).and_then(|id_type| ExternalId::new(profile.component.collection, id_type, id));
    let id = id.ok_or_else(|| PROFILE_VALUE.because("delete_external_ids does not name an id of this collection."))?;
    let canonical = profile.component.canonical().id;
    let asked =
        interventions::take_away(world, Actor::Operator(operator), canonical, id, now).await.map_err(|error| match error {
            InterventionError::NoProfile => PROFILE_NOT_FOUND,
            InterventionError::Split(error) => PROFILE_VALUE.because(format!("{error}.")),
            InterventionError::Storage(error) => error.into(),
        })?;
    let body = json!({"data": {"id": asked.id, "status": asked.status}});
    Ok((StatusCode::ACCEPTED, Json(body)).into_response())
}

async fn place(parts: &mut Parts) -> Result<Place, OAuthError> {
    let Path(place) = Path::<Place>::from_request_parts(parts, &()).await.map_err(|_| PROFILE_NOT_FOUND)?;
    Ok(place)
}

async fn profile(world: &World, place: &Place) -> Result<Profile, OAuthError> {
    let collection = Collection::parse(&place.collection).ok_or(PROFILE_NOT_FOUND)?;
    read::find(world, collection, &place.external_id).await?.ok_or(PROFILE_NOT_FOUND)
}

fn limit(asked: &Asked) -> Result<usize, OAuthError> {
    match asked.limit.unwrap_or(LIMIT_DEFAULT) {
        limit @ 1..=LIMIT_MAX => Ok(limit),
        _ => Err(PROFILE_VALUE.because(format!("limit must be 1 to {LIMIT_MAX}."))),
    }
}

fn names(list: Option<&String>) -> BTreeSet<String> {
    list.into_iter().flat_map(|names| names.split(',')).map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}

/// A part of a list that is asked for.
struct Page<'p> {
    world: &'p World,
    path: &'p str,
    limit: usize,
    asked: &'p Asked,
    now: Timestamp,
}

impl Page<'_> {
    /// Where the part before ended; a cursor is good for the address that it came from.
    fn after(&self) -> Result<Option<String>, OAuthError> {
        let Some(cursor) = self.asked.next.as_deref().filter(|cursor| !cursor.is_empty()) else { return Ok(None) };
        let after = self.world.secrets.open(Purpose::Cursor, self.path, self.now, cursor);
        after.map(Some).ok_or_else(|| PROFILE_VALUE.because("next is not a cursor of this address, or is too old."))
    }

    fn cursor(&self, next: Option<String>) -> Value {
        let has_more = next.is_some();
        let seal = |next: String| self.world.secrets.seal(Purpose::Cursor, self.path, self.now.plus(CURSOR_TTL), &next);
        json!({"url": self.path, "has_more": has_more, "next": next.map(seal).unwrap_or_default(), "limit": self.limit})
    }

    fn traits(&self, profile: &Profile) -> Result<Value, OAuthError> {
        let class = match self.asked.class.as_deref() {
            None => None,
            Some("audience") => Some(Class::Audience),
            Some("computed_trait") => Some(Class::ComputedTrait),
            Some(_) => return Err(PROFILE_VALUE.because("class must be audience or computed_trait.")),
        };
        let (include, after) = (names(self.asked.include.as_ref()), self.after()?);
        let is_asked_for = |told: &TraitView| {
            class.is_none_or(|class| told.class == class)
                && (include.is_empty() || include.contains(&told.name))
                && after.as_ref().is_none_or(|after| told.name > *after)
        };
        let mut told: Vec<TraitView> = profile.traits(self.now).into_iter().filter(is_asked_for).collect();
        let is_more = told.len() > self.limit;
        told.truncate(self.limit);
        let next = told.last().filter(|_| is_more).map(|last| last.name.clone());
        let is_verbose = self.asked.verbose.unwrap_or_default();
        let traits: Map<String, Value> =
            told.into_iter().map(|told| if is_verbose { verbose(told) } else { (told.name, told.value) }).collect();
        Ok(json!({"traits": traits, "cursor": self.cursor(next)}))
    }

    async fn external_ids(&self, profile: &Profile) -> Result<Value, OAuthError> {
        let after = self.after()?.unwrap_or_default();
        Ok(self.list(profile.external_ids(self.world, &after, self.limit).await?))
    }

    async fn events(&self, profile: &Profile) -> Result<Value, OAuthError> {
        let time = |text: Option<&String>, name: &str, otherwise: Timestamp| match text {
            None => Ok(otherwise),
            Some(text) => Timestamp::parse_iso_8601(text)
                .ok_or_else(|| PROFILE_VALUE.because(format!("{name} must be a time such as 2027-01-15T08:00:00Z."))),
        };
        let earliest = self.now.minus(EVENTS_AGE_MAX);
        let order = match self.asked.sort.as_deref() {
            None | Some("desc") => events::Order::LatestFirst,
            Some("asc") => events::Order::OldestFirst,
            Some(_) => return Err(PROFILE_VALUE.because("sort must be asc or desc.")),
        };
        let asked = events::Asked {
            start: time(self.asked.start.as_ref(), "start", earliest)?.max(earliest),
            end: time(self.asked.end.as_ref(), "end", self.now)?,
            include: names(self.asked.include.as_ref()),
            exclude: names(self.asked.exclude.as_ref()),
            order,
            after: self.after()?.and_then(|after| after.parse().ok()),
            limit: self.limit,
        };
        Ok(self.list(events::list(self.world, profile, &asked).await.map_err(trouble)?))
    }

    fn list<T: Serialize>(&self, part: Part<T>) -> Value {
        json!({"data": part.items, "cursor": self.cursor(part.next)})
    }
}

fn verbose(told: TraitView) -> (String, Value) {
    let mut value =
        json!({"value": told.value, "source_id": told.source, "updated_at": told.updated_at.map(Timestamp::to_iso_8601)});
    if let Some(confidence) = told.confidence {
        value["confidence"] = confidence.into();
    }
    (told.name, value)
}

fn trouble(error: StageError) -> OAuthError {
    match error {
        StageError::Storage(error) => error.into(),
        StageError::Log(error) => error.into(),
        error => {
            tracing::error!(%error, "a profile's events could not be read");
            crate::domain::refusal::INTERNAL
        }
    }
}
