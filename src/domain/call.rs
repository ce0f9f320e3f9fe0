//! The calls of the Segment protocol: what kind of message a source sent.
//!
//! [Spec](https://segment.com/docs/connections/spec/)

use serde::{Deserialize, Serialize};

/// The `type` of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    Identify,
    Track,
    Page,
    Screen,
    Group,
    Alias,
}

impl Call {
    const ALL: [Call; 6] = [Call::Identify, Call::Track, Call::Page, Call::Screen, Call::Group, Call::Alias];

    /// The word for `type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Call::Identify => "identify",
            Call::Track => "track",
            Call::Page => "page",
            Call::Screen => "screen",
            Call::Group => "group",
            Call::Alias => "alias",
        }
    }

    /// The call of this word.
    pub fn parse(word: &str) -> Option<Call> {
        Call::ALL.into_iter().find(|known| known.as_str() == word)
    }

    /// The member that tells messages of one call apart, where there is one.
    pub fn name_member(self) -> Option<&'static str> {
        match self {
            Call::Track => Some("event"),
            Call::Page | Call::Screen => Some("name"),
            Call::Identify | Call::Group | Call::Alias => None,
        }
    }
}
