//! A person's side: accounts, sign-in, sessions, consent, and the apps that act for them.
//! [NIST SP 800-63B-4](https://pages.nist.gov/800-63-4/sp800-63b.html),
//! [OpenID Connect Core §3.1.2.3](https://openid.net/specs/openid-connect-core-1_0.html#Authenticates)
//!
//! Whoever comes to the door is nobody until a session says otherwise, and only `sessions::start` begins one: after a password
//! was verified, an account was made, or a link from an operator was used up. Every form is sealed to the step and the browser that it was
//! made for, so steps in any other order lead nowhere. Nothing here tells whether a login exists, but making an account.

/// Forms that remember what they are about, sealed to one browser and one step.
pub mod forms;
/// Hashing passwords, within bounds, and changing one's own.
pub mod passwords;
/// Slows guessing, per account and per address.
mod slowing;
/// Who is signed in, in which browsers.
pub mod sessions;
/// Proving who one is.
pub mod sign_in;
/// Making an account oneself, where the installation allows it.
pub mod sign_up;
/// Making an account by a link from an operator.
pub mod invitations;
/// Choosing a new password by a link from an operator.
pub mod password_resets;
/// The question whether a client may act, and the answer.
pub mod consent;
/// What acts for a person, and ending it.
pub mod connected_apps;

use std::net::IpAddr;

use crate::{
    domain::{
        event::{Actor, Fact},
        id::{Id, PersonKind},
        person::{self, Person, Session},
        refusal::{LOGIN_TAKEN, OAuthError},
        time::Timestamp,
    },
    protocol::{refusals::count_password, witness::Witness},
    storage::{StorageError, Tx, people},
    world::World,
};

/// A link to hand over.
pub struct Link {
    /// Holds a secret: whoever opens it first has the account.
    pub url: String,
    pub expires_at: Timestamp,
}

/// Who is at the door.
pub struct Visitor {
    pub address: IpAddr,
    /// What the browser says of itself.
    pub user_agent: String,
    /// Who is signed in in this browser; a new session takes this one's place.
    pub signed_in: Option<(Session, Person)>,
}

/// Makes an account for somebody, by `actor`. Without a password nobody can sign in to it, until an invitation lets them choose
/// one.
///
/// # Errors
/// `person.login_invalid`, `person.login_taken`, `password.weak`, and trouble that passes.
pub async fn create(
    world: &World,
    actor: Actor,
    login: &str,
    display_name: Option<&str>,
    password: Option<&str>,
    now: Timestamp,
) -> Result<Person, OAuthError> {
    let person = new_person(world, login, display_name, now)?;
    let password_hash = match password {
        Some(password) => {
            person::check_password(password, &person.login)?;
            passwords::hash(world, password).await?
        }
        None => passwords::NO_PASSWORD.to_owned(),
    };
    let (witness, added) = (Witness::new(world, actor, now), person.clone());
    world.storage.write(move |tx| Box::pin(async move { add(tx, &witness, &added, &password_hash).await })).await?;
    Ok(person)
}

fn new_person(world: &World, login: &str, display_name: Option<&str>, now: Timestamp) -> Result<Person, OAuthError> {
    let login = person::parse_login(login)?;
    let display_name = person::display_name(display_name, &login);
    Ok(Person { id: world.id(now), login, display_name, created_at: now, locked_at: None })
}

/// Puts a wrong password on record, about the account if there is one, in the order of all that happens to it. Answers the
/// refusal, which stands whether or not this succeeds.
async fn refuse(world: &World, actor: Actor, person: Option<Id<PersonKind>>, refusal: OAuthError, now: Timestamp) -> OAuthError {
    if !count_password(world, refusal.code, refusal.reason) {
        return refusal;
    }
    let witness = Witness::new(world, actor, now);
    let fact = Fact::SignInRefused { person, reason: refusal.reason.to_owned() };
    let recorded: Result<(), StorageError> =
        world.storage.write(move |tx| Box::pin(async move { witness.record(tx, fact).await })).await;
    if let Err(error) = recorded {
        tracing::warn!(%error, reason = refusal.reason, "a refusal could not be put on record");
    }
    refusal
}

/// Adds an account with its event.
async fn add(tx: &mut Tx, witness: &Witness, person: &Person, password_hash: &str) -> Result<(), OAuthError> {
    people::insert(tx, person, password_hash).await.map_err(|error| match error {
        StorageError::Unique(name) if name == "people_login" => LOGIN_TAKEN,
        error => error.into(),
    })?;
    Ok(witness.record(tx, Fact::PersonCreated { person: person.id }).await?)
}
