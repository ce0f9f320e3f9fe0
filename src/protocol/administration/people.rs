//! People's accounts as operators see them, locked and unlocked.
//!
//! Locking cuts off at once: no sign-in, no session, no refresh, and no token of any agent that acts for the person is good at any
//! endpoint until they are unlocked. What was issued before stays dead after that. Operators never see or choose what agents may do.

use serde::{Deserialize, Serialize};

use super::{
    dead_until,
    paging::{Page, PageRequest, Window},
};
use crate::{
    domain::{
        event::{Actor, Fact},
        id::{Id, OperatorKind, PersonKind},
        person::Person,
        refusal::{ADMIN_NOT_FOUND, OAuthError},
        time::Timestamp,
    },
    protocol::{
        people::{self as accounts, Link},
        witness::Witness,
    },
    storage::{people, revocations},
    world::World,
};

/// An account to be made. It has no `Debug`: it may hold a password.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPerson {
    /// What the person types to sign in: an e-mail address or a name.
    login: String,
    /// The login if absent.
    display_name: Option<String>,
    /// Without one, nobody can sign in until the person has an invitation.
    password: Option<String>,
}

/// An account that the person makes by themselves, with a link.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewInvitation {
    login: String,
    display_name: Option<String>,
}

/// A link that works once, told only now; send it to the person.
#[derive(Serialize, utoipa::ToSchema)]
pub struct LinkRecord {
    url: String,
    /// RFC 3339.
    expires_at: String,
}

/// What is to become different.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PersonChange {
    locked: bool,
}

/// An account as operators see it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct PersonRecord {
    #[schema(value_type = String)]
    person_id: Id<PersonKind>,
    login: String,
    display_name: String,
    /// RFC 3339.
    created_at: String,
    /// RFC 3339; absent while they may act.
    locked_at: Option<String>,
}

/// A page of all people.
pub async fn list(world: &World, request: PageRequest, now: Timestamp) -> Result<Page<PersonRecord>, OAuthError> {
    let window = Window::read(world, "people".to_owned(), &request, now)?;
    let (after, rows_max) = (window.after.clone(), window.rows_max());
    let rows = world.storage.read(move |tx| Box::pin(async move { people::list(tx, &after, rows_max).await })).await?;
    Ok(window.page(world, rows, |person| person.id.to_string(), record, now))
}

/// Makes an account.
pub async fn create(world: &World, operator: Id<OperatorKind>, new: NewPerson, now: Timestamp) -> Result<PersonRecord, OAuthError> {
    let NewPerson { login, display_name, password } = new;
    let actor = Actor::Operator(operator);
    accounts::create(world, actor, &login, display_name.as_deref(), password.as_deref(), now).await.map(record)
}

/// Makes a link with which a person makes their own account.
pub async fn invite(
    world: &World,
    operator: Id<OperatorKind>,
    new: NewInvitation,
    now: Timestamp,
) -> Result<LinkRecord, OAuthError> {
    let actor = Actor::Operator(operator);
    accounts::invitations::create(world, actor, &new.login, new.display_name.as_deref(), now).await.map(link)
}

/// Makes a link with which a person chooses a new password.
pub async fn reset_password(
    world: &World,
    operator: Id<OperatorKind>,
    id: Id<PersonKind>,
    now: Timestamp,
) -> Result<LinkRecord, OAuthError> {
    accounts::password_resets::create(world, Actor::Operator(operator), id, now).await.map(link)
}

/// Locks or unlocks a person.
pub async fn change(
    world: &World,
    operator: Id<OperatorKind>,
    id: Id<PersonKind>,
    change: PersonChange,
    now: Timestamp,
) -> Result<PersonRecord, OAuthError> {
    let witness = Witness::new(world, Actor::Operator(operator), now);
    let write = world.storage.write(move |tx| {
        Box::pin(async move {
            let (mut person, _) = people::hold(tx, id).await?.ok_or(ADMIN_NOT_FOUND)?;
            match (change.locked, person.locked_at) {
                (true, None) => {
                    people::set_locked(tx, id, Some(now)).await?;
                    revocations::switch_off(tx, &id.to_string()).await?;
                    witness.record(tx, Fact::PersonLocked { person: id }).await?;
                    for session in people::end_sessions(tx, id, None).await? {
                        witness.record(tx, Fact::SessionEnded { session, person: id }).await?;
                    }
                    person.locked_at = Some(now);
                }
                (false, Some(since)) => {
                    people::set_locked(tx, id, None).await?;
                    revocations::switch_on(tx, &id.to_string(), dead_until(since, now)).await?;
                    witness.record(tx, Fact::PersonUnlocked { person: id }).await?;
                    person.locked_at = None;
                }
                _ => {}
            }
            Ok::<_, OAuthError>(person)
        })
    });
    write.await.map(record)
}

fn link(link: Link) -> LinkRecord {
    LinkRecord { url: link.url, expires_at: link.expires_at.to_rfc3339() }
}

fn record(person: Person) -> PersonRecord {
    PersonRecord {
        person_id: person.id,
        login: person.login,
        display_name: person.display_name,
        created_at: person.created_at.to_rfc3339(),
        locked_at: person.locked_at.map(Timestamp::to_rfc3339),
    }
}
