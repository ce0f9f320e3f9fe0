//! Initial access tokens ([RFC 7591 §3](https://www.rfc-editor.org/rfc/rfc7591#section-3)): with `registration = "token"`, who holds
//! one may register clients until it expires. It works more than once, because an organisation hands one to many agents.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        event::{Actor, Fact},
        id::{Id, OperatorKind},
        refusal::OAuthError,
        time::Timestamp,
    },
    keys::secrets::Purpose,
    protocol::witness::Witness,
    storage::one_time,
    world::World,
};

const TTL: Duration = Duration::from_secs(7 * 86_400);

/// A token to be made; there is nothing to choose.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewInitialAccessToken {}

/// A token that is told only now.
#[derive(Serialize, utoipa::ToSchema)]
pub struct InitialAccessToken {
    token: String,
    /// RFC 3339.
    expires_at: String,
}

/// What is kept with the token.
#[derive(Serialize)]
struct Issued {
    by: Id<OperatorKind>,
}

/// Makes an initial access token.
pub async fn issue(
    world: &World,
    operator: Id<OperatorKind>,
    NewInitialAccessToken {}: NewInitialAccessToken,
    now: Timestamp,
) -> Result<InitialAccessToken, OAuthError> {
    let token = world.secret();
    let digest = world.secrets.digest(Purpose::InitialAccessToken, token.reveal());
    let expires_at = now.plus(TTL);
    let witness = Witness::new(world, Actor::Operator(operator), now);
    let write = world.storage.write(move |tx| {
        Box::pin(async move {
            let purpose = Purpose::InitialAccessToken.as_str();
            one_time::put(tx, &digest, purpose, &Issued { by: operator }, expires_at).await?;
            witness.record(tx, Fact::InitialAccessTokenIssued { expires_at }).await
        })
    });
    write.await?;
    Ok(InitialAccessToken { token: token.reveal().clone(), expires_at: expires_at.to_rfc3339() })
}
