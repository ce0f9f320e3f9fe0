//! A JSON document that we carry and do not change: its text, byte for byte.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Well-formed JSON, kept as it was written. Two are equal if their texts are: `1.0` is not `1`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Json(Box<RawValue>);

impl Json {
    /// The document of this text; `None` if it is not one.
    pub fn parse(text: String) -> Option<Json> {
        RawValue::from_string(text).ok().map(Json)
    }

    /// What this is as JSON.
    pub fn of(value: &impl Serialize) -> Json {
        Json(serde_json::value::to_raw_value(value).expect("what is given here has a form in JSON"))
    }

    /// The document, as serde carries one unread.
    pub fn raw(&self) -> &RawValue {
        &self.0
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Json) -> bool {
        self.as_str() == other.as_str()
    }
}
impl Eq for Json {}
