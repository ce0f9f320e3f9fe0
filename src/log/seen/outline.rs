//! What is kept in memory of a run: where each block begins, and a filter that knows nearly every key that is not there.
//!
//! It stands in a file beside the run, which can make it anew. The filter is cut by the keys' first bits into shards, so that to make
//! one takes little memory, however long the run. Little endian:
//!
//! ```text
//!  0  "DSF" and the version      4
//!  4  CRC-32C of what follows, up to the shards
//!  8  keys 8, blocks 8, bits that choose a shard 4
//! 28  each block's first key     16
//!     each shard: CRC-32C of what follows 4, bytes of fingerprints 4, the filter's description 20, fingerprints
//! ```

use super::key::Key;
use crate::log::LogError;
use crate::log::disk::{Disk, DiskFile};
use std::io;
use xorf::{BinaryFuse8, BinaryFuse8Ref, DmaSerializable as _, Filter as _, FilterRef as _};

const MAGIC: [u8; 3] = *b"DSF";
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 28;
const FENCE_BYTES: usize = 16;
const DESCRIPTION_BYTES: usize = BinaryFuse8::DESCRIPTOR_LEN;
const SHARD_HEADER_BYTES: usize = 8 + DESCRIPTION_BYTES;
/// To make a shard of so many keys takes 40 MiB for the moment.
const SHARD_KEYS: u64 = 1 << 20;

pub(super) struct Outline {
    pub keys: u64,
    /// The first key of each block.
    fences: Vec<u128>,
    bits: u32,
    shards: Vec<Shard>,
}

/// The filter of one stretch of the keys.
struct Shard {
    description: [u8; DESCRIPTION_BYTES],
    /// None if the filter could not be made: then every key may be there.
    fingerprints: Box<[u8]>,
}

impl Outline {
    pub(super) fn blocks(&self) -> u64 {
        self.fences.len() as u64
    }

    /// False if the key is not in the run, and once in 256 keys true all the same.
    #[inline]
    pub(super) fn may_hold(&self, key: Key) -> bool {
        self.shards[shard(key, self.bits)].may_hold(key)
    }

    /// The block in which the key is if it is there.
    pub(super) fn block_of(&self, key: Key) -> Option<u64> {
        let after = self.fences.partition_point(|fence| *fence <= key.number());
        after.checked_sub(1).map(|block| block as u64)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let shards_bytes: usize = self.shards.iter().map(|shard| size_of::<Shard>() + shard.fingerprints.len()).sum();
        shards_bytes + self.fences.len() * FENCE_BYTES
    }

    /// Makes a file of it; says how long it is.
    ///
    /// # Errors
    /// What the disk says.
    pub(super) fn write(&self, disk: &dyn Disk, name: &str) -> Result<u64, LogError> {
        let mut bytes = Vec::with_capacity(self.memory_bytes() + HEADER_BYTES + SHARD_HEADER_BYTES * self.shards.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.push(VERSION);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.keys.to_le_bytes());
        bytes.extend_from_slice(&self.blocks().to_le_bytes());
        bytes.extend_from_slice(&self.bits.to_le_bytes());
        self.fences.iter().for_each(|fence| bytes.extend_from_slice(&fence.to_le_bytes()));
        seal(&mut bytes, 4);
        for shard in &self.shards {
            shard.write(&mut bytes);
        }
        let file = disk.create(name, bytes.len() as u64)?;
        file.write_at(&bytes, 0)?;
        file.sync()?;
        Ok(bytes.len() as u64)
    }

    /// The outline in a file, with the file's length; none if it is not whole.
    ///
    /// # Errors
    /// What the disk says, that there is no such file too.
    pub(super) fn read(disk: &dyn Disk, name: &str) -> io::Result<Option<(Outline, u64)>> {
        let file = disk.open_to_read(name)?;
        let mut input = Input { bytes_left: file.bytes()?, file: &*file, position: 0 };
        let Some(outline) = read(&mut input)? else { return Ok(None) };
        Ok(Some((outline, input.position)))
    }
}

/// Makes an outline while a run is written.
pub(super) struct OutlineWriter {
    outline: Outline,
    /// The first bits of the keys of the shard that is being gathered.
    gathered: Vec<u64>,
}

impl OutlineWriter {
    /// For a run of about so many keys.
    pub(super) fn new(keys: u64) -> OutlineWriter {
        let bits = keys.div_ceil(SHARD_KEYS).next_power_of_two().ilog2();
        OutlineWriter { outline: Outline { keys: 0, fences: Vec::new(), bits, shards: Vec::new() }, gathered: Vec::new() }
    }

    /// Takes note of the next key.
    pub(super) fn push(&mut self, key: Key) {
        self.close_shards_before(shard(key, self.outline.bits));
        self.outline.keys += 1;
        // The filter wants no value twice.
        if self.gathered.last() != Some(&key.high) {
            self.gathered.push(key.high);
        }
    }

    /// Takes note of the next block, which begins with that key.
    pub(super) fn push_block(&mut self, first: Key) {
        self.outline.fences.push(first.number());
    }

    pub(super) fn finish(mut self) -> Outline {
        self.close_shards_before(1 << self.outline.bits);
        self.outline.fences.shrink_to_fit();
        self.outline
    }

    fn close_shards_before(&mut self, shard: usize) {
        while self.outline.shards.len() < shard {
            self.outline.shards.push(Shard::new(&self.gathered));
            self.gathered.clear();
        }
    }
}

#[inline]
fn shard(key: Key, bits: u32) -> usize {
    (u128::from(key.high) << bits >> 64) as usize
}

/// Puts before the bytes, in the four at `place`, the checksum of those that follow.
fn seal(bytes: &mut [u8], place: usize) {
    let checksum = crc32c::crc32c(&bytes[place + 4..]);
    bytes[place..place + 4].copy_from_slice(&checksum.to_le_bytes());
}

impl Shard {
    /// A filter of these values, of which no two are the same.
    fn new(values: &[u64]) -> Shard {
        let mut shard = Shard { description: [0; DESCRIPTION_BYTES], fingerprints: Box::default() };
        if let Ok(filter) = BinaryFuse8::try_from(values) {
            filter.dma_copy_descriptor_to(&mut shard.description);
            shard.fingerprints = filter.fingerprints;
        }
        shard
    }

    #[inline]
    fn may_hold(&self, key: Key) -> bool {
        self.fingerprints.is_empty() || BinaryFuse8Ref::from_dma(&self.description, &self.fingerprints).contains(&key.high)
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        let start = bytes.len();
        let fingerprints_bytes = u32::try_from(self.fingerprints.len()).expect("the filter counts by u32");
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&fingerprints_bytes.to_le_bytes());
        bytes.extend_from_slice(&self.description);
        bytes.extend_from_slice(&self.fingerprints);
        seal(&mut bytes[start..], 0);
    }

    /// None if its checksum is wrong.
    fn read(input: &mut Input<'_>) -> io::Result<Option<Shard>> {
        let Some(header) = input.take(SHARD_HEADER_BYTES as u64)? else { return Ok(None) };
        let Some(fingerprints) = input.take(u64::from(half_word(&header, 4)))? else { return Ok(None) };
        if half_word(&header, 0) != crc32c::crc32c_append(crc32c::crc32c(&header[4..]), &fingerprints) {
            return Ok(None);
        }
        let description = header[8..].try_into().expect("it is the rest of the header");
        Ok(Some(Shard { description, fingerprints: fingerprints.into_boxed_slice() }))
    }
}

/// A file that is read from its beginning.
struct Input<'f> {
    file: &'f dyn DiskFile,
    position: u64,
    bytes_left: u64,
}

impl Input<'_> {
    /// None if there is not so much.
    fn take(&mut self, bytes: u64) -> io::Result<Option<Vec<u8>>> {
        if bytes > self.bytes_left {
            return Ok(None);
        }
        let mut taken = vec![0; usize::try_from(bytes).map_err(io::Error::other)?];
        self.file.read_at(&mut taken, self.position)?;
        self.position += bytes;
        self.bytes_left -= bytes;
        Ok(Some(taken))
    }
}

fn read(input: &mut Input<'_>) -> io::Result<Option<Outline>> {
    let Some(header) = input.take(HEADER_BYTES as u64)? else { return Ok(None) };
    let (keys, blocks, bits) = (word(&header, 8), word(&header, 16), half_word(&header, 24));
    let fences_bytes =
        blocks.checked_mul(FENCE_BYTES as u64).filter(|_| bits < 32 && header.starts_with(&MAGIC) && header[3] == VERSION);
    let Some(fences) = fences_bytes.map(|bytes| input.take(bytes)).transpose()?.flatten() else { return Ok(None) };
    if half_word(&header, 4) != crc32c::crc32c_append(crc32c::crc32c(&header[8..]), &fences) {
        return Ok(None);
    }
    let fences = fences.as_chunks().0.iter().map(|fence| u128::from_le_bytes(*fence)).collect();
    let mut shards = Vec::with_capacity(1 << bits);
    for _ in 0..1_u32 << bits {
        let Some(shard) = Shard::read(input)? else { return Ok(None) };
        shards.push(shard);
    }
    Ok(Some(Outline { keys, fences, bits, shards }))
}

fn word(bytes: &[u8], place: usize) -> u64 {
    u64::from_le_bytes(bytes[place..place + 8].try_into().expect("it is that long"))
}

fn half_word(bytes: &[u8], place: usize) -> u32 {
    u32::from_le_bytes(bytes[place..place + 4].try_into().expect("it is that long"))
}
