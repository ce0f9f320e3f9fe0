//! The question itself: may this agent act for you? What is shown here is what is authorised.

use super::{Agent, Moment, Resource, Site, Vouching};
use crate::http::assets;
use askama::Template;

/// The consent page; its form posts `seal`, any number of `scope`, and `decision` (`allow` or `refuse`) to `/consent`, and "Use
/// another account" posts `seal` to `/sign-out`.
#[derive(Template)]
#[template(path = "consent.html", config = "consent-ui/askama.toml")]
pub(crate) struct Consent {
    pub(crate) site: Site,
    pub(crate) seal: String,
    /// Whom it would act for, as they know themselves: their login.
    pub(crate) person: String,
    pub(crate) agent: Agent,
    pub(crate) returns_to: ReturnsTo,
    /// None when only an identity is asked for.
    pub(crate) resource: Option<Resource>,
    /// What happened since they allowed it, for which they are asked again.
    pub(crate) unusual: Vec<&'static str>,
    /// Whether they are asked each time, because too little is known of the agent.
    pub(crate) is_each_time: bool,
    pub(crate) scopes: Vec<ScopeLine>,
    /// How long one access token lives: "10 minutes".
    pub(crate) access_lasts: String,
    pub(crate) stay: Stay,
}

/// One scope, to keep or to untick.
pub(crate) struct ScopeLine {
    /// As on the wire.
    pub(crate) value: String,
    /// As the resource's operator described it to people.
    pub(crate) words: String,
    pub(crate) standing: Standing,
}

/// What a scope is to the person who is asked.
pub(crate) enum Standing {
    /// The request makes no sense without it; it cannot be unticked.
    Required,
    /// Granted to this agent earlier.
    AlreadyAllowed,
    New,
}

/// Where the answer is sent: what the redirect URI means to a person.
pub(crate) enum ReturnsTo {
    Web {
        host: String,
    },
    /// A loopback redirect: any program on the machine could be listening.
    ThisComputer {
        host: String,
    },
    /// A scheme of its own: any app on the device could have claimed it.
    InstalledApp {
        scheme: String,
    },
}

/// How long the agent stays connected.
pub(crate) enum Stay {
    /// No refresh token: one access, then it asks again.
    OneAccess,
    Until(Moment),
}

impl Consent {
    /// Whether something was allowed before, so that it matters what is new.
    fn widens(&self) -> bool {
        self.scopes.iter().any(|scope| matches!(scope.standing, Standing::AlreadyAllowed))
    }
}
