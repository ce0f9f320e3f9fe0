//! The refresh token grant: [OAuth 2.1 §4.3](https://datatracker.ietf.org/doc/html/draft-ietf-oauth-v2-1-13#section-4.3).
//!
//! A family has one live token (promise 5). Rotation is a compare-and-swap on its generation. Inside its grace window the token
//! before gets the same successor again, because agents refresh in parallel; and so does the one before that inside its own, because
//! one of them may be slow. Later, or further back, a token's use is a replay and ends the family. Client, person, consent and
//! resource are looked at again at every refresh.

use std::time::Duration;

use crate::{
    domain::{
        client::{Client, ClientId, GrantType},
        event::{Actor, Fact},
        grant::{Authorization, Consent, EndCause, Grant, Identity, RefreshFamily},
        id::{GrantKind, Id},
        network::Network,
        policy,
        refusal::{
            GRANT_CONSENT, GRANT_PERSON, GRANT_RESOURCE, OAuthError, REFRESH_ENDED, REFRESH_EXPIRED, REFRESH_INVALID,
            REFRESH_REPLAYED,
        },
        scope::Scopes,
        time::Timestamp,
    },
    protocol::{
        client_authentication::{SpentProof, UnspentProof},
        parameters::Parameters,
        resource_indicators,
        witness::Witness,
    },
    storage::{StorageError, Tx, grants, people},
    world::World,
};

use super::{Issuance, access_token_ttl_s, prepare};

/// Redeems a refresh token.
pub async fn redeem(
    world: &World,
    client: &Client,
    proof: UnspentProof,
    parameters: &Parameters<'_>,
    network: Option<Network>,
    now: Timestamp,
) -> Result<(Issuance, SpentProof), OAuthError> {
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
        Some(consent) => policy::minted_scopes(client, resource.as_deref(), consent, &grant.scopes, &requested)?,
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
    let (issuance, issued) = prepare(world, authorization, network, now);
    let (by_client, by_us) = (Witness::new(world, Actor::Client(client.id.clone()), now), Witness::new(world, Actor::Deputy, now));
    let times = Times {
        now,
        grace: World::seconds(world.settings.refresh_grace_s),
        idle_until: now.plus(World::seconds(world.settings.refresh_token_idle_ttl_s)).min(grant.expires_at),
    };
    let rotated = world.storage.write(move |tx| {
        Box::pin(async move {
            let spent = proof.spend(tx, now).await?;
            let verdict = rotate(tx, id, generation, times).await?;
            match &verdict {
                Rotation::Successor(_) => by_client.record(tx, issued).await?,
                Rotation::Replayed { ended: Some((client, person)) } => {
                    let (client, person) = (client.clone(), *person);
                    by_us.record(tx, Fact::GrantEnded { grant: id, client, person, cause: EndCause::RefreshReplayed }).await?;
                }
                Rotation::Replayed { ended: None } => {}
            }
            Ok::<_, OAuthError>((verdict, spent))
        })
    });
    match rotated.await? {
        (Rotation::Successor(successor), spent) => {
            let authorization = Authorization { refresh_generation: Some(successor), ..issuance.authorization };
            Ok((Issuance { authorization, ..issuance }, spent))
        }
        (Rotation::Replayed { .. }, _) => Err(REFRESH_REPLAYED),
    }
}

/// The grant of a refresh token that this client could redeem now. Redeems nothing.
pub async fn peek(world: &World, client: &ClientId, token: &str, now: Timestamp) -> Result<Option<Grant>, OAuthError> {
    let Some((id, generation)) = world.secrets.read_refresh_token(token) else { return Ok(None) };
    let grace = World::seconds(world.settings.refresh_grace_s);
    let client = client.clone();
    let find = world.storage.read(move |tx| {
        Box::pin(async move {
            let Some(grant) = grants::find(tx, id).await?.filter(|grant| grant.client == client) else { return Ok(None) };
            let is_of_now = |family: RefreshFamily| family.generation == generation || family.is_in_grace(generation, now, grace);
            let is_live = grant.refresh.is_some_and(is_of_now) && check(tx, &grant, false, now).await?.is_ok();
            Ok::<_, StorageError>(is_live.then_some(grant))
        })
    });
    let Some(grant) = find.await? else { return Ok(None) };
    let resources = world.storage.resources().await?;
    Ok(Some(grant).filter(|grant| grant.resource.as_ref().is_none_or(|identifier| resources.find(identifier).is_some())))
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

/// What became of a rotation that commits.
enum Rotation {
    /// The generation of the token that leaves.
    Successor(u32),
    /// An old token was used, which ends the family, if it had not ended before.
    Replayed { ended: Option<grants::Parties> },
}

async fn rotate(tx: &mut Tx, id: Id<GrantKind>, generation: u32, times: Times) -> Result<Rotation, OAuthError> {
    // Compare and swap first: on PostgreSQL it takes the row's lock, so that what is read next cannot change.
    let swapped = grants::rotate(tx, id, generation, times.now, times.idle_until).await?;
    let Some(grant) = grants::find(tx, id).await? else { return Err(REFRESH_INVALID) };
    // `Err` undoes the rotation: a refusal that may pass (a locked person) costs the client nothing.
    check(tx, &grant, swapped, times.now).await??;
    let Some(family) = grant.refresh else { return Err(REFRESH_INVALID) };
    if swapped || family.is_in_grace(generation, times.now, times.grace) {
        return Ok(Rotation::Successor(family.generation));
    }
    if generation > family.generation {
        return Err(REFRESH_INVALID);
    }
    Ok(Rotation::Replayed { ended: grants::end(tx, id, EndCause::RefreshReplayed, times.now).await? })
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
    let consent = grants::find_consent(tx, person, &grant.client, grant.resource.as_ref()).await?;
    Ok(consent.as_ref().map_or(Err(GRANT_CONSENT), policy::check_doubt))
}
