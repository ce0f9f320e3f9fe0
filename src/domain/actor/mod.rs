//! Actors: whoever is seen here doing something, and which kind of somebody that is.
//!
//! An actor is known by one id: an agent by its client's, a person by a user id or by the anonymous id of a device. An id of the one
//! sort is never one of the other, so an agent and a person are never the same actor. Ids that a profile joins stay apart here:
//! evidence is about whom it was seen of, and nobody inherits another's.

/// What was seen of an actor, and what follows from it.
pub mod evidence;
/// What a customer's message tells of the device that it comes from.
pub mod device;
/// How fast somebody can be.
pub mod pace;

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    client::ClientId,
    id::{Id, PersonKind},
    identity::external_id::{ExternalId, ExternalIdType},
    profile::Collection,
};

/// Who somebody is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// A human, or nothing speaks against it.
    Person,
    /// Software that somebody vouches for.
    TrustedAgent,
    /// Software of which too little is known.
    UnknownAgent,
    /// Software that does what it may not: it gets no tokens.
    Rogue,
    /// Software among the people.
    BotPosingAsPerson,
}

impl ActorKind {
    /// All of them.
    pub const ALL: [ActorKind; 5] =
        [ActorKind::Person, ActorKind::TrustedAgent, ActorKind::UnknownAgent, ActorKind::Rogue, ActorKind::BotPosingAsPerson];

    /// The word in storage and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            ActorKind::Person => "person",
            ActorKind::TrustedAgent => "trusted_agent",
            ActorKind::UnknownAgent => "unknown_agent",
            ActorKind::Rogue => "rogue",
            ActorKind::BotPosingAsPerson => "bot_posing_as_person",
        }
    }

    /// The kind of this word.
    pub fn parse(word: &str) -> Option<ActorKind> {
        ActorKind::ALL.into_iter().find(|known| known.as_str() == word)
    }

    /// Whether a member of the collection can be of this kind.
    pub fn is_of(self, collection: Collection) -> bool {
        match self {
            ActorKind::Person | ActorKind::BotPosingAsPerson => collection == Collection::Users,
            ActorKind::TrustedAgent | ActorKind::UnknownAgent | ActorKind::Rogue => collection == Collection::Agents,
        }
    }
}

/// By what an actor is known: `client_id:…`, `user_id:…` or `anonymous_id:…`, as in profiles.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ActorId(ExternalId);

impl ActorId {
    /// The agent that a client is.
    pub fn agent(client: &ClientId) -> ActorId {
        let id = ExternalId::new(Collection::Agents, ExternalIdType::CLIENT_ID, client.as_str());
        ActorId(id.expect("a client identifier is printable, and no longer than an agent's id may be"))
    }

    /// The person of an account here.
    pub fn account(person: Id<PersonKind>) -> ActorId {
        ActorId::user(&person.to_string()).expect("an identifier of ours is short and plain")
    }

    /// The person that a source calls so; `None` for text that can be nobody's id.
    pub fn user(user_id: &str) -> Option<ActorId> {
        ExternalId::new(Collection::Users, ExternalIdType::USER_ID, user_id).map(ActorId)
    }

    /// The person behind a device of whom a source knows no more; `None` for text that can be nobody's id.
    pub fn visitor(anonymous_id: &str) -> Option<ActorId> {
        ExternalId::new(Collection::Users, ExternalIdType::ANONYMOUS_ID, anonymous_id).map(ActorId)
    }

    /// Reads `type:value`; `None` if that names no actor.
    pub fn parse(text: &str) -> Option<ActorId> {
        let collection = match text.split_once(':')?.0 {
            "client_id" => Collection::Agents,
            "user_id" | "anonymous_id" => Collection::Users,
            _ => return None,
        };
        ExternalId::parse(collection, text).map(ActorId)
    }

    /// Where its profile is.
    pub fn collection(&self) -> Collection {
        self.0.collection()
    }

    /// The same id as profiles know it.
    pub fn external_id(&self) -> &ExternalId {
        &self.0
    }

    /// The client that an agent is; `None` for people.
    pub fn client(&self) -> Option<ClientId> {
        if self.collection() == Collection::Agents { ClientId::parse(self.0.value()) } else { None }
    }
}

impl TryFrom<String> for ActorId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<ActorId, &'static str> {
        ActorId::parse(&text).ok_or("an actor is client_id:…, user_id:… or anonymous_id:…")
    }
}
impl From<ActorId> for String {
    fn from(actor: ActorId) -> String {
        actor.to_string()
    }
}
impl fmt::Display for ActorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_is_named_as_it_is_read() {
        for text in ["client_id:https://agent.example/c.json", "user_id:ada", "anonymous_id:a:b"] {
            assert_eq!(ActorId::parse(text).map(|actor| actor.to_string()).as_deref(), Some(text));
        }
        for text in ["", "ada", "email:ada@x.example", "group_id:g", "user_id:", "client_id:\u{7}", "USER_ID:ada"] {
            assert_eq!(ActorId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_agent_is_of_no_kind_of_people_nor_a_person_of_one_of_agents() {
        for kind in ActorKind::ALL {
            assert_eq!(ActorKind::parse(kind.as_str()), Some(kind));
            assert_ne!(kind.is_of(Collection::Agents), kind.is_of(Collection::Users), "{kind:?}");
        }
        let client = ClientId::parse("cli_1").expect("a client");
        assert_eq!(ActorId::agent(&client).client(), Some(client.clone()));
        assert_ne!(ActorId::user("cli_1"), Some(ActorId::agent(&client)));
        assert_eq!(ActorId::user("cli_1").and_then(|actor| actor.client()), None);
    }
}
