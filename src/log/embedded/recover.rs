//! Opening what an earlier process left, however it ended.
//!
//! Only the last segment of a topic can have an unfinished end, so only it is read whole; closed segments are checked when they are
//! read. What broke after it was durable is refused, never dropped: see `frame` for how it is told from an unfinished batch. (Of the
//! very last batch it cannot be told.)

use super::super::LogError;
use super::super::disk::{Disk, DiskFile};
use super::cursors::Cursors;
use super::segment::{self, Segment, Tail, damaged};
use super::topic::Topic;
use super::writer::End;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The numbers of each topic's segments, in order and without a gap.
///
/// # Errors
/// `Damaged` if a segment is missing.
pub(super) fn inventory(disk: &dyn Disk) -> Result<BTreeMap<String, Vec<u64>>, LogError> {
    let mut topics: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let files = disk.list()?;
    for (topic, number) in files.iter().filter_map(|file| Topic::parse_file_name(file)) {
        topics.entry(topic.to_owned()).or_default().push(number);
    }
    for (topic, numbers) in &mut topics {
        numbers.sort_unstable();
        if numbers.windows(2).any(|pair| pair[0] + 1 != pair[1]) {
            return Err(damaged(topic, 0, "a segment file is missing"));
        }
    }
    Ok(topics)
}

/// Adds the segments to the topic and notes the cursors. The end is none if nothing was ever durable.
///
/// # Errors
/// `Damaged`, `Newer`, or what the disk says.
pub(super) fn recover(disk: &Arc<dyn Disk>, topic: &Topic, numbers: &[u64], cursors: &Cursors) -> Result<Option<End>, LogError> {
    let mut segments = Vec::new();
    for (index, number) in numbers.iter().enumerate() {
        let name = topic.file_name(*number);
        match Segment::open(disk.clone(), name.clone(), *number)? {
            Some(segment) => segments.push(segment),
            None if index + 1 == numbers.len() && (index > 0 || *number == 0) => discard_unborn(disk, &name)?,
            None => return Err(damaged(&name, 0, "its first frame cannot be read")),
        }
    }
    for pair in segments.windows(2) {
        let bytes = disk.open_to_read(&pair[0].name)?.bytes()?;
        if bytes < pair[1].predecessor_bytes {
            return Err(damaged(&pair[0].name, bytes, "its end is missing"));
        }
    }
    for segment in segments {
        topic.add(Arc::new(segment));
    }
    let Some(last) = topic.last() else { return Ok(None) };
    let end = recover_last(disk, last, cursors, &topic.name)?;
    topic.publish(&end.segment.known().ends);
    Ok(Some(end))
}

fn recover_last(disk: &Arc<dyn Disk>, last: Arc<Segment>, cursors: &Cursors, topic: &str) -> Result<End, LogError> {
    let file = disk.open_to_write(&last.name)?;
    let capacity_bytes = file.bytes()?;
    last.scan(&*file, capacity_bytes, |sequence, cursor| cursors.set(topic, sequence, cursor))?;
    let tail = last.tail(&*file)?;
    if let Tail::Torn = tail {
        tracing::warn!(file = last.name, position = last.known().bytes, "the log leaves out a batch that was not finished");
    }
    settle(&*file, &last)?;
    Ok(End { segment: last, file, capacity_bytes, is_trusted: matches!(tail, Tail::Clean) })
}

/// Makes sure of the last batch. If the process before has died between its write and its sync, or its sync has failed, then the batch
/// may be in the system's memory only; and after a failed sync, the next one succeeds without writing anything. So it is written again.
fn settle(file: &dyn DiskFile, last: &Segment) -> Result<(), LogError> {
    let (start, end) = {
        let known = last.known();
        (known.batch_start, known.bytes)
    };
    let mut batch = vec![0; usize::try_from(end - start).expect("a batch was in memory once")];
    file.read_at(&mut batch, start)?;
    file.write_at(&batch, start)?;
    Ok(file.sync()?)
}

/// A segment whose first batch was not finished has never counted.
fn discard_unborn(disk: &Arc<dyn Disk>, name: &str) -> Result<(), LogError> {
    segment::tail(&*disk.open_to_read(name)?, name, 0, None)?;
    tracing::warn!(file = name, "the log leaves out a segment that was not finished");
    Ok(disk.remove(name)?)
}
