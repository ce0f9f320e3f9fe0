//! A topic as its readers see it: the segments in order, and where each partition ends.

use super::super::disk::Disk;
use super::super::{Batch, Entry, LogError, Retention};
use super::chunks::Chunks;
use super::segment::{Segment, damaged};
use crate::domain::time::Timestamp;
use std::io;
use std::sync::{Arc, RwLock};
use tokio::sync::watch;

pub(super) struct Topic {
    pub name: String,
    disk: Arc<dyn Disk>,
    /// Numbered without a gap. All but the last are closed.
    segments: RwLock<Vec<Arc<Segment>>>,
    /// What is behind these offsets is durable.
    ends: watch::Sender<Vec<u64>>,
    chunks: Chunks,
}

impl Topic {
    /// A topic that nobody has written yet.
    pub(super) fn new(disk: Arc<dyn Disk>, name: &str, partitions: u16) -> Topic {
        let ends = watch::Sender::new(vec![0; usize::from(partitions.max(1))]);
        Topic { name: name.to_owned(), disk, segments: RwLock::new(Vec::new()), ends, chunks: Chunks::default() }
    }

    /// What the file of a segment is called, and back.
    pub(super) fn file_name(&self, number: u64) -> String {
        format!("{}.{number:08}.segment", self.name)
    }

    pub(super) fn parse_file_name(file: &str) -> Option<(&str, u64)> {
        let (topic, number) = file.strip_suffix(".segment")?.split_once('.')?;
        Some((topic, number.parse().ok()?))
    }

    pub(super) fn partitions(&self) -> u16 {
        u16::try_from(self.ends.borrow().len()).expect("partitions are numbered by u16")
    }

    pub(super) fn ends(&self) -> watch::Receiver<Vec<u64>> {
        self.ends.subscribe()
    }

    pub(super) fn last(&self) -> Option<Arc<Segment>> {
        self.segments().last().cloned()
    }

    /// Adds a segment, which closes the one before.
    pub(super) fn add(&self, segment: Arc<Segment>) {
        let mut segments = self.segments.write().expect("no holder of this lock panics");
        if let Some(last) = segments.last() {
            assert_eq!(last.number + 1, segment.number, "segments follow each other");
            let _ = last.closed_bytes.set(segment.predecessor_bytes);
        }
        segments.push(segment);
    }

    /// Forgets the segments before that number: somebody else has deleted them.
    pub(super) fn forget_before(&self, number: u64) {
        self.segments.write().expect("no holder of this lock panics").retain(|segment| segment.number >= number);
    }

    /// Lets readers see, and wakes those who wait.
    pub(super) fn publish(&self, ends: &[u64]) {
        self.ends.send_if_modified(|published| {
            let is_new = published != ends;
            if is_new {
                published.clear();
                published.extend_from_slice(ends);
            }
            is_new
        });
    }

    pub(super) fn column(&self, partition: u16) -> Result<usize, LogError> {
        let column = usize::from(partition);
        if column < self.ends.borrow().len() { Ok(column) } else { Err(LogError::Invalid("the topic has no such partition")) }
    }

    pub(super) fn bounds(&self, partition: u16) -> Result<(u64, u64), LogError> {
        let column = self.column(partition)?;
        let start = self.segments().first().map_or(0, |segment| segment.starts[column]);
        Ok((start, self.ends.borrow()[column]))
    }

    pub(super) fn read(&self, partition: u16, from: u64, bytes_max: usize) -> Result<Batch, LogError> {
        let column = self.column(partition)?;
        let (start, end) = self.bounds(partition)?;
        if from < start {
            return Err(LogError::Trimmed { start });
        }
        let mut entries: Vec<Entry> = Vec::new();
        let mut bytes_left = bytes_max.max(1);
        let mut next = from;
        while next < end && bytes_left > 0 {
            let Some(segment) = self.segment_with(column, next) else {
                return Err(LogError::Trimmed { start: self.bounds(partition)?.0 });
            };
            segment
                .read(partition, next, &mut bytes_left, &mut entries, &self.chunks)
                .map_err(|error| self.or_trimmed(partition, next, error))?;
            match entries.last() {
                Some(last) if last.offset >= next => next = last.offset + 1,
                _ if bytes_left == 0 => break,
                _ => return Err(damaged(&segment.name, segment.known().bytes, "records are missing at its end")),
            }
        }
        Ok(Batch { entries, next })
    }

    pub(super) fn offset_at(&self, partition: u16, time: Timestamp) -> Result<u64, LogError> {
        self.column(partition)?;
        let segments = self.segments().clone();
        let first = segments.partition_point(|segment| segment.at < time).saturating_sub(1);
        for segment in &segments[first..] {
            if let Some(offset) = segment.offset_at(partition, time)? {
                return Ok(offset);
            }
        }
        Ok(self.bounds(partition)?.1)
    }

    /// Deletes the oldest closed segments that the retention does not cover; says how many.
    pub(super) fn retain(&self, retention: &Retention, now: Timestamp) -> Result<usize, LogError> {
        let mut segments = self.segments.write().expect("no holder of this lock panics");
        let Some(active) = segments.last() else { return Ok(0) };
        let closed_bytes = |segment: &Arc<Segment>| segment.closed_bytes.get().copied().unwrap_or(0);
        let mut bytes = active.known().bytes + segments.iter().map(closed_bytes).sum::<u64>();
        let mut deleted = 0;
        while let [oldest, next, ..] = &segments[..] {
            let is_too_old = retention.age.is_some_and(|age| next.at < now.minus(age));
            let is_too_much = retention.bytes_max.is_some_and(|bytes_max| bytes > bytes_max);
            if !is_too_old && !is_too_much {
                break;
            }
            match self.disk.remove(&oldest.name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
            bytes -= closed_bytes(oldest);
            segments.remove(0);
            deleted += 1;
        }
        Ok(deleted)
    }

    fn segments(&self) -> std::sync::RwLockReadGuard<'_, Vec<Arc<Segment>>> {
        self.segments.read().expect("no holder of this lock panics")
    }

    /// The last segment that begins at or before the offset: segments without records of the partition are passed over.
    fn segment_with(&self, column: usize, offset: u64) -> Option<Arc<Segment>> {
        let segments = self.segments();
        let following = segments.partition_point(|segment| segment.starts[column] <= offset);
        following.checked_sub(1).map(|last| segments[last].clone())
    }

    /// A file may be deleted between being looked up and being opened.
    fn or_trimmed(&self, partition: u16, offset: u64, error: LogError) -> LogError {
        match self.bounds(partition) {
            Ok((start, _)) if offset < start => LogError::Trimmed { start },
            _ => error,
        }
    }
}
