//! Token introspection: [RFC 7662](https://www.rfc-editor.org/rfc/rfc7662).
//!
//! The caller is the resource that a token is for, or the client that it was issued to; anybody else hears `active: false`, as
//! for a token that is no good. A signature is verified once and remembered by the token's hash; time, audience and revocation
//! are judged anew each time.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use serde::Serialize;

use crate::{
    domain::{
        client::ClientId,
        id::{Id, ResourceKind},
        refusal::{CLIENT_AUTHENTICATION_MISSING, CLIENT_SECRET_WRONG, OAuthError},
        resource::{Resource, ResourceIdentifier},
        time::Timestamp,
        token::AccessTokenClaims,
    },
    keys::secrets::Purpose,
    protocol::{client_authentication, parameters::Parameters},
    world::World,
};

/// The introspection response ([RFC 7662 §2.2](https://www.rfc-editor.org/rfc/rfc7662#section-2.2)). An inactive token has no
/// other member.
#[derive(Debug, Serialize)]
pub struct Response {
    pub active: bool,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub claims: Option<Arc<AccessTokenClaims>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_type: Option<&'static str>,
}

const INACTIVE: Response = Response { active: false, claims: None, token_type: None };

/// Who asks.
enum Caller {
    Resource(Arc<Resource>),
    Client(ClientId),
}

/// Answers an introspection request.
pub async fn respond(world: &World, authorization: Option<&[u8]>, body: &[u8], now: Timestamp) -> Result<Response, OAuthError> {
    let parameters = Parameters::parse(body)?;
    let caller = authenticate(world, &parameters, authorization, now).await?;
    let token = parameters.require("token")?;
    let Some(claims) = live_claims(world, token, now).await? else { return Ok(INACTIVE) };
    let is_theirs = match &caller {
        Caller::Resource(resource) => ResourceIdentifier::parse(&claims.aud).is_ok_and(|audience| audience == resource.identifier),
        Caller::Client(client) => claims.client_id == *client,
    };
    if !is_theirs {
        return Ok(INACTIVE);
    }
    Ok(Response { active: true, claims: Some(claims), token_type: Some("Bearer") })
}

/// The claims of an access token of ours that is alive now: signed, in time, and with nothing above it revoked.
pub async fn live_claims(world: &World, token: &str, now: Timestamp) -> Result<Option<Arc<AccessTokenClaims>>, OAuthError> {
    let Some(claims) = verified_claims(world, token) else { return Ok(None) };
    if claims.exp <= now.seconds() || claims.iss != world.settings.issuer.as_str() {
        return Ok(None);
    }
    let (grant, jti) = (claims.gid.to_string(), claims.jti.to_string());
    let nodes = [grant.as_str(), jti.as_str(), claims.client_id.as_str(), claims.sub.as_str()];
    let is_revoked = world.storage.is_any_revoked(nodes, Timestamp::from_seconds(claims.iat)).await?;
    Ok((!is_revoked).then_some(claims))
}

/// The claims of a token whose signature is ours, dead or alive.
pub fn verified_claims(world: &World, token: &str) -> Option<Arc<AccessTokenClaims>> {
    let hash: [u8; 32] = digest(&SHA256, token.as_bytes()).as_ref().try_into().ok()?;
    if let Some(known) = world.memory.verified_tokens.get(&hash) {
        return Some(known);
    }
    let claims = Arc::new(world.keys.verify_access_token(token)?);
    world.memory.verified_tokens.insert(hash, Arc::clone(&claims));
    Some(claims)
}

/// A resource authenticates with its identifier in our registry (`res_...`) and its secret; a client as it does everywhere.
async fn authenticate(world: &World, parameters: &Parameters<'_>, authorization: Option<&[u8]>, now: Timestamp) -> Result<Caller, OAuthError> {
    let presented = match authorization {
        Some(header) => client_authentication::basic(header)?.into_iter().next(),
        None => parameters.get("client_id").zip(parameters.get("client_secret")).map(|(id, secret)| (id.to_owned(), secret.to_owned())),
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
