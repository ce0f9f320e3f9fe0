//! What is remarked of those who come here: that a token was used, and with which key a client proved to be itself.
//!
//! Nothing is decided by it, so no answer waits for it; `world::remarks` says when one is missing, or comes twice.

use aws_lc_rs::digest::{SHA256, digest};

use crate::{
    domain::{
        client::{ClientId, KeyThumbprint},
        event::{Actor, Fact},
        resource::Resource,
        time::Timestamp,
        token::AccessTokenClaims,
    },
    world::World,
};

/// Remarks that a live token was used: at the resource that asks about it, or else at our own userinfo endpoint.
pub(super) fn token_used(world: &World, claims: &AccessTokenClaims, at: Option<&Resource>, now: Timestamp) {
    let mut key = [0; 32];
    let (of_token, of_resource) = key.split_at_mut(16);
    of_token.copy_from_slice(&claims.jti.to_bytes());
    // What is random comes first: by that the memory parts what it keeps.
    of_token.reverse();
    of_resource.copy_from_slice(&at.map_or([0; 16], |resource| resource.id.to_bytes()));
    world.memory.remarks.make(key, || {
        let client = claims.client_id.clone();
        let fact = Fact::TokenUsed {
            jti: claims.jti,
            grant: claims.gid,
            client: client.clone(),
            person: claims.person(),
            resource: at.map(|resource| resource.identifier.clone()),
        };
        world.event(now, Actor::Client(client), fact)
    });
}

/// Remarks that a client proved to be itself with this key.
pub(super) fn key_used(world: &World, client: &ClientId, jkt: &KeyThumbprint, now: Timestamp) {
    let name = digest(&SHA256, format!("{client}\n{}", jkt.0).as_bytes());
    let key = name.as_ref().try_into().expect("SHA-256 has 32 bytes");
    world.memory.remarks.make(key, || {
        let fact = Fact::ClientKeyUsed { client: client.clone(), jkt: jkt.clone() };
        world.event(now, Actor::Client(client.clone()), fact)
    });
}
