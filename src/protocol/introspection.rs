//! Token introspection: [RFC 7662](https://www.rfc-editor.org/rfc/rfc7662).
//!
//! The caller is the resource that a token is for, or the client that it was issued to; anybody else hears `active: false`, as
//! for a token that is no good. A signature is verified once and remembered by the token's hash; time, audience and revocation
//! are judged anew each time.

use std::sync::Arc;

use crate::{
    domain::{
        client::ClientId,
        id::{Id, ResourceKind},
        refusal::{CLIENT_AUTHENTICATION_MISSING, CLIENT_SECRET_WRONG, OAuthError},
        resource::Resource,
        time::Timestamp,
        token::VerifiedToken,
    },
    keys::secrets::Purpose,
    protocol::{client_authentication, parameters::Parameters},
    world::World,
};
use aws_lc_rs::digest::{SHA256, digest};

/// What the caller hears; an inactive token has no other member than `active`.
pub enum Answer {
    Active(Arc<VerifiedToken>),
    Inactive,
}

/// Who asks.
enum Caller {
    Resource(Arc<Resource>),
    Client(ClientId),
}

/// Answers an introspection request.
pub async fn respond(world: &World, authorization: Option<&[u8]>, body: &[u8], now: Timestamp) -> Result<Answer, OAuthError> {
    let parameters = Parameters::parse(body)?;
    let caller = authenticate(world, &parameters, authorization, now).await?;
    let token = parameters.require("token")?;
    let Some(token) = live_token(world, token, now).await? else { return Ok(Answer::Inactive) };
    let is_theirs = match &caller {
        Caller::Resource(resource) => token.claims.aud == resource.identifier.as_str(),
        Caller::Client(client) => token.claims.client_id == *client,
    };
    Ok(if is_theirs { Answer::Active(token) } else { Answer::Inactive })
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
) -> Result<Caller, OAuthError> {
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
        return found.map(|resource| Caller::Resource(Arc::clone(resource))).ok_or(CLIENT_SECRET_WRONG);
    }
    let client = client_authentication::authenticate(world, parameters, authorization, now).await?;
    // A public client proves nothing, so anybody could ask in its name ([RFC 7662 §2.1](https://www.rfc-editor.org/rfc/rfc7662#section-2.1)).
    if client.is_confidential() { Ok(Caller::Client(client.id.clone())) } else { Err(CLIENT_AUTHENTICATION_MISSING) }
}
