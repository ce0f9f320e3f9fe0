//! What acts for a person, and ending it.

use std::sync::Arc;

use crate::{
    domain::{
        client::Client,
        event::{Actor, Fact},
        grant::{EndCause, Grant},
        id::{GrantKind, Id},
        person::Person,
        refusal::OAuthError,
        resource::Resource,
        time::Timestamp,
    },
    protocol::{token::access_token_ttl_s, witness::Witness},
    storage::{StorageError, grants},
    world::World,
};

/// A grant that still yields something, with who holds it and for where.
pub struct ConnectedApp {
    pub grant: Grant,
    /// `None` if the client is gone.
    pub client: Option<Arc<Client>>,
    /// `None` if the grant names none, or one that is gone.
    pub resource: Option<Arc<Resource>>,
}

/// What acts for a person, the last used first.
pub async fn list(world: &World, person: &Person, now: Timestamp) -> Result<Vec<ConnectedApp>, OAuthError> {
    let person = person.id;
    let live = world.storage.read(move |tx| Box::pin(async move { grants::list_live_of(tx, person, now).await })).await?;
    let resources = world.storage.resources().await?;
    let mut apps = Vec::with_capacity(live.len());
    for grant in live {
        let resource = grant.resource.as_ref().and_then(|identifier| resources.find(identifier).cloned());
        if acts_until(&grant, access_token_ttl_s(world, resource.as_deref())) > now {
            let client = world.storage.client(&grant.client).await?;
            apps.push(ConnectedApp { grant, client, resource });
        }
    }
    Ok(apps)
}

/// Until when the grant yields a token, or a token of it may still be alive.
fn acts_until(grant: &Grant, access_token_ttl_s: u32) -> Timestamp {
    let last_token = grant.used_at.plus(World::seconds(access_token_ttl_s));
    let renewable = grant.refresh.map_or(last_token, |family| family.expires_at.max(last_token));
    renewable.min(grant.expires_at)
}

/// Ends one of the person's grants and every token under it. If it was the client's last one at that resource, the client has to
/// ask again. Ending what is over, or was never theirs, changes nothing.
pub async fn end(world: &World, person: &Person, grant: Id<GrantKind>, now: Timestamp) -> Result<(), OAuthError> {
    let (witness, person) = (Witness::new(world, Actor::Person(person.id), now), person.id);
    let resources = world.storage.resources().await?;
    let ttl_s = move |grant: &Grant| grant.resource.as_ref().and_then(|identifier| resources.find(identifier)?.access_token_ttl_s);
    let default_ttl_s = world.settings.access_token_ttl_s;
    let end = world.storage.write(move |tx| {
        Box::pin(async move {
            let Some(found) = grants::find(tx, grant).await?.filter(|found| found.person == Some(person)) else { return Ok(()) };
            // Whoever redeems a code under it holds it too: what they begin is ended or seen here.
            grants::hold_consent(tx, person, &found.client, found.resource.as_ref()).await?;
            let Some((client, _)) = grants::end(tx, grant, EndCause::Person, now).await? else { return Ok(()) };
            let live = grants::list_live_of(tx, person, now).await?;
            let is_left = |other: &Grant| {
                let acts = acts_until(other, ttl_s(other).unwrap_or(default_ttl_s)) > now;
                acts && other.client == client && other.resource == found.resource
            };
            if !live.iter().any(is_left) {
                grants::delete_consent(tx, person, &client, found.resource.as_ref()).await?;
            }
            witness.record(tx, Fact::GrantEnded { grant, client, person: Some(person), cause: EndCause::Person }).await?;
            Ok::<_, StorageError>(())
        })
    });
    Ok(end.await?)
}
