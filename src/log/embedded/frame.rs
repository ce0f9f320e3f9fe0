//! The frame: what the log writes and checks as one. All of it counts or none.
//!
//! Little endian, padded with zeros to a multiple of 8 bytes:
//!
//! ```text
//!  0  "DLG" and the version      4
//!  4  CRC-32C of what follows    4
//!  8  body bytes, padding too    4
//! 12  salt of the segment        4   so that no payload can pose as a frame
//! 16  sequence                   8   grows with every frame of the log, across topics
//! 24  durable                    8   how many bytes of the segment were durable when this was written
//! 32  at                         8   the latest time of any record up to and with this frame
//! 40  cursors, sections          4 + 4
//! 48  each cursor                1 + 1 + 8, consumer, input
//!     each section               partition 2, records 4, first offset 8, bytes 4; each record: at 8, bytes 4, payload
//! ```
//!
//! `durable` tells a torn tail from damage. A batch is synced before the next is written, so frames that follow a broken one
//! belong to the same unfinished batch if they say that nothing beyond the broken one's place was durable. If one says otherwise,
//! then the broken frame had been durable, and is damaged.

use super::super::{Cursor, Record};
use crate::domain::time::Timestamp;
use bytes::Bytes;

pub(super) const HEADER_BYTES: usize = 40;
pub(super) const VERSION: u8 = 1;
/// Frames begin at multiples of this.
pub(super) const ALIGNMENT: usize = 8;

/// How every frame begins.
pub(super) const MAGIC: [u8; 3] = *b"DLG";

/// Where the part begins that the checksum covers.
const CHECKED_FROM: usize = 8;
const RECORD_HEADER_BYTES: usize = 12;
const CURSOR_HEADER_BYTES: usize = 10;

#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub salt: u32,
    pub sequence: u64,
    pub durable: u64,
    pub at: Timestamp,
}

/// A frame as it was read. Its checksum is right.
pub(super) struct Frame {
    pub header: Header,
    pub bytes: usize,
    pub cursors: Vec<Cursor>,
    pub sections: Vec<Section>,
}

/// The records of one partition in one frame; none where a segment's first frame only says where the partition goes on.
pub(super) struct Section {
    pub partition: u16,
    pub base: u64,
    pub count: u32,
    records: Bytes,
}

impl Section {
    pub(super) fn end(&self) -> u64 {
        self.base + u64::from(self.count)
    }

    /// The payload of one of the records, without copying it.
    pub(super) fn share(&self, payload: &[u8]) -> Bytes {
        self.records.slice_ref(payload)
    }

    /// Offset, time and payload of each record.
    pub(super) fn records(&self) -> impl Iterator<Item = (u64, Timestamp, &[u8])> {
        let mut rest = Input(&self.records);
        (self.base..self.end()).map_while(move |offset| {
            let at = Timestamp(rest.u64()?.cast_signed());
            let bytes = rest.u32()? as usize;
            Some((offset, at, rest.take(bytes)?))
        })
    }
}

/// What makes bytes no frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// They end too early.
    Short,
    Broken,
    Newer(u8),
}

/// The records that go to one partition.
pub(super) struct Outgoing<'a> {
    pub base: u64,
    pub records: Vec<&'a Record>,
}

/// What the record takes up in a frame, its share of the frame's own headers included.
pub(super) fn record_bytes(record: &Record) -> usize {
    RECORD_HEADER_BYTES + record.payload.len()
}

/// What the cursor takes up in a frame.
pub(super) fn cursor_bytes(cursor: &Cursor) -> usize {
    CURSOR_HEADER_BYTES + cursor.consumer.len() + cursor.input.len()
}

/// Appends the frame to the buffer. The sections' partitions are their indexes; those without records are written in a segment's
/// first frame only.
pub(super) fn encode(buffer: &mut Vec<u8>, header: &Header, cursors: &[&Cursor], sections: &[(u16, Outgoing<'_>)]) {
    let start = buffer.len();
    buffer.extend_from_slice(&MAGIC);
    buffer.push(VERSION);
    buffer.extend_from_slice(&[0; 8]);
    buffer.extend_from_slice(&header.salt.to_le_bytes());
    buffer.extend_from_slice(&header.sequence.to_le_bytes());
    buffer.extend_from_slice(&header.durable.to_le_bytes());
    buffer.extend_from_slice(&header.at.0.to_le_bytes());
    buffer.extend_from_slice(&length(cursors.len()));
    buffer.extend_from_slice(&length(sections.len()));
    for cursor in cursors {
        buffer.extend_from_slice(&[short_length(&cursor.consumer), short_length(&cursor.input)]);
        buffer.extend_from_slice(&cursor.next.to_le_bytes());
        buffer.extend_from_slice(cursor.consumer.as_bytes());
        buffer.extend_from_slice(cursor.input.as_bytes());
    }
    for (partition, section) in sections {
        buffer.extend_from_slice(&partition.to_le_bytes());
        buffer.extend_from_slice(&length(section.records.len()));
        buffer.extend_from_slice(&section.base.to_le_bytes());
        buffer.extend_from_slice(&length(section.records.iter().map(|record| record_bytes(record)).sum()));
        for record in &section.records {
            buffer.extend_from_slice(&record.at.0.to_le_bytes());
            buffer.extend_from_slice(&length(record.payload.len()));
            buffer.extend_from_slice(&record.payload);
        }
    }
    buffer.resize(start + (buffer.len() - start).next_multiple_of(ALIGNMENT), 0);
    let body = length(buffer.len() - start - HEADER_BYTES);
    buffer[start + 8..start + 12].copy_from_slice(&body);
    let crc = crc32c::crc32c(&buffer[start + CHECKED_FROM..]);
    buffer[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
}

/// How long the frame is that begins here, if it is one.
pub(super) fn measure(bytes: &[u8]) -> Result<usize, Flaw> {
    let Some(header) = bytes.get(..HEADER_BYTES) else { return Err(Flaw::Short) };
    match header[..4] {
        [a, b, c, version] if [a, b, c] == MAGIC && version > VERSION => Err(Flaw::Newer(version)),
        [a, b, c, VERSION] if [a, b, c] == MAGIC => {
            let body_bytes = Input(&header[8..]).u32().ok_or(Flaw::Short)?;
            Ok(HEADER_BYTES + body_bytes as usize)
        }
        _ => Err(Flaw::Broken),
    }
}

/// What the header claims, the checksum not being looked at.
pub(super) fn claim(header: &[u8; HEADER_BYTES]) -> Option<Header> {
    measure(header).ok()?;
    Header::parse(Input(&header[12..]))
}

/// The frame that the bytes begin with.
pub(super) fn decode(bytes: &Bytes) -> Result<Frame, Flaw> {
    let whole = measure(bytes)?;
    let frame = bytes.get(..whole).ok_or(Flaw::Short)?;
    let crc = Input(&frame[4..]).u32().ok_or(Flaw::Short)?;
    if crc32c::crc32c(&frame[CHECKED_FROM..]) != crc || !whole.is_multiple_of(ALIGNMENT) {
        return Err(Flaw::Broken);
    }
    parse(&bytes.slice_ref(frame)).ok_or(Flaw::Broken)
}

impl Header {
    fn parse(mut input: Input<'_>) -> Option<Header> {
        Some(Header {
            salt: input.u32()?,
            sequence: input.u64()?,
            durable: input.u64()?,
            at: Timestamp(input.u64()?.cast_signed()),
        })
    }
}

fn parse(frame: &Bytes) -> Option<Frame> {
    let header = Header::parse(Input(&frame[12..]))?;
    let mut body = Input(&frame[HEADER_BYTES..]);
    let (cursor_count, section_count) = (body.u32()?, body.u32()?);
    let mut cursors = Vec::new();
    for _ in 0..cursor_count {
        let lengths = body.take(2)?;
        let (consumer, input, next) = (usize::from(lengths[0]), usize::from(lengths[1]), body.u64()?);
        cursors.push(Cursor { consumer: body.text(consumer)?, input: body.text(input)?, next, epoch: None });
    }
    let mut sections = Vec::new();
    for _ in 0..section_count {
        let (partition, count, base, bytes) = (body.u16()?, body.u32()?, body.u64()?, body.u32()?);
        sections.push(Section { partition, base, count, records: frame.slice_ref(body.take(bytes as usize)?) });
    }
    Some(Frame { header, bytes: frame.len(), cursors, sections })
}

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).expect("an append and a frame are limited to a few MiB").to_le_bytes()
}

fn short_length(name: &str) -> u8 {
    u8::try_from(name.len()).expect("names of cursors were checked when they were committed")
}

/// What is still to be read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self, bytes: usize) -> Option<String> {
        String::from_utf8(self.take(bytes)?.to_vec()).ok()
    }
}
