//! Sources: whatever sends an organisation's customer events to us, each known by its write key.

use serde::{Deserialize, Serialize};

use super::{
    client::ClientId,
    id::{Id, SourceKind},
    secret::Digest,
    time::Timestamp,
};

/// What kind of software sends, and so how far what it says of itself is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Producer {
    /// Software of the organisation's own: the address that it calls from says nothing about a person.
    Server,
    /// A page or an app on a person's own device: it calls from the person's address, and everybody can read its write key.
    Browser,
    /// Another service that calls us in its own words; only a transformation makes messages of what it says.
    Webhook,
    /// A database of the organisation's that we ask ourselves.
    Warehouse,
}

impl Producer {
    pub const ALL: [Producer; 4] = [Producer::Server, Producer::Browser, Producer::Webhook, Producer::Warehouse];

    /// The word in storage and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Producer::Server => "server",
            Producer::Browser => "browser",
            Producer::Webhook => "webhook",
            Producer::Warehouse => "warehouse",
        }
    }

    /// The producer of this word.
    pub fn parse(word: &str) -> Option<Producer> {
        Producer::ALL.into_iter().find(|known| known.as_str() == word)
    }
}

/// A source as storage knows it.
#[derive(Debug, Clone)]
pub struct Source {
    pub id: Id<SourceKind>,
    pub name: String,
    pub producer: Producer,
    pub write_key_digest: Digest,
    /// The client whose access tokens write to this source, with or without its write key; `None` if any client's do.
    pub client: Option<ClientId>,
    /// Whether the write key alone is not enough.
    pub requires_token: bool,
    pub created_at: Timestamp,
    pub disabled_at: Option<Timestamp>,
}

impl Source {
    pub fn is_disabled(&self) -> bool {
        self.disabled_at.is_some()
    }
}
