//! The contract of the log, on each of its two kinds: segment files in a folder, and a real Apache Kafka.

/// Appending, reading, waiting, closing.
mod records;
/// Outputs and cursors in one commit, and who may commit.
mod commits;
/// Processes that are killed or stopped in the middle.
mod processes;
/// What only a log has that nodes share.
mod nodes;

use std::collections::HashMap;
use std::sync::Arc;

use deputy::{
    domain::time::Timestamp,
    log::{
        Entry, Log, LogError, Record, Retention, TopicSettings,
        disk::RealDisk,
        embedded::{self, Embedded},
        kafka::{self, Kafka},
    },
};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, ResourceSpecifier},
    client::DefaultClientContext,
};
use tempfile::TempDir;

use crate::support::kafka as broker;

const TOPIC: &str = "facts";
const OUT: &str = "events";
/// A topic of which the embedded log keeps little.
const SHORT: &str = "short";
/// A topic with several partitions.
const WIDE: &str = "wide";
const WIDE_PARTITIONS: u16 = 4;

/// Where a log is: it can be opened there again.
#[derive(Debug)]
enum Place {
    Folder(std::path::PathBuf),
    Topics { brokers: String, prefix: String },
}

/// Runs a test once on each kind of log.
async fn each_log(test: impl AsyncFn(&Place)) {
    let folder = TempDir::new().expect("a folder");
    test(&Place::Folder(folder.path().join("log"))).await;
    test(&Place::topics()).await;
}

impl Place {
    /// On Kafka, where nobody else writes.
    fn topics() -> Place {
        Place::Topics { brokers: broker::brokers(), prefix: broker::prefix() }
    }

    async fn open(&self) -> Arc<dyn Log> {
        self.try_open().await.expect("the log opens")
    }

    async fn try_open(&self) -> Result<Arc<dyn Log>, LogError> {
        let short = TopicSettings { retention: Retention { age: None, bytes_max: Some(20_000) }, ..TopicSettings::default() };
        let wide = TopicSettings { partitions: WIDE_PARTITIONS, ..TopicSettings::default() };
        let topics =
            HashMap::from([(TOPIC.to_owned(), TopicSettings::default()), (SHORT.to_owned(), short), (WIDE.to_owned(), wide)]);
        Ok(match self {
            Place::Folder(folder) => {
                let disk = Arc::new(RealDisk::create(folder)?);
                Arc::new(Embedded::open(disk, embedded::Settings { topics, segment_bytes: 16 << 10, ..Default::default() })?)
            }
            Place::Topics { brokers, prefix } => {
                let (brokers, prefix) = (brokers.clone(), prefix.clone());
                Arc::new(Kafka::open(kafka::Settings { brokers, prefix, topics, queue_bytes_max: 1 << 20 }).await?)
            }
        })
    }

    /// Makes the log forget the oldest records of `SHORT`: the embedded one by its retention, Kafka as its retention would.
    async fn forget_some(&self, log: &dyn Log) {
        let Place::Topics { brokers, prefix } = self else {
            log.retain(Timestamp(0)).await.expect("retained");
            return;
        };
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", brokers).create().expect("a client");
        let mut before = TopicPartitionList::new();
        before.add_partition_offset(&format!("{prefix}.{SHORT}"), 0, Offset::Offset(10)).expect("an offset");
        admin.delete_records(&before, &AdminOptions::new()).await.expect("deleted");
    }
}

fn record(text: &str) -> Record {
    Record::new(b"key", text.as_bytes().to_vec(), Timestamp(1000))
}

fn text(entry: &Entry) -> String {
    String::from_utf8(entry.payload.to_vec()).expect("payloads are text")
}

/// Every record of a partition, read as a consumer reads.
async fn entries(log: &dyn Log, topic: &str, partition: u16) -> Vec<Entry> {
    let (mut next, end) = log.bounds(topic, partition).await.expect("the partition exists");
    let mut entries = Vec::new();
    while next < end {
        let batch = log.read(topic, partition, next, 1 << 20).await.expect("the log can be read");
        assert!(batch.next > next, "a reader that is not at the end gets on");
        next = batch.next;
        entries.extend(batch.entries);
    }
    entries
}

async fn texts(log: &dyn Log, topic: &str) -> Vec<String> {
    entries(log, topic, 0).await.iter().map(text).collect()
}
