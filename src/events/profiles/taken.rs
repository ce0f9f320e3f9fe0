//! An event as profiles take it in: whom it names, what it says of them, and what they did.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    domain::{
        event::{Event, Fact},
        id::{Id, InterventionKind},
        identity::{
            fact,
            graph::{Cause, ProfileId},
            resolve::Subject,
            rules::Rules,
        },
        profile::{Collection, Impression, Trait},
        time::Timestamp,
    },
    log::Entry,
};

/// The source of our own facts.
const OWN: &str = "deputy";

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
    /// What was done, and how.
    event: Option<(String, Map<String, Value>)>,
}

/// A trait that a model predicted.
pub(super) struct Predicted {
    pub profile: ProfileId,
    pub key: String,
    pub written: Trait,
}

/// What is read of a customer's message.
#[derive(Deserialize)]
struct Message {
    r#type: String,
    #[serde(default)]
    timestamp: Option<String>,
    #[serde(default)]
    event: Option<Value>,
    #[serde(default)]
    name: Option<Value>,
    #[serde(default)]
    traits: Option<Value>,
    #[serde(default)]
    properties: Option<Value>,
}

impl Taken {
    /// What the entry says; `None` if it is of no interest to any profile, or was written by a later version.
    pub(super) fn of(entry: &Entry, rules: &Rules) -> Option<Taken> {
        let event: Event = serde_json::from_slice(&entry.payload).ok()?;
        let cause = |source: String, message_id: String| Cause { offset: entry.offset, at: event.at, source, message_id };
        if let Fact::InterventionRequested { intervention } = &event.fact {
            let cause = cause(OWN.to_owned(), event.id.to_string());
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
            return Some(Taken { prediction, ..Taken::nothing(cause(OWN.to_owned(), event.id.to_string()), event.at) });
        }
        let subjects = fact::subjects(&event, rules);
        if subjects.is_empty() {
            return None;
        }
        if let Fact::EventReceived { source, message_id, message } = &event.fact {
            let cause = cause(source.to_string(), message_id.clone());
            let message: Message = serde_json::from_str(message.as_str()).ok()?;
            let at = message.timestamp.as_deref().and_then(Timestamp::parse_iso_8601).unwrap_or(event.at);
            // A clock that is ahead must not win over every later writer.
            return Some(Taken {
                cause,
                at: at.min(event.at),
                subjects,
                intervention: None,
                prediction: None,
                traits: message.traits(),
                event: message.event(),
            });
        }
        let cause = cause(OWN.to_owned(), event.id.to_string());
        let Value::Object(fact) = serde_json::to_value(&event.fact).ok()? else { return None };
        let name = fact.get("type")?.as_str()?.to_owned();
        let details = fact.get("data").and_then(Value::as_object).cloned().unwrap_or_default();
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
        Some(Taken { subjects, traits, event: Some((name, details)), ..Taken::nothing(cause, event.at) })
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

impl Message {
    fn traits(&self) -> Option<(Collection, Map<String, Value>)> {
        let collection = match self.r#type.as_str() {
            "identify" => Collection::Users,
            "group" => Collection::Accounts,
            _ => return None,
        };
        Some((collection, self.traits.as_ref()?.as_object()?.clone()))
    }

    /// A page or a screen without a name is seen under the name of its kind.
    fn event(self) -> Option<(String, Map<String, Value>)> {
        let name = match self.r#type.as_str() {
            "track" => self.event?.as_str()?.to_owned(),
            "page" | "screen" => self.name.as_ref().and_then(Value::as_str).unwrap_or(&self.r#type).to_owned(),
            _ => return None,
        };
        let properties = match self.properties {
            Some(Value::Object(properties)) => properties,
            _ => Map::new(),
        };
        Some((name, properties))
    }
}
