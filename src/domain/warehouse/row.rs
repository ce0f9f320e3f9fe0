//! What becomes of a row: first a message as raw as it came, so that the log keeps what was read; then, unless a transformation of
//! the operator's says something else, one of the Segment protocol by the names of its columns.
//!
//! | column | becomes |
//! |---|---|
//! | `user_id`, `anonymous_id`, `group_id`, `previous_id` | whom it is about |
//! | `type` | the kind of message, if it is one of the protocol's words; else it is a column like others |
//! | `event` | the name of a track, which a row with an event is unless its type says otherwise |
//! | `name` | the name of a page or screen; else it is a column like others |
//! | `timestamp` | when it happened; else the cursor says that, if it is a time |
//! | any other | a property, or a trait of an identify (which a row without an event is) or a group |

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{KeyType, Position};
use crate::domain::{call::Call, json::Json, time::Timestamp};

/// A row as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub position: Position,
    /// All columns, as one JSON object that PostgreSQL made; `None` if it is longer than was asked for.
    pub columns: Option<String>,
}

/// The message that the log keeps of a row, and the id that it has whenever this row is read: so dedup knows it again. `None` for what
/// is no JSON.
pub fn message_of(row: &Row, cursor_type: KeyType, received_at: Timestamp) -> Option<(String, Json)> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Message<'m> {
        message_id: &'m str,
        r#type: &'static str,
        timestamp: String,
        received_at: String,
        row: Json,
    }
    let columns = row.columns.as_ref()?;
    let happened_at = if cursor_type.is_time() { Timestamp::parse_iso_8601(&row.position.cursor) } else { None };
    let message_id = message_id(&row.position, columns);
    let message = Json::of(&Message {
        message_id: &message_id,
        r#type: "warehouse",
        timestamp: happened_at.unwrap_or(received_at).to_iso_8601(),
        received_at: received_at.to_iso_8601(),
        row: Json::parse(columns.clone())?,
    });
    Some((message_id, message))
}

/// The message that a row is by the names of its columns, of the raw one that the log keeps.
///
/// # Errors
/// Why it can be none, in words for operators.
pub fn mapped(raw: &Json) -> Result<Json, String> {
    #[derive(Deserialize)]
    struct Raw {
        row: BTreeMap<String, Box<RawValue>>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Mapped {
        r#type: &'static str,
        #[serde(flatten)]
        members: BTreeMap<&'static str, Box<RawValue>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        properties: Option<BTreeMap<String, Box<RawValue>>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        traits: Option<BTreeMap<String, Box<RawValue>>>,
    }
    let Raw { row: mut columns } =
        serde_json::from_str(raw.as_str()).map_err(|error| format!("the row cannot be read: {error}"))?;
    let call = call(&columns);
    if columns.get("type").and_then(|value| word(value)).and_then(|word| Call::parse(&word)).is_some() {
        columns.remove("type");
    }
    let named = [
        ("userId", "user_id", true),
        ("anonymousId", "anonymous_id", true),
        ("groupId", "group_id", true),
        ("previousId", "previous_id", true),
        ("event", "event", call == Call::Track),
        ("name", "name", matches!(call, Call::Page | Call::Screen)),
        ("timestamp", "timestamp", true),
    ];
    let mut members = BTreeMap::new();
    for (member, column, _) in named.into_iter().filter(|(_, _, is_taken)| *is_taken) {
        let value = columns.remove(column).filter(|value| value.get() != "null");
        members.extend(value.map(|value| (member, value)));
    }
    if !members.contains_key("userId") && !members.contains_key("anonymousId") {
        return Err("the row has neither a user_id nor an anonymous_id".to_owned());
    }
    let (properties, traits) = match call {
        Call::Track | Call::Page | Call::Screen => (Some(columns), None),
        Call::Identify | Call::Group => (None, Some(columns)),
        Call::Alias => (None, None),
    };
    Ok(Json::of(&Mapped { r#type: call.as_str(), members, properties, traits }))
}

fn call(columns: &BTreeMap<String, Box<RawValue>>) -> Call {
    let said = columns.get("type").and_then(|value| word(value)).and_then(|word| Call::parse(&word));
    let has_event = columns.get("event").is_some_and(|event| event.get() != "null");
    said.unwrap_or(if has_event { Call::Track } else { Call::Identify })
}

fn word(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

/// The same for the same row, whenever it is read; another one if anything in it differs.
fn message_id(position: &Position, columns: &str) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in [&position.cursor, position.tie_breaker.as_deref().unwrap_or_default(), columns] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    format!("row-{}", URL_SAFE_NO_PAD.encode(context.finish()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn row(columns: &str) -> Row {
        let position = Position { cursor: "2026-11-23 10:00:00.5+00".to_owned(), tie_breaker: Some("7".to_owned()) };
        Row { position, columns: Some(columns.to_owned()) }
    }

    fn mapping_of(columns: &Value) -> Result<Value, String> {
        let (_, raw) = message_of(&row(&columns.to_string()), KeyType::Timestamptz, Timestamp(0)).expect("it is JSON");
        mapped(&raw).map(|message| serde_json::from_str(message.as_str()).expect("it is JSON"))
    }

    #[test]
    fn columns_have_their_places_by_name() {
        for (columns, expected) in [
            (
                json!({"user_id": 7, "plan": "pro", "seats": null}),
                json!({"type": "identify", "userId": 7, "traits": {"plan": "pro", "seats": null}}),
            ),
            (
                json!({"anonymous_id": "a", "user_id": null, "event": "Sold", "timestamp": "2026-01-01T00:00:00+00:00", "total": 2}),
                json!({"type": "track", "anonymousId": "a", "event": "Sold", "timestamp": "2026-01-01T00:00:00+00:00",
                    "properties": {"total": 2}}),
            ),
            (
                json!({"user_id": "u", "event": null, "type": "premium", "name": "Ada"}),
                json!({"type": "identify", "userId": "u", "traits": {"event": null, "type": "premium", "name": "Ada"}}),
            ),
            (
                json!({"user_id": "u", "type": "page", "name": "Home", "event": "x"}),
                json!({"type": "page", "userId": "u", "name": "Home", "properties": {"event": "x"}}),
            ),
            (
                json!({"user_id": "u", "type": "group", "group_id": "g", "size": 3}),
                json!({"type": "group", "userId": "u", "groupId": "g", "traits": {"size": 3}}),
            ),
            (
                json!({"user_id": "u", "type": "alias", "previous_id": "p", "more": 1}),
                json!({"type": "alias", "userId": "u", "previousId": "p"}),
            ),
        ] {
            assert_eq!(mapping_of(&columns), Ok(expected), "{columns}");
        }
        assert!(mapping_of(&json!({"user_id": null, "event": "x"})).is_err_and(|told| told.contains("neither")));
    }

    #[test]
    fn numbers_stay_as_the_database_wrote_them() {
        let (_, raw) = message_of(&row("{\"user_id\":\"u\",\"exact\":1.10}"), KeyType::Bigint, Timestamp(0)).expect("it is JSON");
        assert!(mapped(&raw).is_ok_and(|message| message.as_str().contains("\"exact\":1.10")));
    }

    #[test]
    fn the_same_row_has_the_same_id_and_any_other_another() {
        let id = |row: &Row, at| message_of(row, KeyType::Timestamptz, Timestamp(at)).expect("it is JSON").0;
        let (one, other) = (row("{\"n\":1}"), row("{\"n\":2}"));
        assert_eq!(id(&one, 0), id(&one, 9));
        assert_ne!(id(&one, 0), id(&other, 0));
        let mut moved = one.clone();
        moved.position.tie_breaker = Some("8".to_owned());
        assert_ne!(id(&one, 0), id(&moved, 0));
        assert!(id(&one, 0).len() < 100);
    }

    #[test]
    fn a_row_happened_when_its_cursor_says_if_that_is_a_time() {
        let at = |kind| {
            let (_, message) = message_of(&row("{}"), kind, Timestamp(0)).expect("it is JSON");
            serde_json::from_str::<Value>(message.as_str()).expect("it is JSON")["timestamp"].clone()
        };
        assert_eq!(
            (at(KeyType::Timestamptz), at(KeyType::Bigint)),
            (json!("2026-11-23T10:00:00.500Z"), json!("1970-01-01T00:00:00.000Z"))
        );
        assert_eq!(message_of(&Row { columns: None, ..row("") }, KeyType::Bigint, Timestamp(0)), None);
    }
}
