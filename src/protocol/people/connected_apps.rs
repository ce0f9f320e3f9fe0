//! What acts for a person, and ending it.
//!
//! An app may hold many grants: it gets one each time that it authorizes. To its person it is one, at each resource. It is there for as
//! long as it can act, or can come back without a question because what the person allowed still stands.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use crate::{
    domain::{
        client::{Client, ClientId},
        event::{Actor, Fact},
        grant::{Consent, EndCause},
        id::{Id, PersonKind},
        person::Person,
        refusal::{BUSY, OAuthError},
        resource::{Resource, ResourceIdentifier},
        scope::Scopes,
        time::Timestamp,
    },
    protocol::{token::access_token_ttl_s, witness::Witness},
    storage::{
        StorageError, Tx,
        grants::{self, App},
    },
    world::World,
};

/// How many grants one transaction ends.
const GRANTS_AT_ONCE: usize = 200;
/// More transactions than this end no app: a million grants, and somebody else waits.
const ENDING_STEPS_MAX: usize = 5_000;

/// An app that may still do something at a resource, by all its grants there and what the person allowed, together.
pub struct ConnectedApp {
    pub client_id: ClientId,
    /// `None` if the client is gone.
    pub client: Option<Arc<Client>>,
    pub resource_identifier: Option<ResourceIdentifier>,
    /// `None` if the grants name none, or one that is gone.
    pub resource: Option<Arc<Resource>>,
    pub scopes: Scopes,
    pub connected_at: Timestamp,
    /// `None` if it holds nothing now.
    pub used_at: Option<Timestamp>,
    /// When the last of what it can renew ends by itself; `None` if it can renew nothing.
    pub ends_at: Option<Timestamp>,
}

/// What acts for a person or may do so again unasked, the last used first.
pub async fn list(world: &World, person: &Person, now: Timestamp) -> Result<Vec<ConnectedApp>, OAuthError> {
    let person = person.id;
    let consent_ttl = World::seconds(world.settings.grant_ttl_s);
    let given_after = now.minus(consent_ttl);
    let load = world.storage.read(move |tx| {
        Box::pin(async move {
            let apps = grants::apps_of(tx, person, now).await?;
            Ok::<_, StorageError>((apps, grants::consents_of(tx, person, given_after).await?))
        })
    });
    let (apps, consents) = load.await?;
    let mut standing: BTreeMap<_, _> =
        consents.into_iter().map(|(client, resource, consent)| ((client, resource), consent)).collect();
    let resources = world.storage.resources().await?;
    let find = |identifier: &Option<ResourceIdentifier>| identifier.as_ref().and_then(|known| resources.find(known).cloned());
    let mut listed = Vec::new();
    for app in apps {
        let resource = find(&app.resource);
        let used_after = now.minus(World::seconds(access_token_ttl_s(world, resource.as_deref())));
        let consent = standing.remove(&(app.client.clone(), app.resource.clone()));
        // Its last token has run out, and nothing brings another without a question.
        if consent.is_none() && app.used_at <= used_after && app.refresh_expires_at.is_none_or(|until| until <= now) {
            continue;
        }
        let (client, at) = (app.client.clone(), app.resource.clone());
        let ask = world.storage.read(move |tx| {
            Box::pin(async move { grants::scopes_of_app(tx, person, &client, at.as_ref(), used_after, now).await })
        });
        let scopes = ask.await?;
        let client = world.storage.client(&app.client).await?;
        let mut connected = ConnectedApp::acting(app, scopes, client, resource);
        if let Some(consent) = consent {
            connected.add(&consent, consent.given_at.plus(consent_ttl));
        }
        listed.push(connected);
    }
    for ((client_id, resource_identifier), consent) in standing {
        let (client, resource) = (world.storage.client(&client_id).await?, find(&resource_identifier));
        let ends_at = Some(consent.given_at.plus(consent_ttl));
        let (scopes, connected_at) = (consent.scopes, consent.given_at);
        listed.push(ConnectedApp {
            client_id,
            client,
            resource_identifier,
            resource,
            scopes,
            connected_at,
            used_at: None,
            ends_at,
        });
    }
    listed.sort_by_key(|app| Reverse(app.used_at.unwrap_or(app.connected_at)));
    Ok(listed)
}

impl ConnectedApp {
    fn acting(app: App, scopes: Scopes, client: Option<Arc<Client>>, resource: Option<Arc<Resource>>) -> ConnectedApp {
        ConnectedApp {
            client,
            resource,
            scopes,
            client_id: app.client,
            resource_identifier: app.resource,
            connected_at: app.created_at,
            used_at: Some(app.used_at),
            ends_at: app.ends_at,
        }
    }

    /// What it may have without a question, until then.
    fn add(&mut self, consent: &Consent, until: Timestamp) {
        self.scopes = self.scopes.union(&consent.scopes);
        self.connected_at = self.connected_at.min(consent.given_at);
        self.ends_at = self.ends_at.max(Some(until));
    }
}

/// Ends one of the person's apps: what they allowed this client at this resource, all its grants there, and every token under them. The
/// client has to ask again. Naming what was never theirs changes nothing.
///
/// # Errors
/// `server.busy` if an app holds more grants than are ended in one go; the rest can be ended by another.
pub async fn end(
    world: &World,
    person: &Person,
    client: ClientId,
    resource: Option<ResourceIdentifier>,
    now: Timestamp,
) -> Result<(), OAuthError> {
    let (witness, person) = (Witness::new(world, Actor::Person(person.id), now), person.id);
    for _ in 0..ENDING_STEPS_MAX {
        let (witness, client, resource) = (witness.clone(), client.clone(), resource.clone());
        let write = world
            .storage
            .write(move |tx| Box::pin(async move { end_some(tx, &witness, person, &client, resource.as_ref(), now).await }));
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
    client: &ClientId,
    resource: Option<&ResourceIdentifier>,
    now: Timestamp,
) -> Result<Left, StorageError> {
    // First, so that it gets no new grants: whoever redeems a code under the consent holds it, and is waited for.
    grants::delete_consent(tx, person, client, resource).await?;
    let live = grants::live_of_app(tx, person, client, resource, now, GRANTS_AT_ONCE).await?;
    let left = if live.len() < GRANTS_AT_ONCE { Left::Nothing } else { Left::Grants };
    for grant in live {
        if let Some((client, person)) = grants::end(tx, grant, EndCause::Person, now).await? {
            witness.record(tx, Fact::GrantEnded { grant, client, person, cause: EndCause::Person }).await?;
        }
    }
    Ok(left)
}
