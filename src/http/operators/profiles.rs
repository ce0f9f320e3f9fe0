//! Profiles with the evidence that made them, what corrects them, what the law demands, and who else may ask.

use std::sync::Arc;

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    answer,
    request::{Body, Named, Operator, Query},
};
use crate::{
    domain::{
        event::Actor,
        id::{Id, InterventionKind, ProfileKind, ProfileTokenKind},
        identity::external_id::ExternalId,
        intervention::{Intervention, Regulation, Status},
        profile::Collection,
        refusal::{ADMIN_CONFLICT, ADMIN_CURSOR, ADMIN_NOT_FOUND, ADMIN_VALUE, OAuthError},
        time::Timestamp,
    },
    events::profiles::{
        interventions::{self, EdgeName, InterventionError},
        read::{self, ExternalIdView, Profile, TraitView},
    },
    protocol::administration::{
        paging::{Page, PageRequest},
        profile_tokens::{self, IssuedProfileToken, NewProfileToken, ProfileTokenRecord},
    },
    storage::interventions::Asked,
    world::World,
};

/// External ids that are shown at most: as many as a profile may have.
const IDS_MAX: usize = 1_000;
/// Regulations on a page.
const REGULATIONS_MAX: i64 = 100;

/// Which profile is meant.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Lookup {
    /// `users`, `accounts` or `agents`.
    collection: String,
    /// `type:value`.
    external_id: String,
}

/// A profile, whole.
#[derive(Serialize, utoipa::ToSchema)]
struct ProfileRecord {
    /// The profile that stands for all its parts.
    profile_id: String,
    #[schema(value_type = String)]
    collection: Collection,
    #[schema(value_type = Vec<Object>)]
    traits: Vec<TraitRecord>,
    #[schema(value_type = Vec<Object>)]
    external_ids: Vec<ExternalIdView>,
    /// The profiles that it was put together from, the earliest first.
    parts: Vec<String>,
    /// What joined them, each named by `edge_offset` and `external_id`.
    merges: Vec<MergeRecord>,
    /// What was taken from it by hand.
    kept_apart: usize,
}

#[derive(Serialize)]
struct TraitRecord {
    name: String,
    value: Value,
    source_id: String,
    updated_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    confidence: Option<f64>,
}

/// Why two profiles are one.
#[derive(Serialize, utoipa::ToSchema)]
struct MergeRecord {
    /// Where in the log the event is that said so.
    edge_offset: u64,
    /// The id that was joined, and the profile that it led to.
    external_id: String,
    profile_id: String,
    /// The id that it was joined with, and the profile that that led to.
    with_external_id: String,
    with_profile_id: String,
}

/// The merge to be taken back.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Unmerge {
    edge_offset: u64,
    /// `type:value`.
    external_id: String,
}

/// The id to be taken away.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TakeAway {
    /// `type:value`.
    external_id: String,
}

/// What is demanded for people, by their user ids: 5,000 at most.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewRegulation {
    regulation: Regulation,
    user_ids: Vec<String>,
}

/// An intervention as operators see it.
#[derive(Serialize, utoipa::ToSchema)]
struct InterventionRecord {
    #[schema(value_type = String)]
    intervention_id: Id<InterventionKind>,
    /// Absent where it is not a regulation but a correction.
    #[serde(skip_serializing_if = "Option::is_none")]
    regulation: Option<Regulation>,
    status: Status,
    /// How many people are done with.
    done: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// RFC 3339.
    created_at: String,
    /// RFC 3339.
    ended_at: Option<String>,
}

/// A page of regulations.
#[derive(Serialize, utoipa::ToSchema)]
struct Regulations {
    items: Vec<InterventionRecord>,
    /// Where the next page begins, if there is one.
    next_cursor: Option<String>,
}

/// Shows the profile that an external id leads to, with the evidence.
#[utoipa::path(get, path = "/admin/v1/profiles", tag = "profiles", params(Lookup),
    responses((status = 200, description = "The profile", body = ProfileRecord)))]
pub(super) async fn find(
    _: Operator,
    State(world): State<Arc<World>>,
    Query(lookup): Query<Lookup>,
) -> Result<Response, OAuthError> {
    let collection = Collection::parse(&lookup.collection)
        .ok_or_else(|| ADMIN_VALUE.because("collection must be users, accounts or agents."))?;
    let profile = read::find(&world, collection, &lookup.external_id).await?.ok_or(ADMIN_NOT_FOUND)?;
    Ok(answer(StatusCode::OK, &record(&world, &profile).await?))
}

/// Shows a profile, or the one that it was merged into, with the evidence.
#[utoipa::path(get, path = "/admin/v1/profiles/{profile_id}", tag = "profiles", params(("profile_id" = String, Path)),
    responses((status = 200, description = "The profile", body = ProfileRecord)))]
pub(super) async fn show(
    _: Operator,
    State(world): State<Arc<World>>,
    Named(id): Named<Id<ProfileKind>>,
) -> Result<Response, OAuthError> {
    let profile = read::show(&world, id).await?.ok_or(ADMIN_NOT_FOUND)?;
    Ok(answer(StatusCode::OK, &record(&world, &profile).await?))
}

/// Has a merge taken back; what it joined stays apart.
#[utoipa::path(post, path = "/admin/v1/profiles/{profile_id}/unmerge", tag = "profiles", params(("profile_id" = String, Path)),
    request_body = Unmerge, responses((status = 202, description = "It is on its way", body = InterventionRecord)))]
pub(super) async fn unmerge(
    Operator(operator): Operator,
    State(world): State<Arc<World>>,
    Named(id): Named<Id<ProfileKind>>,
    Body(body): Body<Unmerge>,
) -> Result<Response, OAuthError> {
    let edge = EdgeName { offset: body.edge_offset, id: external_id(&world, id, &body.external_id).await? };
    let asked = interventions::unmerge(&world, Actor::Operator(operator), id, edge, world.now()).await.map_err(refusal)?;
    Ok(answer(StatusCode::ACCEPTED, &intervention(asked)))
}

/// Has an external id taken from its profile; it does not come back to it.
#[utoipa::path(post, path = "/admin/v1/profiles/{profile_id}/take-away", tag = "profiles", params(("profile_id" = String, Path)),
    request_body = TakeAway, responses((status = 202, description = "It is on its way", body = InterventionRecord)))]
pub(super) async fn take_away(
    Operator(operator): Operator,
    State(world): State<Arc<World>>,
    Named(id): Named<Id<ProfileKind>>,
    Body(body): Body<TakeAway>,
) -> Result<Response, OAuthError> {
    let external_id = external_id(&world, id, &body.external_id).await?;
    let asked = interventions::take_away(&world, Actor::Operator(operator), id, external_id, world.now()).await.map_err(refusal)?;
    Ok(answer(StatusCode::ACCEPTED, &intervention(asked)))
}

/// Asks what people, or the law for them, demand.
#[utoipa::path(post, path = "/admin/v1/regulations", tag = "privacy", request_body = NewRegulation,
    responses((status = 202, description = "It is on its way", body = InterventionRecord)))]
pub(super) async fn regulate(
    Operator(operator): Operator,
    State(world): State<Arc<World>>,
    Body(new): Body<NewRegulation>,
) -> Result<Response, OAuthError> {
    let asked = interventions::regulate(&world, Actor::Operator(operator), new.regulation, &new.user_ids, world.now()).await?;
    Ok(answer(StatusCode::ACCEPTED, &intervention(asked)))
}

/// Lists the regulations, the oldest first.
#[utoipa::path(get, path = "/admin/v1/regulations", tag = "privacy", params(PageRequest),
    responses((status = 200, description = "A page of regulations", body = Regulations)))]
pub(super) async fn list_regulations(
    _: Operator,
    State(world): State<Arc<World>>,
    Query(page): Query<PageRequest>,
) -> Result<Response, OAuthError> {
    // The cursor is the last regulation's identifier, which is no secret to an operator.
    let after: Option<Id<InterventionKind>> = page.cursor.as_deref().map(str::parse).transpose().map_err(|_| ADMIN_CURSOR)?;
    let limit = page.limit.map_or(REGULATIONS_MAX, i64::from).clamp(1, REGULATIONS_MAX);
    let rows = interventions::regulations(&world, after, limit).await?;
    let is_full = i64::try_from(rows.len()).is_ok_and(|rows| rows == limit);
    let next_cursor = rows.last().filter(|_| is_full).map(|last| last.id.to_string());
    Ok(answer(StatusCode::OK, &Regulations { items: rows.into_iter().map(intervention).collect(), next_cursor }))
}

/// Shows how far a regulation or a correction has come.
#[utoipa::path(get, path = "/admin/v1/regulations/{intervention_id}", tag = "privacy", params(("intervention_id" = String, Path)),
    responses((status = 200, description = "The intervention", body = InterventionRecord)))]
pub(super) async fn show_regulation(
    _: Operator,
    State(world): State<Arc<World>>,
    Named(id): Named<Id<InterventionKind>>,
) -> Result<Response, OAuthError> {
    let found = interventions::find(&world, id).await?.ok_or(ADMIN_NOT_FOUND)?;
    Ok(answer(StatusCode::OK, &intervention(found)))
}

/// Lists the tokens of the Profile API.
#[utoipa::path(get, path = "/admin/v1/profile-tokens", tag = "profiles", params(PageRequest),
    responses((status = 200, description = "A page of tokens", body = Page<ProfileTokenRecord>)))]
pub(super) async fn list_tokens(
    _: Operator,
    State(world): State<Arc<World>>,
    Query(page): Query<PageRequest>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::OK, &profile_tokens::list(&world, page, world.now()).await?))
}

/// Makes a token for the Profile API, told only now.
#[utoipa::path(post, path = "/admin/v1/profile-tokens", tag = "profiles", request_body = NewProfileToken,
    responses((status = 201, description = "The token", body = IssuedProfileToken)))]
pub(super) async fn issue_token(
    Operator(operator): Operator,
    State(world): State<Arc<World>>,
    Body(new): Body<NewProfileToken>,
) -> Result<Response, OAuthError> {
    Ok(answer(StatusCode::CREATED, &profile_tokens::issue(&world, operator, new, world.now()).await?))
}

/// Removes a token of the Profile API; it is dead at once.
#[utoipa::path(delete, path = "/admin/v1/profile-tokens/{profile_token_id}", tag = "profiles",
    params(("profile_token_id" = String, Path)), responses((status = 204, description = "It is removed")))]
pub(super) async fn remove_token(
    Operator(operator): Operator,
    State(world): State<Arc<World>>,
    Named(id): Named<Id<ProfileTokenKind>>,
) -> Result<Response, OAuthError> {
    profile_tokens::remove(&world, operator, id, world.now()).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn record(world: &World, profile: &Profile) -> Result<ProfileRecord, OAuthError> {
    let told = |told: TraitView| TraitRecord {
        name: told.name,
        value: told.value,
        source_id: told.source,
        updated_at: told.updated_at.map(Timestamp::to_rfc3339),
        confidence: told.confidence,
    };
    let merges = profile.merges.iter().map(|merge| MergeRecord {
        edge_offset: merge.offset,
        external_id: merge.edge.id.to_string(),
        profile_id: merge.edge.home.to_string(),
        with_external_id: merge.edge.with.to_string(),
        with_profile_id: merge.edge.with_home.to_string(),
    });
    Ok(ProfileRecord {
        profile_id: profile.component.canonical().id.to_string(),
        collection: profile.component.collection,
        traits: profile.traits(world.now()).into_iter().map(told).collect(),
        external_ids: profile.external_ids(world, "", IDS_MAX).await?.items,
        parts: profile.component.members.iter().map(|member| member.id.to_string()).collect(),
        merges: merges.collect(),
        kept_apart: profile.component.bars.len(),
    })
}

/// An external id of the collection that the profile is of.
async fn external_id(world: &World, profile: Id<ProfileKind>, text: &str) -> Result<ExternalId, OAuthError> {
    let profile = read::show(world, profile).await?.ok_or(ADMIN_NOT_FOUND)?;
    ExternalId::parse(profile.component.collection, text)
        .ok_or_else(|| ADMIN_VALUE.because("external_id must be type:value, as the profile has it."))
}

fn intervention(asked: Asked) -> InterventionRecord {
    let regulation = match asked.intervention {
        Intervention::Regulate { regulation, .. } | Intervention::Forgotten { regulation } => Some(regulation),
        Intervention::Unmerge { .. } | Intervention::TakeAway(_) | Intervention::SetRules(_) => None,
    };
    InterventionRecord {
        intervention_id: asked.id,
        regulation,
        status: asked.status,
        done: asked.done,
        error: asked.error,
        created_at: asked.created_at.to_rfc3339(),
        ended_at: asked.ended_at.map(Timestamp::to_rfc3339),
    }
}

fn refusal(error: InterventionError) -> OAuthError {
    match error {
        InterventionError::NoProfile => ADMIN_NOT_FOUND,
        InterventionError::Split(error) => ADMIN_CONFLICT.because(format!("{error}.")),
        InterventionError::Storage(error) => error.into(),
    }
}
