//! Reading a log along from another process, while its owner writes.
//!
//! A reader takes no lock and changes nothing. It sees what stands in the files: at the very end that may be a batch which its owner
//! is about to sync, and which a crash may still undo.

use super::super::disk::Disk;
use super::super::{Batch, LogError};
use super::recover::inventory;
use super::segment::Segment;
use super::topic::Topic;
use crate::domain::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How often a reader looks again before it believes that something is damaged: the owner may be writing, rolling or deleting there.
const LOOKS_MAX: u32 = 3;

/// A log that somebody else may be writing.
pub struct Reader {
    disk: Arc<dyn Disk>,
    topics: BTreeMap<String, Arc<Topic>>,
}

impl Reader {
    /// Opens the folder as it is now.
    ///
    /// # Errors
    /// `Newer`, `Damaged`, or what the disk says.
    pub fn open(disk: Arc<dyn Disk>) -> Result<Reader, LogError> {
        let mut reader = Reader { disk, topics: BTreeMap::new() };
        reader.refresh()?;
        Ok(reader)
    }

    /// Takes in what was written and deleted since.
    ///
    /// # Errors
    /// As `open`.
    pub fn refresh(&mut self) -> Result<(), LogError> {
        let mut look = 1;
        loop {
            match self.look() {
                Err(LogError::Damaged { .. } | LogError::Unavailable(_)) if look < LOOKS_MAX => look += 1,
                outcome => return outcome,
            }
        }
    }

    /// The names of the topics.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.topics.keys().map(String::as_str)
    }

    /// How many partitions the topic has; none if there is no such topic.
    pub fn partitions(&self, topic: &str) -> u16 {
        self.topics.get(topic).map_or(0, |topic| topic.partitions())
    }

    /// As `Log::bounds`, as of the last `refresh`.
    ///
    /// # Errors
    /// `Invalid` if there is no such topic or partition.
    pub fn bounds(&self, topic: &str, partition: u16) -> Result<(u64, u64), LogError> {
        self.topic(topic)?.bounds(partition)
    }

    /// As `Log::read`, as of the last `refresh`.
    ///
    /// # Errors
    /// As `Log::read`.
    pub fn read(&self, topic: &str, partition: u16, from: u64, bytes_max: usize) -> Result<Batch, LogError> {
        self.topic(topic)?.read(partition, from, bytes_max)
    }

    /// As `Log::offset_at`, as of the last `refresh`.
    ///
    /// # Errors
    /// As `Log::offset_at`.
    pub fn offset_at(&self, topic: &str, partition: u16, time: Timestamp) -> Result<u64, LogError> {
        self.topic(topic)?.offset_at(partition, time)
    }

    fn topic(&self, name: &str) -> Result<&Topic, LogError> {
        self.topics.get(name).map(|topic| &**topic).ok_or(LogError::Invalid("the log has no such topic"))
    }

    fn look(&mut self) -> Result<(), LogError> {
        for (name, numbers) in inventory(&*self.disk)? {
            self.look_at(name, &numbers)?;
        }
        Ok(())
    }

    fn look_at(&mut self, name: String, numbers: &[u64]) -> Result<(), LogError> {
        let (disk, topics) = (&self.disk, &mut self.topics);
        let topic = topics.entry(name).or_insert_with_key(|name| Arc::new(Topic::new(disk.clone(), name, 1)));
        if let Some(first) = numbers.first() {
            topic.forget_before(*first);
        }
        let known = topic.last().map(|last| last.number);
        for number in numbers.iter().filter(|number| known.is_none_or(|known| **number > known)) {
            match Segment::open(disk.clone(), topic.file_name(*number), *number)? {
                Some(segment) => topic.add(Arc::new(segment)),
                // Its owner is still making it.
                None => break,
            }
        }
        let Some(last) = topic.last() else { return Ok(()) };
        let file = disk.open_to_read(&last.name)?;
        if !last.scan(&*file, file.bytes()?, |_, _| ())? {
            last.tail(&*file)?;
        }
        topic.publish(&last.known().ends);
        Ok(())
    }
}
