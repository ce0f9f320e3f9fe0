//! Invitations: a link from an operator with which a person makes their account, once.
//!
//! Looking at a link uses nothing up, because mail programs and scanners look too; only sending the form does.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    Link, Visitor, add, passwords,
    sessions::{self, Beginning, Started},
};
use crate::{
    domain::{
        event::{Actor, Fact},
        id::{Id, PersonKind},
        person::{self, Person},
        refusal::{INVITATION_INVALID, LOGIN_TAKEN, OAuthError},
        time::Timestamp,
    },
    keys::secrets::Purpose,
    protocol::witness::Witness,
    storage::{
        one_time::{self, Consumed},
        people,
    },
    world::World,
};

/// How long a link works: long enough for a holiday, short enough to be forgotten safely.
const TTL: Duration = Duration::from_secs(7 * 24 * 3600);

/// Whom an invitation is for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Invited {
    pub login: String,
    pub display_name: String,
    /// The account that an operator made before, still without a password.
    pub person: Option<Id<PersonKind>>,
}

/// Makes a link for `login`, by `actor`.
///
/// # Errors
/// `person.login_invalid`; `person.login_taken` if somebody signs in with it already; and trouble that passes.
pub async fn create(
    world: &World,
    actor: Actor,
    login: &str,
    display_name: Option<&str>,
    now: Timestamp,
) -> Result<Link, OAuthError> {
    let login = person::parse_login(login)?;
    let mut invited = Invited { display_name: person::display_name(display_name, &login), login, person: None };
    let (token, expires_at) = (world.secret(), now.plus(TTL));
    let url = format!("{}/invitation/{}", world.settings.issuer, token.reveal());
    let digest = world.secrets.digest(Purpose::Invitation, token.reveal());
    let witness = Witness::new(world, actor, now);
    let make = world.storage.write(move |tx| {
        Box::pin(async move {
            if let Some((known, password_hash)) = people::find_by_login(tx, &invited.login).await? {
                if password_hash != passwords::NO_PASSWORD {
                    return Err(LOGIN_TAKEN);
                }
                invited = Invited { display_name: known.display_name, person: Some(known.id), ..invited };
            }
            one_time::put(tx, &digest, Purpose::Invitation.as_str(), &invited, expires_at).await?;
            witness.record(tx, Fact::PersonInvited { expires_at }).await?;
            Ok::<_, OAuthError>(())
        })
    });
    make.await?;
    Ok(Link { url, expires_at })
}

/// Whom the link is for, without using it.
///
/// # Errors
/// `invitation.invalid`, and trouble that passes.
pub async fn find(world: &World, token: &str, now: Timestamp) -> Result<Invited, OAuthError> {
    let digest = world.secrets.digest(Purpose::Invitation, token);
    let found: Option<Invited> =
        world.storage.read(move |tx| Box::pin(async move { one_time::peek(tx, &digest, now).await })).await?;
    found.ok_or(INVITATION_INVALID)
}

/// Uses the link: makes the account and signs its person in. A weak password does not use it up.
///
/// # Errors
/// `invitation.invalid`; `person.login_taken` if somebody else took the login meanwhile; `password.weak`; and trouble that passes.
pub async fn accept(
    world: &World,
    visitor: &Visitor,
    token: &str,
    display_name: &str,
    password: &str,
    now: Timestamp,
) -> Result<Started, OAuthError> {
    let invited = find(world, token, now).await?;
    person::check_password(password, &invited.login)?;
    let password_hash = passwords::hash(world, password).await?;
    let digest = world.secrets.digest(Purpose::Invitation, token);
    let display_name = Some(display_name).filter(|name| !name.trim().is_empty()).unwrap_or(&invited.display_name);
    let person = Person {
        id: invited.person.unwrap_or_else(|| world.id(now)),
        display_name: person::display_name(Some(display_name), &invited.login),
        login: invited.login,
        created_at: now,
        locked_at: None,
    };
    let beginning = Beginning::new(world, visitor, &person, now);
    let witness = Witness::new(world, Actor::Person(person.id), now);
    let accepted = world.storage.write(move |tx| {
        Box::pin(async move {
            let Consumed::First(invited) = one_time::consume::<Invited>(tx, &digest, now).await? else {
                return Err(INVITATION_INVALID);
            };
            match invited.person {
                None => add(tx, &witness, &person, &password_hash).await?,
                Some(_) => choose_password(tx, &witness, &person, &password_hash).await?,
            }
            Ok::<_, OAuthError>(sessions::start(tx, &witness, beginning).await?)
        })
    });
    accepted.await
}

/// Gives an account that has no password its first.
async fn choose_password(
    tx: &mut crate::storage::Tx,
    witness: &Witness,
    person: &Person,
    password_hash: &str,
) -> Result<(), OAuthError> {
    let found = people::hold_by_login(tx, &person.login).await?;
    if !found.is_some_and(|(known, hash)| known.id == person.id && !known.is_locked() && hash == passwords::NO_PASSWORD) {
        return Err(INVITATION_INVALID);
    }
    people::set_password(tx, person.id, password_hash).await?;
    people::set_display_name(tx, person.id, &person.display_name).await?;
    Ok(witness.record(tx, Fact::PersonPasswordChanged { person: person.id }).await?)
}
