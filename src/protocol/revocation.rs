//! Token revocation: [RFC 7009](https://www.rfc-editor.org/rfc/rfc7009).
//!
//! Revoking a refresh token ends its grant and every token under it; revoking an access token ends that token. A token that is
//! unknown, dead or somebody else's is answered like one that was revoked.

use crate::{
    domain::{
        client::Client,
        event::{Actor, Fact},
        grant::EndCause,
        id::{GrantKind, Id},
        refusal::{OAuthError, TOKEN_TYPE_UNSUPPORTED},
        time::Timestamp,
        token::AccessTokenClaims,
    },
    protocol::{
        client_authentication::{self, Authenticated, SpentProof, UnspentProof},
        introspection,
        parameters::Parameters,
        witness::Witness,
    },
    storage::{grants, revocations},
    world::World,
};

/// Answers a revocation request.
pub async fn respond(world: &World, authorization: Option<&[u8]>, body: &[u8], now: Timestamp) -> Result<SpentProof, OAuthError> {
    let parameters = Parameters::parse(body)?;
    let Authenticated { client, proof } = client_authentication::authenticate(world, &parameters, authorization, now).await?;
    let token = parameters.require("token")?;
    if parameters.get("token_type_hint") == Some("id_token") {
        return Err(TOKEN_TYPE_UNSUPPORTED);
    }
    // The hint saves other servers a look-up; ours are told apart by their form.
    if let Some((grant, _)) = world.secrets.read_refresh_token(token) {
        return end_grant(world, &client, proof, grant, now).await;
    }
    let is_theirs = |claims: &AccessTokenClaims| claims.client_id == client.id && claims.exp > now.seconds();
    let Some(token) = introspection::verified_token(world, token).filter(|token| is_theirs(&token.claims)) else {
        return proof.spend_alone(world, now).await;
    };
    let claims = &token.claims;
    let issued_at = Timestamp::from_seconds(claims.iat);
    let fact = Fact::TokenRevoked { jti: claims.jti, grant: claims.gid, client: client.id.clone() };
    let witness = Witness::new(world, Actor::Client(client.id.clone()), now);
    let node = claims.jti.to_string();
    let revoke = world.storage.write(move |tx| {
        Box::pin(async move {
            let spent = proof.spend(tx, now).await?;
            // What is dead already is no news, however often it is told.
            if !revocations::is_any_revoked(tx, [&node; 4], issued_at).await? {
                revocations::revoke(tx, &node, Timestamp(i64::MAX), now).await?;
                witness.record(tx, fact).await?;
            }
            Ok::<_, OAuthError>(spent)
        })
    });
    revoke.await
}

async fn end_grant(
    world: &World,
    client: &Client,
    proof: UnspentProof,
    id: Id<GrantKind>,
    now: Timestamp,
) -> Result<SpentProof, OAuthError> {
    let witness = Witness::new(world, Actor::Client(client.id.clone()), now);
    let client = client.id.clone();
    let end = world.storage.write(move |tx| {
        Box::pin(async move {
            let spent = proof.spend(tx, now).await?;
            let is_theirs = grants::find(tx, id).await?.is_some_and(|grant| grant.client == client);
            if is_theirs && let Some((client, person)) = grants::end(tx, id, EndCause::Revoked, now).await? {
                witness.record(tx, Fact::GrantEnded { grant: id, client, person, cause: EndCause::Revoked }).await?;
            }
            Ok::<_, OAuthError>(spent)
        })
    });
    end.await
}
