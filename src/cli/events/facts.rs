//! The facts of a data folder in the order in which they were recorded, read beside a running server.
//!
//! Nothing is locked and nothing is changed: whoever may read the folder may look, whether a server runs or not.

use std::sync::Arc;

use deputy::config::Settings;
use deputy::domain::time::Timestamp;
use deputy::log::disk::RealDisk;
use deputy::log::embedded::reader::Reader;
use deputy::log::{Entry, LogError};
use deputy::world::{FACTS, open::log_path};

use super::super::Failure;

/// How much is read of a partition at a time.
const READ_BYTES_MAX: usize = 1 << 20;

/// A fact as it stands in the log.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    pub(crate) offset: u64,
    pub(crate) at: Timestamp,
    /// The event's JSON, as it was written.
    pub(crate) payload: Vec<u8>,
}

/// Somewhere in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The oldest fact that is still there.
    Start,
    /// Where the next fact will be.
    End,
    /// Where at least so many facts are left, if there are.
    BeforeEnd(u64),
    /// That offset, or the first one after it that is still there.
    Offset(u64),
    /// The first fact that is not earlier.
    Time(Timestamp),
}

/// A place in the log of facts, which moves as it is read.
pub(crate) struct Facts {
    reader: Reader,
    /// What is read next, for each partition.
    next: Vec<u64>,
}

impl Facts {
    /// Opens the folder at this place.
    pub(crate) fn open(settings: &Settings, place: Place) -> Result<Facts, Failure> {
        let path = log_path(settings);
        let folder = settings.data_dir.display();
        match path.try_exists() {
            Ok(true) => {}
            Ok(false) => return Err(Failure(format!("there are no facts in {folder}: no server has run with this data_dir yet"))),
            Err(error) => return Err(Failure::because(format!("the facts in {folder} cannot be read"), &error)),
        }
        let reader = Reader::open(Arc::new(RealDisk::at(&path))).map_err(unreadable)?;
        let next = (0..reader.partitions(FACTS)).map(|partition| find(&reader, partition, place)).collect::<Result<_, _>>();
        Ok(Facts { next: next.map_err(unreadable)?, reader })
    }

    /// Whether retention has deleted facts that stood before all others.
    pub(crate) fn is_trimmed(&self) -> bool {
        let mut partitions = 0..self.reader.partitions(FACTS);
        partitions.any(|partition| self.reader.bounds(FACTS, partition).is_ok_and(|(start, _)| start > 0))
    }

    /// The facts that come next, the oldest first; none when everything has been read.
    pub(crate) fn read(&mut self) -> Result<Vec<Recorded>, Failure> {
        self.reader.refresh().map_err(unreadable)?;
        // The topic may have come into being since.
        self.next.resize(usize::from(self.reader.partitions(FACTS)), 0);
        let mut read = Vec::new();
        for (partition, next) in (0..).zip(&mut self.next) {
            let (start, end) = self.reader.bounds(FACTS, partition).map_err(unreadable)?;
            *next = (*next).max(start);
            if *next >= end {
                continue;
            }
            match self.reader.read(FACTS, partition, *next, READ_BYTES_MAX) {
                Ok(batch) => {
                    *next = batch.next;
                    read.extend(batch.entries.into_iter().map(|Entry { offset, at, payload }| Recorded { offset, at, payload }));
                }
                // Deleted between the look and the reading.
                Err(LogError::Trimmed { start }) => *next = start,
                Err(error) => return Err(unreadable(error)),
            }
        }
        read.sort_by_key(|fact| fact.at);
        Ok(read)
    }
}

fn find(reader: &Reader, partition: u16, place: Place) -> Result<u64, LogError> {
    let (start, end) = reader.bounds(FACTS, partition)?;
    Ok(match place {
        Place::Start => start,
        Place::End => end,
        Place::BeforeEnd(count) => end.saturating_sub(count).max(start),
        Place::Offset(offset) => offset.clamp(start, end),
        Place::Time(time) => reader.offset_at(FACTS, partition, time)?,
    })
}

fn unreadable(error: LogError) -> Failure {
    Failure::because("the facts cannot be read", &error)
}
