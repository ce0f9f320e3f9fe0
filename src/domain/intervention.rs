//! Interventions: what is done to profiles besides what events do, and how far it has come.

use serde::{Deserialize, Serialize};

use super::{
    identity::{
        external_id::{ExternalId, ExternalIdType},
        rules::RuleSettings,
    },
    profile::Collection,
};

/// People that one regulation names at most.
pub const USER_IDS_MAX: usize = 5_000;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Intervention {
    /// Two profiles that an event has joined are two again, and stay it.
    Unmerge {
        /// Where in the log the event is. Together with the id the name of the edge.
        edge_offset: u64,
        id: NamedId,
    },
    /// An external id no longer leads to its profile, and does not come back to it.
    TakeAway(NamedId),
    /// What a person, or the law for them, demands.
    Regulate { regulation: Regulation, user_ids: Vec<String> },
    /// These are the rules of identity from here on.
    SetRules(RuleSettings),
    /// It was carried out, and those whom it named are forgotten.
    Forgotten { regulation: Regulation },
}

/// An external id by its parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedId {
    pub collection: Collection,
    #[serde(rename = "type")]
    pub id_type: ExternalIdType,
    pub value: String,
}

impl NamedId {
    pub fn of(id: &ExternalId) -> NamedId {
        NamedId { collection: id.collection(), id_type: id.id_type().clone(), value: id.value().to_owned() }
    }

    pub fn external_id(&self) -> ExternalId {
        ExternalId::stored(self.collection, self.id_type.clone(), self.value.clone())
    }
}

/// What is to become of a person's events and profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Regulation {
    /// Events that name them by user id are left out from now on.
    SuppressOnly,
    /// And are taken in again.
    Unsuppress,
    /// The profile goes, and no replay of earlier events brings it back; later ones make a new one.
    DeleteOnly,
    SuppressWithDelete,
}

impl Regulation {
    pub fn suppresses(self) -> bool {
        matches!(self, Regulation::SuppressOnly | Regulation::SuppressWithDelete)
    }

    pub fn deletes(self) -> bool {
        matches!(self, Regulation::DeleteOnly | Regulation::SuppressWithDelete)
    }
}

/// How far an intervention has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// On its way through the log.
    Initialized,
    /// Some of those whom it names are done with.
    Running,
    Finished,
    /// It could not be done, and nothing was changed.
    Failed,
}

impl Status {
    const ALL: [Status; 4] = [Status::Initialized, Status::Running, Status::Finished, Status::Failed];

    /// The word in storage and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Initialized => "INITIALIZED",
            Status::Running => "RUNNING",
            Status::Finished => "FINISHED",
            Status::Failed => "FAILED",
        }
    }

    pub fn parse(word: &str) -> Option<Status> {
        Status::ALL.into_iter().find(|known| known.as_str() == word)
    }
}
