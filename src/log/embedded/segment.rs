//! One segment: a file of frames, and what is known of it in memory.
//!
//! A segment's first frame carries every partition's next offset and every cursor that its topic keeps, so that older segments can
//! be deleted, and its `durable` says how many bytes of the segment before it count: whatever stands there beyond is void. A segment
//! is thus closed by its successor, and never written again.

use super::super::disk::{Disk, DiskFile};
use super::super::{Cursor, Entry, LogError};
use super::chunks::Chunks;
use super::frame::{self, Flaw, Frame};
use crate::domain::time::Timestamp;
use bytes::{Bytes, BytesMut};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

/// The index has a mark for about this many bytes: what a read at any offset passes over at most, and one frame.
const MARK_BYTES: u64 = 128 << 10;
/// How much of a file is read at once, at least and at most.
const CHUNK_BYTES: u64 = 256 << 10;
const CHUNK_BYTES_MAX: u64 = 2 << 20;

pub(super) struct Segment {
    pub name: String,
    pub number: u64,
    /// The offset at which each partition begins here.
    pub starts: Vec<u64>,
    /// The latest time of any record before.
    pub at: Timestamp,
    /// How many bytes of the segment before this one count.
    pub predecessor_bytes: u64,
    pub salt: u32,
    /// How many bytes count here, once a successor has said so.
    pub closed_bytes: OnceLock<u64>,
    disk: Arc<dyn Disk>,
    known: Mutex<Known>,
}

/// What has been read or written of a segment.
#[derive(Clone)]
pub(super) struct Known {
    pub bytes: u64,
    /// Where the last batch begins.
    pub batch_start: u64,
    pub sequence: u64,
    /// The latest time of any record so far.
    pub at: Timestamp,
    /// The time of the first records here.
    pub opened_at: Option<Timestamp>,
    pub ends: Vec<u64>,
    marks: Vec<Mark>,
}

/// Where a frame begins, and what was true before it.
#[derive(Clone)]
struct Mark {
    position: u64,
    at: Timestamp,
    ends: Vec<u64>,
}

/// What one frame adds to a segment.
pub(super) struct Extent {
    pub bytes: u64,
    /// Where its batch begins.
    pub batch_start: u64,
    pub sequence: u64,
    pub at: Timestamp,
    pub ends: Vec<u64>,
    pub has_records: bool,
}

/// What stands behind the last frame that can be read.
pub(super) enum Tail {
    /// Nothing was ever written there.
    Clean,
    /// A batch that was not finished.
    Torn,
}

impl Segment {
    /// The segment whose first frame is in that file; none if there is no such frame.
    pub(super) fn open(disk: Arc<dyn Disk>, name: String, number: u64) -> Result<Option<Segment>, LogError> {
        let file = disk.open_to_read(&name)?;
        let mut walk = Walk { chunk_bytes: frame::HEADER_BYTES as u64, ..Walk::new(&*file, 0, file.bytes()?) };
        match walk.step()? {
            Some(Ok(first)) => {
                let mut starts = vec![0; first.sections.len()];
                for section in &first.sections {
                    *starts
                        .get_mut(usize::from(section.partition))
                        .ok_or_else(|| damaged(&name, 0, "its first frame is malformed"))? = section.base;
                }
                let header = first.header;
                Ok(Some(Segment::new(disk.clone(), name, number, starts, header)))
            }
            Some(Err(Flaw::Newer(version))) => Err(LogError::Newer { file: name, version, known: frame::VERSION }),
            Some(Err(_)) | None => Ok(None),
        }
    }

    /// A segment that begins with that header.
    pub(super) fn new(disk: Arc<dyn Disk>, name: String, number: u64, starts: Vec<u64>, first: frame::Header) -> Segment {
        let known = Known::new(&starts, first.at);
        Segment {
            name,
            number,
            starts,
            at: first.at,
            predecessor_bytes: first.durable,
            salt: first.salt,
            closed_bytes: OnceLock::new(),
            disk,
            known: Mutex::new(known),
        }
    }

    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("no holder of this lock panics")
    }

    /// Reads on, up to `limit` or to a frame that cannot be read; says whether the limit was reached. Cursors are given to `keep`.
    pub(super) fn scan(&self, file: &dyn DiskFile, limit: u64, mut keep: impl FnMut(u64, Cursor)) -> Result<bool, LogError> {
        let mut known = self.known();
        let mut walk = Walk::new(file, known.bytes, limit);
        while let Some(step) = walk.step()? {
            let frame = match step {
                Ok(frame) => frame,
                Err(Flaw::Newer(version)) => {
                    return Err(LogError::Newer { file: self.name.clone(), version, known: frame::VERSION });
                }
                Err(_) => return Ok(false),
            };
            if frame.header.salt != self.salt {
                return Ok(false);
            }
            let extent = known
                .extend(&frame)
                .ok_or_else(|| damaged(&self.name, known.bytes, "a frame does not follow the one before it"))?;
            for cursor in frame.cursors {
                keep(frame.header.sequence, cursor);
            }
            known.push(extent);
        }
        Ok(true)
    }

    /// Looks at what stands behind the last frame that was read.
    ///
    /// # Errors
    /// `Damaged` if it had been durable.
    pub(super) fn tail(&self, file: &dyn DiskFile) -> Result<Tail, LogError> {
        let position = self.known().bytes;
        tail(file, &self.name, position, Some(self.salt))
    }

    /// Takes note of a frame that was written.
    pub(super) fn push(&self, extent: Extent) {
        self.known().push(extent);
    }

    /// Adds the partition's records from the offset on, until their payloads exceed what is left of `bytes_left`.
    pub(super) fn read(
        &self,
        partition: u16,
        from: u64,
        bytes_left: &mut usize,
        entries: &mut Vec<Entry>,
        chunks: &Chunks,
    ) -> Result<(), LogError> {
        let file = self.disk.open_to_read(&self.name)?;
        let column = usize::from(partition);
        let known = self.indexed(&*file)?;
        let (start, limit) = (known.position_before(|mark| mark.ends[column] <= from), known.bytes);
        drop(known);
        // Read at once, so that no frame is cut in two and read twice.
        let chunk_bytes = (*bytes_left as u64).saturating_add(MARK_BYTES).clamp(CHUNK_BYTES, CHUNK_BYTES_MAX);
        let walk = Walk { chunk_bytes, chunks: Some(chunks), ..Walk::new(&*file, start, limit) };
        self.each_section(walk, partition, |section| {
            for (offset, at, payload) in section.records().filter(|(offset, ..)| *offset >= from) {
                if payload.len() > *bytes_left && !entries.is_empty() {
                    *bytes_left = 0;
                    return false;
                }
                *bytes_left = bytes_left.saturating_sub(payload.len());
                entries.push(Entry { offset, at, payload: section.share(payload) });
            }
            true
        })
    }

    /// The partition's first offset here whose record is not earlier than `time`.
    pub(super) fn offset_at(&self, partition: u16, time: Timestamp) -> Result<Option<u64>, LogError> {
        let file = self.disk.open_to_read(&self.name)?;
        let known = self.indexed(&*file)?;
        let (start, limit) = (known.position_before(|mark| mark.at < time), known.bytes);
        drop(known);
        let mut found = None;
        self.each_section(Walk::new(&*file, start, limit), partition, |section| {
            found = section.records().find(|(_, at, _)| *at >= time).map(|(offset, ..)| offset);
            found.is_none()
        })?;
        Ok(found)
    }

    /// What is known of the segment, all of it: a closed one is read when it is first asked for.
    fn indexed(&self, file: &dyn DiskFile) -> Result<MutexGuard<'_, Known>, LogError> {
        if let Some(closed_bytes) = self.closed_bytes.get().copied() {
            let mut known = self.known();
            if known.bytes > closed_bytes {
                // Frames were seen here that have turned out to be void.
                *known = Known::new(&self.starts, self.at);
            }
            let is_short = known.bytes < closed_bytes;
            drop(known);
            if is_short && !self.scan(file, closed_bytes, |_, _| ())? {
                return Err(damaged(&self.name, self.known().bytes, "a frame cannot be read"));
            }
        }
        Ok(self.known())
    }

    fn each_section(
        &self,
        mut walk: Walk<'_>,
        partition: u16,
        mut wants_more: impl FnMut(&frame::Section) -> bool,
    ) -> Result<(), LogError> {
        loop {
            let position = walk.position;
            match walk.step()? {
                None => return Ok(()),
                Some(Err(_)) => return Err(damaged(&self.name, position, "a frame cannot be read")),
                Some(Ok(frame)) => {
                    let section = frame.sections.iter().find(|section| section.partition == partition);
                    if section.is_some_and(|section| !wants_more(section)) {
                        return Ok(());
                    }
                }
            }
        }
    }
}

impl Known {
    fn new(starts: &[u64], at: Timestamp) -> Known {
        Known { bytes: 0, batch_start: 0, sequence: 0, at, opened_at: None, ends: starts.to_vec(), marks: Vec::new() }
    }

    /// What the frame adds, if it can follow what is known.
    fn extend(&self, frame: &Frame) -> Option<Extent> {
        // A segment's first frame speaks of the segment before.
        let batch_start = if self.bytes == 0 { 0 } else { frame.header.durable };
        if frame.header.sequence <= self.sequence || batch_start > self.bytes {
            return None;
        }
        let mut ends = self.ends.clone();
        for section in &frame.sections {
            let end = ends.get_mut(usize::from(section.partition))?;
            if *end != section.base || section.records().count() != section.count as usize {
                return None;
            }
            *end = section.end();
        }
        let has_records = ends != self.ends;
        Some(Extent {
            bytes: frame.bytes as u64,
            batch_start,
            sequence: frame.header.sequence,
            at: frame.header.at,
            ends,
            has_records,
        })
    }

    fn push(&mut self, extent: Extent) {
        if self.marks.last().is_none_or(|mark| self.bytes >= mark.position + MARK_BYTES) {
            self.marks.push(Mark { position: self.bytes, at: self.at, ends: self.ends.clone() });
        }
        if extent.has_records && self.opened_at.is_none() {
            self.opened_at = Some(extent.at);
        }
        self.bytes += extent.bytes;
        self.batch_start = extent.batch_start;
        self.sequence = extent.sequence;
        self.at = extent.at;
        self.ends = extent.ends;
    }

    /// Where to begin so as to miss nothing behind the last mark of which the claim is true.
    fn position_before(&self, claim: impl Fn(&Mark) -> bool) -> u64 {
        let marks_before = self.marks.partition_point(claim);
        marks_before.checked_sub(1).map_or(0, |last| self.marks[last].position)
    }
}

/// Looks at what stands from `position` on, where no frame can be read. Without a salt, every salt counts.
///
/// # Errors
/// `Damaged` if a frame further on says that this place had been durable.
pub(super) fn tail(file: &dyn DiskFile, name: &str, position: u64, salt: Option<u32>) -> Result<Tail, LogError> {
    let size = file.bytes()?;
    let mut tail = Tail::Clean;
    let zeros = vec![0; CHUNK_BYTES.min(size.saturating_sub(position)) as usize];
    let mut chunk = zeros.clone();
    let mut chunk_start = position;
    while chunk_start < size {
        chunk.truncate(usize::try_from(size - chunk_start).unwrap_or(usize::MAX));
        file.read_at(&mut chunk, chunk_start)?;
        // What was only set aside, which is most of it, is compared as a whole.
        if chunk == zeros[..chunk.len()] {
            chunk_start += chunk.len() as u64;
            continue;
        }
        for (index, word) in chunk.chunks(frame::ALIGNMENT).enumerate() {
            if word.iter().all(|byte| *byte == 0) {
                continue;
            }
            tail = Tail::Torn;
            let candidate = chunk_start + (index * frame::ALIGNMENT) as u64;
            let speaks = |claim: &frame::Header| claim.durable > position && salt.is_none_or(|salt| claim.salt == salt);
            if word.starts_with(&frame::MAGIC) && speaks_for(file, candidate, size, speaks)? {
                return Err(damaged(name, position, "a frame cannot be read, and one behind it can"));
            }
        }
        chunk_start += chunk.len() as u64;
    }
    Ok(tail)
}

/// Whether there is a frame whose header answers the question. Asked before the checksum, so that bytes made to look like frames
/// cost little.
fn speaks_for(file: &dyn DiskFile, position: u64, size: u64, question: impl Fn(&frame::Header) -> bool) -> io::Result<bool> {
    let mut header = [0; frame::HEADER_BYTES];
    if size - position < header.len() as u64 {
        return Ok(false);
    }
    file.read_at(&mut header, position)?;
    Ok(frame::claim(&header).is_some_and(|claim| question(&claim))
        && matches!(Walk::new(file, position, size).step()?, Some(Ok(_))))
}

pub(super) fn damaged(file: &str, position: u64, what: &'static str) -> LogError {
    LogError::Damaged { file: file.to_owned(), position, what }
}

/// Reads frame after frame.
struct Walk<'f> {
    file: &'f dyn DiskFile,
    position: u64,
    limit: u64,
    chunk: Bytes,
    chunk_start: u64,
    /// How much is read at once at least.
    chunk_bytes: u64,
    /// Where the memory comes from, if this is one of many reads.
    chunks: Option<&'f Chunks>,
}

impl<'f> Walk<'f> {
    fn new(file: &'f dyn DiskFile, position: u64, limit: u64) -> Walk<'f> {
        Walk { file, position, limit, chunk: Bytes::new(), chunk_start: position, chunk_bytes: CHUNK_BYTES, chunks: None }
    }

    /// The next frame, or why the bytes at `position` are none; nothing at the limit. After a flaw the walk stands still.
    fn step(&mut self) -> io::Result<Option<Result<Frame, Flaw>>> {
        if self.position >= self.limit {
            return Ok(None);
        }
        // At most two rounds: the header tells how long the frame is.
        let start = loop {
            let needed = match frame::measure(self.ahead()) {
                Ok(whole) if whole <= self.ahead().len() => break (self.position - self.chunk_start) as usize,
                Ok(whole) => whole,
                Err(Flaw::Short) => frame::HEADER_BYTES,
                Err(flaw) => return Ok(Some(Err(flaw))),
            };
            if needed as u64 > self.limit - self.position {
                return Ok(Some(Err(Flaw::Short)));
            }
            self.fetch(needed as u64)?;
        };
        let decoded = frame::decode(&self.chunk.slice(start..));
        if let Ok(frame) = &decoded {
            self.position += frame.bytes as u64;
        }
        Ok(Some(decoded))
    }

    /// What is in memory from `position` on.
    fn ahead(&self) -> &[u8] {
        self.chunk.get((self.position - self.chunk_start) as usize..).unwrap_or_default()
    }

    fn fetch(&mut self, needed: u64) -> io::Result<()> {
        self.chunk_start = self.position;
        let bytes = needed.max(self.chunk_bytes).min(self.limit - self.position) as usize;
        let mut chunk = self.chunks.map_or_else(|| BytesMut::zeroed(bytes), |chunks| chunks.take(bytes));
        self.file.read_at(&mut chunk, self.position)?;
        self.chunk = chunk.freeze();
        if let Some(chunks) = self.chunks {
            chunks.keep(&self.chunk);
        }
        Ok(())
    }
}
