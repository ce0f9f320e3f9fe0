//! What a program made, as a message again: with the identity and the times of the message that it was made of, and only if it makes
//! sense as a call of the Segment protocol.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use crate::domain::{call::Call, json::Json};

const GROUP_ID_CHARS_MAX: usize = 500;
const IDENTIFIERS: [&str; 5] = ["userId", "anonymousId", "previousId", "groupId", "event"];

/// What the messages have from the one of which they are made.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Origin<'m> {
    message_id: String,
    #[serde(borrow)]
    timestamp: Option<&'m RawValue>,
    #[serde(borrow)]
    received_at: Option<&'m RawValue>,
}

impl<'m> Origin<'m> {
    pub(super) fn of(message: &'m Json) -> Origin<'m> {
        // Whatever is missing is what the ingest did not write.
        serde_json::from_str(message.as_str()).unwrap_or_default()
    }

    /// All that was made, as messages; or what is wrong with one of them.
    pub(super) fn messages(&self, made: &[Box<RawValue>]) -> Result<Vec<Json>, String> {
        let message = |(place, event): (usize, &Box<RawValue>)| {
            let id = if made.len() == 1 { self.message_id.clone() } else { format!("{}-{place}", self.message_id) };
            self.message(event, &id).map_err(|wrong| format!("event {place} that was made {wrong}"))
        };
        made.iter().enumerate().map(message).collect()
    }

    /// `id` replaces whatever the program says: that an event is counted once stands on it.
    fn message(&self, made: &RawValue, id: &str) -> Result<Json, &'static str> {
        let mut members: BTreeMap<String, Member<'_>> = serde_json::from_str(made.get()).map_err(|_| "is not an object")?;
        for name in IDENTIFIERS {
            if let Some(Member::Raw(raw)) = members.get(name) {
                match identifier(raw)? {
                    Some(id) => members.insert(name.to_owned(), Member::Text(id)),
                    None => members.remove(name),
                };
            }
        }
        judge(&members)?;
        members.insert("messageId".to_owned(), Member::Text(id.to_owned()));
        for (name, of_origin) in [("timestamp", self.timestamp), ("receivedAt", self.received_at)] {
            let is_said = name == "timestamp" && matches!(members.get(name), Some(Member::Raw(raw)) if raw.get().starts_with('"'));
            match of_origin {
                Some(time) if !is_said => members.insert(name.to_owned(), Member::Raw(time)),
                _ => None,
            };
        }
        Ok(Json::of(&members))
    }
}

/// A member of a message, as it stands or as we wrote it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Member<'m> {
    #[serde(borrow)]
    Raw(&'m RawValue),
    #[serde(skip_deserializing)]
    Text(String),
}

/// An identifier as text; `None` for null and the empty text.
fn identifier(raw: &RawValue) -> Result<Option<String>, &'static str> {
    match serde_json::from_str(raw.get()) {
        Ok(Value::String(text)) => Ok(Some(text).filter(|text| !text.is_empty())),
        Ok(Value::Number(number)) => Ok(Some(number.to_string())),
        Ok(Value::Null) => Ok(None),
        _ => Err("has an identifier or a name that is neither text nor a number"),
    }
}

fn judge(members: &BTreeMap<String, Member<'_>>) -> Result<(), &'static str> {
    let call = match members.get("type") {
        Some(Member::Raw(raw)) => serde_json::from_str::<String>(raw.get()).ok().and_then(|word| Call::parse(&word)),
        _ => None,
    };
    let text = |name: &str| match members.get(name) {
        Some(Member::Text(text)) => Some(text.as_str()),
        _ => None,
    };
    let (user, anonymous) = (text("userId"), text("anonymousId"));
    if user.is_none() && anonymous.is_none() {
        return Err("has neither userId nor anonymousId");
    }
    match call.ok_or("has no type, or one that does not exist")? {
        Call::Track if text("event").is_none() => Err("is a track without event"),
        Call::Group if text("groupId").is_none_or(|id| id.chars().count() > GROUP_ID_CHARS_MAX) => {
            Err("is a group without groupId")
        }
        Call::Alias if user.is_none() || (text("previousId").is_none() && anonymous.is_none()) => {
            Err("is an alias that does not say whose")
        }
        _ => Ok(()),
    }
}
