//! A source of an installation, as tests of shaping see it: what it sends, and what becomes of that.

use deputy::{
    domain::json::Json,
    events::shaping::{GoesOn, Received, Shaped, apply},
};
use serde_json::{Value, json};

use crate::support::{Answer, Installation};

/// A source, and the write key with which it sends.
pub struct Sender<'i> {
    pub id: String,
    write_key: String,
    deputy: &'i Installation,
}

impl<'i> Sender<'i> {
    pub async fn new(deputy: &'i Installation) -> Sender<'i> {
        Sender::of_kind(deputy, "server").await
    }

    pub async fn of_kind(deputy: &'i Installation, kind: &str) -> Sender<'i> {
        let made = deputy.operate("POST", "/sources", json!({"name": "Shop", "kind": kind})).await.ok();
        Sender { id: made.text("source_id"), write_key: made.text("write_key"), deputy }
    }

    /// Sends these messages, and tells what becomes of them now.
    pub async fn send(&self, messages: &[Value]) -> Vec<Shaped> {
        let before = self.received().await.len();
        let batch = json!({"writeKey": self.write_key, "batch": messages});
        Answer::of(self.deputy.http.post(format!("{}/v1/batch", self.deputy.issuer)).json(&batch)).await.ok();
        let received = self.received().await.split_off(before);
        assert_eq!(received.len(), messages.len(), "all came in");
        self.shape(&received).await
    }

    /// What became of these messages, were they shaped now.
    pub async fn shape(&self, messages: &[Json]) -> Vec<Shaped> {
        let source = self.id.parse().expect("it is an identifier");
        let batch: Vec<_> = messages.iter().map(|message| Received { source, message }).collect();
        let world = self.deputy.world();
        apply(world, &batch, world.now()).await.expect("the sandbox can be had")
    }

    /// All that came in from this source.
    pub async fn received(&self) -> Vec<Json> {
        let facts = self.deputy.facts_of("event.received.v1").await;
        facts.iter().filter(|fact| fact["source"] == *self.id).map(|fact| Json::of(&fact["message"])).collect()
    }
}

/// What goes on in place of the message; `None` for the message itself.
pub fn goes_on(shaped: &Shaped) -> Option<Vec<Value>> {
    match &shaped.goes_on {
        GoesOn::Itself => None,
        GoesOn::These(messages) => Some(messages.iter().map(value).collect()),
    }
}

/// Why something was kept aside, and in which words.
pub fn asides(shaped: &Shaped) -> Vec<(&str, &str)> {
    shaped.aside.iter().map(|kept| (kept.reason.as_str(), kept.detail.as_str())).collect()
}

pub fn value(message: &Json) -> Value {
    serde_json::from_str(message.as_str()).expect("it is JSON")
}
