//! Arriving and leaving: the home page, signing in and out, signing up, using a link from an operator.

use super::{Problem, Problems, Site};
use crate::domain::person::PASSWORD_CHARS_MIN;
use crate::http::assets;
use askama::Template;

/// `GET /`
#[derive(Template)]
#[template(path = "home.html", config = "consent-ui/askama.toml")]
pub(crate) struct Home {
    pub(crate) site: Site,
    /// The URLs of our metadata documents.
    pub(crate) discovery: Vec<String>,
}

/// `GET /sign-in`; its form posts `seal`, `login` and `password` to `/sign-in`.
#[derive(Template)]
#[template(path = "sign_in.html", config = "consent-ui/askama.toml")]
pub(crate) struct SignIn {
    pub(crate) site: Site,
    pub(crate) seal: String,
    /// What was typed before, or a `login_hint`.
    pub(crate) login: String,
    /// Who sent the person here, when an app did.
    pub(crate) asking: Option<AskingApp>,
    /// Why the last attempt did not succeed; never whether the login exists.
    pub(crate) problem: Option<Problem>,
    pub(crate) sign_up: SignUpDoor,
}

/// The app on whose behalf a person signs in.
pub(crate) struct AskingApp {
    pub(crate) name: String,
    /// The host of its metadata document, or else of its redirect URI.
    pub(crate) host: String,
}

/// How new people come in.
pub(crate) enum SignUpDoor {
    Open {
        /// Lets the request of the asking app go on afterwards.
        resume: Option<String>,
    },
    ByInvitation,
}

/// `GET /sign-up`; its form posts `seal`, `login`, `display_name` and `password` to `/sign-up`.
#[derive(Template)]
#[template(path = "sign_up.html", config = "consent-ui/askama.toml")]
pub(crate) struct SignUp {
    pub(crate) site: Site,
    pub(crate) seal: String,
    pub(crate) login: String,
    pub(crate) display_name: String,
    pub(crate) problems: Problems,
    /// Lets the request of an asking app go on by signing in instead.
    pub(crate) resume: Option<String>,
}

/// `GET /invitation/{token}`; its form posts `seal`, `display_name` and `password` to the same path.
#[derive(Template)]
#[template(path = "invitation.html", config = "consent-ui/askama.toml")]
pub(crate) struct Invitation {
    pub(crate) site: Site,
    pub(crate) seal: String,
    pub(crate) token: String,
    /// The login that the invitation is for; the person cannot change it.
    pub(crate) login: String,
    pub(crate) display_name: String,
    pub(crate) problems: Problems,
}

/// `GET /password-reset/{token}`; its form posts `seal` and `password` to the same path.
#[derive(Template)]
#[template(path = "password_reset.html", config = "consent-ui/askama.toml")]
pub(crate) struct PasswordReset {
    pub(crate) site: Site,
    pub(crate) seal: String,
    pub(crate) token: String,
    /// Whose password it is.
    pub(crate) login: String,
    pub(crate) problems: Problems,
}

/// The answer to `POST /sign-out`, when nothing is to be continued.
#[derive(Template)]
#[template(path = "signed_out.html", config = "consent-ui/askama.toml")]
pub(crate) struct SignedOut {
    pub(crate) site: Site,
}
