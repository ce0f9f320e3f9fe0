//! The tracking API as a resource: how clients get access tokens for it, and how it knows them again.
//! [RFC 6750](https://www.rfc-editor.org/rfc/rfc6750),
//! [OAuth of Segment's SDKs](https://segment.com/docs/connections/oauth/)
//!
//! Nobody registers it: each installation has it, at its issuer's address and `/v1`. Its SDKs ask for the scope `tracking_api:write` and
//! name no resource. Only a client for itself gets it, and only where an operator registered that scope for it.

use std::sync::Arc;

use crate::{
    domain::{
        client::ClientId,
        id::Id,
        refusal::{OAuthError, TRACKING_CLIENT_DISABLED, TRACKING_TOKEN, TRACKING_TOKEN_STALE},
        resource::{Resource, ResourceIdentifier, ScopeDefinition},
        scope::{Scopes, TRACKING_WRITE},
        secret::Digest,
        time::Timestamp,
    },
    protocol::{bearer, introspection, parameters::Parameters, resource_indicators},
    world::World,
};

/// Below the issuer.
const PATH: &str = "/v1";

/// The tracking API, where a request for a client's own token is for it: it names it, or asks for its scope and names none.
pub fn requested(world: &World, parameters: &Parameters<'_>, scopes: &Scopes) -> Result<Option<Arc<Resource>>, OAuthError> {
    let is_meant = match resource_indicators::named(parameters)? {
        // Of others, which most are, nothing need be parsed.
        Some(named) if !named.trim_end_matches('/').ends_with(PATH) => false,
        Some(named) => ResourceIdentifier::parse(named).is_ok_and(|named| named.canonical() == identifier(world).canonical()),
        None => !scopes.is_empty() && scopes.is_subset(&Scopes::of([TRACKING_WRITE])),
    };
    Ok(is_meant.then(|| Arc::new(resource(world))))
}

/// What names the tracking API; the audience of its tokens.
pub fn identifier(world: &World) -> ResourceIdentifier {
    let text = format!("{}{PATH}", world.settings.issuer.as_str());
    ResourceIdentifier::parse(&text).expect("an issuer and a path are an identifier")
}

/// The client whose access token this is, good for the tracking API now.
///
/// # Errors
/// `tracking.token_stale` for a token that was good and is no more, of a client that may have another: the SDKs then fetch one and lose
/// nothing. Every other refusal makes them throw events away, so it is for what no new token would mend.
pub async fn authorize(world: &World, authorization: &[u8], now: Timestamp) -> Result<ClientId, OAuthError> {
    let token = bearer(authorization).ok_or(TRACKING_TOKEN)?;
    let verified = introspection::verified_token(world, &token).ok_or(TRACKING_TOKEN)?;
    let claims = &verified.claims;
    let is_for_us = claims.iss == world.settings.issuer.as_str() && claims.aud == identifier(world).as_str();
    if !is_for_us || !claims.scope.contains(TRACKING_WRITE) {
        return Err(TRACKING_TOKEN);
    }
    if introspection::live_token(world, &token, now).await?.is_none() {
        let client = world.storage.client(&claims.client_id).await?;
        let may_have_another = client.is_some_and(|client| !client.is_disabled());
        return Err(if may_have_another { TRACKING_TOKEN_STALE } else { TRACKING_CLIENT_DISABLED });
    }
    Ok(claims.client_id.clone())
}

/// As if somebody had registered it; no secret introspects in its name.
fn resource(world: &World) -> Resource {
    let write = ScopeDefinition {
        name: TRACKING_WRITE.to_owned(),
        description: "Send events to the sources of this organisation".to_owned(),
        implies: Vec::new(),
    };
    Resource {
        id: Id::from_bytes([0; 16]),
        identifier: identifier(world),
        name: "Tracking API".to_owned(),
        scopes: vec![write],
        access_token_ttl_s: None,
        secret_digest: Digest([0; 32]),
        created_at: Timestamp(0),
    }
}
