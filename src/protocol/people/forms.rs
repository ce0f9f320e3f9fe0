//! Forms that remember what they are about, sealed to one step and to the browser or session that they were made for
//! ([RFC 6819 §4.4.1.8](https://www.rfc-editor.org/rfc/rfc6819#section-4.4.1.8), [RFC 9700 §4.7](https://www.rfc-editor.org/rfc/rfc9700#section-4.7)).
//!
//! The server stores nothing until somebody decides, so what a form is about travels through the browser: encrypted,
//! authenticated, and soon expired. A seal proves what we asked; it never proves who answers.

use std::{net::IpAddr, time::Duration};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    domain::{
        refusal::{FORM_EXPIRED, FORM_FOREIGN, OAuthError},
        time::Timestamp,
    },
    keys::secrets::{Purpose, are_equal},
    world::World,
};

/// What a form is for. A seal made for one step is unknown at every other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    SignIn,
    SignUp,
    Invitation,
    PasswordReset,
    /// Going on with an authorization request after signing in or out.
    Resume,
    Consent,
    Account,
}

impl Step {
    fn as_str(self) -> &'static str {
        match self {
            Step::SignIn => "sign_in",
            Step::SignUp => "sign_up",
            Step::Invitation => "invitation",
            Step::PasswordReset => "password_reset",
            Step::Resume => "resume",
            Step::Consent => "consent",
            Step::Account => "account",
        }
    }

    /// How long its form may lie open. The account's pages change only what belongs to their own session, which ends them too.
    fn ttl(self) -> Duration {
        match self {
            Step::Account => Duration::from_secs(12 * 3600),
            _ => Duration::from_secs(30 * 60),
        }
    }
}

/// An authorization request that waits for the person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Continuing {
    /// As it arrived; it is judged anew at each step.
    pub query: String,
    /// When it first arrived: signing in after it satisfies `prompt=login` and `max_age`.
    pub asked_at: Timestamp,
    /// From where it first arrived.
    pub asked_from: IpAddr,
}

#[derive(Serialize, Deserialize)]
struct Bound<T> {
    to: String,
    form: T,
}

/// Seals what a form is about to `bound_to`: the browser's cookie, or the session's identifier.
pub fn seal<T: Serialize>(world: &World, step: Step, bound_to: &str, form: &T, now: Timestamp) -> String {
    let bound = Bound { to: bound_to.to_owned(), form };
    world.secrets.seal(Purpose::Form, step.as_str(), now.plus(step.ttl()), &bound)
}

/// What the form is about.
///
/// # Errors
/// `form.expired` if it is not a form of this step that is still valid, `form.foreign` if it was made for another browser.
pub fn open<T: DeserializeOwned>(world: &World, step: Step, bound_to: &str, seal: &str, now: Timestamp) -> Result<T, OAuthError> {
    let bound: Bound<T> = world.secrets.open(Purpose::Form, step.as_str(), now, seal).ok_or(FORM_EXPIRED)?;
    if are_equal(&bound.to, bound_to) { Ok(bound.form) } else { Err(FORM_FOREIGN) }
}
