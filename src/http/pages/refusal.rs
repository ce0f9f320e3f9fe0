//! Why there is no page to go on to: what happened in plain words, what to do, and a code to quote when asking for help.
//!
//! Shown instead of a redirect whenever the client or its redirect URI cannot be trusted.
//! [RFC 6749 §4.1.2.1](https://www.rfc-editor.org/rfc/rfc6749#section-4.1.2.1)

use super::Site;
use crate::domain::refusal::{
    CLIENT_ROGUE, Code, FORM_EXPIRED, FORM_FOREIGN, INVITATION_INVALID, NOT_SIGNED_IN, OAuthError, PASSWORD_RESET_INVALID,
    REDIRECT_URI_MISSING, REDIRECT_URI_UNREGISTERED, SIGN_UP_OFF,
};
use crate::http::{assets, error};
use askama::Template;
use axum::http::StatusCode;

/// A page that ends the way.
#[derive(Template)]
#[template(path = "refusal.html", config = "consent-ui/askama.toml")]
pub(crate) struct Refusal {
    pub(crate) site: Site,
    pub(crate) title: String,
    pub(crate) happened: String,
    pub(crate) advice: String,
    /// The stable reason, such as `client.unknown`.
    pub(crate) reason: String,
    /// Empty if the request was never looked at.
    pub(crate) request_id: String,
}

/// What people meet most, with words for it.
#[derive(Clone, Copy)]
pub(crate) enum Obstacle {
    UnknownClient,
    RogueClient,
    RedirectMismatch,
    MalformedRequest,
    ExpiredForm,
    SpentInvitation,
    SpentReset,
    InvitationOnly,
    SignedOut,
    TooManyAttempts,
    Unavailable,
    NotFound,
}

impl Refusal {
    /// The page for an obstacle.
    pub(crate) fn for_obstacle(site: Site, obstacle: Obstacle, reason: impl Into<String>, request_id: impl Into<String>) -> Self {
        let [title, happened, advice] = obstacle.words();
        Self {
            site,
            title: title.into(),
            happened: happened.into(),
            advice: advice.into(),
            reason: reason.into(),
            request_id: request_id.into(),
        }
    }
}

impl Obstacle {
    /// What a refusal means to a person.
    pub(crate) fn of(refusal: &OAuthError) -> Obstacle {
        let is = |known: &OAuthError| known.reason == refusal.reason;
        match refusal.code {
            Code::TemporarilyUnavailable | Code::ServerError => Obstacle::Unavailable,
            Code::TooManyRequests => Obstacle::TooManyAttempts,
            _ if is(&FORM_EXPIRED) || is(&FORM_FOREIGN) => Obstacle::ExpiredForm,
            _ if is(&INVITATION_INVALID) => Obstacle::SpentInvitation,
            _ if is(&PASSWORD_RESET_INVALID) => Obstacle::SpentReset,
            _ if is(&SIGN_UP_OFF) => Obstacle::InvitationOnly,
            _ if is(&NOT_SIGNED_IN) => Obstacle::SignedOut,
            _ if is(&REDIRECT_URI_MISSING) || is(&REDIRECT_URI_UNREGISTERED) => Obstacle::RedirectMismatch,
            _ if is(&CLIENT_ROGUE) => Obstacle::RogueClient,
            Code::InvalidClient | Code::UnauthorizedClient => Obstacle::UnknownClient,
            Code::NotFound | Code::MethodNotAllowed => Obstacle::NotFound,
            _ => Obstacle::MalformedRequest,
        }
    }

    /// The status of the page. A page for a person challenges no program for credentials, so it is never 401.
    pub(crate) fn status(self, refusal: &OAuthError) -> StatusCode {
        match self {
            Self::UnknownClient | Self::RedirectMismatch | Self::ExpiredForm => StatusCode::BAD_REQUEST,
            Self::SpentInvitation | Self::SpentReset => StatusCode::GONE,
            Self::SignedOut | Self::InvitationOnly | Self::RogueClient => StatusCode::FORBIDDEN,
            Self::MalformedRequest | Self::TooManyAttempts | Self::Unavailable | Self::NotFound => error::status(refusal.code),
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
            Self::RogueClient => [
                "This app is kept out",
                "The app that sent you here did what it may not, so this server gives it nothing. Nothing was allowed.",
                "Close this page. If you rely on the app, ask the people who run this server, and tell them the reason below.",
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
            Self::SpentReset => [
                "This link no longer works",
                "It was already used, your password was changed since it was made, or its time is over.",
                "If you chose a new password with it, sign in. Otherwise ask the people who run this server for a new one.",
            ],
            Self::InvitationOnly => [
                "Accounts here are by invitation",
                "The people who run this server decide who has an account.",
                "Ask them for an invitation.",
            ],
            Self::SignedOut => [
                "You are signed out",
                "Your session has ended, so nothing was changed.",
                "Sign in again, or go back to the app that sent you here and start again.",
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
