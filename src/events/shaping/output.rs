//! What a program made, as messages again: with the identity and the arrival of the message that they are made of, and only if they
//! make sense as calls of the Segment protocol.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    domain::{json::Json, time::Timestamp},
    events::ingest::message::{Unfit, remade},
};

/// What the messages have from the one of which they are made.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Origin {
    message_id: String,
    timestamp: String,
    received_at: String,
}

/// All that was made, as messages; or what is wrong with one of them.
///
/// The message id is never the program's to choose: that an event is counted once stands on it.
pub(super) fn messages(origin: &Json, made: &[Box<RawValue>]) -> Result<Vec<Json>, String> {
    let origin: Origin = serde_json::from_str(origin.as_str()).map_err(|error| format!("the message cannot be read: {error}"))?;
    let received_at = Timestamp::parse_iso_8601(&origin.received_at).ok_or("the message does not say when it was received")?;
    let happened_at = Timestamp::parse_iso_8601(&origin.timestamp).unwrap_or(received_at);
    let message = |(place, event): (usize, &RawValue)| {
        let id = if made.len() == 1 { origin.message_id.clone() } else { format!("{}-{place}", origin.message_id) };
        let told = |unfit: Unfit| format!("event {place} is no message: {}", unfit.as_str());
        remade(event, id, happened_at, received_at).map_err(told)
    };
    made.iter().map(AsRef::as_ref).enumerate().map(message).collect()
}
