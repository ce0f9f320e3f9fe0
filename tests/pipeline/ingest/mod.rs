//! The tracking API as its SDKs use it: what is taken, in which form it is kept, and which answers make nobody throw events away.

/// The calls, and the form in which a message is kept.
mod messages;
/// Who may write to which source.
mod authority;
/// Too much at once, and trouble of our own.
mod pressure;

use deputy::world::RECEIVED;
use reqwest::{RequestBuilder, StatusCode};
use serde_json::Value;

use crate::support::{Answer, Installation};

/// The write key of a source.
pub(super) fn key(source: &Value) -> &str {
    source["write_key"].as_str().expect("a source has a write key")
}

/// Posts a body as JSON, without a header of any kind.
pub(super) fn post(deputy: &Installation, path: &str, body: &Value) -> RequestBuilder {
    deputy.http.post(format!("{}{path}", deputy.issuer)).body(body.to_string())
}

/// Fails unless all was taken.
#[track_caller]
fn taken(answer: &Answer) {
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, "{\"success\":true}"), "{answer:?}");
}

/// Fails unless this is a refusal of this status and code in the words of this API.
#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status.as_u16(), answer.json()["code"].as_str()), (status, Some(code)), "{answer:?}");
    assert_eq!(answer.json()["success"], false, "{answer:?}");
    assert!(answer.json()["message"].as_str().is_some_and(|text| text.len() > 10), "{answer:?}");
}

/// The messages on record, the oldest first.
async fn messages(deputy: &Installation) -> Vec<Value> {
    deputy.topic(RECEIVED).await.into_iter().map(|event| event["data"]["message"].clone()).collect()
}
