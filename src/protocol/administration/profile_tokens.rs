//! Tokens for the Profile API: each asks in the name of the operator who made it.

use serde::{Deserialize, Serialize};

use super::{
    paging::{Page, PageRequest, Window},
    plain_text,
};
use crate::{
    domain::{
        event::{Actor, Fact},
        id::{Id, OperatorKind, ProfileTokenKind},
        refusal::{ADMIN_NOT_FOUND, OAuthError},
        time::Timestamp,
    },
    keys::secrets::Purpose,
    protocol::witness::Witness,
    storage::profile_tokens::{self, ProfileToken},
    world::{ORGANIZATION, World},
};

/// A token to be made.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewProfileToken {
    /// Says in lists who asks with it.
    name: String,
}

/// A token as operators see it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ProfileTokenRecord {
    #[schema(value_type = String)]
    profile_token_id: Id<ProfileTokenKind>,
    name: String,
    /// The operator in whose name it asks.
    #[schema(value_type = String)]
    created_by: Id<OperatorKind>,
    /// RFC 3339.
    created_at: String,
}

/// A token that is told only now.
#[derive(Serialize, utoipa::ToSchema)]
pub struct IssuedProfileToken {
    #[serde(flatten)]
    record: ProfileTokenRecord,
    token: String,
    /// The space that it is for, in the addresses of the Profile API.
    space: &'static str,
}

/// A page of all tokens.
pub async fn list(world: &World, request: PageRequest, now: Timestamp) -> Result<Page<ProfileTokenRecord>, OAuthError> {
    let window = Window::read(world, "profile-tokens".to_owned(), &request, now)?;
    let (after, rows_max) = (window.after.clone(), window.rows_max());
    let rows = world.storage.read(move |tx| Box::pin(async move { profile_tokens::list(tx, &after, rows_max).await })).await?;
    Ok(window.page(world, rows, |token| token.id.to_string(), record, now))
}

/// Makes a token.
pub async fn issue(
    world: &World,
    operator: Id<OperatorKind>,
    new: NewProfileToken,
    now: Timestamp,
) -> Result<IssuedProfileToken, OAuthError> {
    let name = plain_text("name", new.name)?;
    let secret = world.secret();
    let digest = world.secrets.digest(Purpose::ProfileToken, secret.reveal());
    let token = ProfileToken { id: world.id(now), name, created_by: operator, created_at: now };
    let (witness, written) = (Witness::new(world, Actor::Operator(operator), now), token.clone());
    let write = world.storage.write(move |tx| {
        Box::pin(async move {
            profile_tokens::insert(tx, &written, &digest).await?;
            witness.record(tx, Fact::ProfileTokenIssued { profile_token: written.id, name: written.name }).await
        })
    });
    write.await?;
    Ok(IssuedProfileToken { record: record(token), token: secret.reveal().clone(), space: ORGANIZATION })
}

/// Removes a token; it is good for nothing more.
pub async fn remove(world: &World, operator: Id<OperatorKind>, id: Id<ProfileTokenKind>, now: Timestamp) -> Result<(), OAuthError> {
    let witness = Witness::new(world, Actor::Operator(operator), now);
    let write = world.storage.write(move |tx| {
        Box::pin(async move {
            if !profile_tokens::delete(tx, id).await? {
                return Err(ADMIN_NOT_FOUND);
            }
            Ok::<_, OAuthError>(witness.record(tx, Fact::ProfileTokenRemoved { profile_token: id }).await?)
        })
    });
    write.await
}

fn record(token: ProfileToken) -> ProfileTokenRecord {
    ProfileTokenRecord {
        profile_token_id: token.id,
        name: token.name,
        created_by: token.created_by,
        created_at: token.created_at.to_rfc3339(),
    }
}
