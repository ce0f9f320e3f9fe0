//! An event as profiles take it in: whom it names, what it says of them, and what they did.

use serde_json::{Map, Value, value::RawValue};

use crate::{
    domain::{
        call::Call,
        event::{Actor, Event, Fact, Head, Received},
        id::{Id, InterventionKind},
        identity::{
            fact,
            graph::{Cause, ProfileId},
            message::Message,
            resolve::Subject,
            rules::Rules,
        },
        profile::{Collection, Definitions, Impression, Trait},
        time::Timestamp,
    },
    log::Entry,
    world::OWN_SOURCE,
};

/// An event, read.
pub(super) struct Taken {
    pub cause: Cause,
    /// When it happened.
    at: Timestamp,
    pub subjects: Vec<Subject>,
    /// It is no event about anybody, but asks for this.
    pub intervention: Option<Id<InterventionKind>>,
    /// It is what a model says of a profile.
    pub prediction: Option<Predicted>,
    /// What it says of the members of a collection.
    traits: Option<(Collection, Map<String, Value>)>,
    /// What was done, and how, if something is defined over it.
    event: Option<(String, Map<String, Value>)>,
}

/// A trait that a model predicted.
pub(super) struct Predicted {
    pub profile: ProfileId,
    pub key: String,
    pub written: Trait,
}

impl Taken {
    /// What the entry says; `None` if it is of no interest to any profile, or was written by a later version. What nobody has defined
    /// anything over is not read, as most of all events are.
    pub(super) fn of(entry: &Entry, rules: &Rules, definitions: &Definitions) -> Option<Taken> {
        let head = Head::<Message<'_>>::with_message(&entry.payload)?;
        match &head.received {
            Some(received) => Taken::customers(entry, &head, received, rules, definitions),
            None => Taken::own(entry, &head, rules, definitions),
        }
    }

    fn customers(
        entry: &Entry,
        head: &Head<'_, Message<'_>>,
        received: &Received<'_, Message<'_>>,
        rules: &Rules,
        definitions: &Definitions,
    ) -> Option<Taken> {
        let message = &received.message;
        let subjects = message.subjects(rules, Actor::client_in(head.actor).as_ref());
        if subjects.is_empty() {
            return None;
        }
        let (source, message_id) = (received.source.to_owned(), received.message_id.clone().into_owned());
        let event = message.event().filter(|name| definitions.watch(name));
        let traits_of = match message.call()? {
            Call::Identify => Some(Collection::Users),
            Call::Group => Some(Collection::Accounts),
            Call::Track | Call::Page | Call::Screen | Call::Alias => None,
        };
        Some(Taken {
            cause: Cause { offset: entry.offset, at: head.at, source, message_id },
            // A clock that is ahead must not win over every later writer.
            at: message.timestamp().unwrap_or(head.at).min(head.at),
            subjects,
            intervention: None,
            prediction: None,
            traits: traits_of.and_then(|collection| Some((collection, object(message.traits?)?))),
            event: event.map(|name| (name.into_owned(), message.properties.and_then(object).unwrap_or_default())),
        })
    }

    fn own(entry: &Entry, head: &Head<'_, Message<'_>>, rules: &Rules, definitions: &Definitions) -> Option<Taken> {
        let event: Event = serde_json::from_slice(&entry.payload).ok()?;
        let cause = Cause { offset: entry.offset, at: event.at, source: OWN_SOURCE.to_owned(), message_id: head.id.to_owned() };
        if let Fact::InterventionRequested { intervention } | Fact::IdentityRulesChanged { intervention: Some(intervention) } =
            &event.fact
        {
            let intervention = Some(*intervention);
            return Some(Taken { intervention, ..Taken::nothing(cause, event.at) });
        }
        if let Fact::TraitPredicted { predicted_trait, profile, key, value, confidence, asked_at } = &event.fact {
            let written = Trait {
                value: serde_json::from_str(value.as_str()).ok()?,
                source: predicted_trait.to_string(),
                at: *asked_at,
                offset: entry.offset,
                confidence: Some(confidence.share()),
            };
            let prediction = Some(Predicted { profile: *profile, key: key.clone(), written });
            return Some(Taken { prediction, ..Taken::nothing(cause, event.at) });
        }
        let subjects = fact::subjects(&event, rules);
        if subjects.is_empty() {
            return None;
        }
        let traits = match &event.fact {
            Fact::ClientRegistered { name, origin, .. } => {
                let origin = serde_json::to_value(origin).unwrap_or_default();
                Some((
                    Collection::Agents,
                    Map::from_iter([("name".to_owned(), name.clone().into()), ("origin".to_owned(), origin)]),
                ))
            }
            _ => None,
        };
        let details =
            || serde_json::to_value(&event.fact).ok()?.get_mut("data").and_then(|data| data.as_object_mut().map(std::mem::take));
        let event_seen = definitions.watch(head.name).then(|| (head.name.to_owned(), details().unwrap_or_default()));
        Some(Taken { subjects, traits, event: event_seen, ..Taken::nothing(cause, event.at) })
    }

    /// About nobody.
    fn nothing(cause: Cause, at: Timestamp) -> Taken {
        Taken { cause, at, subjects: Vec::new(), intervention: None, prediction: None, traits: None, event: None }
    }

    /// What it is to a member of the collection.
    pub(super) fn impression(&self, collection: Collection) -> Impression<'_> {
        Impression {
            message_id: &self.cause.message_id,
            source: &self.cause.source,
            at: self.at,
            received_at: self.cause.at,
            offset: self.cause.offset,
            traits: self.traits.as_ref().filter(|(of, _)| *of == collection).map(|(_, traits)| traits),
            event: self.event.as_ref().map(|(name, properties)| (name.as_str(), properties)),
        }
    }
}

fn object(raw: &RawValue) -> Option<Map<String, Value>> {
    serde_json::from_str(raw.get()).ok()
}
