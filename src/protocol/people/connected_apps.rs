//! What acts for a person, and ending it.
//!
//! An app may hold many grants: it gets one each time that it authorizes. To its person it is one, at each resource.

use std::sync::Arc;

use crate::{
    domain::{
        client::{Client, ClientId},
        event::{Actor, Fact},
        grant::{EndCause, Grant},
        id::{GrantKind, Id, PersonKind},
        person::Person,
        refusal::{BUSY, OAuthError},
        resource::{Resource, ResourceIdentifier},
        scope::Scopes,
        time::Timestamp,
    },
    protocol::{token::access_token_ttl_s, witness::Witness},
    storage::{StorageError, Tx, grants},
    world::World,
};

/// How many grants one transaction ends.
const GRANTS_AT_ONCE: usize = 200;
/// More transactions than this end no app: a million grants, and somebody else waits.
const ENDING_STEPS_MAX: usize = 5_000;

/// An app that may still do something at a resource, by all its grants there together.
pub struct ConnectedApp {
    /// The grant that was used last. It names the app.
    pub grant: Id<GrantKind>,
    pub client_id: ClientId,
    /// `None` if the client is gone.
    pub client: Option<Arc<Client>>,
    /// `None` if the grants name none, or one that is gone.
    pub resource: Option<Arc<Resource>>,
    pub scopes: Scopes,
    pub connected_at: Timestamp,
    pub used_at: Timestamp,
    /// When the last of what it can renew ends by itself; `None` if it can renew nothing.
    pub ends_at: Option<Timestamp>,
}

/// What acts for a person, the last used first.
pub async fn list(world: &World, person: &Person, now: Timestamp) -> Result<Vec<ConnectedApp>, OAuthError> {
    let person = person.id;
    let given_after = now.minus(World::seconds(world.settings.grant_ttl_s));
    let load = world.storage.read(move |tx| {
        Box::pin(async move {
            let live = grants::list_live_of(tx, person, now).await?;
            Ok::<_, StorageError>((live, grants::consented_since(tx, person, given_after).await?))
        })
    });
    let (live, consented) = load.await?;
    let resources = world.storage.resources().await?;
    let mut apps: Vec<(Option<ResourceIdentifier>, ConnectedApp)> = Vec::new();
    for grant in live {
        let resource = grant.resource.as_ref().and_then(|identifier| resources.find(identifier).cloned());
        // Whose token has run out may still come back without asking, as long as the consent stands.
        let at = grant.resource.as_ref().map_or("", ResourceIdentifier::as_str);
        let is_consented = consented.iter().any(|(client, resource)| *client == grant.client && resource == at);
        if !is_consented && acts_until(&grant, access_token_ttl_s(world, resource.as_deref())) <= now {
            continue;
        }
        let known = apps.iter_mut().find(|(at, app)| *at == grant.resource && app.client_id == grant.client);
        if let Some((_, app)) = known {
            app.add(&grant);
            continue;
        }
        let client = world.storage.client(&grant.client).await?;
        apps.push((grant.resource.clone(), ConnectedApp::new(grant, client, resource)));
    }
    Ok(apps.into_iter().map(|(_, app)| app).collect())
}

impl ConnectedApp {
    fn new(grant: Grant, client: Option<Arc<Client>>, resource: Option<Arc<Resource>>) -> ConnectedApp {
        ConnectedApp {
            grant: grant.id,
            client,
            resource,
            connected_at: grant.created_at,
            used_at: grant.used_at,
            ends_at: grant.refresh.map(|_| grant.expires_at),
            client_id: grant.client,
            scopes: grant.scopes,
        }
    }

    /// Another grant of it, which was used before.
    fn add(&mut self, grant: &Grant) {
        self.scopes = self.scopes.union(&grant.scopes);
        self.connected_at = self.connected_at.min(grant.created_at);
        self.ends_at = self.ends_at.max(grant.refresh.map(|_| grant.expires_at));
    }
}

/// Until when the grant yields a token, or a token of it may still be alive.
fn acts_until(grant: &Grant, access_token_ttl_s: u32) -> Timestamp {
    let last_token = grant.used_at.plus(World::seconds(access_token_ttl_s));
    let renewable = grant.refresh.map_or(last_token, |family| family.expires_at.max(last_token));
    renewable.min(grant.expires_at)
}

/// Ends one of the person's apps, which any of its grants names: all its grants at that resource and every token under them. The
/// client has to ask again. Naming what was never theirs changes nothing.
///
/// # Errors
/// `server.busy` if an app holds more grants than are ended in one go; the rest can be ended by another.
pub async fn end(world: &World, person: &Person, grant: Id<GrantKind>, now: Timestamp) -> Result<(), OAuthError> {
    let (witness, person) = (Witness::new(world, Actor::Person(person.id), now), person.id);
    for _ in 0..ENDING_STEPS_MAX {
        let witness = witness.clone();
        let write = world.storage.write(move |tx| Box::pin(async move { end_some(tx, &witness, person, grant, now).await }));
        if write.await? == Left::Nothing {
            return Ok(());
        }
    }
    Err(BUSY)
}

#[derive(PartialEq, Eq)]
enum Left {
    Nothing,
    Grants,
}

/// As much of an ending as one transaction may hold.
async fn end_some(
    tx: &mut Tx,
    witness: &Witness,
    person: Id<PersonKind>,
    grant: Id<GrantKind>,
    now: Timestamp,
) -> Result<Left, StorageError> {
    let Some(named) = grants::find(tx, grant).await?.filter(|named| named.person == Some(person)) else {
        return Ok(Left::Nothing);
    };
    // First, so that it gets no new grants: whoever redeems a code under the consent holds it, and is waited for.
    grants::delete_consent(tx, person, &named.client, named.resource.as_ref()).await?;
    let live = grants::live_of_app(tx, person, &named.client, named.resource.as_ref(), now, GRANTS_AT_ONCE).await?;
    let left = if live.len() < GRANTS_AT_ONCE { Left::Nothing } else { Left::Grants };
    for grant in live {
        if let Some((client, person)) = grants::end(tx, grant, EndCause::Person, now).await? {
            witness.record(tx, Fact::GrantEnded { grant, client, person, cause: EndCause::Person }).await?;
        }
    }
    Ok(left)
}
