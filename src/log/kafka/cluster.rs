//! What the brokers are asked, and under which names: topics, their partitions and their ends.

use super::super::{APPEND_BYTES_MAX, LogError, Record, TopicSettings, check_topic};
use super::reader::Reader;
use super::replication::{IN_SYNC, Replicas};
use super::{Settings, aside, unavailable};
use crate::domain::time::Timestamp;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ConfigSource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

/// How long the brokers have for an answer.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long for what happens once, at a start or when work changes hands, and for which no request waits: a topic is made and gets
/// leaders, a claim is taken.
pub(super) const CHANGE_TIMEOUT: Duration = Duration::from_secs(60);
/// Pause between two looks at something that is about to change.
const LOOK_PAUSE: Duration = Duration::from_millis(10);
/// What a record takes up beside its payload, at most: key, headers, the batch's own.
const RECORD_OVERHEAD_BYTES: usize = 512;

/// The topic that holds the cursors, as Kafka's users see it behind the prefix. No topic of a caller has a dot.
pub(super) const CURSORS: &str = ".cursors";

pub(super) struct Cluster {
    pub settings: Settings,
    pub reader: Reader,
    pub is_closed: AtomicBool,
    /// Asks of committed ends.
    pub committed: BaseConsumer,
    /// Asks of ends behind which transactions may still be open.
    written: BaseConsumer,
    pub admin: AdminClient<DefaultClientContext>,
    /// Asked once.
    pub replicas_of_new: tokio::sync::OnceCell<Replicas>,
    partitions: RwLock<HashMap<String, u16>>,
}

impl Cluster {
    /// Prepares the clients; the brokers are not asked yet.
    pub(super) fn connect(settings: Settings) -> Result<Cluster, LogError> {
        let client = client(&settings.brokers);
        let asking = |isolation| client.clone().set("isolation.level", isolation).create().map_err(unavailable);
        Ok(Cluster {
            reader: Reader::default(),
            is_closed: AtomicBool::new(false),
            committed: asking("read_committed")?,
            written: asking("read_uncommitted")?,
            admin: client.create().map_err(unavailable)?,
            replicas_of_new: tokio::sync::OnceCell::new(),
            partitions: RwLock::default(),
            settings,
        })
    }

    /// A client's configuration, to be completed.
    pub(super) fn client(&self) -> ClientConfig {
        client(&self.settings.brokers)
    }

    /// What the cluster calls the topic, group or transaction.
    pub(super) fn name(&self, own: &str) -> String {
        match own {
            CURSORS => format!("{}{CURSORS}", self.settings.prefix),
            _ => format!("{}.{own}", self.settings.prefix),
        }
    }

    /// Whether the log takes these records.
    pub(super) fn admit(&self, topic: &str, records: &[Record], more_bytes: usize) -> Result<(), LogError> {
        check_topic(topic)?;
        self.check_open()?;
        let bytes = bytes_of(records) + more_bytes;
        match bytes > APPEND_BYTES_MAX {
            true => Err(LogError::TooLarge { bytes, bytes_max: APPEND_BYTES_MAX }),
            false => Ok(()),
        }
    }

    pub(super) fn check_open(&self) -> Result<(), LogError> {
        if self.is_closed.load(Ordering::SeqCst) { Err(LogError::Closed) } else { Ok(()) }
    }

    pub(super) fn known_partitions(&self, topic: &str) -> Option<u16> {
        self.partitions.read().expect("no holder of this lock panics").get(topic).copied()
    }

    /// How many partitions the topic has; it is made if it is missing.
    pub(super) async fn partitions(self: &Arc<Self>, topic: &str) -> Result<u16, LogError> {
        if let Some(known) = self.known_partitions(topic) {
            return Ok(known);
        }
        self.check_open()?;
        self.make(topic).await?;
        let (cluster, name) = (self.clone(), self.name(topic));
        let found = aside(move || cluster.wait_for_leaders(&name)).await?;
        self.partitions.write().expect("no holder of this lock panics").insert(topic.to_owned(), found);
        Ok(found)
    }

    async fn make(self: &Arc<Self>, topic: &str) -> Result<(), LogError> {
        let name = self.name(topic);
        let TopicSettings { partitions, retention } = match topic {
            CURSORS => TopicSettings::default(),
            _ => self.settings.topics.get(topic).cloned().unwrap_or_default(),
        };
        let age = retention.age.map_or("-1".to_owned(), |age| age.as_millis().to_string());
        // Kafka counts each partition by itself.
        let bytes = retention.bytes_max.map_or("-1".to_owned(), |bytes| (bytes / u64::from(partitions.max(1))).to_string());
        let batch_bytes = batch_bytes_max().to_string();
        // Both are asked for, or the brokers decide on both: with fewer replicas than must be in sync nothing could be written.
        let given = self.replicas_of_new().await.inspect_err(|error| {
            tracing::warn!(topic = name, %error, "how many brokers keep a new topic is left to them, as they do not tell their settings");
        });
        let asked = given.ok().and_then(Replicas::bettered);
        let replicas = asked.map_or(-1, |asked| i32::from(asked.count));
        let in_sync_min = asked.map(|asked| asked.in_sync_min.to_string());
        let new = NewTopic::new(&name, i32::from(partitions.max(1)), TopicReplication::Fixed(replicas))
            .set("max.message.bytes", &batch_bytes)
            // Times are ours: a record may be of any, and retention and `offset_at` go by it.
            .set("message.timestamp.type", "CreateTime")
            .set("message.timestamp.after.max.ms", "9223372036854775807");
        let new = match topic {
            // One live record for each cursor; the rest is compacted away soon, so that a start has little to read.
            CURSORS => new.set("cleanup.policy", "compact").set("segment.bytes", "1048576").set("min.cleanable.dirty.ratio", "0.1"),
            _ => new.set("cleanup.policy", "delete").set("retention.ms", &age).set("retention.bytes", &bytes),
        };
        let new = in_sync_min.iter().fold(new, |new, in_sync_min| new.set(IN_SYNC, in_sync_min));
        let options = AdminOptions::new().request_timeout(Some(CHANGE_TIMEOUT)).operation_timeout(Some(CHANGE_TIMEOUT));
        let made = self.admin.create_topics([&new], &options).await.map_err(unavailable)?;
        match made.into_iter().next() {
            Some(Ok(_)) | None => Ok(()),
            Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => match self.settings.topics.contains_key(topic) {
                true => self.keep(&name, [("retention.ms", &age), ("retention.bytes", &bytes)]).await,
                false => Ok(()),
            },
            Some(Err((name, code))) => Err(unavailable(format!("the topic {name} cannot be made: {code}"))),
        }
    }

    /// Has the brokers keep a topic as the settings say today.
    async fn keep(&self, name: &str, wanted: [(&str, &str); 2]) -> Result<(), LogError> {
        let options = AdminOptions::new().request_timeout(Some(CHANGE_TIMEOUT));
        let topic = ResourceSpecifier::Topic(name);
        let known = self.admin.describe_configs([&topic], &options).await.map_err(unavailable)?;
        let Some(Ok(known)) = known.into_iter().next() else { return Ok(()) };
        let is_kept = |(key, value): &(&str, &str)| known.get(key).is_some_and(|entry| entry.value.as_deref() == Some(*value));
        if wanted.iter().all(is_kept) {
            return Ok(());
        }
        // The brokers take this for all that is set of the topic: what others have set there has to be said again.
        let set = known.entries.iter().filter(|entry| entry.source == ConfigSource::DynamicTopic);
        let others = set.filter(|entry| wanted.iter().all(|(key, _)| *key != entry.name));
        let others = others.filter_map(|entry| Some((entry.name.as_str(), entry.value.as_deref()?)));
        let altered = others.chain(wanted).fold(AlterConfig::new(topic), |altered, (key, value)| altered.set(key, value));
        let answered = self.admin.alter_configs([&altered], &options).await.map_err(unavailable)?;
        if let Some(Err((_, code))) = answered.into_iter().next() {
            // It goes on as it is kept now, which is no reason not to start.
            tracing::warn!(topic = name, %code, "the brokers do not take another retention for a topic");
        }
        Ok(())
    }

    fn wait_for_leaders(&self, name: &str) -> Result<u16, LogError> {
        let begun = Instant::now();
        loop {
            let metadata = self.committed.client().fetch_metadata(Some(name), ANSWER_TIMEOUT).map_err(unavailable)?;
            let partitions =
                metadata.topics().iter().find(|topic| topic.name() == name).map_or(&[][..], |topic| topic.partitions());
            if !partitions.is_empty() && partitions.iter().all(|partition| partition.leader() >= 0 && partition.error().is_none()) {
                return u16::try_from(partitions.len()).map_err(|_| LogError::Invalid("the topic has more than 65535 partitions"));
            }
            if begun.elapsed() > CHANGE_TIMEOUT {
                return Err(unavailable(format!("the topic {name} has no leader")));
            }
            pause(LOOK_PAUSE);
        }
    }

    /// The first offset and the end of what is committed.
    pub(super) fn bounds(&self, topic: &str, partition: u16) -> Result<(u64, u64), LogError> {
        self.check_open()?;
        watermarks(&self.committed, &self.name(topic), partition)
    }

    /// The end, whether committed or not.
    pub(super) fn end_written(&self, topic: &str, partition: u16) -> Result<u64, LogError> {
        watermarks(&self.written, &self.name(topic), partition).map(|(_, end)| end)
    }

    pub(super) fn offset_at(&self, topic: &str, partition: u16, time: Timestamp) -> Result<u64, LogError> {
        let (_, end) = self.bounds(topic, partition)?;
        let name = self.name(topic);
        let mut asked = TopicPartitionList::with_capacity(1);
        asked.add_partition_offset(&name, i32::from(partition), Offset::Offset(time.0.max(0))).map_err(unavailable)?;
        let found = self.committed.offsets_for_times(asked, ANSWER_TIMEOUT).map_err(unavailable)?;
        match found.find_partition(&name, i32::from(partition)).map(|element| element.offset()) {
            Some(Offset::Offset(offset)) => Ok(offset.unsigned_abs().min(end)),
            _ => Ok(end),
        }
    }
}

/// Lets a thread that may wait do so.
#[expect(clippy::disallowed_methods, reason = "librdkafka's threads are none of the runtime's")]
pub(super) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

/// What the records take up, roughly, on the wire.
pub(super) fn bytes_of(records: &[Record]) -> usize {
    records.iter().map(|record| record.payload.len()).sum()
}

/// A batch that holds the largest append as one record.
pub(super) fn batch_bytes_max() -> usize {
    APPEND_BYTES_MAX + RECORD_OVERHEAD_BYTES
}

fn client(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("client.id", "deputy")
        .set("allow.auto.create.topics", "false")
        .set("enable.auto.commit", "false")
        .set("socket.timeout.ms", ANSWER_TIMEOUT.as_millis().to_string())
        .set("reconnect.backoff.max.ms", "1000")
        .set("log.connection.close", "false");
    config
}

fn watermarks(asking: &BaseConsumer, name: &str, partition: u16) -> Result<(u64, u64), LogError> {
    let (low, high) = asking.fetch_watermarks(name, i32::from(partition), ANSWER_TIMEOUT).map_err(unavailable)?;
    Ok((low.max(0).unsigned_abs(), high.max(0).unsigned_abs()))
}
