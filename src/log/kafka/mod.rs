//! The log on Apache Kafka, shared by as many nodes as there are.
//! [KIP-98](https://cwiki.apache.org/confluence/display/KAFKA/KIP-98+-+Exactly+Once+Delivery+and+Transactional+Messaging)
//!
//! - An append goes through one idempotent producer with acks=all. It is in order and each record once, but several records are not
//!   all or none: whoever needs that commits.
//! - A claim is a transactional producer whose `transactional.id` is the cursor's name: one for each consumer and input, not one for
//!   each process. Taking a claim fences whoever had it, and ends a transaction that it left open, at once; with an id for each
//!   process (KIP-447 alone) what a dead one left would hold up every reader until it times out.
//! - A cursor is a record of the compacted topic `cursors`, in the same transaction as the outputs. It is not the group's offset:
//!   brokers forget those when a group was gone for a week, and numbers that are no offsets have no place there. For partitions that
//!   a group assigned, the offset is sent along all the same, with the group's metadata: Kafka's own tools then show the lag, and the
//!   group's generation fences once more.
//! - Nodes share a consumer's partitions as a consumer group, by cooperative rebalancing: what a node keeps it works on meanwhile. The
//!   group only says who should take which claim; that two never write under one is the claims' own affair. A claim that cannot be
//!   taken, or not soon, holds up none of the others.
//! - Brokers answer from their memory, so a new topic asks that two have each record, where it gets three replicas or more.
//! - After any error of a transaction its producer is thrown away, and the next claim begins anew from the cursor. Kafka's fatal errors
//!   ask for it, and the others are too rare to be told apart.
//! - Readers see committed records only. Markers of transactions take up offsets, so offsets skip numbers.
//!
//! librdkafka blocks: whatever may wait for a broker runs on a thread that may, and everything has a bound.
//!
//! Decided on 2026-11-23. Without TLS and passwords so far: the brokers are in a network of one's own.

/// Names, settings and what is asked of the brokers.
mod cluster;
/// On how many of them a record is.
mod replication;
/// Fetching records.
mod reader;
/// Appends without a cursor.
mod appends;
/// The cursors as a compacted topic.
mod cursors;
/// Commits: a thread for each claim.
mod transaction;
/// Which partitions are this node's.
mod group;
/// The claims that this node holds.
mod claims;

use super::{Answer, Batch, Claim, Cursor, Log, LogError, Position, Record, Replication, TopicSettings, check_topic};
use crate::domain::time::Timestamp;
use appends::Appends;
use claims::Claims;
use cluster::{CURSORS, Cluster};
use group::{Groups, Share};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often a partition's end is looked at for somebody who waits for it.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// What an installation may decide about its log on Kafka.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The brokers to begin with: `host:port`, separated by commas.
    pub brokers: String,
    /// What the names of topics, groups and transactions begin with, so that several installations can share a cluster.
    pub prefix: String,
    /// By name; a topic that is not named has `TopicSettings::default()`. How many partitions it has is decided when it is made; how
    /// long it is kept, at each start.
    pub topics: HashMap<String, TopicSettings>,
    /// What may wait to be written before appends and commits are refused as `Busy`.
    pub queue_bytes_max: usize,
}

/// The log.
pub struct Kafka {
    cluster: Arc<Cluster>,
    appends: Arc<Appends>,
    claims: Arc<Claims>,
    groups: Arc<Groups>,
}

impl Kafka {
    /// Finds the brokers, and makes those topics of the settings that are missing.
    ///
    /// # Errors
    /// `Unavailable` if no broker answers in time.
    pub async fn open(settings: Settings) -> Result<Kafka, LogError> {
        let topics: Vec<String> = settings.topics.keys().cloned().collect();
        let cluster = Arc::new(Cluster::connect(settings)?);
        for topic in topics {
            cluster.partitions(&topic).await?;
        }
        let appends = Arc::new(Appends::new(cluster.clone())?);
        Ok(Kafka {
            claims: Arc::new(Claims::new(cluster.clone())),
            groups: Arc::new(Groups::new(cluster.clone())),
            cluster,
            appends,
        })
    }

    /// Whether the brokers answer, and how they keep the topics of the settings, or would. Nothing is made.
    ///
    /// # Errors
    /// `Unavailable` if none does in time.
    pub async fn probe(settings: Settings) -> Result<Vec<Replication>, LogError> {
        let mut topics: Vec<String> = settings.topics.keys().cloned().chain([CURSORS.to_owned()]).collect();
        topics.sort_unstable();
        Arc::new(Cluster::connect(settings)?).replication(topics).await
    }

    /// The topic's partitions, one of which is `partition`.
    async fn existing(cluster: &Arc<Cluster>, topic: &str, partition: u16) -> Result<(), LogError> {
        check_topic(topic)?;
        match partition < cluster.partitions(topic).await? {
            true => Ok(()),
            false => Err(LogError::Invalid("the topic has no such partition")),
        }
    }
}

impl Log for Kafka {
    fn append(&self, topic: &str, records: Vec<Record>) -> Answer<Vec<Position>> {
        if let Err(error) = self.cluster.admit(topic, &records, 0) {
            return Box::pin(std::future::ready(Err(error)));
        }
        if let Some(partitions) = self.cluster.known_partitions(topic) {
            return self.appends.append(topic, partitions, records);
        }
        // The first write to a topic that no setting names has to wait for it to be made.
        let (cluster, appends, topic) = (self.cluster.clone(), self.appends.clone(), topic.to_owned());
        Box::pin(async move {
            let partitions = cluster.partitions(&topic).await?;
            appends.append(&topic, partitions, records).await
        })
    }

    fn commit(&self, topic: &str, outputs: Vec<Record>, cursor: Cursor) -> Answer<Vec<Position>> {
        let names = cursor.consumer.len() + cursor.input.len();
        if let Err(error) = cursor.check().and_then(|()| self.cluster.admit(topic, &outputs, names)) {
            return Box::pin(std::future::ready(Err(error)));
        }
        match (cursor.epoch, self.cluster.known_partitions(topic)) {
            (Some(_), Some(partitions)) => self.claims.commit(topic, partitions, outputs, cursor),
            _ => {
                let (cluster, claims, topic) = (self.cluster.clone(), self.claims.clone(), topic.to_owned());
                let committing = tokio::spawn(async move {
                    let partitions = cluster.partitions(&topic).await?;
                    claims.commit_anyway(&topic, partitions, outputs, cursor).await
                });
                Box::pin(async move { committing.await.map_err(unavailable)? })
            }
        }
    }

    fn claim(&self, consumer: &str, input: &str) -> Answer<Claim> {
        let (claims, consumer, input) = (self.claims.clone(), consumer.to_owned(), input.to_owned());
        Box::pin(async move { claims.hold(&consumer, &input, None).await })
    }

    fn claims(&self, consumer: &str, topic: &str) -> Answer<Vec<Claim>> {
        let (cluster, claims, groups) = (self.cluster.clone(), self.claims.clone(), self.groups.clone());
        let (consumer, topic) = (consumer.to_owned(), topic.to_owned());
        Box::pin(async move {
            check_topic(&topic)?;
            cluster.partitions(&topic).await?;
            let membership = groups.join(&consumer, &topic).await?;
            let shares = membership.assigned().into_iter().map(|(partition, turn)| {
                let share = Share { group: membership.clone(), turn };
                (Cursor::input(&topic, partition), share)
            });
            claims.hold_each(&consumer, shares.collect()).await
        })
    }

    fn cursor(&self, consumer: &str, input: &str) -> Answer<Option<u64>> {
        let (claims, consumer, input) = (self.claims.clone(), consumer.to_owned(), input.to_owned());
        Box::pin(async move { claims.cursor(&consumer, &input).await })
    }

    fn cursors(&self) -> Answer<Vec<Cursor>> {
        let claims = self.claims.clone();
        Box::pin(async move { claims.cursors().await })
    }

    fn partitions(&self, topic: &str) -> Answer<u16> {
        let (cluster, topic) = (self.cluster.clone(), topic.to_owned());
        Box::pin(async move {
            check_topic(&topic)?;
            cluster.partitions(&topic).await
        })
    }

    fn bounds(&self, topic: &str, partition: u16) -> Answer<(u64, u64)> {
        let (cluster, topic) = (self.cluster.clone(), topic.to_owned());
        Box::pin(async move {
            Kafka::existing(&cluster, &topic, partition).await?;
            aside(move || cluster.bounds(&topic, partition)).await
        })
    }

    fn read(&self, topic: &str, partition: u16, from: u64, bytes_max: usize) -> Answer<Batch> {
        let (cluster, topic) = (self.cluster.clone(), topic.to_owned());
        Box::pin(async move {
            Kafka::existing(&cluster, &topic, partition).await?;
            aside(move || cluster.reader.read(&cluster, &topic, partition, from, bytes_max)).await
        })
    }

    fn offset_at(&self, topic: &str, partition: u16, time: Timestamp) -> Answer<u64> {
        let (cluster, topic) = (self.cluster.clone(), topic.to_owned());
        Box::pin(async move {
            Kafka::existing(&cluster, &topic, partition).await?;
            aside(move || cluster.offset_at(&topic, partition, time)).await
        })
    }

    fn wait_beyond(&self, topic: &str, partition: u16, offset: u64) -> Answer<u64> {
        let (cluster, topic) = (self.cluster.clone(), topic.to_owned());
        Box::pin(async move {
            Kafka::existing(&cluster, &topic, partition).await?;
            loop {
                let (asked, name) = (cluster.clone(), topic.clone());
                let (_, end) = aside(move || asked.bounds(&name, partition)).await?;
                if end > offset {
                    return Ok(end);
                }
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        })
    }

    fn retain(&self, _now: Timestamp) -> Answer<usize> {
        // The brokers do it: `retention.ms` and `retention.bytes` of each topic.
        Box::pin(std::future::ready(Ok(0)))
    }

    fn try_out(&self) -> Answer<()> {
        // Trouble of the brokers is every node's: to send its requests to another one would help nobody.
        let is_closed = self.cluster.is_closed.load(Ordering::SeqCst);
        Box::pin(std::future::ready(if is_closed { Err(LogError::Closed) } else { Ok(()) }))
    }

    fn close(&self) -> Answer<()> {
        let was_closed = self.cluster.is_closed.swap(true, Ordering::SeqCst);
        let (appends, claims, groups) = (self.appends.clone(), self.claims.clone(), self.groups.clone());
        aside(move || {
            if was_closed {
                return Ok(());
            }
            claims.close();
            groups.close();
            appends.close()
        })
    }

    fn is_shared(&self) -> bool {
        true
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        // Threads of claims and groups end by themselves when they see it.
        self.cluster.is_closed.store(true, Ordering::SeqCst);
        self.claims.close_soon();
    }
}

/// Runs what may wait for a broker on a thread that may wait.
fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T, LogError> + Send + 'static) -> Answer<T> {
    Box::pin(async move { tokio::task::spawn_blocking(work).await.map_err(unavailable)? })
}

fn unavailable(error: impl std::fmt::Display) -> LogError {
    LogError::Unavailable(error.to_string())
}
