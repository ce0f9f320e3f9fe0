//! One message of the [Tracking API](https://segment.com/docs/connections/spec/common/): read from its envelope, judged, and brought
//! into one form.
//!
//! Only the envelope is understood. What the source says of its own world (properties, traits, everything that we do not know) is
//! copied as it was written, byte for byte. A message that makes no sense is not refused, as its sender could do nothing about it:
//! it is counted, and the answer is the same.

use std::borrow::Cow;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
    ser::SerializeMap as _,
};
use serde_json::value::RawValue;

use super::merge::{Merged, Name};
use crate::domain::{call::Call, json::Json, time::Timestamp};

/// The most members that a message's envelope may have; SDKs send some twenty.
const MEMBERS_MAX: usize = 64;
/// [The specification](https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/) says: under 100 characters.
const MESSAGE_ID_CHARS_MAX: usize = 99;
const GROUP_ID_CHARS_MAX: usize = 500;
/// What a message may take up, as it was sent and in the form in which it is kept. 10,000 properties, the other limit of the
/// specification, do not fit in it.
pub(super) const MESSAGE_BYTES_MAX: usize = 32 * 1024;

/// Why a message was not taken. The words are the labels of a metric, and so a promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// It is not an object.
    Form,
    /// Its envelope has too many members.
    Members,
    /// Nested too deep, or with text or a number in it that no reader could take.
    Unreadable,
    TooLarge,
    /// More messages than one batch may hold.
    Surplus,
    /// It says no `type`, or one that does not exist.
    Type,
    MessageId,
    /// Neither `userId` nor `anonymousId`.
    NoIdentifier,
    /// A track without `event`.
    NoEvent,
    /// A group without `groupId`, or with one that is too long.
    GroupId,
    /// An alias that does not say whose.
    NoPreviousId,
}

impl Unfit {
    /// The label.
    pub fn as_str(self) -> &'static str {
        match self {
            Unfit::Form => "form",
            Unfit::Members => "members",
            Unfit::Unreadable => "unreadable",
            Unfit::TooLarge => "too_large",
            Unfit::Surplus => "surplus",
            Unfit::Type => "type",
            Unfit::MessageId => "message_id",
            Unfit::NoIdentifier => "no_identifier",
            Unfit::NoEvent => "no_event",
            Unfit::GroupId => "group_id",
            Unfit::NoPreviousId => "no_previous_id",
        }
    }
}

/// A message's envelope as it was sent; all values still as text.
#[derive(Default)]
pub(super) struct Envelope<'m> {
    pub(super) r#type: Option<&'m RawValue>,
    message_id: Option<&'m RawValue>,
    user_id: Option<&'m RawValue>,
    anonymous_id: Option<&'m RawValue>,
    previous_id: Option<&'m RawValue>,
    group_id: Option<&'m RawValue>,
    event: Option<&'m RawValue>,
    timestamp: Option<&'m RawValue>,
    original_timestamp: Option<&'m RawValue>,
    pub(super) sent_at: Option<&'m RawValue>,
    pub(super) context: Option<&'m RawValue>,
    pub(super) integrations: Option<&'m RawValue>,
    pub(super) write_key: Option<&'m RawValue>,
    rest: Vec<(Cow<'m, str>, &'m RawValue)>,
    has_too_many: bool,
    /// What the members take up.
    bytes: usize,
}

/// A request that is a batch: what stands around its messages, and these if there are any.
pub(super) struct Batch<'m> {
    pub(super) outer: Envelope<'m>,
    pub(super) items: Option<Vec<Item<'m>>>,
}

/// What stands in a batch: a message's envelope; `None` for what is no object.
pub(super) struct Item<'m>(pub(super) Option<Envelope<'m>>);

/// What all messages of one request have in common.
pub(super) struct Common<'m> {
    /// What the request's path says, where it is for one kind of call.
    pub(super) call: Option<Call>,
    pub(super) received_at: Timestamp,
    /// The same as text.
    pub(super) received_at_text: &'m str,
    /// What stands beside a batch, as it was written and read.
    pub(super) sent_at: Option<(&'m RawValue, Option<Timestamp>)>,
    pub(super) context: Option<&'m RawValue>,
    pub(super) integrations: Option<&'m RawValue>,
    /// From where the request came, if the source is on a person's own device.
    pub(super) browser_address: Option<&'m str>,
    /// From where the request came, whatever the source.
    pub(super) address: &'m str,
}

/// A message in the form in which it is kept.
pub(super) struct Message<'m> {
    call: Call,
    /// Empty where the source gave none.
    pub(super) message_id: Cow<'m, str>,
    user_id: Option<Cow<'m, str>>,
    anonymous_id: Option<Cow<'m, str>>,
    previous_id: Option<Cow<'m, str>>,
    group_id: Option<Cow<'m, str>>,
    event: Option<Cow<'m, str>>,
    timestamp: Timestamp,
    original_timestamp: Option<&'m RawValue>,
    sent_at: Option<&'m RawValue>,
    received_at: &'m str,
    context: Option<Merged<'m>>,
    integrations: Option<Merged<'m>>,
    rest: Vec<(Cow<'m, str>, &'m RawValue)>,
}

impl<'m> Message<'m> {
    /// Judges an envelope and brings it into form.
    pub(super) fn of(envelope: Envelope<'m>, common: &Common<'m>) -> Result<Message<'m>, Unfit> {
        if envelope.bytes > MESSAGE_BYTES_MAX {
            return Err(Unfit::TooLarge);
        }
        if envelope.has_too_many {
            return Err(Unfit::Members);
        }
        let call = match common.call {
            Some(call) => call,
            None => word(envelope.r#type).and_then(|word| Call::parse(&word)).ok_or(Unfit::Type)?,
        };
        let received_at = common.received_at;
        let sent_at = envelope.sent_at.filter(|sent| !is_null(sent)).map(|sent| (sent, time(sent))).or(common.sent_at);
        let original_timestamp = envelope.timestamp.filter(|time| !is_null(time)).or(envelope.original_timestamp);
        let message = Message {
            call,
            message_id: identifier(envelope.message_id).map_err(|()| Unfit::MessageId)?.unwrap_or_default(),
            user_id: identifier(envelope.user_id).map_err(|()| Unfit::NoIdentifier)?,
            anonymous_id: identifier(envelope.anonymous_id).map_err(|()| Unfit::NoIdentifier)?,
            previous_id: identifier(envelope.previous_id).map_err(|()| Unfit::NoPreviousId)?,
            group_id: identifier(envelope.group_id).map_err(|()| Unfit::GroupId)?,
            event: identifier(envelope.event).map_err(|()| Unfit::NoEvent)?,
            timestamp: corrected(original_timestamp.and_then(time), sent_at.and_then(|(_, sent_at)| sent_at), received_at),
            original_timestamp,
            sent_at: sent_at.map(|(sent_at, _)| sent_at),
            received_at: common.received_at_text,
            context: context(envelope.context, common),
            integrations: Merged::of(envelope.integrations, common.integrations, None),
            rest: envelope.rest,
        };
        message.judge().map_or(Ok(message), Err)
    }

    /// What is wrong with it, if something is.
    fn judge(&self) -> Option<Unfit> {
        if self.message_id.chars().count() > MESSAGE_ID_CHARS_MAX {
            return Some(Unfit::MessageId);
        }
        if self.user_id.is_none() && self.anonymous_id.is_none() {
            return Some(Unfit::NoIdentifier);
        }
        let is_group_id = |id: &Cow<'_, str>| id.chars().count() <= GROUP_ID_CHARS_MAX;
        match self.call {
            Call::Track if self.event.is_none() => Some(Unfit::NoEvent),
            Call::Group if !self.group_id.as_ref().is_some_and(is_group_id) => Some(Unfit::GroupId),
            // The SDKs of browsers leave `previousId` out where it is the anonymous one.
            Call::Alias if self.user_id.is_none() || (self.previous_id.is_none() && self.anonymous_id.is_none()) => {
                Some(Unfit::NoPreviousId)
            }
            _ => None,
        }
    }
}

/// A message that was made of another one, in the same form: with the identity and the arrival that it is given. It happened when it
/// says, or else at `happened_at`; clocks were compared when the other came in.
pub fn remade(made: &RawValue, message_id: String, happened_at: Timestamp, received_at: Timestamp) -> Result<Json, Unfit> {
    let mut envelope: Envelope<'_> = serde_json::from_str(made.get()).map_err(|_| Unfit::Form)?;
    envelope.message_id = None;
    let (said, original_timestamp, sent_at) = (envelope.timestamp, envelope.original_timestamp.take(), envelope.sent_at.take());
    let own_context = envelope.context;
    let nothing = Common {
        call: None,
        received_at,
        received_at_text: &received_at.to_iso_8601(),
        sent_at: None,
        context: None,
        integrations: None,
        browser_address: None,
        address: "",
    };
    let message = Message::of(envelope, &nothing)?;
    let timestamp = word(said).and_then(|text| Timestamp::parse_iso_8601(&text)).unwrap_or(happened_at);
    let context = Merged::of(own_context, None, None);
    let message = Message { message_id: message_id.into(), timestamp, original_timestamp, sent_at, context, ..message };
    let message = Json::of(&message);
    if message.as_str().len() > MESSAGE_BYTES_MAX { Err(Unfit::TooLarge) } else { Ok(message) }
}

/// In the order in which a reader wants it; absent is what has no value.
impl Serialize for Message<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("messageId", &self.message_id)?;
        map.serialize_entry("type", self.call.as_str())?;
        let ids = [
            ("userId", &self.user_id),
            ("anonymousId", &self.anonymous_id),
            ("previousId", &self.previous_id),
            ("groupId", &self.group_id),
            ("event", &self.event),
        ];
        for (name, id) in ids {
            if let Some(id) = id {
                map.serialize_entry(name, id)?;
            }
        }
        map.serialize_entry("timestamp", &self.timestamp.to_iso_8601())?;
        let times = [("originalTimestamp", self.original_timestamp), ("sentAt", self.sent_at)];
        for (name, time) in times {
            if let Some(time) = time {
                map.serialize_entry(name, time)?;
            }
        }
        map.serialize_entry("receivedAt", self.received_at)?;
        for (name, merged) in [("context", &self.context), ("integrations", &self.integrations)] {
            if let Some(merged) = merged {
                map.serialize_entry(name, merged)?;
            }
        }
        for (name, value) in &self.rest {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// When it happened: by the sender's clock, less what that clock is wrong at the moment of sending. Where the sender tells nothing that
/// we can read, when we received it.
fn corrected(original: Option<Timestamp>, sent_at: Option<Timestamp>, received_at: Timestamp) -> Timestamp {
    match (original, sent_at) {
        (Some(original), Some(sent_at)) => Timestamp(received_at.0.saturating_sub(sent_at.0.saturating_sub(original.0))),
        (Some(original), None) => original,
        (None, _) => received_at,
    }
}

/// The time that a value says, if it says one.
pub(super) fn time(value: &RawValue) -> Option<Timestamp> {
    Timestamp::parse_iso_8601(&word(Some(value))?)
}

/// The message's own context and the batch's; and from where it came, if that says something about a person.
fn context<'m>(own: Option<&'m RawValue>, common: &Common<'m>) -> Option<Merged<'m>> {
    #[derive(Deserialize)]
    struct Direct {
        #[serde(default)]
        direct: bool,
    }
    let is_direct = |context: &&RawValue| {
        context.get().contains("\"direct\"") && serde_json::from_str(context.get()).is_ok_and(|Direct { direct }| direct)
    };
    let address =
        common.browser_address.or_else(|| [own, common.context].into_iter().flatten().find(is_direct).map(|_| common.address));
    Merged::of(own, common.context, address)
}

/// An identifier as text. Raw callers may send numbers; `null` and the empty text are none. An error for anything else.
pub(super) fn identifier(value: Option<&RawValue>) -> Result<Option<Cow<'_, str>>, ()> {
    let Some(value) = value else { return Ok(None) };
    match value.get().as_bytes().first() {
        Some(b'"') => Ok(word(Some(value)).filter(|text| !text.is_empty())),
        Some(b'-' | b'0'..=b'9') => Ok(Some(Cow::Borrowed(value.get()))),
        Some(b'n') => Ok(None),
        _ => Err(()),
    }
}

/// The text of a value that is text.
fn word(value: Option<&RawValue>) -> Option<Cow<'_, str>> {
    let value = value?.get();
    match value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(plain) if !plain.contains('\\') => Some(Cow::Borrowed(plain)),
        Some(_) => serde_json::from_str(value).ok().map(Cow::Owned),
        None => None,
    }
}

fn is_null(value: &RawValue) -> bool {
    value.get() == "null"
}

impl<'m> Envelope<'m> {
    fn note(&mut self, name: Cow<'m, str>, value: &'m RawValue) {
        self.bytes += name.len() + value.get().len() + 4;
        let place = match name.as_ref() {
            "type" => &mut self.r#type,
            "messageId" => &mut self.message_id,
            "userId" => &mut self.user_id,
            "anonymousId" => &mut self.anonymous_id,
            "previousId" => &mut self.previous_id,
            "groupId" => &mut self.group_id,
            "event" => &mut self.event,
            "timestamp" => &mut self.timestamp,
            "originalTimestamp" => &mut self.original_timestamp,
            "sentAt" => &mut self.sent_at,
            "context" => &mut self.context,
            "integrations" => &mut self.integrations,
            "writeKey" => &mut self.write_key,
            // Ours to say.
            "receivedAt" => return,
            _ => return self.note_rest(name, value),
        };
        *place = Some(value);
    }

    /// A name that comes twice means what it says last, as in every reader of JSON.
    fn note_rest(&mut self, name: Cow<'m, str>, value: &'m RawValue) {
        if let Some(known) = self.rest.iter_mut().find(|(known, _)| *known == name) {
            known.1 = value;
        } else if self.rest.len() < MEMBERS_MAX {
            self.rest.push((name, value));
        } else {
            self.has_too_many = true;
        }
    }
}

impl<'de> Deserialize<'de> for Item<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Item<'de>, D::Error> {
        deserializer.deserialize_any(ItemVisitor)
    }
}

impl<'de> Deserialize<'de> for Envelope<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Envelope<'de>, D::Error> {
        let Item(envelope) = Item::deserialize(deserializer)?;
        envelope.ok_or_else(|| D::Error::custom("not an object"))
    }
}

impl<'de> Deserialize<'de> for Batch<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Batch<'de>, D::Error> {
        struct BatchVisitor;

        impl<'de> Visitor<'de> for BatchVisitor {
            type Value = Batch<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a batch")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Batch<'de>, A::Error> {
                let mut batch = Batch { outer: Envelope::default(), items: None };
                while let Some(Name(name)) = map.next_key()? {
                    if name == "batch" {
                        batch.items = Some(map.next_value()?);
                    } else {
                        batch.outer.note(name, map.next_value()?);
                    }
                }
                Ok(batch)
            }
        }

        deserializer.deserialize_map(BatchVisitor)
    }
}

struct ItemVisitor;

impl<'de> Visitor<'de> for ItemVisitor {
    type Value = Item<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a message")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Item<'de>, A::Error> {
        let mut envelope = Envelope::default();
        while let Some(Name(name)) = map.next_key()? {
            envelope.note(name, map.next_value()?);
        }
        Ok(Item(Some(envelope)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Item<'de>, A::Error> {
        while sequence.next_element::<serde::de::IgnoredAny>()?.is_some() {}
        Ok(Item(None))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Item<'de>, E> {
        Ok(Item(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Item<'de>, E> {
        Ok(Item(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Item<'de>, E> {
        Ok(Item(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Item<'de>, E> {
        Ok(Item(None))
    }

    fn visit_str<E>(self, _: &str) -> Result<Item<'de>, E> {
        Ok(Item(None))
    }

    fn visit_unit<E>(self) -> Result<Item<'de>, E> {
        Ok(Item(None))
    }
}
