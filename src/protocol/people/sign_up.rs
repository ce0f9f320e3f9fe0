//! Making an account oneself, where the installation allows it.
//!
//! That a login is taken has to be told here, so tries that meet one are counted against the address.

use super::{
    Visitor, add, new_person, passwords,
    sessions::{self, Beginning, Started},
    slowing::Attempt,
};
use crate::{
    domain::{
        event::Actor,
        person,
        refusal::{OAuthError, SIGN_UP_OFF},
        time::Timestamp,
    },
    protocol::witness::Witness,
    world::World,
};

/// What a person wrote.
pub struct NewAccount<'f> {
    pub login: &'f str,
    pub display_name: &'f str,
    pub password: &'f str,
}

/// Makes an account and signs its person in.
///
/// # Errors
/// `sign_up.off`, `person.login_invalid`, `person.login_taken`, `password.weak`, `sign_in.slowed`, and trouble that passes.
pub async fn sign_up(world: &World, visitor: &Visitor, account: NewAccount<'_>, now: Timestamp) -> Result<Started, OAuthError> {
    check_open(world)?;
    let person = new_person(world, account.login, Some(account.display_name), now)?;
    person::check_password(account.password, &person.login)?;
    // Counted, and never forgiven: so one address makes few accounts in a while.
    Attempt::count(world, None, Some(visitor.address), now).await?;
    let password_hash = passwords::hash(world, account.password).await?;
    let beginning = Beginning::new(world, visitor, &person, now);
    let witness = Witness::new(world, Actor::Person(person.id), now);
    let made = world.storage.write(move |tx| {
        Box::pin(async move {
            add(tx, &witness, &person, &password_hash).await?;
            Ok::<_, OAuthError>(sessions::start(tx, &witness, beginning).await?)
        })
    });
    made.await
}

/// Refuses where accounts are made by invitation only.
pub fn check_open(world: &World) -> Result<(), OAuthError> {
    if world.settings.sign_up { Ok(()) } else { Err(SIGN_UP_OFF) }
}
