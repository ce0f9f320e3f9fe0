//! Appends without a cursor: one idempotent producer with acks=all, which a fatal error replaces.

use super::super::{Answer, LogError, Position, Record};
use super::cluster::{ANSWER_TIMEOUT, Cluster, batch_bytes_max, bytes_of};
use super::unavailable;
use futures_util::future::join_all;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::future_producer::DeliveryFuture;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

pub(super) struct Appends {
    cluster: Arc<Cluster>,
    producer: Mutex<FutureProducer>,
    /// What has been handed over and not answered.
    waiting_bytes: AtomicUsize,
}

impl Appends {
    pub(super) fn new(cluster: Arc<Cluster>) -> Result<Appends, LogError> {
        let producer = Mutex::new(producer(&cluster)?);
        Ok(Appends { cluster, producer, waiting_bytes: AtomicUsize::new(0) })
    }

    /// As `Log::append`, to a topic with so many partitions.
    pub(super) fn append(self: &Arc<Self>, topic: &str, partitions: u16, records: Vec<Record>) -> Answer<Vec<Position>> {
        let bytes = bytes_of(&records);
        let before = self.waiting_bytes.fetch_add(bytes, Ordering::SeqCst);
        let waits = Waits { appends: self.clone(), bytes };
        if before > 0 && before + bytes > self.cluster.settings.queue_bytes_max {
            return Box::pin(std::future::ready(Err(LogError::Busy)));
        }
        let producer = self.producer.lock().expect("no holder of this lock panics").clone();
        let name = self.cluster.name(topic);
        // Handed over here and not in the future: the order of calls is the order in the log.
        let sent: Vec<_> = records.iter().map(|record| send(&producer, &name, partitions, record)).collect();
        // Counted to the end also where nobody waits for the answer: the producer keeps the records until then.
        let counted = tokio::spawn(async move {
            let mut positions = Vec::with_capacity(sent.len());
            for outcome in join_all(sent.into_iter().map(delivered)).await {
                positions.push(outcome.inspect_err(|_| waits.appends.replace(&producer))?);
            }
            Ok(positions)
        });
        Box::pin(async move { counted.await.map_err(unavailable)? })
    }

    /// Waits for what has been handed over.
    pub(super) fn close(&self) -> Result<(), LogError> {
        let producer = self.producer.lock().expect("no holder of this lock panics").clone();
        producer.flush(ANSWER_TIMEOUT).map_err(unavailable)
    }

    /// After a fatal error the producer is of no use.
    fn replace(&self, failed: &FutureProducer) {
        let Some((code, reason)) = failed.client().fatal_error() else { return };
        let mut producer = self.producer.lock().expect("no holder of this lock panics");
        if producer.client().fatal_error().is_none() {
            return;
        }
        tracing::warn!(%code, reason, "the log's producer is replaced after a fatal error");
        match self::producer(&self.cluster) {
            Ok(new) => *producer = new,
            Err(error) => tracing::error!(%error, "the log's producer cannot be replaced"),
        }
    }
}

/// Counts what waits, until it is dropped.
struct Waits {
    appends: Arc<Appends>,
    bytes: usize,
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.appends.waiting_bytes.fetch_sub(self.bytes, Ordering::SeqCst);
    }
}

/// What all producers of ours have in common: nothing is answered before all replicas have it, nothing twice, nothing out of order.
pub(super) fn configured(cluster: &Cluster) -> ClientConfig {
    let mut config = cluster.client();
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("linger.ms", "1")
        .set("compression.type", "lz4")
        .set("message.timeout.ms", ANSWER_TIMEOUT.as_millis().to_string())
        .set("message.max.bytes", batch_bytes_max().to_string())
        // We bound what waits by our own count.
        .set("queue.buffering.max.messages", "0")
        .set("queue.buffering.max.kbytes", "2097151");
    config
}

fn producer(cluster: &Cluster) -> Result<FutureProducer, LogError> {
    configured(cluster).create().map_err(unavailable)
}

fn send(producer: &FutureProducer, name: &str, partitions: u16, record: &Record) -> Result<DeliveryFuture, KafkaError> {
    let sent = FutureRecord::<(), [u8]>::to(name)
        .partition(i32::from(record.partition(partitions)))
        .payload(&record.payload)
        // Kafka takes 0 for "now".
        .timestamp(record.at.0.max(1));
    producer.send_result(sent).map_err(|(error, _)| error)
}

async fn delivered(sent: Result<DeliveryFuture, KafkaError>) -> Result<Position, LogError> {
    let delivery = sent.map_err(refused)?.await.map_err(unavailable)?.map_err(|(error, _)| refused(error))?;
    Ok(position(delivery.partition, delivery.offset))
}

pub(super) fn position(partition: i32, offset: i64) -> Position {
    Position { partition: u16::try_from(partition).unwrap_or_default(), offset: offset.max(0).unsigned_abs() }
}

fn refused(error: KafkaError) -> LogError {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::QueueFull) => LogError::Unavailable("the producer's queue is full".to_owned()),
        _ => unavailable(error),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::*;
    use crate::domain::time::Timestamp;
    use rdkafka::producer::PurgeConfig;
    use std::collections::HashMap;

    #[tokio::test]
    async fn what_nobody_waits_for_any_longer_counts_until_the_producer_is_done_with_it() {
        // Nobody listens there, so that nothing is done soon.
        let (brokers, prefix) = ("127.0.0.1:1".to_owned(), "test".to_owned());
        let settings = Settings { brokers, prefix, topics: HashMap::new(), queue_bytes_max: 100 };
        let cluster = Cluster::connect(settings).expect("the clients are made");
        let appends = Arc::new(Appends::new(Arc::new(cluster)).expect("the producer is made"));
        let append = || appends.append("facts", 1, vec![Record::new(b"key", vec![0; 60], Timestamp(1000))]);
        drop(append());
        tokio::task::yield_now().await;
        assert_eq!(append().await, Err(LogError::Busy));

        let producer = appends.producer.lock().expect("no holder of this lock panics").clone();
        producer.purge(PurgeConfig::default().queue());
        let given_back = async {
            while appends.waiting_bytes.load(Ordering::SeqCst) > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(ANSWER_TIMEOUT / 2, given_back).await.expect("what was given up is counted no longer");
    }
}
