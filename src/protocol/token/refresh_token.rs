//! The refresh token grant: [OAuth 2.1 §4.3](https://datatracker.ietf.org/doc/html/draft-ietf-oauth-v2-1-13#section-4.3).
//!
//! A family has one live token (promise 5). Rotation is a compare-and-swap on its generation. Inside the grace window the
//! token before gets the same successor again, because agents refresh in parallel; later, or further back, its use is a replay
//! and ends the family. Client, person, consent and resource are looked at again at every refresh.

use std::time::Duration;

use crate::{
    domain::{
        client::{Client, GrantType},
        event::{Actor, Event, Fact},
        grant::{Authorization, Consent, EndCause, Grant, Identity, RefreshFamily},
        id::{GrantKind, Id},
        policy,
        refusal::{
            GRANT_CONSENT, GRANT_PERSON, GRANT_RESOURCE, OAuthError, REFRESH_ENDED, REFRESH_EXPIRED, REFRESH_INVALID,
            REFRESH_REPLAYED,
        },
        scope::Scopes,
        time::Timestamp,
    },
    protocol::{parameters::Parameters, resource_indicators},
    storage::{StorageError, Tx, grants, outbox, people},
    world::World,
};

use super::{Issuance, Verdict, access_token_ttl_s, prepare};

/// Redeems a refresh token.
pub async fn redeem(world: &World, client: &Client, parameters: &Parameters<'_>, now: Timestamp) -> Result<Issuance, OAuthError> {
    let (id, generation) = world.secrets.read_refresh_token(parameters.require("refresh_token")?).ok_or(REFRESH_INVALID)?;
    let requested = Scopes::parse(parameters.get("scope").unwrap_or_default())?;
    let (grant, consent) =
        world.storage.read(move |tx| Box::pin(async move { find(tx, id).await })).await?.ok_or(REFRESH_INVALID)?;
    if grant.client != client.id {
        return Err(REFRESH_INVALID);
    }
    // Refused before the rotation, so that the client can ask again rightly.
    resource_indicators::check_granted(grant.resource.as_ref(), parameters)?;
    let resources = world.storage.resources().await?;
    let resource =
        grant.resource.as_ref().map(|identifier| resources.find(identifier).cloned().ok_or(GRANT_RESOURCE)).transpose()?;
    let scopes = match &consent {
        Some(consent) => policy::refreshed_scopes(client, resource.as_deref(), consent, &grant.scopes, &requested)?,
        // Refused below, where it is told apart from a grant that has ended.
        None => grant.scopes.clone(),
    };
    let authorization = Authorization {
        grant: id,
        grant_type: GrantType::RefreshToken,
        client: client.id.clone(),
        person: grant.person,
        resource: grant.resource,
        scopes,
        expires_at: grant.expires_at,
        access_token_ttl_s: access_token_ttl_s(world, resource.as_deref()),
        refresh_generation: Some(generation),
        identity: grant.authenticated_at.map(|authenticated_at| Identity { nonce: None, authenticated_at }),
    };
    let (issuance, issued) = prepare(world, authorization, now);
    let replay = world.event(
        now,
        Actor::Deputy,
        Fact::GrantEnded { grant: id, client: client.id.clone(), cause: EndCause::RefreshReplayed },
    );
    let times = Times {
        now,
        grace: World::seconds(world.settings.refresh_grace_s),
        idle_until: now.plus(World::seconds(world.settings.refresh_token_idle_ttl_s)).min(grant.expires_at),
    };
    let rotated =
        world.storage.write(move |tx| Box::pin(async move { rotate(tx, id, generation, times, &issued, &replay).await })).await?;
    match rotated {
        Verdict::Granted(successor) => {
            let authorization = Authorization { refresh_generation: Some(successor), ..issuance.authorization };
            Ok(Issuance { authorization, ..issuance })
        }
        Verdict::Refused(refusal) => Err(refusal),
    }
}

/// The grant, with what its person allows the client now.
async fn find(tx: &mut Tx, id: Id<GrantKind>) -> Result<Option<(Grant, Option<Consent>)>, StorageError> {
    let Some(grant) = grants::find(tx, id).await? else { return Ok(None) };
    let consent = match grant.person {
        Some(person) => grants::find_consent(tx, person, &grant.client, grant.resource.as_ref()).await?,
        None => None,
    };
    Ok(Some((grant, consent)))
}

#[derive(Clone, Copy)]
struct Times {
    now: Timestamp,
    grace: Duration,
    idle_until: Timestamp,
}

/// The generation of the successor.
async fn rotate(
    tx: &mut Tx,
    id: Id<GrantKind>,
    generation: u32,
    times: Times,
    issued: &Event,
    replay: &Event,
) -> Result<Verdict<u32>, OAuthError> {
    // Compare and swap first: on PostgreSQL it takes the row's lock, so that what is read next cannot change.
    let swapped = grants::rotate(tx, id, generation, times.now, times.idle_until).await?;
    let Some(grant) = grants::find(tx, id).await? else { return Err(REFRESH_INVALID) };
    // `Err` undoes the rotation: a refusal that may pass (a locked person) costs the client nothing.
    check(tx, &grant, swapped, times.now).await??;
    let Some(family) = grant.refresh else { return Err(REFRESH_INVALID) };
    if swapped || is_in_grace(family, generation, times) {
        outbox::put(tx, issued).await?;
        return Ok(Verdict::Granted(family.generation));
    }
    if generation > family.generation {
        return Err(REFRESH_INVALID);
    }
    if grants::end(tx, id, EndCause::RefreshReplayed, times.now).await?.is_some() {
        outbox::put(tx, replay).await?;
    }
    Ok(Verdict::Refused(REFRESH_REPLAYED))
}

fn is_in_grace(family: RefreshFamily, generation: u32, times: Times) -> bool {
    generation.checked_add(1) == Some(family.generation) && times.now.since(family.rotated_at) <= times.grace
}

async fn check(tx: &mut Tx, grant: &Grant, swapped: bool, now: Timestamp) -> Result<Result<(), OAuthError>, StorageError> {
    if let Some(ended) = grant.ended {
        return Ok(Err(if ended.cause == EndCause::RefreshReplayed { REFRESH_REPLAYED } else { REFRESH_ENDED }));
    }
    // A family that was idle for too long is not swapped, so its expiry still stands.
    // Tokens tell whole seconds: one of the grant's last second would be dead when it leaves.
    let has_expired = grant.expires_at.seconds() <= now.seconds();
    if has_expired || (!swapped && grant.refresh.is_some_and(|family| family.expires_at <= now)) {
        return Ok(Err(REFRESH_EXPIRED));
    }
    let Some(person) = grant.person else { return Ok(Err(REFRESH_INVALID)) };
    if people::find(tx, person).await?.is_none_or(|person| person.is_locked()) {
        return Ok(Err(GRANT_PERSON));
    }
    if grants::find_consent(tx, person, &grant.client, grant.resource.as_ref()).await?.is_none() {
        return Ok(Err(GRANT_CONSENT));
    }
    Ok(Ok(()))
}
