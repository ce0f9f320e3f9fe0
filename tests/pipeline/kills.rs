//! The whole pipeline as a process that is killed again and again under load, on each kind of log.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::Path,
    process::Command,
    sync::Arc,
    time::Duration,
};

use deputy::log::{Entry, Log as _, disk::RealDisk, embedded::reader::Reader, kafka};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{sync::watch, time::timeout};

use crate::support::{
    kafka as broker,
    serving::{Running, free_address, http, serve, signal},
};

const KILLS: usize = 8;
const BATCHES_PER_LIFE: usize = 12;
const EVENTS_PER_BATCH: usize = 25;
/// How long nothing may happen.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Which log the server is on: an address, or its own folder.
pub(super) enum On {
    Folder,
    Kafka { prefix: String },
}

impl On {
    pub(super) fn start(&self, data: &Path, address: SocketAddr) -> Running {
        Running::of(self.serve(data, address), address)
    }

    pub(super) fn serve(&self, data: &Path, address: SocketAddr) -> Command {
        let mut command = serve(data, address);
        if let On::Kafka { prefix } = self {
            command.env("DEPUTY_LOG", format!("kafka://{}/{prefix}", broker::brokers()));
        }
        command
    }

    /// How often each customer event was published, by its message id. On Kafka, where a new node waits for its share of the work, only
    /// when there are so many.
    pub(super) async fn published(&self, data: &Path, expected: usize) -> BTreeMap<String, usize> {
        let On::Kafka { prefix } = self else {
            let reader = Reader::open(Arc::new(RealDisk::at(&data.join("log")))).expect("the log is readable");
            let read = reader.read("events", 0, 0, usize::MAX).expect("the log is whole");
            let mut counted = BTreeMap::new();
            count(&read.entries, &mut counted);
            return counted;
        };
        published_on_kafka(broker::brokers(), prefix, expected).await
    }
}

/// As `On::published`, on these brokers.
pub(super) async fn published_on_kafka(brokers: String, prefix: &str, expected: usize) -> BTreeMap<String, usize> {
    let settings = kafka::Settings { brokers, prefix: prefix.to_owned(), topics: Default::default(), queue_bytes_max: 1 << 20 };
    let log = kafka::Kafka::open(settings).await.expect("the broker answers");
    let (mut next, mut counted) = (0, BTreeMap::new());
    while counted.len() < expected {
        timeout(PATIENCE, log.wait_beyond("events", 0, next)).await.expect("it goes on").expect("the log answers");
        let batch = log.read("events", 0, next, 1 << 20).await.expect("it can be read");
        count(&batch.entries, &mut counted);
        next = batch.next;
    }
    log.close().await.expect("it closes");
    counted
}

fn count(entries: &[Entry], counted: &mut BTreeMap<String, usize>) {
    let events = entries.iter().map(|entry| serde_json::from_slice::<Value>(&entry.payload).expect("events are JSON"));
    for event in events.filter(|event| event["type"] == "event.received.v1") {
        *counted.entry(event["data"]["message_id"].as_str().expect("text").to_owned()).or_default() += 1;
    }
}

pub(super) async fn send(running: &Running, write_key: &str, ids: &[String]) -> bool {
    let tracks: Vec<_> = ids.iter().map(|id| json!({"type": "track", "userId": "u", "event": "E", "messageId": id})).collect();
    let request = http().post(format!("{}/v1/batch", running.issuer)).json(&json!({"writeKey": write_key, "batch": tracks}));
    request.send().await.is_ok_and(|answer| answer.status().is_success())
}

/// Every event that was accepted is published once, also those that were sent again because nobody answered.
async fn nothing_is_lost_or_doubled(on: On) {
    let (folder, address) = (TempDir::new().expect("a folder"), free_address());
    let data = folder.path().join("data");
    let mut running = on.start(&data, address);
    let source = running.operate(&data, "/sources", json!({"name": "Shop"})).await;
    let write_key = source["write_key"].as_str().expect("it is told once").to_owned();
    let mut sent = BTreeSet::new();
    let mut unanswered: Vec<Vec<String>> = Vec::new();
    for life in 0..KILLS {
        for ids in std::mem::take(&mut unanswered) {
            if !send(&running, &write_key, &ids).await {
                unanswered.push(ids);
            }
        }
        let batches: Vec<Vec<String>> = (0..BATCHES_PER_LIFE)
            .map(|batch| (0..EVENTS_PER_BATCH).map(|event| format!("m{life}-{batch}-{event}")).collect())
            .collect();
        sent.extend(batches.iter().flatten().cloned());
        // All at once, each twice; and the process dies when some of them are answered.
        let (told, mut answered) = watch::channel(0);
        let sending = batches.iter().map(async |ids| {
            let is_taken = send(&running, &write_key, ids).await && send(&running, &write_key, ids).await;
            told.send_modify(|answered| *answered += 1);
            (is_taken, ids)
        });
        let pid = running.child.id();
        let killing = async {
            answered.wait_for(|answered| *answered > life).await.expect("all will be told");
            signal("-KILL", pid);
        };
        let (sent_now, ()) = tokio::join!(join_all(sending), killing);
        unanswered.extend(sent_now.into_iter().filter(|(is_taken, _)| !is_taken).map(|(_, ids)| ids.clone()));
        running.kill();
        running = on.start(&data, address);
    }
    for ids in unanswered {
        assert!(send(&running, &write_key, &ids).await, "nothing is in the way any longer");
    }
    let expected: BTreeMap<String, usize> = sent.into_iter().map(|id| (id, 1)).collect();
    if matches!(on, On::Kafka { .. }) {
        assert_eq!(on.published(&data, expected.len()).await, expected);
    }
    // A stop lets every stage come to rest.
    running.stop();
    assert_eq!(on.published(&data, expected.len()).await, expected);
}

#[tokio::test]
async fn killed_under_load_the_pipeline_loses_and_doubles_nothing() {
    nothing_is_lost_or_doubled(On::Folder).await;
}

#[tokio::test]
async fn killed_under_load_on_kafka_the_pipeline_loses_and_doubles_nothing() {
    nothing_is_lost_or_doubled(On::Kafka { prefix: broker::prefix() }).await;
}
