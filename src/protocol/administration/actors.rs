//! Actors as operators see them: who is of a kind, what led to it, and the operator's own word.

use serde::{Deserialize, Serialize};

use super::paging::{Page, PageRequest, Window};
use crate::{
    domain::{
        actor::{
            ActorId, ActorKind,
            evidence::{Evidence, Finding, Observed, Seen, Word},
        },
        event::{Actor, Fact},
        id::{EventKind, Id, OperatorKind},
        refusal::{ADMIN_NOT_FOUND, ADMIN_VALUE, OAuthError},
        time::Timestamp,
    },
    protocol::witness::Witness,
    storage::{
        StorageError, Tx,
        actors::{self, StoredActor},
        clients, revocations,
    },
    world::World,
};

const NOTE_CHARS_MAX: usize = 500;

/// Which actors are asked for.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ActorsRequest {
    pub kind: ActorKind,
    /// How many items at most: 1 to 500, 100 if absent.
    pub limit: Option<u32>,
    /// `next_cursor` of the page before; good for a day.
    pub cursor: Option<String>,
}

/// An operator's word: it beats all evidence until it is taken back.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWord {
    /// Agents: `trusted_agent`, `unknown_agent` or `rogue`. People: `person` or `bot_posing_as_person`.
    kind: ActorKind,
    /// Why, for whoever reads it later: 1 to 500 characters.
    note: String,
}

/// An actor.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ActorRecord {
    /// `client_id:…`, `user_id:…` or `anonymous_id:…`.
    #[schema(value_type = String)]
    actor_id: ActorId,
    kind: ActorKind,
    /// Since when it is of this kind; RFC 3339.
    since: String,
    /// What an operator says; absent if the evidence counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    word: Option<WordRecord>,
}

/// What an operator says of an actor.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct WordRecord {
    kind: ActorKind,
    note: String,
    #[schema(value_type = String)]
    operator_id: Id<OperatorKind>,
    /// RFC 3339.
    at: String,
}

/// An actor with what was seen of it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ActorWithHistory {
    #[serde(flatten)]
    actor: ActorRecord,
    /// In the order of the log. Of what repeats itself only some is kept.
    history: Vec<FindingRecord>,
}

/// A piece of evidence.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct FindingRecord {
    evidence: Evidence,
    #[schema(value_type = String)]
    event_id: Id<EventKind>,
    /// RFC 3339.
    at: String,
    /// Who the actor was taken for from then on.
    kind: ActorKind,
}

/// A page of the actors of a kind.
pub async fn list(world: &World, request: ActorsRequest, now: Timestamp) -> Result<Page<ActorRecord>, OAuthError> {
    let ActorsRequest { kind, limit, cursor } = request;
    let window = Window::read(world, format!("actors {}", kind.as_str()), &PageRequest { limit, cursor }, now)?;
    let (after, rows_max) = (window.after.clone(), window.rows_max());
    let rows = world.storage.read(move |tx| Box::pin(async move { actors::list(tx, kind, &after, rows_max).await })).await?;
    Ok(window.page(world, rows, |stored| stored.actor.to_string(), |stored| record(&stored), now))
}

/// One actor, with what was seen of it.
pub async fn show(world: &World, actor: ActorId) -> Result<ActorWithHistory, OAuthError> {
    let digest = world.secrets.digest_of_id(actor.external_id());
    let found = world.storage.read(move |tx| Box::pin(async move { actors::find(tx, &digest).await })).await?;
    found.map(|stored| with_history(&stored)).ok_or(ADMIN_NOT_FOUND)
}

/// Says what an actor is. An agent that is a rogue gets no tokens from the answer on, and what it holds is dead.
pub async fn set_kind(
    world: &World,
    operator: Id<OperatorKind>,
    actor: ActorId,
    word: NewWord,
    now: Timestamp,
) -> Result<ActorWithHistory, OAuthError> {
    let NewWord { kind, note } = word;
    if !kind.is_of(actor.collection()) {
        return Err(ADMIN_VALUE.because(format!("{} is no kind of {}.", kind.as_str(), actor.collection().as_str())));
    }
    if note.trim().is_empty() || note.chars().count() > NOTE_CHARS_MAX || note.chars().any(char::is_control) {
        return Err(ADMIN_VALUE.because(format!("note must have 1 to {NOTE_CHARS_MAX} characters and no control characters.")));
    }
    let fact = Fact::ActorKindSet { actor: actor.clone(), kind, note: note.clone() };
    say(world, operator, actor, Observed::Said { kind, note, operator }, |_| fact, now).await
}

/// Takes an operator's word back: the evidence counts again.
pub async fn lift_kind(
    world: &World,
    operator: Id<OperatorKind>,
    actor: ActorId,
    now: Timestamp,
) -> Result<ActorWithHistory, OAuthError> {
    let lifted = actor.clone();
    let fact = |kind| Fact::ActorKindLifted { actor: lifted, kind };
    say(world, operator, actor, Observed::Lifted, fact, now).await
}

/// Has effect at once. The stage that reads the fact finds it in the history, and does nothing more.
async fn say(
    world: &World,
    operator: Id<OperatorKind>,
    actor: ActorId,
    observed: Observed,
    fact: impl FnOnce(ActorKind) -> Fact + Send + 'static,
    now: Timestamp,
) -> Result<ActorWithHistory, OAuthError> {
    let digest = world.secrets.digest_of_id(actor.external_id());
    let witness = Witness::new(world, Actor::Operator(operator), now);
    let write = world.storage.write(move |tx| {
        Box::pin(async move {
            let mut stored = actors::hold(tx, &[digest]).await?.pop().ok_or(ADMIN_NOT_FOUND)?;
            if observed == Observed::Lifted && stored.state.word().is_none() {
                return Ok(stored);
            }
            let seen = Seen { event: witness.event_id(), at: now, observed };
            stored.state.observe(stored.actor.collection(), &seen);
            let kind = stored.state.kind(stored.actor.collection());
            if kind != stored.kind {
                (stored.kind, stored.since) = (kind, now);
            }
            actors::put(tx, std::slice::from_ref(&stored)).await?;
            tell_client(tx, &stored, now).await?;
            witness.record_as(tx, seen.event, fact(kind)).await?;
            Ok::<_, OAuthError>(stored)
        })
    });
    Ok(with_history(&write.await?))
}

/// An agent's kind is known where it asks for tokens.
async fn tell_client(tx: &mut Tx, stored: &StoredActor, now: Timestamp) -> Result<(), StorageError> {
    let Some(client) = stored.actor.client() else { return Ok(()) };
    let is_new = clients::set_kind(tx, &client, stored.kind).await?;
    if is_new && stored.kind == ActorKind::Rogue {
        revocations::revoke(tx, client.as_str(), now, now).await?;
    }
    Ok(())
}

fn record(stored: &StoredActor) -> ActorRecord {
    ActorRecord {
        actor_id: stored.actor.clone(),
        kind: stored.kind,
        since: stored.since.to_rfc3339(),
        word: stored.state.word().map(|Word { kind, note, operator, at }| WordRecord {
            kind: *kind,
            note: note.clone(),
            operator_id: *operator,
            at: at.to_rfc3339(),
        }),
    }
}

fn with_history(stored: &StoredActor) -> ActorWithHistory {
    let told = |finding: &Finding| FindingRecord {
        evidence: finding.evidence,
        event_id: finding.event,
        at: finding.at.to_rfc3339(),
        kind: finding.kind,
    };
    ActorWithHistory { actor: record(stored), history: stored.state.history().iter().map(told).collect() }
}
