//! The client credentials grant: [OAuth 2.1 §4.2](https://datatracker.ietf.org/doc/html/draft-ietf-oauth-v2-1-13#section-4.2).
//!
//! A client acts for itself under one grant for each resource, begun at its first request; ending that grant ends all that was
//! issued under it. A request changes nothing else, so its event goes straight to the log: that append is its commit.

use std::{sync::Arc, time::Duration};

use crate::{
    domain::{
        client::{Client, GrantType},
        event::{Actor, Fact},
        grant::{Authorization, Grant},
        policy,
        refusal::{CLIENT_AUTHENTICATION_METHOD, OAuthError, RESOURCE_MISSING, SCOPE_EMPTY},
        resource::Resource,
        scope::Scopes,
        time::Timestamp,
    },
    protocol::{parameters::Parameters, resource_indicators, tracking_api},
    storage::{StorageError, grants, outbox},
    world::World,
};

use super::{Issuance, access_token_ttl_s, prepare};

/// While a grant is younger, its facts take one way, through the outbox, so that its beginning comes first in the log.
const SETTLING: Duration = Duration::from_secs(2);

/// Gives a client a token for itself.
pub async fn redeem(world: &World, client: &Client, parameters: &Parameters<'_>, now: Timestamp) -> Result<Issuance, OAuthError> {
    if !client.is_confidential() {
        return Err(CLIENT_AUTHENTICATION_METHOD);
    }
    let requested = Scopes::parse(parameters.get("scope").unwrap_or_default())?;
    let resource = match tracking_api::requested(world, parameters, &requested) {
        Some(tracking_api) => tracking_api,
        None => resource_indicators::requested(world, parameters, &requested).await?.ok_or(RESOURCE_MISSING)?,
    };
    let scopes = policy::own_scopes(client, &resource, &requested)?;
    if scopes.is_empty() {
        return Err(SCOPE_EMPTY);
    }
    let granted = resource.closure(&client.metadata.scope.clone().unwrap_or_default());
    let known = world.storage.own_grant(&client.id, &resource.identifier, now).await?;
    // A registration that was changed meanwhile begins a new grant: no token exceeds the grant that it is under.
    let (grant, is_new) = match known.filter(|known| known.scopes == granted) {
        Some(known) => (known, false),
        None => (begin(world, client, &resource, granted, now).await?, true),
    };
    let authorization = Authorization {
        grant: grant.id,
        grant_type: GrantType::ClientCredentials,
        client: client.id.clone(),
        person: None,
        resource: Some(resource.identifier.clone()),
        scopes,
        expires_at: grant.expires_at,
        access_token_ttl_s: access_token_ttl_s(world, Some(&resource)),
        refresh_generation: None,
        identity: None,
    };
    let (issuance, event) = prepare(world, authorization, now);
    if is_new || now.since(grant.created_at) < SETTLING {
        world.storage.write(move |tx| Box::pin(async move { outbox::put(tx, &event).await })).await?;
    } else {
        world.record(&event).await?;
    }
    Ok(issuance)
}

async fn begin(
    world: &World,
    client: &Client,
    resource: &Resource,
    scopes: Scopes,
    now: Timestamp,
) -> Result<Arc<Grant>, OAuthError> {
    let grant = Grant {
        id: world.id(now),
        client: client.id.clone(),
        person: None,
        resource: Some(resource.identifier.clone()),
        scopes,
        created_at: now,
        expires_at: now.plus(World::seconds(world.settings.grant_ttl_s)),
        used_at: now,
        ended: None,
        authenticated_at: None,
        refresh: None,
    };
    let fact = Fact::GrantStarted {
        grant: grant.id,
        client: client.id.clone(),
        person: None,
        resource: grant.resource.clone(),
        scope: grant.scopes.clone(),
        expires_at: grant.expires_at,
    };
    let event = world.event(now, Actor::Client(client.id.clone()), fact);
    let begun = grant.clone();
    world
        .storage
        .write(move |tx| {
            Box::pin(async move {
                grants::insert(tx, &begun).await?;
                outbox::put(tx, &event).await?;
                Ok::<_, StorageError>(())
            })
        })
        .await?;
    Ok(Arc::new(grant))
}
