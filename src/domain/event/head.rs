//! An event looked at in passing: read once, nothing copied, and of our own facts no more than which they are.

use std::{borrow::Cow, fmt, marker::PhantomData, sync::LazyLock};

use memchr::memmem::Finder;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::Fact;
use crate::domain::time::Timestamp;

/// What stands before the data of most events: their id, time, actor and type.
const BEGINNING_BYTES: usize = 256;

/// What a stage that sees every event needs of most of them. Of a customer's message it reads as much as `M` does.
#[derive(Debug)]
pub struct Head<'e, M = &'e RawValue> {
    pub id: &'e str,
    pub at: Timestamp,
    /// Who made it, as it is written.
    pub actor: &'e RawValue,
    /// The name of the fact.
    pub name: &'e str,
    /// What a customer's event carries; nothing for a fact of our own.
    pub received: Option<Received<'e, M>>,
}

/// The parts of a customer's event.
#[derive(Debug, Deserialize)]
#[serde(bound(deserialize = "M: Deserialize<'de>"))]
pub struct Received<'e, M = &'e RawValue> {
    pub source: &'e str,
    #[serde(borrow)]
    pub message_id: Cow<'e, str>,
    pub message: M,
}

impl<'e> Head<'e> {
    /// The head of an event as it is written; `None` for what is none.
    pub fn of(payload: &'e [u8]) -> Option<Head<'e>> {
        Head::with_message(payload)
    }

    /// Whether an event, as we write it, is a customer's: told by its beginning, so that it need not be read. Of an event of which this is
    /// not told it may still be so.
    pub fn is_received(payload: &[u8]) -> bool {
        // Inside a text a quote has a backslash before it, so this stands nowhere but where it means what it says.
        static MEMBERS: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(br#","type":"event.received.v1","data":{"#));
        MEMBERS.find(&payload[..payload.len().min(BEGINNING_BYTES)]).is_some()
    }
}

impl<'e, M: Deserialize<'e>> Head<'e, M> {
    /// The head of an event as it is written, its message read in the same pass; `None` for what is none, or whose message is no `M`.
    pub fn with_message(payload: &'e [u8]) -> Option<Head<'e, M>> {
        serde_json::from_slice(payload).ok()
    }
}

impl<'de, M: Deserialize<'de>> Deserialize<'de> for Head<'de, M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Head<'de, M>, D::Error> {
        struct Members<M>(PhantomData<M>);
        impl<'de, M: Deserialize<'de>> Visitor<'de> for Members<M> {
            type Value = Head<'de, M>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an event")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Head<'de, M>, A::Error> {
                let (mut id, mut at, mut actor, mut name, mut received, mut unread) = (None, None, None, None, None, None);
                while let Some(member) = members.next_key::<&str>()? {
                    match member {
                        "id" => id = Some(members.next_value()?),
                        "at" => at = Some(members.next_value()?),
                        "actor" => actor = Some(members.next_value()?),
                        "type" => name = Some(members.next_value()?),
                        // We write the type first, and so the data need not be gone through twice.
                        "data" if name == Some(Fact::EVENT_RECEIVED) => received = Some(members.next_value()?),
                        "data" if name.is_none() => unread = Some(members.next_value::<&RawValue>()?),
                        _ => _ = members.next_value::<IgnoredAny>()?,
                    }
                }
                let missing = || A::Error::custom("an event has an id, a time, an actor and a type");
                let (id, at) = (id.ok_or_else(missing)?, at.ok_or_else(missing)?);
                let (actor, name) = (actor.ok_or_else(missing)?, name.ok_or_else(missing)?);
                if name == Fact::EVENT_RECEIVED && received.is_none() {
                    let data: &RawValue = unread.ok_or_else(missing)?;
                    received = Some(serde_json::from_str(data.get()).map_err(A::Error::custom)?);
                }
                Ok(Head { id, at, actor, name, received })
            }
        }
        deserializer.deserialize_map(Members(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        event::{Actor, Event},
        id::Id,
        json::Json,
    };

    #[test]
    fn a_customers_event_shows_its_parts_in_whatever_order() {
        let data = r#""data":{"source":"src_1","message_id":"m\u0031","message":{"n": 1.0}}"#;
        for text in [
            format!(r#"{{"id":"evt_1","at":7,"actor":{{"source":"src_1"}},"type":"event.received.v1",{data}}}"#),
            format!(r#"{{{data},"type":"event.received.v1","later":[],"at":7,"actor":"deputy","id":"evt_1"}}"#),
        ] {
            let head = Head::of(text.as_bytes()).expect("it is an event");
            assert_eq!((head.id, head.at, head.name), ("evt_1", Timestamp(7), "event.received.v1"));
            let received = head.received.expect("it is a customer's");
            assert_eq!((received.source, &*received.message_id, received.message.get()), ("src_1", "m1", r#"{"n": 1.0}"#));
        }
    }

    #[test]
    fn of_our_own_facts_only_the_name_is_read() {
        let text = r#"{"id":"evt_1","at":7,"actor":"deputy","type":"moon.risen.v9","data":{"phase":[1]}}"#;
        let head = Head::of(text.as_bytes()).expect("it is an event");
        assert!(head.name == "moon.risen.v9" && head.received.is_none());
    }

    #[test]
    fn a_customers_event_is_known_by_its_beginning() {
        let message = Json::parse("{}".to_owned()).expect("it is JSON");
        let received = Fact::EventReceived { source: Id::from_bytes([1; 16]), message_id: "m".to_owned(), message };
        let own = Fact::RequestRefused {
            route: r#"","type":"event.received.v1","data":{"#.to_owned(),
            client: None,
            code: String::new(),
            reason: String::new(),
        };
        for (fact, expected) in [(received, true), (own, false)] {
            let event = Event { id: Id::from_bytes([2; 16]), at: Timestamp(7), actor: Actor::Deputy, fact };
            let text = serde_json::to_vec(&event).expect("events serialise");
            assert_eq!(Head::is_received(&text), expected, "{event:?}");
        }
    }

    #[test]
    fn what_is_no_event_has_no_head() {
        for text in [
            "",
            "[]",
            "{}",
            r#"{"id":"e","at":1}"#,
            r#"{"id":"e","at":1,"actor":"a","type":"event.received.v1","data":{"source":1}}"#,
        ] {
            assert!(Head::of(text.as_bytes()).is_none(), "{text}");
        }
    }
}
