//! Userinfo: [OpenID Connect Core §5.3](https://openid.net/specs/openid-connect-core-1_0.html#UserInfo).

use serde::Serialize;

use crate::{
    domain::{
        id::{Id, PersonKind},
        refusal::{OAuthError, TOKEN_INVALID, TOKEN_MISSING, TOKEN_SCOPE},
        scope,
        time::Timestamp,
    },
    protocol::{bearer, introspection, remarks},
    storage::people,
    world::World,
};

/// What the scopes of the token let us tell of the person.
#[derive(Debug, Serialize)]
pub struct Response {
    sub: Id<PersonKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    preferred_username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    /// We never send mail, so we never know.
    #[serde(skip_serializing_if = "Option::is_none")]
    email_verified: Option<bool>,
}

/// Answers a userinfo request.
pub async fn respond(world: &World, authorization: Option<&[u8]>, now: Timestamp) -> Result<Response, OAuthError> {
    let token = authorization.and_then(bearer).ok_or(TOKEN_MISSING)?;
    let token = introspection::live_token(world, &token, now).await?.ok_or(TOKEN_INVALID)?;
    let claims = &token.claims;
    if !claims.scope.contains(scope::OPENID) {
        return Err(TOKEN_SCOPE);
    }
    let id: Id<PersonKind> = claims.sub.parse().map_err(|_| TOKEN_INVALID)?;
    let person = world.storage.read(move |tx| Box::pin(async move { people::find(tx, id).await })).await?;
    let person = person.filter(|person| !person.is_locked()).ok_or(TOKEN_INVALID)?;
    remarks::token_used(world, claims, None, now);
    let (has_profile, has_email) = (claims.scope.contains(scope::PROFILE), claims.scope.contains(scope::EMAIL));
    let email = person.email().filter(|_| has_email).map(str::to_owned);
    Ok(Response {
        sub: person.id,
        name: has_profile.then_some(person.display_name),
        preferred_username: has_profile.then_some(person.login),
        email_verified: email.as_ref().map(|_| false),
        email,
    })
}
