//! Transformations: programs of an operator's that change, drop, multiply or filter the events of a source.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    id::{Id, SourceKind, TransformationKind},
    time::Timestamp,
};

/// The largest program, in bytes: some hundred lines.
pub const PROGRAM_BYTES_MAX: usize = 32 * 1024;

/// What a program is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// What becomes of an event: one, several or none.
    Transform,
    /// Whether an event goes on.
    Filter,
}

impl Purpose {
    pub const ALL: [Purpose; 2] = [Purpose::Transform, Purpose::Filter];

    /// The word in storage and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Purpose::Transform => "transform",
            Purpose::Filter => "filter",
        }
    }

    /// The purpose of this word.
    pub fn parse(word: &str) -> Option<Purpose> {
        Purpose::ALL.into_iter().find(|known| known.as_str() == word)
    }
}

/// The language of a program.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    /// [Vector Remap Language](https://vector.dev/docs/reference/vrl/).
    #[default]
    Vrl,
}

impl Language {
    /// The word in storage and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Language::Vrl => "vrl",
        }
    }

    /// The language of this word.
    pub fn parse(word: &str) -> Option<Language> {
        (word == Language::Vrl.as_str()).then_some(Language::Vrl)
    }
}

/// A transformation as storage knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transformation {
    pub id: Id<TransformationKind>,
    pub name: String,
    pub purpose: Purpose,
    pub language: Language,
    pub program: Arc<str>,
    /// Counts the programs that it had: a program is known by transformation and version.
    pub version: u32,
    /// Whose events it is applied to; a source has at most one of each purpose.
    pub sources: Vec<Id<SourceKind>>,
    pub created_at: Timestamp,
    pub changed_at: Timestamp,
    pub disabled_at: Option<Timestamp>,
}
