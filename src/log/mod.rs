//! The durable log: named topics, cut into partitions, whose records have growing offsets; and cursors, which say how far a
//! consumer has come.
//!
//! Invariants, whatever stands behind the trait:
//! - An append is answered only when it is durable.
//! - A consumer's outputs and its cursors are one commit: after a crash both are there or neither is.
//! - A cursor is moved by whoever holds the claim to it, and a claim ends when somebody else takes it: a consumer that was slow, or
//!   dead for the others, moves nothing and writes nothing when it wakes.
//! - Records of a partition are read in the order of their offsets, each once, none left out. Offsets may skip numbers, so a reader
//!   goes on at `Batch::next`. What cannot be read is an error and never a silence.
//! - The log never looks into a payload, and it samples neither clock nor entropy: times and salts are handed to it.
//!
//! Room for many nodes: nothing here assumes that the consumer runs where the log was opened; `claims` tells each node its share.
//! Room for two clusters: a record's partition is a hash of ours and never the cluster's, so partition p of both holds the same keys;
//! an input's name is free text, so that one consumer may have a cursor in each; a log over two logs implements this trait.

/// File operations, real and simulated.
pub mod disk;
/// The log as segment files of this process.
pub mod embedded;
/// The log on Apache Kafka.
#[cfg(feature = "kafka")]
pub mod kafka;
/// Which ids were there before: an index over a window, a cache that the log rebuilds.
pub mod seen;
/// How far consumers are behind.
pub mod lag;

use crate::domain::time::Timestamp;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::io;
use std::time::Duration;

/// The most bytes that one append or commit may hold, its records' headers included: it must fit one frame.
pub const APPEND_BYTES_MAX: usize = 4 << 20;

/// What a log answers, once it can.
pub type Answer<T> = BoxFuture<'static, Result<T, LogError>>;

/// A durable log. Topics come into being when they are first written; before that they are empty.
///
/// `append`, `commit` and `close` act when they are called, and their futures only tell the outcome: the order of calls is the order
/// in the log, and dropping a future takes nothing back. The others act when they are polled.
pub trait Log: Send + Sync {
    /// Appends the records to the topic and says where each one went. Resolves when all of them are durable.
    ///
    /// # Errors
    /// `Busy`, `TooLarge`, `Invalid` and `Closed` mean that nothing was appended. After `Full` and `Unavailable` some of the records
    /// may be there or may yet appear. So whoever tries again does it in a way that bears duplicates, by ids or by a cursor.
    fn append(&self, topic: &str, records: Vec<Record>) -> Answer<Vec<Position>>;

    /// Appends the outputs to the topic and sets the cursor, all of it or nothing. A consumer without outputs names the topic that
    /// it reads. The cursor is set, not advanced: a smaller value sends the consumer back. It is set under the claim that it comes
    /// from; if it comes from none, the claim is taken from whoever holds it, as an operator does who has a consumer read again.
    ///
    /// # Errors
    /// As for `append`, but nothing is seen by readers after any error, unless it is `Unavailable`: then the outcome is not known, and
    /// `cursor` tells it. `Fenced` means that the claim has ended, and that nothing was written.
    fn commit(&self, topic: &str, outputs: Vec<Record>, cursor: Cursor) -> Answer<Vec<Position>>;

    /// The claim to one cursor: the one that this log already holds, or else it is taken, which ends everybody else's. What an
    /// earlier holder had begun is finished or undone by then, so that a cursor that is read afterwards counts.
    ///
    /// # Errors
    /// `Unavailable` or `Closed`.
    fn claim(&self, consumer: &str, input: &str) -> Answer<Claim>;

    /// The claims to those partitions of the topic that are this node's share of the consumer's work, as of now: all of them where
    /// the log has one owner, some or none where nodes share it. A partition that comes back has a claim that equals no earlier one.
    /// One whose claim cannot be taken, or not soon, is left out until it can: it holds up no other.
    ///
    /// # Errors
    /// `Unavailable` or `Closed`; also if no claim is there, and the reason of one is known.
    fn claims(&self, consumer: &str, topic: &str) -> Answer<Vec<Claim>>;

    /// The value that was last committed for the consumer's input, if ever one was.
    ///
    /// # Errors
    /// `Unavailable` or `Closed`.
    fn cursor(&self, consumer: &str, input: &str) -> Answer<Option<u64>>;

    /// Every cursor that was ever committed, by whomever.
    ///
    /// # Errors
    /// `Unavailable` or `Closed`.
    fn cursors(&self) -> Answer<Vec<Cursor>>;

    /// How many partitions the topic has. Fixed when the topic comes into being.
    ///
    /// # Errors
    /// `Unavailable` or `Closed`.
    fn partitions(&self, topic: &str) -> Answer<u16>;

    /// The offsets that can be read: from the first, up to but without the second.
    ///
    /// # Errors
    /// `Invalid` if the topic has no such partition.
    fn bounds(&self, topic: &str, partition: u16) -> Answer<(u64, u64)>;

    /// The records from the offset on, until their payloads fill `bytes_max`; at least one if there is one.
    ///
    /// # Errors
    /// `Trimmed` if retention has deleted the offset; `Damaged` if the record cannot be read.
    fn read(&self, topic: &str, partition: u16, from: u64, bytes_max: usize) -> Answer<Batch>;

    /// The offset of the first record that is not earlier than `time`; the partition's end if there is none.
    ///
    /// # Errors
    /// `Damaged` if a record on the way cannot be read.
    fn offset_at(&self, topic: &str, partition: u16, time: Timestamp) -> Answer<u64>;

    /// Waits until the partition's end lies beyond `offset`; says where the end is.
    ///
    /// # Errors
    /// `Closed` if the log is closed and the record will not come.
    fn wait_beyond(&self, topic: &str, partition: u16, offset: u64) -> Answer<u64>;

    /// Deletes what every topic's retention no longer covers at `now`; says how many segments went.
    ///
    /// # Errors
    /// `Unavailable` if a file could not be deleted; the next call tries again.
    fn retain(&self, now: Timestamp) -> Answer<usize>;

    /// Whether this node can append, as far as another node could where this one cannot: what the last write met, and after trouble
    /// another try, which leaves no record.
    ///
    /// # Errors
    /// What an append would answer.
    fn try_out(&self) -> Answer<()>;

    /// Makes everything that is queued durable, answers it, and takes nothing more.
    fn close(&self) -> Answer<()>;

    /// Whether other processes may write this log too.
    fn is_shared(&self) -> bool;
}

/// How a topic is kept.
#[derive(Clone, Debug)]
pub struct TopicSettings {
    /// How many partitions it gets when it comes into being, at least 1.
    pub partitions: u16,
    pub retention: Retention,
}

impl Default for TopicSettings {
    fn default() -> TopicSettings {
        TopicSettings { partitions: 1, retention: Retention::default() }
    }
}

/// How long a topic's records are kept: for ever, by default. Only whole segments are deleted, and never the one that is being written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Retention {
    /// What is younger than this is kept, unless it is too much.
    pub age: Option<Duration>,
    /// The oldest go until what is left is not more than this.
    pub bytes_max: Option<u64>,
}

/// On how many machines a shared log keeps a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replication {
    /// As the brokers' tools call it.
    pub topic: String,
    /// How many brokers keep each of its partitions.
    pub replicas: u16,
    /// How many of them have a record, at least, when its append is answered.
    pub in_sync_min: u16,
}

/// Something to append.
#[derive(Clone, Debug)]
pub struct Record {
    /// A stable hash of the key that chose the partition: records of one key stay in order.
    pub key_hash: u32,
    /// Opaque to the log.
    pub payload: Bytes,
    /// When it happened, as retention and `offset_at` see it.
    pub at: Timestamp,
}

impl Record {
    /// A record whose partition is chosen by `partition_key`.
    pub fn new(partition_key: &[u8], payload: impl Into<Bytes>, at: Timestamp) -> Record {
        Record { key_hash: crc32c::crc32c(partition_key), payload: payload.into(), at }
    }

    /// Where the record goes among `partitions`. A promise: changing this would put a key's new records beside its old ones.
    pub fn partition(&self, partitions: u16) -> u16 {
        (self.key_hash % u32::from(partitions.max(1))) as u16
    }
}

/// Where a record went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub partition: u16,
    pub offset: u64,
}

/// A record as it is read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub offset: u64,
    pub at: Timestamp,
    /// Part of what was read at once: whoever keeps it for long makes a copy.
    pub payload: Bytes,
}

/// Records as they were read, and where to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    pub entries: Vec<Entry>,
    /// Where the next read begins: beyond the last entry, and beyond what is no record but takes up offsets.
    pub next: u64,
}

/// The right to move one cursor, until somebody else takes it. Whoever keeps state about an input throws it away when the claim to it
/// does not equal the one of the time before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub consumer: String,
    pub input: String,
    /// The partition, if the input is one.
    pub partition: u16,
    /// Which one it is among the claims to this cursor; the log's own.
    pub epoch: u64,
}

impl Claim {
    /// The cursor that this claim may set.
    pub fn at(&self, next: u64) -> Cursor {
        Cursor { consumer: self.consumer.clone(), input: self.input.clone(), next, epoch: Some(self.epoch) }
    }
}

/// How far a consumer has come in one of its inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Who reads: 1 to 255 bytes.
    pub consumer: String,
    /// What is read: 1 to 255 bytes; `Cursor::input` names a partition of a topic.
    pub input: String,
    /// The consumer's own number; for a partition, the offset that it will read next.
    pub next: u64,
    /// The epoch of the claim under which it is set; none takes the claim away from its holder.
    pub epoch: Option<u64>,
}

impl Cursor {
    /// A cursor that is set whoever holds the claim to it.
    pub fn new(consumer: &str, input: &str, next: u64) -> Cursor {
        Cursor { consumer: consumer.to_owned(), input: input.to_owned(), next, epoch: None }
    }

    /// The name that a partition has as an input: `facts/0`.
    pub fn input(topic: &str, partition: u16) -> String {
        format!("{topic}/{partition}")
    }

    /// The topic and the partition that an input names, if it names one.
    pub fn partition_of(input: &str) -> Option<(&str, u16)> {
        let (topic, partition) = input.rsplit_once('/')?;
        Some((topic, partition.parse().ok()?))
    }

    /// Whether a log takes it.
    fn check(&self) -> Result<(), LogError> {
        match [&self.consumer, &self.input].iter().any(|name| name.is_empty() || name.len() > 255) {
            true => Err(LogError::Invalid("the names of a cursor have 1 to 255 bytes")),
            false => Ok(()),
        }
    }
}

fn check_topic(topic: &str) -> Result<(), LogError> {
    let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    if (1..=64).contains(&topic.len()) && topic.bytes().all(is_plain) {
        return Ok(());
    }
    Err(LogError::Invalid("a topic's name has 1 to 64 of a-z, 0-9, - and _"))
}

/// Why the log did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// More is queued than the disk keeps up with; nothing was appended.
    #[error("the log's queue is full")]
    Busy,
    /// The disk has no space; the log goes on by itself when there is some.
    #[error("the log's disk is full")]
    Full,
    /// The disk refuses; the log goes on by itself when it no longer does.
    #[error("the log does not answer: {0}")]
    Unavailable(String),
    #[error("the log is closed")]
    Closed,
    /// Somebody else has the claim now, or the cursor was set by somebody who needed none. Nothing was written.
    #[error("the claim to this cursor has ended")]
    Fenced,
    #[error("{bytes} bytes in one append; at most {bytes_max} are possible")]
    TooLarge { bytes: usize, bytes_max: usize },
    #[error("retention has deleted this offset; the first one left is {start}")]
    Trimmed { start: u64 },
    /// Durable data cannot be read back. Nothing is dropped or mended silently: someone has to look.
    #[error("{file} is damaged at byte {position}: {what}; restore the file from a backup")]
    Damaged { file: String, position: u64, what: &'static str },
    #[error("{file} was written by a newer release (log version {version}, this one knows {known}); start that release instead")]
    Newer { file: String, version: u8, known: u8 },
    #[error("another process uses the log in {folder}; stop it first")]
    Locked { folder: String },
    /// The caller's mistake.
    #[error("{0}")]
    Invalid(&'static str),
}

impl From<io::Error> for LogError {
    fn from(error: io::Error) -> LogError {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => LogError::Full,
            _ => LogError::Unavailable(error.to_string()),
        }
    }
}
