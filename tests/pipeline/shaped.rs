//! A source of an installation, as tests of shaping see it: what it sends, and what becomes of that.

use deputy::{
    domain::json::Json,
    events::shaping::{GoesOn, Received, Shaped, apply},
    world::{EVENTS, RECEIVED},
};
use serde_json::{Value, json};

use crate::support::{Answer, Installation};

/// A source, and the write key with which it sends.
pub struct Sender<'i> {
    pub id: String,
    pub write_key: String,
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
        let mut shaped = Vec::with_capacity(batch.len());
        // There may not be time for all of them at once.
        while shaped.len() < batch.len() {
            shaped.extend(apply(world, &batch[shaped.len()..], world.now()).await.expect("the sandbox can be had"));
        }
        shaped
    }

    /// All that came in from this source.
    pub async fn received(&self) -> Vec<Json> {
        let records = topic(self.deputy, RECEIVED).await;
        let events = records.iter().map(|record| serde_json::from_str::<Value>(record).expect("events are JSON"));
        let own = events.filter(|event| event["data"]["source"] == *self.id);
        own.map(|event| Json::of(&event["data"]["message"])).collect()
    }
}

/// All records of a topic, as they stand there.
pub async fn topic(deputy: &Installation, topic: &str) -> Vec<String> {
    let log = &deputy.world().log;
    let mut records = Vec::new();
    for partition in 0..log.partitions(topic).await.expect("the topic is there") {
        let (mut next, end) = log.bounds(topic, partition).await.expect("the partition is there");
        while next < end {
            let batch = log.read(topic, partition, next, 1 << 20).await.expect("the log is whole");
            records.extend(batch.entries.iter().map(|entry| String::from_utf8_lossy(&entry.payload).into_owned()));
            next = batch.next;
        }
    }
    records
}

/// What every consumer reads of customers' events, after all that runs by itself has run.
pub async fn published(deputy: &Installation) -> Vec<Value> {
    deputy.settle().await;
    let events = topic(deputy, EVENTS).await.into_iter().map(|text| serde_json::from_str(&text).expect("events are JSON"));
    events.filter(|event: &Value| event["type"].as_str().is_some_and(|name| name.starts_with("event."))).collect()
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
