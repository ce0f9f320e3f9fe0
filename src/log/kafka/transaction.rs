//! Commits: a transactional producer on a thread of its own, for as long as a claim is held.

use super::super::{Cursor, LogError, Position, Record};
use super::appends::{configured, position};
use super::cluster::{ANSWER_TIMEOUT, CHANGE_TIMEOUT, CURSORS, Cluster, pause};
use super::cursors;
use super::group::Share;
use super::unavailable;
use rdkafka::client::ClientContext;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, NoCustomPartitioner, Producer, ProducerContext};
use rdkafka::{Message, Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// After this the broker ends a transaction whose producer is silent.
const TRANSACTION_TIMEOUT: Duration = ANSWER_TIMEOUT;
/// How long an answer waits for its records to be seen, and between two looks.
const SEEN_TIMEOUT: Duration = Duration::from_secs(1);
const SEEN_PAUSE: Duration = Duration::from_millis(1);
/// The delivery of the cursor's own record.
const CURSOR_INDEX: usize = usize::MAX;

/// What one caller wants committed.
pub(super) struct Job {
    pub topic: String,
    pub partitions: u16,
    pub outputs: Vec<Record>,
    pub cursor: Cursor,
    pub answer: oneshot::Sender<Result<Vec<Position>, LogError>>,
}

/// A producer that owns a transactional id.
pub(super) struct Transactor {
    cluster: Arc<Cluster>,
    producer: BaseProducer<Deliveries>,
    share: Option<Share>,
}

/// Where the outputs of the transaction at hand went.
#[derive(Default)]
struct Deliveries(Mutex<Vec<Option<Position>>>);

impl ClientContext for Deliveries {}

impl ProducerContext<NoCustomPartitioner> for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, index: usize) {
        // What could not be delivered makes the commit fail, which tells why.
        let Ok(message) = result else { return };
        if let Some(place) = self.0.lock().expect("no holder of this lock panics").get_mut(index) {
            *place = Some(position(message.partition(), message.offset()));
        }
    }
}

impl Transactor {
    /// Takes the transactional id: whoever had it is fenced, and what it left open is undone. Blocks.
    pub(super) fn take(cluster: Arc<Cluster>, id: &str, share: Option<Share>) -> Result<Transactor, LogError> {
        let producer: BaseProducer<Deliveries> = configured(&cluster)
            .set("transactional.id", id)
            .set("transaction.timeout.ms", TRANSACTION_TIMEOUT.as_millis().to_string())
            .set("linger.ms", "0")
            .create_with_context(Deliveries::default())
            .map_err(unavailable)?;
        let begun = Instant::now();
        while let Err(error) = producer.init_transactions(ANSWER_TIMEOUT) {
            let is_retriable = matches!(&error, KafkaError::Transaction(cause) if cause.is_retriable());
            if !is_retriable || begun.elapsed() > CHANGE_TIMEOUT || cluster.check_open().is_err() {
                return Err(unavailable(error));
            }
        }
        Ok(Transactor { cluster, producer, share })
    }

    /// All of it or nothing. Blocks. After an error the transactor is of no use.
    pub(super) fn commit(&self, job: &Job) -> Result<Vec<Position>, LogError> {
        *self.producer.context().0.lock().expect("no holder of this lock panics") = vec![None; job.outputs.len()];
        self.fill(job).map_err(|error| {
            let cause = reason(&error);
            // If this does not work either, the next one who takes the id undoes it, or the broker after a while.
            let _ = self.producer.abort_transaction(ANSWER_TIMEOUT);
            cause
        })?;
        let begun = Instant::now();
        // rdkafka's own flush looks only every 100 ms.
        while self.producer.in_flight_count() > 0 && begun.elapsed() < ANSWER_TIMEOUT {
            self.producer.poll(SEEN_PAUSE);
        }
        while let Err(error) = self.producer.commit_transaction(ANSWER_TIMEOUT) {
            let KafkaError::Transaction(cause) = &error else { return Err(self.undone(&error)) };
            if cause.txn_requires_abort() {
                return Err(self.undone(&error));
            }
            if !cause.is_retriable() || begun.elapsed() > TRANSACTION_TIMEOUT {
                return Err(reason(&error));
            }
        }
        let positions = std::mem::take(&mut *self.producer.context().0.lock().expect("no holder of this lock panics"));
        let positions: Vec<Position> =
            positions.into_iter().collect::<Option<_>>().ok_or_else(|| unavailable("a delivery was not reported"))?;
        self.wait_until_seen(&job.topic, &positions);
        Ok(positions)
    }

    /// The commit is durable, but the coordinator marks the partitions a moment later, and readers see it then. Whoever has the answer
    /// should find the records. There is a bound: behind a transaction of somebody else that stays open they appear when that ends.
    fn wait_until_seen(&self, topic: &str, positions: &[Position]) {
        let last: BTreeMap<u16, u64> = positions.iter().map(|position| (position.partition, position.offset)).collect();
        let begun = Instant::now();
        for (partition, offset) in last {
            while begun.elapsed() < SEEN_TIMEOUT && self.cluster.bounds(topic, partition).is_ok_and(|(_, end)| end <= offset) {
                pause(SEEN_PAUSE);
            }
        }
    }

    fn fill(&self, job: &Job) -> Result<(), KafkaError> {
        self.producer.begin_transaction()?;
        let name = self.cluster.name(&job.topic);
        for (index, record) in job.outputs.iter().enumerate() {
            let sent = BaseRecord::<(), [u8], usize>::with_opaque_to(&name, index)
                .partition(i32::from(record.partition(job.partitions)))
                .payload(&record.payload)
                // Kafka takes 0 for "now".
                .timestamp(record.at.0.max(1));
            self.producer.send(sent).map_err(|(error, _)| error)?;
        }
        let ((key, value), name) = (cursors::record(&job.cursor), self.cluster.name(CURSORS));
        let sent = BaseRecord::<str, str, usize>::with_opaque_to(&name, CURSOR_INDEX).partition(0).key(&key).payload(&value);
        self.producer.send(sent).map_err(|(error, _)| error)?;
        self.show_offset(&job.cursor)
    }

    /// The group's own offset, for Kafka's tools, and so that the group's generation is checked.
    fn show_offset(&self, cursor: &Cursor) -> Result<(), KafkaError> {
        let (Some(share), Some((topic, partition))) = (&self.share, Cursor::partition_of(&cursor.input)) else { return Ok(()) };
        let Some(metadata) = share.group.consumer.group_metadata() else { return Ok(()) };
        let mut offsets = TopicPartitionList::with_capacity(1);
        let offset = Offset::Offset(cursor.next.cast_signed());
        offsets.add_partition_offset(&self.cluster.name(topic), i32::from(partition), offset)?;
        self.producer.send_offsets_to_transaction(&offsets, &metadata, ANSWER_TIMEOUT)
    }

    fn undone(&self, error: &KafkaError) -> LogError {
        match self.producer.abort_transaction(ANSWER_TIMEOUT) {
            Ok(()) => reason(error),
            Err(abort) => reason(&abort),
        }
    }
}

fn reason(error: &KafkaError) -> LogError {
    match error.rdkafka_error_code() {
        Some(
            RDKafkaErrorCode::Fenced
            | RDKafkaErrorCode::ProducerFenced
            | RDKafkaErrorCode::InvalidProducerEpoch
            | RDKafkaErrorCode::InvalidProducerIdMapping
            | RDKafkaErrorCode::UnknownMemberId
            | RDKafkaErrorCode::IllegalGeneration
            | RDKafkaErrorCode::FencedInstanceId,
        ) => LogError::Fenced,
        _ => unavailable(error),
    }
}
