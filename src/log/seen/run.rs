//! A run: keys that will not change, sorted, in a file of blocks.
//!
//! A run is made, then named in the manifest, then read; what the manifest does not name was never finished. The file begins with one
//! block's length for its head, of which little is used:
//!
//! ```text
//!  0  "DSR" and the version      4
//!  4  CRC-32C of what follows    4
//!  8  keys 8, blocks 8
//! ```

use super::block::{BLOCK_BYTES, Block, BlockWriter};
use super::key::Key;
use super::manifest::RunNote;
use super::outline::{Outline, OutlineWriter};
use super::{SeenError, damaged, set_aside};
use crate::log::disk::{Disk, DiskFile};
use std::io;
use std::sync::Arc;

const MAGIC: [u8; 3] = *b"DSR";
const VERSION: u8 = 1;
/// How much is written or read at once, in turn with other runs.
const CHUNK_BLOCKS: u64 = 64;
const CHUNK_BYTES: usize = CHUNK_BLOCKS as usize * BLOCK_BYTES;
/// A run is synced as it grows: all of it at once would hold up whoever else waits for the disk.
const SYNC_BYTES: u64 = 8 << 20;
/// The fewest keys of a full block, whose distances are as wide as they can be.
const FULL_BLOCK_KEYS: u64 = 170;

pub(super) struct Run {
    pub note: RunNote,
    pub outline: Outline,
    /// Of both files.
    pub disk_bytes: u64,
    file: Box<dyn DiskFile>,
}

impl Run {
    /// Opens a run that the manifest names. An outline that is damaged or missing is made anew; the damaged one is set aside.
    ///
    /// # Errors
    /// `Damaged` if the run itself cannot be read, or what the disk says.
    pub(super) fn open(disk: &dyn Disk, note: RunNote) -> Result<Run, SeenError> {
        let name = file_name(note.number);
        let file = match disk.open_to_read(&name) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(damaged(&name, 0, "it is missing")),
            Err(error) => return Err(error.into()),
        };
        let file_bytes = file.bytes()?;
        let (keys, blocks) = read_head(&*file)?.ok_or_else(|| damaged(&name, 0, "its head cannot be read"))?;
        if keys != note.keys || file_bytes < (blocks + 1) * BLOCK_BYTES as u64 {
            return Err(damaged(&name, file_bytes, "it is not as long as it was"));
        }
        let outline_name = outline_name(note.number);
        let outline = match Outline::read(disk, &outline_name) {
            Ok(outline) => outline.filter(|(outline, _)| (outline.keys, outline.blocks()) == (keys, blocks)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        let (outline, outline_bytes) = match outline {
            Some(found) => found,
            None => remake_outline(disk, &*file, note.number, keys, blocks)?,
        };
        Ok(Run { note, outline, disk_bytes: (blocks + 1) * BLOCK_BYTES as u64 + outline_bytes, file })
    }

    /// The print that the key has in this run, if it is there.
    ///
    /// # Errors
    /// `Damaged`, or what the disk says.
    pub(super) fn find(&self, key: Key) -> Result<Option<u64>, SeenError> {
        let Some(index) = self.outline.block_of(key) else { return Ok(None) };
        let mut bytes = [0; BLOCK_BYTES];
        let position = (index + 1) * BLOCK_BYTES as u64;
        self.file.read_at(&mut bytes, position)?;
        let block = Block::read(&bytes).ok_or_else(|| damaged(&file_name(self.note.number), position, "a block cannot be read"))?;
        Ok(block.find(key))
    }
}

pub(super) fn file_name(number: u64) -> String {
    format!("{number:08}.run")
}

pub(super) fn outline_name(number: u64) -> String {
    format!("{number:08}.filter")
}

/// Whether the file is a run's.
pub(super) fn parse_file_name(name: &str) -> Option<u64> {
    name.strip_suffix(".run").or_else(|| name.strip_suffix(".filter"))?.parse().ok()
}

/// Removes a run that nobody needs any more, or that was not finished. What stays is removed when the index is opened again.
pub(super) fn remove(disk: &dyn Disk, number: u64) {
    for name in [file_name(number), outline_name(number)] {
        match disk.remove(&name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(file = name, %error, "a file of the index of seen ids stays for now");
            }
            _ => {}
        }
    }
}

/// Writes a run, key by key.
pub(super) struct RunWriter {
    file: Box<dyn DiskFile>,
    number: u64,
    position: u64,
    synced: u64,
    chunk: Vec<u8>,
    block: BlockWriter,
    outline: OutlineWriter,
}

impl RunWriter {
    /// The files are there until `finish` has succeeded or `remove` was called.
    ///
    /// # Errors
    /// What the disk says.
    pub(super) fn create(disk: &dyn Disk, number: u64, keys_max: u64) -> Result<RunWriter, SeenError> {
        // Space for the widest distances; what is not needed is given back.
        let blocks_max = 1 + keys_max.div_ceil(FULL_BLOCK_KEYS);
        let file = disk.create(&file_name(number), (blocks_max + 1) * BLOCK_BYTES as u64)?;
        Ok(RunWriter {
            file,
            number,
            position: BLOCK_BYTES as u64,
            synced: 0,
            chunk: Vec::with_capacity(CHUNK_BYTES),
            block: BlockWriter::default(),
            outline: OutlineWriter::new(keys_max),
        })
    }

    /// Takes the next key: they come in ascending order.
    ///
    /// # Errors
    /// What the disk says.
    pub(super) fn push(&mut self, key: Key, print: u64) -> Result<(), SeenError> {
        if !self.block.push(key, print) {
            self.end_block()?;
            self.block.push(key, print);
        }
        self.outline.push(key);
        Ok(())
    }

    /// Makes the run durable, and readable. `note` says what is known of it but its number and its keys.
    ///
    /// # Errors
    /// What the disk says.
    pub(super) fn finish(mut self, disk: &dyn Disk, note: RunNote) -> Result<Run, SeenError> {
        self.end_block()?;
        self.flush()?;
        let outline = self.outline.finish();
        let mut head = [0; 24];
        head[..3].copy_from_slice(&MAGIC);
        head[3] = VERSION;
        head[8..16].copy_from_slice(&outline.keys.to_le_bytes());
        head[16..].copy_from_slice(&outline.blocks().to_le_bytes());
        let checksum = crc32c::crc32c(&head[8..]);
        head[4..8].copy_from_slice(&checksum.to_le_bytes());
        self.file.write_at(&head, 0)?;
        self.file.truncate(self.position)?;
        self.file.sync()?;
        let outline_bytes = outline.write(disk, &outline_name(self.number))?;
        let note = RunNote { number: self.number, keys: outline.keys, ..note };
        Ok(Run { note, outline, disk_bytes: self.position + outline_bytes, file: self.file })
    }

    fn end_block(&mut self) -> Result<(), SeenError> {
        let Some(first) = self.block.first() else { return Ok(()) };
        self.outline.push_block(first);
        self.block.write(&mut self.chunk);
        if self.chunk.len() >= CHUNK_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), SeenError> {
        self.file.write_at(&self.chunk, self.position)?;
        self.position += self.chunk.len() as u64;
        self.chunk.clear();
        if self.position - self.synced >= SYNC_BYTES {
            self.file.sync()?;
            self.synced = self.position;
        }
        Ok(())
    }
}

/// Reads a run from its beginning.
pub(super) struct RunReader {
    run: Arc<Run>,
    next_block: u64,
    entries: Vec<(Key, u64)>,
    next_entry: usize,
}

impl RunReader {
    /// Stands at the first key.
    ///
    /// # Errors
    /// `Damaged`, or what the disk says.
    pub(super) fn new(run: Arc<Run>) -> Result<RunReader, SeenError> {
        let mut reader = RunReader { run, next_block: 0, entries: Vec::new(), next_entry: 0 };
        reader.fill()?;
        Ok(reader)
    }

    /// Where the reader stands; none at the end.
    pub(super) fn entry(&self) -> Option<(Key, u64)> {
        self.entries.get(self.next_entry).copied()
    }

    /// Goes to the next key.
    ///
    /// # Errors
    /// `Damaged`, or what the disk says.
    pub(super) fn advance(&mut self) -> Result<(), SeenError> {
        self.next_entry += 1;
        if self.next_entry == self.entries.len() { self.fill() } else { Ok(()) }
    }

    fn fill(&mut self) -> Result<(), SeenError> {
        self.entries.clear();
        self.next_entry = 0;
        let blocks = CHUNK_BLOCKS.min(self.run.outline.blocks() - self.next_block);
        let entries = &mut self.entries;
        read_blocks(&*self.run.file, &file_name(self.run.note.number), self.next_block, blocks, |block| {
            entries.extend(block.entries());
        })?;
        self.next_block += blocks;
        Ok(())
    }
}

fn read_blocks(
    file: &dyn DiskFile,
    name: &str,
    first: u64,
    blocks: u64,
    mut take: impl FnMut(&Block<'_>),
) -> Result<(), SeenError> {
    let start = (first + 1) * BLOCK_BYTES as u64;
    let mut chunk = vec![0; blocks as usize * BLOCK_BYTES];
    file.read_at(&mut chunk, start)?;
    for (position, bytes) in (start..).step_by(BLOCK_BYTES).zip(chunk.as_chunks().0) {
        take(&Block::read(bytes).ok_or_else(|| damaged(name, position, "a block cannot be read"))?);
    }
    Ok(())
}

/// Keys and blocks, if the head is whole.
fn read_head(file: &dyn DiskFile) -> io::Result<Option<(u64, u64)>> {
    let mut head = [0; 24];
    if file.bytes()? < head.len() as u64 {
        return Ok(None);
    }
    file.read_at(&mut head, 0)?;
    let (opening, counts) = head.split_at(8);
    let checksum = crc32c::crc32c(counts).to_le_bytes();
    let is_whole = opening[..3] == MAGIC && opening[3] == VERSION && opening[4..] == checksum;
    let [keys, blocks] =
        [&counts[..8], &counts[8..]].map(|count| u64::from_le_bytes(count.try_into().expect("it is 8 bytes long")));
    Ok(is_whole.then_some((keys, blocks)))
}

/// Reads the whole run for its outline, and makes the outline's file anew.
fn remake_outline(disk: &dyn Disk, file: &dyn DiskFile, number: u64, keys: u64, blocks: u64) -> Result<(Outline, u64), SeenError> {
    let (name, outline_name) = (file_name(number), outline_name(number));
    let mut writer = OutlineWriter::new(keys);
    for first in (0..blocks).step_by(CHUNK_BLOCKS as usize) {
        read_blocks(file, &name, first, CHUNK_BLOCKS.min(blocks - first), |block| {
            writer.push_block(block.first());
            block.entries().for_each(|(key, _)| writer.push(key));
        })?;
    }
    let outline = writer.finish();
    set_aside(disk, &outline_name)?;
    let outline_bytes = outline.write(disk, &outline_name)?;
    tracing::warn!(file = outline_name, "a filter of the index of seen ids could not be read and was made anew");
    Ok((outline, outline_bytes))
}
