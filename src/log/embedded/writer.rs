//! The one thread that writes: everything that waits becomes one buffer, one write and one sync for each topic, then answers.
//!
//! A file whose write or sync has failed is not trusted beyond what was durable before, and never written again: the writer goes on
//! in a new segment, whose first frame says how much of the old one counts. Nothing of a batch can be seen before it is durable.

use super::super::disk::{Disk, DiskFile};
use super::super::{Cursor, LogError, Position};
use super::Settings;
use super::cursors::Cursors;
use super::frame::{self, Header, Outgoing};
use super::queue::{Queue, Request};
use super::segment::{Extent, Segment};
use super::topic::Topic;
use crate::domain::time::Timestamp;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// A frame is ended when it holds this much: to read one record, its whole frame is read and checked.
const FRAME_BYTES: usize = 128 << 10;
/// A topic whose retention has an age is cut into at least so many segments over that age.
const SEGMENTS_PER_AGE: u32 = 8;

pub(super) struct Writer {
    pub disk: Arc<dyn Disk>,
    pub settings: Arc<Settings>,
    pub cursors: Arc<Cursors>,
    /// The number of the next frame.
    pub sequence: u64,
    /// By topic name.
    pub ends: HashMap<String, End>,
    /// Empty, with the room of the last batch.
    pub buffer: Vec<u8>,
}

/// Where a topic goes on.
pub(super) struct End {
    pub segment: Arc<Segment>,
    pub file: Box<dyn DiskFile>,
    /// How much the file has space for.
    pub capacity_bytes: u64,
    /// Whether frames may follow here. If not, the next one goes to a new segment.
    pub is_trusted: bool,
}

/// A batch as it will stand in a segment.
#[derive(Default)]
struct Plan {
    bytes: Vec<u8>,
    extents: Vec<Extent>,
    /// For each request, where its records go.
    positions: Vec<Vec<Position>>,
    /// The cursors that it sets, each with its frame's sequence.
    cursors: Vec<(u64, Cursor)>,
}

impl Writer {
    /// Works until the queue is closed and empty.
    pub(super) fn run(mut self, queue: &Queue) {
        while let Some(requests) = queue.take() {
            for (topic, mut requests) in by_topic(requests) {
                for request in self.cursors.fenced(&mut requests) {
                    let _ = request.answer.send(Err(LogError::Fenced));
                }
                if requests.is_empty() {
                    continue;
                }
                let outcome = self.write(&topic, &requests);
                queue.tell_outcome(&topic.name, outcome.is_ok());
                let (mut positions, error) = match outcome {
                    Ok(positions) => (positions.into_iter(), LogError::Closed),
                    Err(error) => (Vec::new().into_iter(), error),
                };
                for request in requests {
                    // Whoever no longer waits has no use for the answer.
                    let _ = request.answer.send(positions.next().ok_or_else(|| error.clone()));
                }
            }
        }
    }

    /// Makes the requests durable: behind what is there, or else in a new segment.
    fn write(&mut self, topic: &Topic, requests: &[Request]) -> Result<Vec<Vec<Position>>, LogError> {
        let latest = requests.iter().flat_map(|request| &request.records).map(|record| record.at).max();
        let span = self.settings.of(&topic.name).retention.age.map(|age| age / SEGMENTS_PER_AGE);
        let Some(end) = self.ends.get_mut(&topic.name).filter(|end| end.is_trusted && !end.has_spanned(span, latest)) else {
            return self.roll(topic, requests);
        };
        let (header, ends) = end.goes_on(self.sequence);
        let mut plan = Plan { bytes: std::mem::take(&mut self.buffer), ..Plan::default() };
        plan.add(header, ends, requests);
        if header.durable + plan.bytes.len() as u64 > end.capacity_bytes {
            return self.roll(topic, requests);
        }
        self.sequence += plan.extents.len() as u64;
        if let Err(error) = end.file.write_at(&plan.bytes, header.durable).and_then(|()| end.file.sync()) {
            tracing::warn!(file = end.segment.name, %error, "the log cannot write here and goes on in a new segment");
            end.is_trusted = false;
            return self.roll(topic, requests);
        }
        let segment = end.segment.clone();
        Ok(self.accept(topic, &segment, plan))
    }

    /// Makes the requests durable in a new segment, which closes the last one.
    fn roll(&mut self, topic: &Topic, requests: &[Request]) -> Result<Vec<Vec<Position>>, LogError> {
        let sequence = self.sequence;
        let salt = crc32c::crc32c_append(self.settings.salt, &sequence.to_le_bytes());
        let (number, before, starts) = match self.ends.get(&topic.name) {
            Some(end) => {
                let (before, starts) = end.goes_on(sequence);
                (end.segment.number + 1, before, starts)
            }
            None => {
                let before = Header { salt, sequence, durable: 0, at: Timestamp(i64::MIN) };
                (0, before, vec![0; usize::from(topic.partitions())])
            }
        };
        let first = Header { salt, ..before };
        let mut plan = Plan::default();
        plan.begin(first, &starts, &self.cursors.carried_by(&topic.name));
        plan.add(Header { sequence: sequence + 1, durable: 0, ..first }, starts.clone(), requests);

        let name = topic.file_name(number);
        let capacity_bytes = self.settings.segment_bytes.max(plan.bytes.len() as u64);
        let file = self.disk.create(&name, capacity_bytes).inspect_err(|_| {
            // Gives back what was set aside before the space ran out; if that fails too, the next attempt replaces the file.
            let _ = self.disk.remove(&name);
        })?;
        self.sequence += plan.extents.len() as u64;
        if let Some(end) = self.ends.get_mut(&topic.name) {
            // Even if the next lines fail, the disk may now hold a frame that says where this segment ends.
            end.is_trusted = false;
        }
        file.write_at(&plan.bytes, 0)?;
        file.sync()?;

        let segment = Arc::new(Segment::new(self.disk.clone(), name, number, starts, first));
        let end = End { segment: segment.clone(), file, capacity_bytes, is_trusted: true };
        if let Some(closed) = self.ends.insert(topic.name.clone(), end) {
            // Only to save space: what stands beyond is void.
            let _ = closed.file.truncate(first.durable);
        }
        topic.add(segment.clone());
        Ok(self.accept(topic, &segment, plan))
    }

    /// Shows to readers what has become durable.
    fn accept(&mut self, topic: &Topic, segment: &Segment, plan: Plan) -> Vec<Vec<Position>> {
        self.buffer = plan.bytes;
        self.buffer.clear();
        for extent in plan.extents {
            segment.push(extent);
        }
        for (sequence, cursor) in plan.cursors {
            self.cursors.set(&topic.name, sequence, cursor);
        }
        let ends = segment.known().ends.clone();
        topic.publish(&ends);
        plan.positions
    }
}

impl End {
    /// The header that the next frame here would have, and the offsets at which the partitions would go on.
    fn goes_on(&self, sequence: u64) -> (Header, Vec<u64>) {
        let known = self.segment.known();
        (Header { salt: self.segment.salt, sequence, durable: known.bytes, at: known.at }, known.ends.clone())
    }

    /// Whether the segment would hold records of a longer time than that.
    fn has_spanned(&self, span: Option<Duration>, latest: Option<Timestamp>) -> bool {
        let opened_at = self.segment.known().opened_at;
        matches!((span, opened_at, latest), (Some(span), Some(opened_at), Some(latest)) if latest.since(opened_at) > span)
    }
}

impl Plan {
    /// The frame that opens a segment.
    fn begin(&mut self, header: Header, starts: &[u64], cursors: &[Cursor]) {
        let cursors: Vec<&Cursor> = cursors.iter().collect();
        frame::encode(&mut self.bytes, &header, &cursors, &empty_sections(starts));
        self.extents.push(Extent {
            bytes: self.bytes.len() as u64,
            batch_start: 0,
            sequence: header.sequence,
            at: header.at,
            ends: starts.to_vec(),
            has_records: false,
        });
    }

    /// As many frames as the requests need. `ends` are the offsets at which the partitions go on.
    fn add(&mut self, first: Header, mut ends: Vec<u64>, requests: &[Request]) {
        let mut header = first;
        let mut rest = requests;
        while !rest.is_empty() {
            let (together, later) = rest.split_at(frame_share(rest));
            rest = later;
            self.add_frame(&mut header, &mut ends, together);
            header.sequence += 1;
        }
    }

    fn add_frame(&mut self, header: &mut Header, ends: &mut [u64], requests: &[Request]) {
        let start = self.bytes.len();
        let partitions = u16::try_from(ends.len()).expect("partitions are numbered by u16");
        let mut sections = empty_sections(ends);
        for request in requests {
            let mut positions = Vec::with_capacity(request.records.len());
            for record in &request.records {
                let partition = record.partition(partitions);
                let (_, section) = &mut sections[usize::from(partition)];
                let offset = section.base + section.records.len() as u64;
                section.records.push(record);
                positions.push(Position { partition, offset });
                ends[usize::from(partition)] = offset + 1;
                header.at = header.at.max(record.at);
            }
            self.positions.push(positions);
        }
        sections.retain(|(_, section)| !section.records.is_empty());
        let cursors: Vec<&Cursor> = requests.iter().filter_map(|request| request.cursor.as_ref()).collect();
        frame::encode(&mut self.bytes, header, &cursors, &sections);
        self.cursors.extend(cursors.into_iter().map(|cursor| (header.sequence, cursor.clone())));
        self.extents.push(Extent {
            bytes: (self.bytes.len() - start) as u64,
            batch_start: header.durable,
            sequence: header.sequence,
            at: header.at,
            ends: ends.to_vec(),
            has_records: !sections.is_empty(),
        });
    }
}

fn empty_sections<'a>(bases: &[u64]) -> Vec<(u16, Outgoing<'a>)> {
    (0..).zip(bases).map(|(partition, base)| (partition, Outgoing { base: *base, records: Vec::new() })).collect()
}

/// How many of the requests go into one frame together.
fn frame_share(requests: &[Request]) -> usize {
    let mut bytes = 0;
    let last = requests.iter().position(|request| {
        bytes += request.bytes;
        bytes >= FRAME_BYTES
    });
    last.map_or(requests.len(), |last| last + 1)
}

/// The requests of each topic, in order.
fn by_topic(requests: VecDeque<Request>) -> Vec<(Arc<Topic>, Vec<Request>)> {
    let mut topics: Vec<(Arc<Topic>, Vec<Request>)> = Vec::new();
    for request in requests {
        match topics.iter_mut().find(|(topic, _)| Arc::ptr_eq(topic, &request.topic)) {
            Some((_, together)) => together.push(request),
            None => topics.push((request.topic.clone(), vec![request])),
        }
    }
    topics
}
