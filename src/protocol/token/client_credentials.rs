//! The client credentials grant: [OAuth 2.1 §4.2](https://datatracker.ietf.org/doc/html/draft-ietf-oauth-v2-1-13#section-4.2).
//!
//! A client acts for itself under one grant for each resource, begun at its first request; ending that grant ends all that was
//! issued under it. Where a request changes nothing else, its event goes straight to the log: that append is its commit. Where it
//! begins the grant, or uses up an assertion, it is one transaction with its events.

use std::sync::Arc;

use crate::{
    domain::{
        client::{Client, GrantType},
        event::{Actor, Fact},
        grant::{Authorization, Grant},
        network::Network,
        policy,
        refusal::{CLIENT_AUTHENTICATION_METHOD, OAuthError, RESOURCE_MISSING, SCOPE_EMPTY},
        resource::Resource,
        scope::Scopes,
        time::Timestamp,
    },
    protocol::{
        client_authentication::{SpentProof, UnspentProof},
        parameters::Parameters,
        resource_indicators, tracking_api,
        witness::Witness,
    },
    storage::grants,
    world::World,
};

use super::{Issuance, access_token_ttl_s, prepare};

/// Gives a client a token for itself.
pub async fn redeem(
    world: &World,
    client: &Client,
    proof: UnspentProof,
    parameters: &Parameters<'_>,
    network: Option<Network>,
    now: Timestamp,
) -> Result<(Issuance, SpentProof), OAuthError> {
    if !client.is_confidential() {
        return Err(CLIENT_AUTHENTICATION_METHOD);
    }
    let requested = Scopes::parse(parameters.get("scope").unwrap_or_default())?;
    let resource = match tracking_api::requested(world, parameters, &requested)? {
        Some(tracking_api) => tracking_api,
        None => resource_indicators::requested(world, parameters, &requested).await?.ok_or(RESOURCE_MISSING)?,
    };
    let scopes = policy::own_scopes(client, &resource, &requested)?;
    if scopes.is_empty() {
        return Err(SCOPE_EMPTY);
    }
    let granted = resource.closure(&client.metadata.scope.clone().unwrap_or_default());
    let access_token_ttl_s = access_token_ttl_s(world, Some(&resource));
    // One that ends sooner would shorten the token, at last to nothing; but where grants are shorter than tokens, each has its time.
    let lasts_until = now.plus(World::seconds(access_token_ttl_s.min(world.settings.grant_ttl_s / 2)));
    // A registration that was changed meanwhile begins a new grant: no token exceeds the grant that it is under.
    let known = world.storage.own_grant(&client.id, &resource.identifier, &granted, lasts_until).await?;
    let (grant, beginning) = match known {
        Some(known) => (known, None),
        None => {
            let (grant, started) = begin(world, client, &resource, granted, now);
            (Arc::clone(&grant), Some((grant, started)))
        }
    };
    let authorization = Authorization {
        grant: grant.id,
        grant_type: GrantType::ClientCredentials,
        client: client.id.clone(),
        person: None,
        resource: Some(resource.identifier.clone()),
        scopes,
        expires_at: grant.expires_at,
        access_token_ttl_s,
        refresh_generation: None,
        identity: None,
    };
    let (issuance, issued) = prepare(world, authorization, network, now);
    let actor = Actor::Client(client.id.clone());
    if beginning.is_none() && proof.is_reusable() {
        world.record(&world.event(now, actor, issued)).await?;
        return Ok((issuance, proof.spend_alone(world, now).await?));
    }
    let witness = Witness::new(world, actor, now);
    let commit = world.storage.write(move |tx| {
        Box::pin(async move {
            // First: who comes with an assertion that was used begins nothing.
            let spent = proof.spend(tx, now).await?;
            if let Some((grant, started)) = beginning {
                grants::insert(tx, &grant).await?;
                witness.record(tx, started).await?;
            }
            witness.record(tx, issued).await?;
            Ok::<_, OAuthError>(spent)
        })
    });
    Ok((issuance, commit.await?))
}

/// A grant that is still to be written, with its fact.
fn begin(world: &World, client: &Client, resource: &Resource, scopes: Scopes, now: Timestamp) -> (Arc<Grant>, Fact) {
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
    (Arc::new(grant), fact)
}
