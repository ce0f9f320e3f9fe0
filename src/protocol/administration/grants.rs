//! Grants as operators see and end them. What a person allowed stays remembered: that is theirs to withdraw.

use serde::{Deserialize, Serialize};

use super::paging::{Page, PageRequest, Window};
use crate::{
    domain::{
        client::ClientId,
        event::{Actor, Fact},
        grant::{EndCause, Grant},
        id::{GrantKind, Id, OperatorKind, PersonKind},
        refusal::{ADMIN_NOT_FOUND, ADMIN_VALUE, OAuthError},
        resource::ResourceIdentifier,
        scope::Scopes,
        time::Timestamp,
    },
    protocol::witness::Witness,
    storage::grants,
    world::World,
};

/// Which grants are asked for.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct GrantsRequest {
    /// A `person_id`: only what this person gave.
    pub person: Option<String>,
    /// A `client_id`: only what this client got.
    pub client: Option<String>,
    /// How many items at most: 1 to 500, 100 if absent.
    pub limit: Option<u32>,
    /// `next_cursor` of the page before; good for a day.
    pub cursor: Option<String>,
}

/// A grant as operators see it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct GrantRecord {
    #[schema(value_type = String)]
    grant_id: Id<GrantKind>,
    #[schema(value_type = String)]
    client_id: ClientId,
    /// Absent if the client acts for itself.
    #[schema(value_type = Option<String>)]
    person_id: Option<Id<PersonKind>>,
    #[schema(value_type = Option<String>)]
    resource: Option<ResourceIdentifier>,
    #[schema(value_type = String)]
    scope: Scopes,
    /// RFC 3339, as all that follow.
    created_at: String,
    used_at: String,
    expires_at: String,
    ended_at: Option<String>,
    end_cause: Option<&'static str>,
}

/// A page of the grants that are asked for, ended ones too.
pub async fn list(world: &World, request: GrantsRequest, now: Timestamp) -> Result<Page<GrantRecord>, OAuthError> {
    let GrantsRequest { person, client, limit, cursor } = request;
    let person = person.map(|text| text.parse::<Id<PersonKind>>()).transpose();
    let person = person.map_err(|_| ADMIN_VALUE.because("person must be a person_id."))?;
    let client = client.map(|text| ClientId::parse(&text).ok_or_else(|| ADMIN_VALUE.because("client must be a client_id.")));
    let (person, client) = (person.map(|id| id.to_string()).unwrap_or_default(), client.transpose()?);
    let client = client.map(String::from).unwrap_or_default();
    let window = Window::read(world, format!("grants {person} {client}"), &PageRequest { limit, cursor }, now)?;
    let (after, rows_max) = (window.after.clone(), window.rows_max());
    let find = world.storage.read(move |tx| Box::pin(async move { grants::list(tx, &person, &client, &after, rows_max).await }));
    Ok(window.page(world, find.await?, |grant| grant.id.to_string(), record, now))
}

/// Ends a grant and every token under it. One that has ended stays ended.
pub async fn end(world: &World, operator: Id<OperatorKind>, id: Id<GrantKind>, now: Timestamp) -> Result<(), OAuthError> {
    let find = world.storage.read(move |tx| Box::pin(async move { grants::find(tx, id).await }));
    find.await?.ok_or(ADMIN_NOT_FOUND)?;
    let witness = Witness::new(world, Actor::Operator(operator), now);
    let write = world.storage.write(move |tx| {
        Box::pin(async move {
            if let Some((client, person)) = grants::end(tx, id, EndCause::Operator, now).await? {
                witness.record(tx, Fact::GrantEnded { grant: id, client, person, cause: EndCause::Operator }).await?;
            }
            Ok::<_, OAuthError>(())
        })
    });
    write.await
}

fn record(grant: Grant) -> GrantRecord {
    GrantRecord {
        grant_id: grant.id,
        client_id: grant.client,
        person_id: grant.person,
        resource: grant.resource,
        scope: grant.scopes,
        created_at: grant.created_at.to_rfc3339(),
        used_at: grant.used_at.to_rfc3339(),
        expires_at: grant.expires_at.to_rfc3339(),
        ended_at: grant.ended.map(|ended| ended.at.to_rfc3339()),
        end_cause: grant.ended.map(|ended| ended.cause.as_str()),
    }
}
