//! Proving who one is, by password.
//!
//! A wrong password, a login that nobody has and a locked account are one answer, at one price and in one time.

use super::{
    Visitor, passwords,
    sessions::{self, Beginning, Started},
    slowing::Attempt,
};
use crate::{
    domain::{
        event::Actor,
        person::{Person, parse_login},
        refusal::{OAuthError, SIGN_IN_WRONG},
        time::Timestamp,
    },
    protocol::{token::Verdict, witness::Witness},
    storage::people,
    world::World,
};

/// Signs a person in, in place of whoever is signed in in this browser.
///
/// # Errors
/// `sign_in.wrong`, `sign_in.slowed`, and trouble that passes.
pub async fn sign_in(world: &World, visitor: &Visitor, login: &str, password: &str, now: Timestamp) -> Result<Started, OAuthError> {
    let attempt = Attempt::count(world, Some(login), Some(visitor.address), now).await?;
    let found = find(world, login).await?;
    let fits = passwords::verify(world, password, found.as_ref().map(|(_, hash)| hash.as_str())).await?;
    let person_id = found.as_ref().map(|(person, _)| person.id);
    let Some((person, verified)) = found.filter(|(person, _)| fits && !person.is_locked()) else {
        return Err(super::refuse(world, Actor::Anonymous, person_id, SIGN_IN_WRONG, now).await);
    };
    let beginning = Beginning::new(world, visitor, &person, now);
    let witness = Witness::new(world, Actor::Person(person.id), now);
    let verdict = world.storage.write(move |tx| {
        Box::pin(async move {
            // Verifying took a while: the account may have been locked, or its password changed, in between.
            let is_same = |(known, hash): (Person, String)| !known.is_locked() && hash == verified;
            if !people::hold_by_login(tx, &person.login).await?.is_some_and(is_same) {
                return Ok::<_, OAuthError>(Verdict::Refused(SIGN_IN_WRONG));
            }
            attempt.forgive(tx).await?;
            Ok(Verdict::Granted(sessions::start(tx, &witness, beginning).await?))
        })
    });
    match verdict.await? {
        Verdict::Granted(started) => Ok(started),
        Verdict::Refused(_) => Err(super::refuse(world, Actor::Anonymous, person_id, SIGN_IN_WRONG, now).await),
    }
}

/// The account of this login; text that can be nobody's login is looked for nowhere.
async fn find(world: &World, login: &str) -> Result<Option<(Person, String)>, OAuthError> {
    let Ok(login) = parse_login(login) else { return Ok(None) };
    Ok(world.storage.read(move |tx| Box::pin(async move { people::find_by_login(tx, &login).await })).await?)
}
