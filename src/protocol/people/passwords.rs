//! Passwords: argon2id ([RFC 9106](https://www.rfc-editor.org/rfc/rfc9106)) off the async threads and bounded in parallel; a login
//! that does not exist costs as much as one that does. Inside a transaction nothing is ever hashed.

use std::{sync::Arc, time::Duration};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};

use super::slowing::Attempt;
use crate::{
    domain::{
        event::{Actor, Fact},
        person::{self, Person, Session},
        refusal::{BUSY, OAuthError, PASSWORD_WRONG},
        secret::Secret,
        time::Timestamp,
    },
    protocol::{token::Verdict, witness::Witness},
    storage::people,
    world::World,
};

/// How long a password waits for its turn to be hashed.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// 19 MiB, two passes, one lane: the first choice of the
/// [OWASP sheet](https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html#argon2id), about 18 ms of a core.
const PARAMETERS: Params = match Params::new(19 * 1024, 2, 1, None) {
    Ok(parameters) => parameters,
    Err(_) => panic!("the parameters are within argon2's limits"),
};
/// Stored for an account whose person has not chosen a password yet: no password hashes to it.
pub(super) const NO_PASSWORD: &str = "";
/// Verified when there is no hash to verify. Its output is random bytes, so no password fits it either.
const NOBODYS: &str = "$argon2id$v=19$m=19456,t=2,p=1$KOb9Gfp8Fb59KUbR62MJJA$55RoLCFlze3xpAjPf5C9j2kPjihlU8uOKyROgUw3h5w";

/// The hash of a new password.
///
/// # Errors
/// `server.busy` if too many wait.
pub(super) async fn hash(world: &World, password: &str) -> Result<String, OAuthError> {
    let (password, salt) = (Secret::new(password.to_owned()), world.entropy.bytes::<16>());
    compute(world, move || {
        let hash: Result<PasswordHash, _> = argon2id().hash_password_with_salt(password.reveal().as_bytes(), &salt);
        hash.expect("salt and parameters are within argon2's limits").to_string()
    })
    .await
}

/// Whether the password fits the stored hash. `None`, and what is not a hash, take as long and fit nothing.
///
/// # Errors
/// `server.busy` if too many wait.
pub(super) async fn verify(world: &World, password: &str, stored: Option<&str>) -> Result<bool, OAuthError> {
    let password = Secret::new(password.to_owned());
    let parsed = stored.and_then(|stored| PasswordHash::new(stored).ok());
    let is_known = parsed.is_some();
    let hash = parsed.unwrap_or_else(|| PasswordHash::new(NOBODYS).expect("a test parses it"));
    let fits = compute(world, move || argon2id().verify_password(password.reveal().as_bytes(), &hash).is_ok()).await?;
    Ok(fits && is_known)
}

/// Replaces a person's password and ends their other sessions.
///
/// # Errors
/// `password.weak`, `password.wrong`, `sign_in.slowed`, and trouble that passes.
pub async fn change(
    world: &World,
    session: &Session,
    person: &Person,
    current: &str,
    new: &str,
    now: Timestamp,
) -> Result<(), OAuthError> {
    person::check_password(new, &person.login)?;
    let attempt = Attempt::count(world, Some(&person.login), None, now).await?;
    let login = person.login.clone();
    let found = world.storage.read(move |tx| Box::pin(async move { people::find_by_login(tx, &login).await })).await?;
    let verified = found.map(|(_, hash)| hash).unwrap_or_default();
    if !verify(world, current, Some(&verified)).await? {
        return Err(super::refuse(world, Actor::Person(person.id), Some(person.id), PASSWORD_WRONG, now).await);
    }
    let new_hash = hash(world, new).await?;
    let witness = Witness::new(world, Actor::Person(person.id), now);
    let (id, login, kept) = (person.id, person.login.clone(), session.id);
    let verdict = world.storage.write(move |tx| {
        Box::pin(async move {
            // Whoever changed it meanwhile knew it too, but only one of the two can be right about what it is now.
            if people::hold_by_login(tx, &login).await?.is_none_or(|(_, hash)| hash != verified) {
                return Ok::<_, OAuthError>(Verdict::Refused(PASSWORD_WRONG));
            }
            people::set_password(tx, id, &new_hash).await?;
            attempt.forgive(tx).await?;
            witness.record(tx, Fact::PersonPasswordChanged { person: id }).await?;
            for session in people::end_sessions(tx, id, Some(kept)).await? {
                witness.record(tx, Fact::SessionEnded { session, person: id }).await?;
            }
            Ok(Verdict::Granted(()))
        })
    });
    match verdict.await? {
        Verdict::Granted(()) => Ok(()),
        Verdict::Refused(_) => Err(super::refuse(world, Actor::Person(person.id), Some(person.id), PASSWORD_WRONG, now).await),
    }
}

fn argon2id() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, PARAMETERS)
}

/// Runs `work` on a thread where it holds up nobody, when it is its turn.
async fn compute<T: Send + 'static>(world: &World, work: impl FnOnce() -> T + Send + 'static) -> Result<T, OAuthError> {
    let _place = world.memory.password_places.try_acquire().map_err(|_| BUSY)?;
    let turn = Arc::clone(&world.memory.password_permits).acquire_owned();
    let permit = tokio::time::timeout(WAIT_MAX, turn).await.map_err(|_| BUSY)?.map_err(|_| BUSY)?;
    let computed = tokio::task::spawn_blocking(move || {
        let computed = work();
        drop(permit);
        computed
    });
    computed.await.map_err(|error| {
        tracing::error!(%error, "hashing a password ended badly");
        BUSY
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobodys_hash_costs_as_much_as_anybodys() {
        let hash = PasswordHash::new(NOBODYS).expect("the constant is a hash");
        assert_eq!(hash.algorithm, Algorithm::Argon2id.ident());
        assert_eq!(hash.version, Some(Version::V0x13.into()));
        assert_eq!(Params::try_from(&hash).map(|parameters| parameters.to_string()), Ok(PARAMETERS.to_string()));
        let made: PasswordHash = argon2id().hash_password_with_salt(b"correct horse battery", &[7; 16]).expect("argon2 hashes");
        let length = |hash: &PasswordHash| (hash.salt.map(|salt| salt.len()), hash.hash.map(|output| output.len()));
        assert_eq!(length(&hash), length(&made));
    }

    #[test]
    fn an_account_without_a_password_has_no_hash() {
        assert!(PasswordHash::new(NO_PASSWORD).is_err());
    }
}
