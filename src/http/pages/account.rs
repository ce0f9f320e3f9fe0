//! What a signed-in person looks after: the agents that act for them, their sessions, their password.
//!
//! On each of these pages `person` is who is signed in, `notice` says what just happened, and "Sign out" posts `seal` to `/sign-out`.

use super::{Agent, Moment, Problems, Resource, Site, Vouching};
use crate::domain::person::PASSWORD_CHARS_MIN;
use crate::http::assets;
use askama::Template;

/// `GET /account`; each "End access" posts `seal`, `client` and `resource` to `/account/apps/end`.
#[derive(Template)]
#[template(path = "connected_apps.html", config = "consent-ui/askama.toml")]
pub(crate) struct ConnectedApps {
    pub(crate) site: Site,
    pub(crate) person: String,
    pub(crate) seal: String,
    pub(crate) notice: Option<String>,
    pub(crate) apps: Vec<ConnectedApp>,
}

/// An app at one resource, as the person knows it for whom it acts.
pub(crate) struct ConnectedApp {
    /// The client's identifier, and the resource's or nothing, which name it together.
    pub(crate) client: String,
    pub(crate) at: String,
    pub(crate) agent: Agent,
    pub(crate) resource: Option<Resource>,
    /// The scopes in words.
    pub(crate) scopes: Vec<String>,
    pub(crate) connected: Moment,
    /// `None` if it holds nothing now, and may come back without a question.
    pub(crate) last_used: Option<Moment>,
    /// When it ends by itself, if it does.
    pub(crate) ends: Option<Moment>,
}

/// `GET /account/sessions`; "End session" posts `seal` and `session` to `/account/sessions/end`, "Sign out everywhere else" posts
/// `seal` to `/account/sessions/end-others`.
#[derive(Template)]
#[template(path = "sessions.html", config = "consent-ui/askama.toml")]
pub(crate) struct Sessions {
    pub(crate) site: Site,
    pub(crate) person: String,
    pub(crate) seal: String,
    pub(crate) notice: Option<String>,
    pub(crate) sessions: Vec<SessionLine>,
}

/// One browser in which the person is signed in.
pub(crate) struct SessionLine {
    /// The session's id, which is not its secret.
    pub(crate) id: String,
    /// A summary of its `User-Agent`: "Firefox on Linux".
    pub(crate) device: String,
    pub(crate) started: Moment,
    pub(crate) last_seen: Moment,
    pub(crate) standing: SessionStanding,
}

/// Whether a session is the one that looks at the page.
pub(crate) enum SessionStanding {
    This,
    Other,
}

impl Sessions {
    /// Whether there is anything else to end.
    fn has_others(&self) -> bool {
        self.sessions.iter().any(|session| matches!(session.standing, SessionStanding::Other))
    }
}

/// `GET /account/password`; its form posts `seal`, `current_password` and `new_password` to the same path.
#[derive(Template)]
#[template(path = "password.html", config = "consent-ui/askama.toml")]
pub(crate) struct Password {
    pub(crate) site: Site,
    pub(crate) person: String,
    pub(crate) seal: String,
    pub(crate) notice: Option<String>,
    /// For password managers to know whose password this is.
    pub(crate) login: String,
    pub(crate) problems: Problems,
}
