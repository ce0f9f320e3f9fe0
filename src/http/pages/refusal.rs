//! Why there is no page to go on to: what happened in plain words, what to do, and a code to quote when asking for help.
//!
//! Shown instead of a redirect whenever the client or its redirect URI cannot be trusted.
//! [RFC 6749 §4.1.2.1](https://www.rfc-editor.org/rfc/rfc6749#section-4.1.2.1)

use crate::http::assets;
use askama::Template;
use axum::http::StatusCode;

/// A page that ends the way.
#[derive(Template)]
#[template(path = "refusal.html", config = "consent-ui/askama.toml")]
pub(crate) struct Refusal {
    pub(crate) title: String,
    pub(crate) happened: String,
    pub(crate) advice: String,
    /// The stable reason, such as `client.unknown`.
    pub(crate) reason: String,
    pub(crate) request_id: String,
}

/// What people meet most, with words for it.
#[derive(Clone, Copy)]
pub(crate) enum Obstacle {
    UnknownClient,
    RedirectMismatch,
    MalformedRequest,
    ExpiredForm,
    SpentInvitation,
    TooManyAttempts,
    Unavailable,
    NotFound,
}

impl Refusal {
    /// The page for an obstacle.
    pub(crate) fn for_obstacle(obstacle: Obstacle, reason: impl Into<String>, request_id: impl Into<String>) -> Self {
        let [title, happened, advice] = obstacle.words();
        Self {
            title: title.into(),
            happened: happened.into(),
            advice: advice.into(),
            reason: reason.into(),
            request_id: request_id.into(),
        }
    }
}

impl Obstacle {
    /// The status that goes with the page.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::UnknownClient | Self::RedirectMismatch | Self::MalformedRequest | Self::ExpiredForm => StatusCode::BAD_REQUEST,
            Self::SpentInvitation => StatusCode::GONE,
            Self::TooManyAttempts => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::NotFound => StatusCode::NOT_FOUND,
        }
    }

    /// Title, what happened, what to do.
    fn words(self) -> [&'static str; 3] {
        match self {
            Self::UnknownClient => [
                "We do not know this app",
                "The app that sent you here is not registered with this server, or its registration has ended. Nothing was allowed.",
                "Go back to the app, disconnect it and connect it again, so that it registers anew. If it keeps its old registration, \
                 sign out in the app or remove the data that it stored for this server.",
            ],
            Self::RedirectMismatch => [
                "This link could not be trusted",
                "The app asked us to send your answer to an address that it never registered. That can be a mistake in its settings, \
                 or an attempt to steal your answer. Nothing was allowed, and we send you nowhere.",
                "Close this page. If you started the app yourself, tell the people who make it about the reason below.",
            ],
            Self::MalformedRequest => [
                "This request makes no sense to us",
                "The app that sent you here asked in a way that we cannot answer. Nothing was allowed.",
                "Go back to the app and try again. If it happens again, tell the people who make it about the reason below.",
            ],
            Self::ExpiredForm => [
                "This page has expired",
                "It was open for too long, was already used, or was started in another browser. Nothing was changed.",
                "Go back to where you came from and start again.",
            ],
            Self::SpentInvitation => [
                "This invitation no longer works",
                "It was already used, or its time is over.",
                "If you joined with it, sign in. Otherwise ask the person who invited you for a new one.",
            ],
            Self::TooManyAttempts => [
                "Too many attempts",
                "To keep accounts safe, we pause after several attempts in a short time.",
                "Wait a few minutes, then try again.",
            ],
            Self::Unavailable => [
                "Not available right now",
                "Something that this server needs is not answering. Nothing was lost, and nothing was allowed.",
                "Try again in a minute.",
            ],
            Self::NotFound => [
                "There is nothing here",
                "The address is not one of ours, or what was here is gone.",
                "Check the address, or start from the home page of this server.",
            ],
        }
    }
}
