//! The durable log: named topics, cut into partitions, whose records have dense offsets; and cursors, which say how far a
//! consumer has come.
//!
//! Invariants, whatever stands behind the trait:
//! - An append is answered only when it is durable, and it is all there or not there at all.
//! - A consumer's outputs and its cursors are one commit: after a crash both are there or neither is.
//! - Records of a partition are read in the order of their offsets, each once, with no gap. What cannot be read is an error and
//!   never a silence.
//! - The log never looks into a payload, and it samples neither clock nor entropy: times and salts are handed to it.

/// File operations, real and simulated.
pub mod disk;
/// The log as segment files of this process.
pub mod embedded;
/// Which ids were there before: an index over a window, a cache that the log rebuilds.
pub mod seen;

use crate::domain::time::Timestamp;
use futures_util::future::BoxFuture;
use std::io;

/// The most bytes that one append or commit may hold, its records' headers included: it must fit one frame.
pub const APPEND_BYTES_MAX: usize = 4 << 20;

/// What a log answers, once it can.
pub type Answer<T> = BoxFuture<'static, Result<T, LogError>>;

/// A durable log. Topics come into being when they are first written; before that they are empty.
///
/// `append`, `commit` and `close` act when they are called, and their futures only tell the outcome: the order of calls is the order
/// in the log, and dropping a future takes nothing back. The others act when they are polled.
pub trait Log: Send + Sync {
    /// Appends the records to the topic, all or none, and says where each one went. Resolves when they are durable.
    ///
    /// # Errors
    /// `Busy`, `TooLarge`, `Invalid` and `Closed` mean that nothing was appended. `Full` and `Unavailable` mean that no reader of this
    /// log sees the records; but if the process ends before the log has healed, the next one may find them. So whoever tries again
    /// does it in a way that bears duplicates, by ids or by a cursor.
    fn append(&self, topic: &str, records: Vec<Record>) -> Answer<Vec<Position>> {
        self.commit(topic, records, Vec::new())
    }

    /// Appends the outputs to the topic and sets the cursors, all of it or nothing. A consumer without outputs names the topic that
    /// it reads. Cursors are set, not advanced: a smaller value sends the consumer back.
    ///
    /// # Errors
    /// As for `append`.
    fn commit(&self, topic: &str, outputs: Vec<Record>, cursors: Vec<Cursor>) -> Answer<Vec<Position>>;

    /// The value that the consumer last committed for its input, if it ever did.
    fn cursor(&self, consumer: &str, input: &str) -> Option<u64>;

    /// How many partitions the topic has. Fixed when the topic comes into being.
    fn partitions(&self, topic: &str) -> u16;

    /// The offsets that can be read: from the first, up to but without the second.
    ///
    /// # Errors
    /// `Invalid` if the topic has no such partition.
    fn bounds(&self, topic: &str, partition: u16) -> Result<(u64, u64), LogError>;

    /// The records from the offset on, until their payloads fill `bytes_max`; at least one if there is one.
    ///
    /// # Errors
    /// `Trimmed` if retention has deleted the offset; `Damaged` if the record cannot be read.
    fn read(&self, topic: &str, partition: u16, from: u64, bytes_max: usize) -> Answer<Vec<Entry>>;

    /// The offset of the first record that is not earlier than `time`; the partition's end if there is none.
    ///
    /// # Errors
    /// `Damaged` if a record on the way cannot be read.
    fn offset_at(&self, topic: &str, partition: u16, time: Timestamp) -> Answer<u64>;

    /// Waits until the partition's end lies beyond `offset`, which is until the record at `offset` can be read; says where the end is.
    ///
    /// # Errors
    /// `Closed` if the log is closed and the record will not come.
    fn wait_beyond(&self, topic: &str, partition: u16, offset: u64) -> Answer<u64>;

    /// Deletes what every topic's retention no longer covers at `now`; says how many segments went.
    ///
    /// # Errors
    /// `Unavailable` if a file could not be deleted; the next call tries again.
    fn retain(&self, now: Timestamp) -> Answer<usize>;

    /// Makes everything that is queued durable, answers it, and takes nothing more.
    fn close(&self) -> Answer<()>;
}

/// Something to append.
#[derive(Clone, Debug)]
pub struct Record {
    /// A stable hash of the key that chose the partition: records of one key stay in order.
    pub key_hash: u32,
    /// Opaque to the log.
    pub payload: Vec<u8>,
    /// When it happened, as retention and `offset_at` see it.
    pub at: Timestamp,
}

impl Record {
    /// A record whose partition is chosen by `partition_key`.
    pub fn new(partition_key: &[u8], payload: Vec<u8>, at: Timestamp) -> Record {
        Record { key_hash: crc32c::crc32c(partition_key), payload, at }
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
    pub payload: Vec<u8>,
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
}

impl Cursor {
    /// The name that a partition has as an input: `facts/0`.
    pub fn input(topic: &str, partition: u16) -> String {
        format!("{topic}/{partition}")
    }
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
    #[error("the log's disk does not answer: {0}")]
    Unavailable(String),
    #[error("the log is closed")]
    Closed,
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
