//! The log as segment files in one folder, written by one thread of this process.
//!
//! Appends that come while a sync runs share the next one. All partitions of a topic share its files, so that a sync serves them
//! all, and so that outputs and cursors are one frame.

/// What is written and checked as one.
mod frame;
/// A file of frames.
mod segment;
/// The segments of a topic.
mod topic;
/// The memory that it is read into.
mod chunks;
/// How far consumers have come.
mod cursors;
/// Where appends wait.
mod queue;
/// Who writes them.
mod writer;
/// How a log is opened again.
mod recover;
/// Reading along from another process.
pub mod reader;

#[cfg(test)]
mod tests;

use super::disk::Disk;
use super::{APPEND_BYTES_MAX, Answer, Batch, Claim, Cursor, Log, LogError, Position, Record, TopicSettings, check_topic};
use crate::domain::time::Timestamp;
use cursors::Cursors;
use futures_util::future::try_join_all;
use queue::{Queue, Request};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use tokio::sync::{oneshot, watch};
use topic::Topic;
use writer::Writer;

/// What an installation may decide about its log.
#[derive(Clone, Debug)]
pub struct Settings {
    /// By name; a topic that is not named has `TopicSettings::default()`.
    pub topics: HashMap<String, TopicSettings>,
    /// What a segment file sets aside; a batch that is larger gets a larger one.
    pub segment_bytes: u64,
    /// What may wait to be written before appends are refused as `Busy`.
    pub queue_bytes_max: usize,
    /// Random, and another at every start: it keeps payloads from being made to look like frames.
    pub salt: u32,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { topics: HashMap::new(), segment_bytes: 64 << 20, queue_bytes_max: 64 << 20, salt: 0 }
    }
}

impl Settings {
    fn of(&self, topic: &str) -> TopicSettings {
        self.topics.get(topic).cloned().unwrap_or_default()
    }
}

/// The log.
pub struct Embedded {
    disk: Arc<dyn Disk>,
    settings: Arc<Settings>,
    topics: RwLock<HashMap<String, Arc<Topic>>>,
    cursors: Arc<Cursors>,
    queue: Arc<Queue>,
    is_closed: watch::Sender<bool>,
    writer: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Embedded {
    /// Takes the folder, recovers what is there, and starts the writer.
    ///
    /// # Errors
    /// `Locked`, `Newer`, `Damaged`, or what the disk says.
    pub fn open(disk: Arc<dyn Disk>, settings: Settings) -> Result<Embedded, LogError> {
        let lock = disk.lock()?;
        let settings = Arc::new(settings);
        let cursors = Arc::new(Cursors::default());
        let mut topics = HashMap::new();
        let mut ends = HashMap::new();
        for (name, numbers) in recover::inventory(&*disk)? {
            let topic = Topic::new(disk.clone(), &name, settings.of(&name).partitions);
            if let Some(end) = recover::recover(&disk, &topic, &numbers, &cursors)? {
                ends.insert(name.clone(), end);
            }
            topics.insert(name, Arc::new(topic));
        }
        let sequence = ends.values().map(|end| end.segment.known().sequence).max().unwrap_or(0) + 1;
        let queue = Arc::new(Queue::new(settings.queue_bytes_max));
        let writer =
            Writer { disk: disk.clone(), settings: settings.clone(), cursors: cursors.clone(), sequence, ends, buffer: Vec::new() };
        let thread = std::thread::Builder::new().name("log".to_owned()).spawn({
            let queue = queue.clone();
            move || {
                // The folder is free for others when the last request is answered.
                let _lock = lock;
                // Also if the writer panics.
                let _abandoned = Abandon(queue.clone());
                writer.run(&queue);
            }
        })?;
        Ok(Embedded {
            disk,
            settings,
            topics: RwLock::new(topics),
            cursors,
            queue,
            is_closed: watch::Sender::new(false),
            writer: Arc::new(Mutex::new(Some(thread))),
        })
    }

    /// The topic, as yet only in memory if nobody has written it.
    fn topic(&self, name: &str) -> Arc<Topic> {
        if let Some(topic) = self.topics.read().expect("no holder of this lock panics").get(name) {
            return topic.clone();
        }
        let mut topics = self.topics.write().expect("no holder of this lock panics");
        let new = || Arc::new(Topic::new(self.disk.clone(), name, self.settings.of(name).partitions));
        topics.entry(name.to_owned()).or_insert_with(new).clone()
    }

    fn push(&self, topic: &str, records: Vec<Record>, cursor: Option<Cursor>) -> Answer<Vec<Position>> {
        let pushed = self.line_up(topic, records, cursor);
        Box::pin(async move { pushed?.await.map_err(|_| LogError::Unavailable("the writer has stopped".to_owned()))? })
    }

    fn line_up(&self, topic: &str, records: Vec<Record>, cursor: Option<Cursor>) -> Result<oneshot::Receiver<Appended>, LogError> {
        check_topic(topic)?;
        cursor.as_ref().map_or(Ok(()), Cursor::check)?;
        let bytes = records.iter().map(frame::record_bytes).chain(cursor.iter().map(frame::cursor_bytes)).sum();
        if bytes > APPEND_BYTES_MAX {
            return Err(LogError::TooLarge { bytes, bytes_max: APPEND_BYTES_MAX });
        }
        let (answer, answered) = oneshot::channel();
        self.queue.push(Request { topic: self.topic(topic), records, cursor, bytes, answer })?;
        Ok(answered)
    }

    fn held(&self, consumer: &str, input: String, partition: u16) -> Claim {
        let epoch = self.cursors.epoch(consumer, &input);
        Claim { consumer: consumer.to_owned(), input, partition, epoch }
    }
}

type Appended = Result<Vec<Position>, LogError>;

impl Log for Embedded {
    fn append(&self, topic: &str, records: Vec<Record>) -> Answer<Vec<Position>> {
        self.push(topic, records, None)
    }

    fn commit(&self, topic: &str, outputs: Vec<Record>, cursor: Cursor) -> Answer<Vec<Position>> {
        self.push(topic, outputs, Some(cursor))
    }

    fn claim(&self, consumer: &str, input: &str) -> Answer<Claim> {
        let partition = Cursor::partition_of(input).map_or(0, |(_, partition)| partition);
        at_once(Ok(self.held(consumer, input.to_owned(), partition)))
    }

    fn claims(&self, consumer: &str, topic: &str) -> Answer<Vec<Claim>> {
        let partitions = 0..self.topic(topic).partitions();
        at_once(Ok(partitions.map(|partition| self.held(consumer, Cursor::input(topic, partition), partition)).collect()))
    }

    fn cursor(&self, consumer: &str, input: &str) -> Answer<Option<u64>> {
        at_once(Ok(self.cursors.get(consumer, input)))
    }

    fn cursors(&self) -> Answer<Vec<Cursor>> {
        at_once(Ok(self.cursors.all()))
    }

    fn partitions(&self, topic: &str) -> Answer<u16> {
        at_once(Ok(self.topic(topic).partitions()))
    }

    fn bounds(&self, topic: &str, partition: u16) -> Answer<(u64, u64)> {
        at_once(self.topic(topic).bounds(partition))
    }

    fn read(&self, topic: &str, partition: u16, from: u64, bytes_max: usize) -> Answer<Batch> {
        let topic = self.topic(topic);
        aside(move || topic.read(partition, from, bytes_max))
    }

    fn offset_at(&self, topic: &str, partition: u16, time: Timestamp) -> Answer<u64> {
        let topic = self.topic(topic);
        aside(move || topic.offset_at(partition, time))
    }

    fn wait_beyond(&self, topic: &str, partition: u16, offset: u64) -> Answer<u64> {
        let topic = self.topic(topic);
        let mut is_closed = self.is_closed.subscribe();
        Box::pin(async move {
            let column = topic.column(partition)?;
            let mut ends = topic.ends();
            tokio::select! {
                biased;
                Ok(ends) = ends.wait_for(|ends| ends[column] > offset) => Ok(ends[column]),
                _ = is_closed.wait_for(|is_closed| *is_closed) => Err(LogError::Closed),
            }
        })
    }

    fn retain(&self, now: Timestamp) -> Answer<usize> {
        let limited: Vec<_> = self.settings.topics.iter().map(|(name, topic)| (self.topic(name), topic.retention)).collect();
        aside(move || limited.iter().map(|(topic, retention)| topic.retain(retention, now)).sum())
    }

    fn try_out(&self) -> Answer<()> {
        if self.queue.is_closed() {
            return at_once(Err(LogError::Closed));
        }
        // A frame without records is written and synced as any other.
        let tries: Vec<_> = self.queue.troubled().iter().map(|topic| self.push(topic, Vec::new(), None)).collect();
        Box::pin(async move { try_join_all(tries).await.map(|_| ()) })
    }

    fn close(&self) -> Answer<()> {
        self.queue.close();
        let writer = self.writer.clone();
        let is_closed = self.is_closed.clone();
        aside(move || {
            let ended = join(&writer);
            is_closed.send_replace(true);
            ended
        })
    }

    fn is_shared(&self) -> bool {
        false
    }
}

/// Ends the queue with the thread that served it.
struct Abandon(Arc<Queue>);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.queue.close();
        // Nobody is left who could be told of a writer that has panicked.
        let _ = join(&self.writer);
    }
}

fn join(writer: &Mutex<Option<JoinHandle<()>>>) -> Result<(), LogError> {
    let thread = writer.lock().unwrap_or_else(PoisonError::into_inner).take();
    thread.map_or(Ok(()), JoinHandle::join).map_err(|_| LogError::Unavailable("the writer has panicked".to_owned()))
}

fn at_once<T: Send + 'static>(answer: Result<T, LogError>) -> Answer<T> {
    Box::pin(std::future::ready(answer))
}

/// Runs what may wait for the disk on a thread that may wait.
fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T, LogError> + Send + 'static) -> Answer<T> {
    Box::pin(async move { tokio::task::spawn_blocking(work).await.map_err(|error| LogError::Unavailable(error.to_string()))? })
}
