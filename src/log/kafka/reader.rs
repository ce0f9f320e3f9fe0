//! Fetching records: a few consumers without a group, each of which goes on where it was read last.
//!
//! A consumer's queue may hold an end-of-partition mark from before the newest records came. So a mark tells that there is nothing up
//! to the end only when the consumer was put to its place after that end was asked for.

use super::super::{Batch, Entry, LogError};
use super::cluster::{ANSWER_TIMEOUT, Cluster};
use super::unavailable;
use crate::domain::time::Timestamp;
use bytes::Bytes;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Consumers that rest until somebody reads on where they are; the one that rested longest makes room.
const RESTING_MAX: usize = 24;
/// How long what is on its way may take before the consumer is put to its place anew.
const ARRIVAL: Duration = Duration::from_millis(20);

#[derive(Default)]
pub(super) struct Reader {
    resting: Mutex<Vec<Fetcher>>,
}

struct Fetcher {
    consumer: BaseConsumer,
    name: String,
    partition: u16,
    /// The offset that comes next.
    next: u64,
    /// From here to `next` there are no records.
    empty_from: u64,
    /// Read, but too much for the read that met it.
    left: Option<Entry>,
}

/// What a consumer gave.
enum Given {
    Entry(Entry),
    /// The end of the partition, as it was once.
    End,
    Nothing,
}

impl Reader {
    /// As `Log::read`.
    pub(super) fn read(
        &self,
        cluster: &Cluster,
        topic: &str,
        partition: u16,
        from: u64,
        bytes_max: usize,
    ) -> Result<Batch, LogError> {
        cluster.check_open()?;
        let mut fetcher = self.take(cluster, &cluster.name(topic), partition, from)?;
        let batch = fetcher.read(cluster, topic, from, bytes_max.max(1))?;
        let mut resting = self.resting.lock().expect("no holder of this lock panics");
        let oldest = (resting.len() >= RESTING_MAX).then(|| resting.remove(0));
        resting.push(fetcher);
        drop(resting);
        // Ending a consumer takes a while, which nobody should wait for with the lock.
        drop(oldest);
        Ok(batch)
    }

    /// The consumer that stands there, or a new one.
    fn take(&self, cluster: &Cluster, name: &str, partition: u16, from: u64) -> Result<Fetcher, LogError> {
        let mut resting = self.resting.lock().expect("no holder of this lock panics");
        let stands_there = |fetcher: &Fetcher| fetcher.name == name && fetcher.partition == partition && fetcher.stands_at(from);
        if let Some(index) = resting.iter().position(stands_there) {
            return Ok(resting.remove(index));
        }
        drop(resting);
        let consumer = cluster
            .client()
            // librdkafka asks for one; it is not used.
            .set("group.id", cluster.name("reader"))
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error")
            .set("check.crcs", "true")
            .set("fetch.wait.max.ms", "100")
            .set("fetch.queue.backoff.ms", "5")
            .set("fetch.error.backoff.ms", "50")
            .set("queued.max.messages.kbytes", "4096")
            .create()
            .map_err(unavailable)?;
        Ok(Fetcher { consumer, name: name.to_owned(), partition, next: u64::MAX, empty_from: u64::MAX, left: None })
    }
}

impl Fetcher {
    fn stands_at(&self, offset: u64) -> bool {
        self.empty_from != u64::MAX && (self.empty_from..=self.next).contains(&offset)
    }

    fn read(&mut self, cluster: &Cluster, topic: &str, from: u64, bytes_max: usize) -> Result<Batch, LogError> {
        let first = match self.stands_at(from) {
            true => self.poll(Duration::ZERO, cluster, topic)?,
            false => Given::Nothing,
        };
        let first = match first {
            Given::Entry(entry) => entry,
            _ => match self.first(cluster, topic, from)? {
                Some(entry) => entry,
                None => return Ok(Batch { entries: Vec::new(), next: from.max(self.next_known()) }),
            },
        };
        let mut bytes_left = bytes_max.saturating_sub(first.payload.len());
        let mut entries = vec![first];
        while bytes_left > 0
            && let Given::Entry(entry) = self.poll(Duration::ZERO, cluster, topic)?
        {
            if entry.payload.len() > bytes_left {
                self.left = Some(entry);
                break;
            }
            bytes_left -= entry.payload.len();
            entries.push(entry);
        }
        let next = entries.last().map_or(from, |last| last.offset + 1);
        (self.next, self.empty_from) = (next, next);
        Ok(Batch { entries, next })
    }

    /// Where it stands, if anywhere.
    fn next_known(&self) -> u64 {
        if self.next == u64::MAX { 0 } else { self.next }
    }

    /// The first record at or behind the offset; none if there is none up to the end.
    fn first(&mut self, cluster: &Cluster, topic: &str, from: u64) -> Result<Option<Entry>, LogError> {
        let (start, end) = cluster.bounds(topic, self.partition)?;
        if from < start {
            return Err(LogError::Trimmed { start });
        }
        let goes_on = self.stands_at(from);
        if goes_on {
            if self.next >= end {
                return Ok(None);
            }
            let begun = Instant::now();
            while begun.elapsed() < ARRIVAL {
                if let Given::Entry(entry) = self.poll(ARRIVAL, cluster, topic)? {
                    return Ok(Some(entry));
                }
            }
        } else if from >= end {
            return Ok(None);
        }
        let from = if goes_on { from.max(self.next) } else { from };
        self.place(from)?;
        let begun = Instant::now();
        while begun.elapsed() < ANSWER_TIMEOUT {
            match self.poll(ANSWER_TIMEOUT, cluster, topic)? {
                Given::Entry(entry) => return Ok(Some(entry)),
                Given::End => {
                    self.next = end;
                    return Ok(None);
                }
                Given::Nothing => {}
            }
        }
        Err(unavailable(format!("{} gave no record in time", self.name)))
    }

    fn place(&mut self, offset: u64) -> Result<(), LogError> {
        let mut place = TopicPartitionList::with_capacity(1);
        place
            .add_partition_offset(&self.name, i32::from(self.partition), Offset::Offset(offset.cast_signed()))
            .and_then(|()| self.consumer.assign(&place))
            .map_err(unavailable)?;
        (self.next, self.empty_from, self.left) = (offset, offset, None);
        Ok(())
    }

    fn poll(&mut self, wait: Duration, cluster: &Cluster, topic: &str) -> Result<Given, LogError> {
        if let Some(entry) = self.left.take() {
            return Ok(Given::Entry(entry));
        }
        match self.consumer.poll(wait) {
            None => Ok(Given::Nothing),
            Some(Ok(message)) => Ok(Given::Entry(entry(&message))),
            Some(Err(KafkaError::PartitionEOF(_))) => Ok(Given::End),
            Some(Err(KafkaError::MessageConsumption(code) | KafkaError::MessageConsumptionFatal(code))) => match code {
                RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange => {
                    let (start, _) = cluster.bounds(topic, self.partition)?;
                    Err(LogError::Trimmed { start })
                }
                RDKafkaErrorCode::BadMessage => Err(LogError::Damaged {
                    file: format!("{}/{}", self.name, self.partition),
                    position: self.next,
                    what: "its checksum is wrong",
                }),
                // A broker that goes away or moves is found again; whoever waits has a bound.
                _ => Ok(Given::Nothing),
            },
            Some(Err(error)) => Err(unavailable(error)),
        }
    }
}

fn entry(message: &BorrowedMessage<'_>) -> Entry {
    Entry {
        offset: message.offset().unsigned_abs(),
        at: Timestamp(message.timestamp().to_millis().unwrap_or_default()),
        payload: Bytes::copy_from_slice(message.payload().unwrap_or_default()),
    }
}
