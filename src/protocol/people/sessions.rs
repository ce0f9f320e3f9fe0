//! Who is signed in, in which browsers.
//!
//! The cookie is 256 random bits that only its browser has; storage knows a keyed digest. A session is never handed from one
//! browser state to the next: proving who one is begins a new one (session fixation).

use std::time::Duration;

use super::Visitor;
use crate::{
    domain::refusal::OAuthError,
    domain::{
        event::{Actor, Fact},
        id::{Id, SessionKind},
        network::Network,
        person::{Person, Session},
        secret::{Digest, Secret},
        time::Timestamp,
    },
    keys::secrets::Purpose,
    protocol::witness::Witness,
    storage::{StorageError, Tx, people},
    world::World,
};

/// How exactly `seen_at` is kept; a write for every page would be too dear.
const SEEN_EVERY: Duration = Duration::from_secs(60);
const USER_AGENT_CHARS_MAX: usize = 300;
/// However much it is used, a session ends after this, so that a stolen cookie does.
const SESSION_TTL_MAX: Duration = Duration::from_secs(90 * 86_400);

/// A session that has begun, and the cookie for its browser.
pub struct Started {
    pub session: Session,
    pub cookie: Secret<String>,
}

/// A session that is about to begin: made before the transaction, written inside it.
pub(super) struct Beginning {
    pub(super) started: Started,
    digest: Digest,
    network: Option<Network>,
    /// The session that it takes the place of.
    earlier: Option<Session>,
}

impl Beginning {
    /// A new session for `person` in the visitor's browser.
    pub(super) fn new(world: &World, visitor: &Visitor, person: &Person, now: Timestamp) -> Beginning {
        let cookie = world.secret();
        let session = Session {
            id: world.id(now),
            person: person.id,
            started_at: now,
            authenticated_at: now,
            seen_at: now,
            user_agent: visitor.user_agent.chars().take(USER_AGENT_CHARS_MAX).collect(),
        };
        let digest = world.secrets.digest(Purpose::SessionCookie, cookie.reveal());
        Beginning {
            started: Started { session, cookie },
            digest,
            network: world.network(visitor.address),
            earlier: visitor.signed_in.as_ref().map(|(session, _)| session.clone()),
        }
    }
}

/// Begins a session, and ends the one that was in this browser before.
pub(super) async fn start(tx: &mut Tx, witness: &Witness, beginning: Beginning) -> Result<Started, StorageError> {
    let Beginning { started, digest, network, earlier } = beginning;
    let Session { id: session, person, .. } = started.session;
    people::insert_session(tx, &started.session, &digest).await?;
    witness.record(tx, Fact::SessionStarted { session, person, network }).await?;
    if let Some(earlier) = earlier
        && people::end_session(tx, earlier.person, earlier.id).await?
    {
        witness.record(tx, Fact::SessionEnded { session: earlier.id, person: earlier.person }).await?;
    }
    Ok(started)
}

/// Who is signed in with this cookie.
pub async fn find(world: &World, cookie: &str, now: Timestamp) -> Result<Option<(Session, Person)>, OAuthError> {
    let digest = world.secrets.digest(Purpose::SessionCookie, cookie);
    let seen_after = seen_after(world, now);
    let found = world
        .storage
        .read(move |tx| Box::pin(async move { people::find_session(tx, &digest, seen_after, now.minus(SESSION_TTL_MAX)).await }))
        .await?;
    if let Some((session, _)) = found.as_ref().filter(|(session, _)| now.since(session.seen_at) >= SEEN_EVERY) {
        let id = session.id;
        let touched = world.storage.write(move |tx| Box::pin(async move { people::touch_session(tx, id, now).await })).await;
        if let Err(error) = touched {
            // The person may go on; only their idle time is counted from earlier.
            tracing::warn!(%error, "it could not be noted that a session was used");
        }
    }
    Ok(found)
}

/// A person's live sessions, the last seen first.
pub async fn list(world: &World, person: &Person, now: Timestamp) -> Result<Vec<Session>, OAuthError> {
    let (person, seen_after, started_after) = (person.id, seen_after(world, now), now.minus(SESSION_TTL_MAX));
    Ok(world.storage.read(move |tx| Box::pin(async move { people::sessions(tx, person, seen_after, started_after).await })).await?)
}

/// Ends one of the person's sessions. Ending one that is over, or was never theirs, changes nothing.
pub async fn end(world: &World, person: &Person, session: Id<SessionKind>, now: Timestamp) -> Result<(), OAuthError> {
    let (witness, person) = (Witness::new(world, Actor::Person(person.id), now), person.id);
    let end = world.storage.write(move |tx| {
        Box::pin(async move {
            if people::end_session(tx, person, session).await? {
                witness.record(tx, Fact::SessionEnded { session, person }).await?;
            }
            Ok::<_, StorageError>(())
        })
    });
    Ok(end.await?)
}

/// Ends the person's sessions in all other browsers.
pub async fn end_others(world: &World, kept: &Session, now: Timestamp) -> Result<(), OAuthError> {
    let (witness, person, kept) = (Witness::new(world, Actor::Person(kept.person), now), kept.person, kept.id);
    let end = world.storage.write(move |tx| {
        Box::pin(async move {
            for session in people::end_sessions(tx, person, Some(kept)).await? {
                witness.record(tx, Fact::SessionEnded { session, person }).await?;
            }
            Ok::<_, StorageError>(())
        })
    });
    Ok(end.await?)
}

fn seen_after(world: &World, now: Timestamp) -> Timestamp {
    now.minus(World::seconds(world.settings.session_idle_ttl_s))
}
