//! Password resets: a link from an operator with which a person chooses a new password, once.
//!
//! A link is good for the password that the account had when it was made, so a change by any other way makes all of them useless.
//! Looking at one uses nothing up, as with an invitation. Using it ends every session: who knew the old password is out.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use super::{
    Link, Visitor, passwords,
    sessions::{self, Beginning, Started},
};
use crate::{
    domain::{
        event::{Actor, Fact},
        id::{Id, PersonKind},
        person::{self, Person},
        refusal::{ADMIN_CONFLICT, ADMIN_NOT_FOUND, OAuthError, PASSWORD_RESET_INVALID},
        time::Timestamp,
    },
    keys::secrets::{Purpose, Secrets},
    protocol::witness::Witness,
    storage::{
        one_time::{self, Consumed},
        people,
    },
    world::World,
};

/// How long a link works: it opens an account that is in use, so not for long.
const TTL: Duration = Duration::from_secs(24 * 3600);

/// What a link allows.
#[derive(Serialize, Deserialize)]
struct Reset {
    person: Id<PersonKind>,
    /// Names the password that it replaces.
    replaces: String,
}

impl Reset {
    fn of(secrets: &Secrets, person: &Person, password_hash: &str) -> Reset {
        Reset { person: person.id, replaces: URL_SAFE_NO_PAD.encode(secrets.digest(Purpose::PasswordReset, password_hash).0) }
    }

    /// Whether it is for this account as it is now.
    fn fits(&self, secrets: &Secrets, person: &Person, password_hash: &str) -> bool {
        let now = Reset::of(secrets, person, password_hash);
        !person.is_locked() && now.person == self.person && now.replaces == self.replaces
    }
}

/// Makes a link for a person, by `actor`.
///
/// # Errors
/// `admin.not_found`; `admin.conflict` if the person is locked; and trouble that passes.
pub async fn create(world: &World, actor: Actor, id: Id<PersonKind>, now: Timestamp) -> Result<Link, OAuthError> {
    let (token, expires_at) = (world.secret(), now.plus(TTL));
    let url = format!("{}/password-reset/{}", world.settings.issuer, token.reveal());
    let digest = world.secrets.digest(Purpose::PasswordReset, token.reveal());
    let (witness, secrets) = (Witness::new(world, actor, now), Arc::clone(&world.secrets));
    let make = world.storage.write(move |tx| {
        Box::pin(async move {
            let (person, password_hash) = people::find_with_password(tx, id).await?.ok_or(ADMIN_NOT_FOUND)?;
            if person.is_locked() {
                return Err(ADMIN_CONFLICT.because("This person is locked; unlock them first."));
            }
            let reset = Reset::of(&secrets, &person, &password_hash);
            one_time::put(tx, &digest, Purpose::PasswordReset.as_str(), &reset, expires_at).await?;
            witness.record(tx, Fact::PersonPasswordResetIssued { person: id, expires_at }).await?;
            Ok::<_, OAuthError>(())
        })
    });
    make.await?;
    Ok(Link { url, expires_at })
}

/// Whom the link is for, without using it.
///
/// # Errors
/// `password_reset.invalid`, and trouble that passes.
pub async fn find(world: &World, token: &str, now: Timestamp) -> Result<Person, OAuthError> {
    let (digest, secrets) = (world.secrets.digest(Purpose::PasswordReset, token), Arc::clone(&world.secrets));
    let find = world.storage.read(move |tx| {
        Box::pin(async move {
            let reset: Reset = one_time::peek(tx, &digest, now).await?.ok_or(PASSWORD_RESET_INVALID)?;
            let account = people::find_with_password(tx, reset.person).await?;
            let account = account.filter(|(person, password_hash)| reset.fits(&secrets, person, password_hash));
            Ok::<_, OAuthError>(account.ok_or(PASSWORD_RESET_INVALID)?.0)
        })
    });
    find.await
}

/// Uses the link: replaces the password, ends every session of the person, and signs them in here. A weak password does not use
/// it up.
///
/// # Errors
/// `password_reset.invalid`, `password.weak`, and trouble that passes.
pub async fn accept(world: &World, visitor: &Visitor, token: &str, password: &str, now: Timestamp) -> Result<Started, OAuthError> {
    let person = find(world, token, now).await?;
    person::check_password(password, &person.login)?;
    let new_hash = passwords::hash(world, password).await?;
    let (digest, secrets) = (world.secrets.digest(Purpose::PasswordReset, token), Arc::clone(&world.secrets));
    let beginning = Beginning::new(world, visitor, &person, now);
    let witness = Witness::new(world, Actor::Person(person.id), now);
    let accepted = world.storage.write(move |tx| {
        Box::pin(async move {
            let Consumed::First(reset) = one_time::consume::<Reset>(tx, &digest, now).await? else {
                return Err(PASSWORD_RESET_INVALID);
            };
            let account = people::hold(tx, reset.person).await?;
            let Some((Person { id, .. }, _)) = account.filter(|(known, hash)| reset.fits(&secrets, known, hash)) else {
                return Err(PASSWORD_RESET_INVALID);
            };
            people::set_password(tx, id, &new_hash).await?;
            witness.record(tx, Fact::PersonPasswordChanged { person: id }).await?;
            for session in people::end_sessions(tx, id, None).await? {
                witness.record(tx, Fact::SessionEnded { session, person: id }).await?;
            }
            Ok::<_, OAuthError>(sessions::start(tx, &witness, beginning).await?)
        })
    });
    accepted.await
}
