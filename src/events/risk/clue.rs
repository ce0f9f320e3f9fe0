//! What an event says of the risk of somebody.

use crate::{
    domain::{
        client::ClientId,
        event::{Event, Fact, Head},
        grant::EndCause,
        id::{EventKind, Id, PersonKind},
        network::Network,
        risk::SignalKind,
        time::Timestamp,
    },
    log::Entry,
};

/// An event that says something of an agent, of a person, or of one that acts for the other.
pub(super) struct Clue {
    pub(super) event: Id<EventKind>,
    pub(super) at: Timestamp,
    pub(super) agent: Option<ClientId>,
    pub(super) person: Option<Id<PersonKind>>,
    pub(super) seen: Seen,
}

/// What was seen.
pub(super) enum Seen {
    Signalled(SignalKind),
    /// A token was issued.
    Issued(Option<Network>),
    /// The person proved who they are.
    SignedIn(Option<Network>),
    /// The person allowed the agent what it asks for.
    Consented(Option<Network>),
    /// An operator has looked at it, or it is gone.
    AgentCleared,
    PersonCleared,
}

impl Clue {
    /// What the entry says; `None` if that is nothing, or it was written by a later version.
    pub(super) fn of(entry: &Entry) -> Option<Clue> {
        // Most of all events are customers', and are not read at all.
        if Head::is_received(&entry.payload) {
            return None;
        }
        let event: Event = serde_json::from_slice(&entry.payload).ok()?;
        let (agent, person, seen) = match event.fact {
            Fact::GrantEnded { client, person, cause: EndCause::RefreshReplayed, .. } => {
                (Some(client), person, Seen::Signalled(SignalKind::RefreshReplayed))
            }
            Fact::ConsentRefused { client, person } => (Some(client), Some(person), Seen::Signalled(SignalKind::ConsentRefused)),
            Fact::RequestRefused { client: Some(client), .. } => (Some(client), None, Seen::Signalled(SignalKind::RequestRefused)),
            Fact::SignInRefused { person: Some(person), .. } => (None, Some(person), Seen::Signalled(SignalKind::SignInRefused)),
            Fact::TokenIssued { client, person, network, .. } => (Some(client), person, Seen::Issued(network)),
            Fact::SessionStarted { person, network, .. } => (None, Some(person), Seen::SignedIn(network)),
            Fact::ConsentGiven { client, person, network, .. } => (Some(client), Some(person), Seen::Consented(network)),
            Fact::ClientChanged { client, change } if change == "enabled" => (Some(client), None, Seen::AgentCleared),
            Fact::ClientDeleted { client } => (Some(client), None, Seen::AgentCleared),
            Fact::PersonUnlocked { person } => (None, Some(person), Seen::PersonCleared),
            _ => return None,
        };
        Some(Clue { event: event.id, at: event.at, agent, person, seen })
    }

    /// Whether it shows that the agent exists: somebody proved to be it, or an operator named it.
    pub(super) fn is_proven(&self) -> bool {
        match self.seen {
            Seen::Signalled(kind) => kind.is_proven(),
            Seen::Issued(_) | Seen::SignedIn(_) | Seen::Consented(_) | Seen::AgentCleared | Seen::PersonCleared => true,
        }
    }
}
