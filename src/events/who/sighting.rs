//! What an event says of whom: of our own facts we say it here, a customer's message tells of the device that it comes from.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    domain::{
        actor::{
            ActorId,
            device::Device,
            evidence::{Evidence, Observed, Seen},
            pace::Pace,
        },
        event::{Actor, Event, Fact, Head},
        grant::EndCause,
        id::{Id, InterventionKind},
        time::Timestamp,
    },
    log::Entry,
    world::actors::KnownActors,
};

/// Somebody, seen.
#[derive(Debug, Clone)]
pub(super) struct Sighting {
    pub actor: ActorId,
    pub offset: u64,
    pub what: What,
}

/// As what.
#[derive(Debug, Clone)]
pub(super) enum What {
    Seen(Seen),
    /// It is a client no longer.
    Gone,
}

/// What a part of the log comes to.
pub(super) struct Looked {
    /// What may be new.
    pub sightings: Vec<Sighting>,
    /// The intervention before which it ends, and where that stands.
    pub before: Option<(Id<InterventionKind>, u64)>,
}

/// Looks through entries up to the first intervention. What is known already is left out, and noted as known from now on.
pub(super) fn look(entries: &[Entry], known: &mut KnownActors, pace: &mut Pace) -> Looked {
    let mut looked = Looked { sightings: Vec::new(), before: None };
    for entry in entries {
        if Head::is_received(&entry.payload) {
            received(entry, known, pace, &mut looked.sightings);
            continue;
        }
        // Written by a later version: it says nothing that this one could judge.
        let Ok(event) = serde_json::from_slice::<Event>(&entry.payload) else { continue };
        if let Fact::EventReceived { .. } = &event.fact {
            received(entry, known, pace, &mut looked.sightings);
            continue;
        }
        if let Fact::InterventionRequested { intervention } = &event.fact {
            looked.before = Some((*intervention, entry.offset));
            return looked;
        }
        if let Fact::ClientDeleted { client } = &event.fact {
            let actor = ActorId::agent(client);
            looked.sightings.push(Sighting { actor, offset: entry.offset, what: What::Gone });
            // It may come back, and is new then.
            known.unsettle();
            continue;
        }
        let (id, at) = (event.id, event.at);
        for (actor, observed) in told_by(event) {
            let is_known = observed.lasting().is_some_and(|evidence| {
                let key = known.key(actor.external_id().id_type().as_str(), actor.external_id().value());
                known.settle(key, evidence)
            });
            if !is_known {
                looked.sightings.push(Sighting { actor, offset: entry.offset, what: What::Seen(Seen { event: id, at, observed }) });
            }
        }
    }
    looked
}

/// Looks at a customer's event.
fn received(entry: &Entry, known: &mut KnownActors, pace: &mut Pace, sightings: &mut Vec<Sighting>) {
    if let Some(received) = Received::of(entry) {
        received.look(known, pace, sightings);
    }
}

/// Looks through entries that had their effect before, for how fast everybody is.
pub(super) fn look_back(entries: &[Entry], known: &mut KnownActors, pace: &mut Pace) {
    for received in entries.iter().filter_map(Received::of) {
        if let Some(sender) = received.sender(known) {
            received.is_too_much(&sender, pace);
        }
    }
}

/// Whom our own fact speaks of, and what it says.
fn told_by(event: Event) -> Vec<(ActorId, Observed)> {
    let shown = |actor: ActorId, evidence| vec![(actor, Observed::Shown(evidence))];
    match event.fact {
        Fact::ClientRegistered { client, origin, auth_method, .. } => {
            vec![(ActorId::agent(&client), Observed::Registered { origin, auth_method })]
        }
        Fact::ClientChanged { client, change } if change == "enabled" => shown(ActorId::agent(&client), Evidence::Enabled),
        Fact::TokenIssued { client, person, .. } => {
            let person = person.map(|person| (ActorId::account(person), Observed::Shown(Evidence::ActedFor)));
            std::iter::once((ActorId::agent(&client), Observed::TokenIssued)).chain(person).collect()
        }
        Fact::TokenUsed { client, person, .. } => {
            let person = person.map(|person| (ActorId::account(person), Observed::Shown(Evidence::UsedFor)));
            let agent = (ActorId::agent(&client), Observed::Shown(Evidence::UsedToken));
            std::iter::once(agent).chain(person).collect()
        }
        Fact::ConsentGiven { client, person, .. } => {
            vec![(ActorId::agent(&client), Observed::ConsentedTo { person }), (ActorId::account(person), Observed::GaveConsent)]
        }
        Fact::ConsentRefused { client, .. } => shown(ActorId::agent(&client), Evidence::ConsentRefused),
        Fact::RequestRefused { client: Some(client), .. } => shown(ActorId::agent(&client), Evidence::RequestRefused),
        Fact::GrantEnded { client, cause: EndCause::CodeReplayed | EndCause::RefreshReplayed, .. } => {
            shown(ActorId::agent(&client), Evidence::Replayed)
        }
        Fact::AgentSuspended { agent, .. } => shown(ActorId::agent(&agent), Evidence::Suspended),
        Fact::SessionStarted { person, .. } => shown(ActorId::account(person), Evidence::SignedIn),
        Fact::SignInRefused { person: Some(person), .. } => shown(ActorId::account(person), Evidence::SignInRefused),
        Fact::ActorKindSet { actor, kind, note } => match event.actor {
            Actor::Operator(operator) => vec![(actor, Observed::Said { kind, note, operator })],
            _ => Vec::new(),
        },
        Fact::ActorKindLifted { actor, .. } => vec![(actor, Observed::Lifted)],
        _ => Vec::new(),
    }
}

/// What is read of a customer's event.
struct Received<'e> {
    event: &'e str,
    at: Timestamp,
    offset: u64,
    actor: &'e RawValue,
    message: Message<'e>,
}

/// Values stand as text until they are needed: what a source puts into a field is not always what should be there.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Message<'e> {
    #[serde(borrow)]
    user_id: Option<&'e RawValue>,
    #[serde(borrow)]
    anonymous_id: Option<&'e RawValue>,
    #[serde(borrow)]
    timestamp: Option<&'e RawValue>,
    #[serde(borrow)]
    context: Option<&'e RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Context<'e> {
    #[serde(borrow)]
    library: Option<&'e RawValue>,
    #[serde(borrow)]
    user_agent: Option<&'e RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Library<'e> {
    #[serde(borrow)]
    name: Option<&'e RawValue>,
}

/// Whom a message is about: the user where it names one, else whoever the device belongs to.
struct Sender<'e> {
    is_user: bool,
    id: Cow<'e, str>,
    device: Device,
    key: u128,
}

impl<'e> Received<'e> {
    /// The customer's event that the entry is, if it is one.
    fn of(entry: &'e Entry) -> Option<Received<'e>> {
        let head: Head<'e, Message<'e>> = Head::with_message(&entry.payload)?;
        Some(Received { event: head.id, at: head.at, offset: entry.offset, actor: head.actor, message: head.received?.message })
    }

    fn look(&self, known: &mut KnownActors, pace: &mut Pace, sightings: &mut Vec<Sighting>) {
        sightings.extend(self.client(known));
        let Some(sender) = self.sender(known) else { return };
        let seen = if sender.is_user { Evidence::Named } else { Evidence::Visited };
        let device = match sender.device {
            Device::Automated => Some(Evidence::AutomatedDevice),
            Device::Scripted => Some(Evidence::ScriptedDevice),
            Device::Own | Device::Elsewhere => None,
        };
        let pace = self.is_too_much(&sender, pace).then_some(Evidence::ImpossiblePace);
        for evidence in [Some(seen), device, pace].into_iter().flatten() {
            if known.settle(sender.key, evidence) {
                continue;
            }
            let actor = if sender.is_user { ActorId::user(&sender.id) } else { ActorId::visitor(&sender.id) };
            let (Some(actor), Ok(event)) = (actor, self.event.parse()) else { return };
            let seen = Seen { event, at: self.at, observed: Observed::Shown(evidence) };
            sightings.push(Sighting { actor, offset: self.offset, what: What::Seen(seen) });
        }
    }

    /// The client whose token it was sent with, if there was one and it is new that it sends.
    fn client(&self, known: &mut KnownActors) -> Option<Sighting> {
        // Most come with a write key.
        let actor = ActorId::agent(&Actor::client_in(self.actor)?);
        let key = known.key(actor.external_id().id_type().as_str(), actor.external_id().value());
        if known.settle(key, Evidence::SentEvents) {
            return None;
        }
        let seen = Seen { event: self.event.parse().ok()?, at: self.at, observed: Observed::Shown(Evidence::SentEvents) };
        Some(Sighting { actor, offset: self.offset, what: What::Seen(seen) })
    }

    fn sender(&self, known: &mut KnownActors) -> Option<Sender<'e>> {
        let user = text(self.message.user_id);
        let is_user = user.is_some();
        let id = user.or_else(|| text(self.message.anonymous_id))?;
        let context: Context<'e> = object(self.message.context);
        let library: Library<'e> = object(context.library);
        let device = known.device(text(library.name).as_deref(), text(context.user_agent).as_deref());
        let key = known.key(if is_user { "user_id" } else { "anonymous_id" }, &id);
        Some(Sender { is_user, id, device, key })
    }

    /// Counts the event; whether it is the one that is too many for a person's own device.
    fn is_too_much(&self, sender: &Sender<'_>, pace: &mut Pace) -> bool {
        if sender.device == Device::Elsewhere {
            return false;
        }
        let happened_at = text(self.message.timestamp).and_then(|text| Timestamp::parse_iso_8601(&text));
        happened_at.is_some_and(|happened_at| pace.note(sender.key, happened_at.seconds(), self.at, self.offset))
    }
}

/// A structure, or its default where the message holds something else.
fn object<'e, T: Deserialize<'e> + Default>(raw: Option<&'e RawValue>) -> T {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}

/// A text; `None` for what is none.
fn text(raw: Option<&RawValue>) -> Option<Cow<'_, str>> {
    let json = raw?.get();
    match json.strip_prefix('"')?.strip_suffix('"')? {
        plain if !plain.contains('\\') => Some(Cow::Borrowed(plain)),
        _ => serde_json::from_str(json).ok().map(Cow::Owned),
    }
}
