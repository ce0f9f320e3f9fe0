//! The facts in the order in which they were recorded, read beside a running server: from the files of a data folder, or from Kafka.
//!
//! Nothing is locked and nothing is changed: whoever may read the folder may look, whether a server runs or not.

use std::sync::Arc;

use deputy::config::Settings;
use deputy::domain::time::Timestamp;
use deputy::log::disk::RealDisk;
use deputy::log::embedded::reader::Reader;
use deputy::log::{Batch, Entry, Log, LogError};
use deputy::world::{
    FACTS,
    open::{log_path, shared_log},
};

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
    source: Source,
    /// What is read next, for each partition.
    next: Vec<u64>,
    /// Whether retention has deleted facts that stood before all others.
    pub(crate) is_trimmed: bool,
}

/// Where facts are read.
enum Source {
    Folder(Reader),
    Shared(Arc<dyn Log>),
}

impl Facts {
    /// Opens the log at this place.
    pub(crate) async fn open(settings: &Settings, place: Place) -> Result<Facts, Failure> {
        let shared = shared_log(settings).await.map_err(|error| Failure(error.to_string()))?;
        let source = shared.map_or_else(|| folder(settings), |log| Ok(Source::Shared(log)))?;
        let mut facts = Facts { source, next: Vec::new(), is_trimmed: false };
        for partition in 0..facts.source.partitions().await.map_err(unreadable)? {
            let (start, _) = facts.source.bounds(partition).await.map_err(unreadable)?;
            facts.is_trimmed |= start > 0;
            facts.next.push(facts.source.find(partition, place).await.map_err(unreadable)?);
        }
        Ok(facts)
    }

    /// The facts that come next, the oldest first; none when everything has been read.
    pub(crate) async fn read(&mut self) -> Result<Vec<Recorded>, Failure> {
        self.source.refresh().map_err(unreadable)?;
        // The topic may have come into being since.
        self.next.resize(usize::from(self.source.partitions().await.map_err(unreadable)?), 0);
        let mut read = Vec::new();
        for (partition, next) in (0..).zip(&mut self.next) {
            let (start, end) = self.source.bounds(partition).await.map_err(unreadable)?;
            *next = (*next).max(start);
            if *next >= end {
                continue;
            }
            match self.source.read(partition, *next).await {
                Ok(batch) => {
                    *next = batch.next;
                    read.extend(batch.entries.into_iter().map(|Entry { offset, at, payload }| Recorded {
                        offset,
                        at,
                        payload: payload.into(),
                    }));
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

impl Source {
    fn refresh(&mut self) -> Result<(), LogError> {
        match self {
            Source::Folder(reader) => reader.refresh(),
            Source::Shared(_) => Ok(()),
        }
    }

    async fn partitions(&self) -> Result<u16, LogError> {
        match self {
            Source::Folder(reader) => Ok(reader.partitions(FACTS)),
            Source::Shared(log) => log.partitions(FACTS).await,
        }
    }

    async fn bounds(&self, partition: u16) -> Result<(u64, u64), LogError> {
        match self {
            Source::Folder(reader) => reader.bounds(FACTS, partition),
            Source::Shared(log) => log.bounds(FACTS, partition).await,
        }
    }

    async fn read(&self, partition: u16, from: u64) -> Result<Batch, LogError> {
        match self {
            Source::Folder(reader) => reader.read(FACTS, partition, from, READ_BYTES_MAX),
            Source::Shared(log) => log.read(FACTS, partition, from, READ_BYTES_MAX).await,
        }
    }

    async fn find(&self, partition: u16, place: Place) -> Result<u64, LogError> {
        let (start, end) = self.bounds(partition).await?;
        Ok(match (place, self) {
            (Place::Start, _) => start,
            (Place::End, _) => end,
            (Place::BeforeEnd(count), _) => end.saturating_sub(count).max(start),
            (Place::Offset(offset), _) => offset.clamp(start, end),
            (Place::Time(time), Source::Folder(reader)) => reader.offset_at(FACTS, partition, time)?,
            (Place::Time(time), Source::Shared(log)) => log.offset_at(FACTS, partition, time).await?,
        })
    }
}

fn folder(settings: &Settings) -> Result<Source, Failure> {
    let path = log_path(settings);
    let folder = settings.data_dir.display();
    match path.try_exists() {
        Ok(true) => {}
        Ok(false) => return Err(Failure(format!("there are no facts in {folder}: no server has run with this data_dir yet"))),
        Err(error) => return Err(Failure::because(format!("the facts in {folder} cannot be read"), &error)),
    }
    Ok(Source::Folder(Reader::open(Arc::new(RealDisk::at(&path))).map_err(unreadable)?))
}

fn unreadable(error: LogError) -> Failure {
    Failure::because("the facts cannot be read", &error)
}
