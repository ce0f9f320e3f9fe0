//! Token introspection: [RFC 7662](https://www.rfc-editor.org/rfc/rfc7662).
//!
//! The caller is the resource that a token is for, or the client that it was issued to; anybody else hears `active: false`, as
//! for a token that is no good. A refresh token is for its client alone. A signature is verified once and remembered by the token's hash; time, audience and revocation
//! are judged anew each time. That a resource asks about a live token is a use of it, and remarked.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::json;

use crate::{
    domain::{
        client::ClientId,
        grant::Grant,
        id::{Id, ResourceKind},
        refusal::{CLIENT_AUTHENTICATION_MISSING, CLIENT_SECRET_WRONG, OAuthError},
        resource::Resource,
        time::Timestamp,
        token::VerifiedToken,
    },
    keys::secrets::Purpose,
    protocol::{
        client_authentication::{self, Authenticated, SpentProof, UnspentProof},
        parameters::Parameters,
        remarks,
        token::refresh_token,
    },
    world::World,
};

/// What the caller hears.
pub struct Answer {
    /// The answer's JSON. For an inactive token it has no other member than `active`.
    pub told: String,
    /// Whoever hears it used up what they proved themselves with.
    pub proof: SpentProof,
}

/// Who asks.
enum Caller {
    Resource(Arc<Resource>),
    Client(ClientId),
}

/// Answers an introspection request.
pub async fn respond(world: &World, authorization: Option<&[u8]>, body: &[u8], now: Timestamp) -> Result<Answer, OAuthError> {
    let parameters = Parameters::parse(body)?;
    let (caller, proof) = authenticate(world, &parameters, authorization, now).await?;
    let is_theirs = |token: &Arc<VerifiedToken>| match &caller {
        Caller::Resource(resource) => token.claims.aud == resource.identifier.as_str(),
        Caller::Client(client) => token.claims.client_id == *client,
    };
    let text = parameters.require("token")?;
    let told = match (live_token(world, text, now).await?.filter(is_theirs), &caller) {
        (Some(token), caller) => {
            // Who asks about a token of their own does not use it.
            if let Caller::Resource(resource) = caller {
                remarks::token_used(world, &token.claims, Some(resource), now);
            }
            Some(token.introspection.clone())
        }
        // The hint saves other servers a look-up; ours are told apart by their form.
        (None, Caller::Client(client)) => {
            refresh_token::peek(world, client, text, now).await?.map(|grant| tell_refresh(world, &grant))
        }
        (None, Caller::Resource(_)) => None,
    };
    let told = told.unwrap_or_else(|| r#"{"active":false}"#.to_owned());
    Ok(Answer { told, proof: proof.spend_alone(world, now).await? })
}

/// What a client hears of its own refresh token. There is no `token_type`: it is for no resource.
fn tell_refresh(world: &World, grant: &Grant) -> String {
    let expires_at = grant.refresh.map_or(grant.expires_at, |family| family.expires_at.min(grant.expires_at));
    let mut told = json!({
        "active": true,
        "iss": world.settings.issuer.as_str(),
        "client_id": grant.client,
        "scope": grant.scopes,
        "iat": grant.refresh.map_or(grant.created_at, |family| family.rotated_at).seconds(),
        "exp": expires_at.seconds(),
        "gid": grant.id,
    });
    if let Some(person) = grant.person {
        told["sub"] = json!(person);
    }
    told.to_string()
}

/// The access token, if it is ours and alive now: signed, in time, and with nothing above it revoked.
pub async fn live_token(world: &World, token: &str, now: Timestamp) -> Result<Option<Arc<VerifiedToken>>, OAuthError> {
    let Some(token) = verified_token(world, token) else { return Ok(None) };
    if token.claims.exp <= now.seconds() || token.claims.iss != world.settings.issuer.as_str() {
        return Ok(None);
    }
    let issued_at = Timestamp::from_seconds(token.claims.iat);
    let is_revoked = world.storage.is_any_revoked(token.nodes.each_ref().map(String::as_str), issued_at).await?;
    Ok((!is_revoked).then_some(token))
}

/// The access token, if its signature is ours, dead or alive.
pub fn verified_token(world: &World, token: &str) -> Option<Arc<VerifiedToken>> {
    let hash: [u8; 32] = digest(&SHA256, token.as_bytes()).as_ref().try_into().ok()?;
    if let Some(known) = world.memory.verified_tokens.get(&hash) {
        return Some(known);
    }
    let verified = Arc::new(VerifiedToken::new(world.keys.verify_access_token(token)?));
    world.memory.verified_tokens.keep(hash, Arc::clone(&verified));
    Some(verified)
}

/// A resource authenticates with its identifier in our registry (`res_...`) and its secret; a client as it does everywhere.
async fn authenticate(
    world: &World,
    parameters: &Parameters<'_>,
    authorization: Option<&[u8]>,
    now: Timestamp,
) -> Result<(Caller, UnspentProof), OAuthError> {
    let presented = match authorization {
        Some(header) => client_authentication::basic(header)?.into_iter().next(),
        None => {
            parameters.get("client_id").zip(parameters.get("client_secret")).map(|(id, secret)| (id.to_owned(), secret.to_owned()))
        }
    };
    if let Some((id, secret)) = presented
        && let Ok(id) = id.parse::<Id<ResourceKind>>()
    {
        let resources = world.storage.resources().await?;
        let digest = world.secrets.digest(Purpose::ResourceSecret, &secret);
        let found = resources.find_by_id(id).filter(|resource| resource.secret_digest == digest);
        return found.map(|resource| (Caller::Resource(Arc::clone(resource)), UnspentProof::reusable())).ok_or(CLIENT_SECRET_WRONG);
    }
    let Authenticated { client, proof } = client_authentication::authenticate(world, parameters, authorization, now).await?;
    // A public client proves nothing, so anybody could ask in its name ([RFC 7662 §2.1](https://www.rfc-editor.org/rfc/rfc7662#section-2.1)).
    if client.is_confidential() { Ok((Caller::Client(client.id.clone()), proof)) } else { Err(CLIENT_AUTHENTICATION_MISSING) }
}
