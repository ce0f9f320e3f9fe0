//! What became of a message of a source, as somebody sees it who looks on.

use serde::Serialize;

use super::{
    event::{Event, Fact},
    id::{Id, SourceKind},
    json::Json,
    refusal::OAuthError,
    time::Timestamp,
};

/// A step on a message's way. The words are a promise to whoever looks on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It came in and is durable.
    Accepted,
    /// It was not taken.
    Refused,
    /// Every consumer reads it from now on: as it came, or as it was shaped.
    Published,
    /// The source's programs let it not pass.
    Dropped,
    /// It does not go on and is not lost: a program failed, a plan blocks it, or its id came before with another payload.
    KeptAside,
    /// It came before.
    Duplicate,
}

impl Stage {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Stage::Accepted => "accepted",
            Stage::Refused => "refused",
            Stage::Published => "published",
            Stage::Dropped => "dropped",
            Stage::KeptAside => "kept_aside",
            Stage::Duplicate => "duplicate",
        }
    }
}

/// A message at a stage.
#[derive(Debug, Clone, Serialize)]
pub struct Sighting {
    #[serde(skip)]
    pub stage: Stage,
    /// RFC 3339.
    at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// Why it was refused or kept aside: a word for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// The message, where it was not shown before.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Json>,
    /// What goes on in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    published_as: Option<Vec<Json>>,
}

impl Sighting {
    /// A message of this name at a stage that needs no more words.
    pub fn new(stage: Stage, at: Timestamp, message_id: Option<String>) -> Sighting {
        let at = at.to_iso_8601();
        Sighting { stage, at, message_id, reason: None, detail: None, message: None, published_as: None }
    }

    /// A request, or all messages of one, was refused.
    pub fn refused(at: Timestamp, refusal: &OAuthError) -> Sighting {
        let (reason, detail) = (Some(refusal.reason.to_owned()), Some(refusal.description.to_string()));
        Sighting { reason, detail, ..Sighting::new(Stage::Refused, at, None) }
    }

    /// Something that can be no message; `which` says where it stood.
    pub fn unfit(at: Timestamp, which: String, reason: &str) -> Sighting {
        let (reason, detail) = (Some(reason.to_owned()), Some(which));
        Sighting { reason, detail, ..Sighting::new(Stage::Refused, at, None) }
    }

    /// The message was shaped: these go on in its place.
    pub fn shaped(at: Timestamp, message_id: String, published_as: Vec<Json>) -> Sighting {
        Sighting { published_as: Some(published_as), ..Sighting::new(Stage::Published, at, Some(message_id)) }
    }

    /// The message was kept aside, for this reason.
    pub fn kept_aside(at: Timestamp, message_id: String, reason: &str) -> Sighting {
        Sighting { reason: Some(reason.to_owned()), ..Sighting::new(Stage::KeptAside, at, Some(message_id)) }
    }

    /// What an event of a source says of its message: it came in, or it was published, by `stage`; or it was kept aside.
    pub fn of(event: Event, stage: Stage) -> Option<Sighting> {
        match event.fact {
            Fact::EventReceived { message_id, message, .. } => {
                Some(Sighting { message: Some(message), ..Sighting::new(stage, event.at, Some(message_id)) })
            }
            Fact::EventKeptAside { message_id, reason, detail, message, .. } => Some(Sighting {
                reason: Some(reason),
                detail,
                message: Some(message),
                ..Sighting::new(Stage::KeptAside, event.at, Some(message_id))
            }),
            _ => None,
        }
    }
}

/// The source of an event that came from one.
pub fn source_of(event: &Event) -> Option<Id<SourceKind>> {
    match event.fact {
        Fact::EventReceived { source, .. } | Fact::EventKeptAside { source, .. } => Some(source),
        _ => None,
    }
}
