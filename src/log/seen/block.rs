//! The block: how a run's keys stand on disk, 4 KiB that are read and checked as one.
//!
//! Keys are sorted and evenly spread, so neighbours share their first bits: only the first key of a block is whole, the others are
//! the distance to the one before, in as few bytes as the widest of the block needs. Little endian:
//!
//! ```text
//!  0  CRC-32C of what follows    4
//!  4  keys in this block         2
//!  6  bytes of a distance        1 + 1 unused
//!  8  the first key              16
//! 24  its print                  8
//! 32  each other: distance, print
//! ```

use super::key::Key;

pub(super) const BLOCK_BYTES: usize = 4096;
const HEADER_BYTES: usize = 32;
const PRINT_BYTES: usize = 8;
/// Distances are written and read as 16 bytes, of which what follows overwrites those that are not needed.
const SPARE_BYTES: usize = 8;

/// How many keys a block has at most if distances are as narrow as can be.
#[cfg(test)]
pub(super) const KEYS_MAX: usize = 1 + (BLOCK_BYTES - HEADER_BYTES - SPARE_BYTES) / (PRINT_BYTES + 1);

/// Gathers keys in ascending order until a block is full.
#[derive(Default)]
pub(super) struct BlockWriter {
    first: Option<(Key, u64)>,
    last: u128,
    others: Vec<(u128, u64)>,
    width: usize,
}

impl BlockWriter {
    /// Takes the key, unless the block is full.
    pub(super) fn push(&mut self, key: Key, print: u64) -> bool {
        let number = key.number();
        if self.first.is_none() {
            self.first = Some((key, print));
            self.last = number;
            self.width = 1;
            return true;
        }
        debug_assert!(number > self.last, "keys ascend");
        let distance = number - self.last;
        let width = self.width.max(distance.ilog2() as usize / 8 + 1);
        if HEADER_BYTES + (self.others.len() + 1) * (width + PRINT_BYTES) + SPARE_BYTES > BLOCK_BYTES {
            return false;
        }
        self.width = width;
        self.others.push((distance, print));
        self.last = number;
        true
    }

    /// The block's first key, if it has one.
    pub(super) fn first(&self) -> Option<Key> {
        self.first.map(|(key, _)| key)
    }

    /// Appends the block to `bytes`, and is empty again. Without a key it appends nothing.
    pub(super) fn write(&mut self, bytes: &mut Vec<u8>) {
        let Some((key, print)) = self.first.take() else { return };
        let start = bytes.len();
        bytes.resize(start + BLOCK_BYTES, 0);
        let block = &mut bytes[start..];
        let keys = u16::try_from(self.others.len() + 1).expect("a block has less than its bytes");
        block[4..6].copy_from_slice(&keys.to_le_bytes());
        block[6] = self.width as u8;
        block[8..24].copy_from_slice(&key.number().to_le_bytes());
        block[24..32].copy_from_slice(&print.to_le_bytes());
        let mut position = HEADER_BYTES;
        for (distance, print) in self.others.drain(..) {
            block[position..position + 16].copy_from_slice(&distance.to_le_bytes());
            position += self.width;
            block[position..position + PRINT_BYTES].copy_from_slice(&print.to_le_bytes());
            position += PRINT_BYTES;
        }
        // What the last distance left behind it.
        block[position..].fill(0);
        let checksum = crc32c::crc32c(&block[4..]);
        block[..4].copy_from_slice(&checksum.to_le_bytes());
    }
}

/// A block whose checksum is right.
pub(super) struct Block<'b> {
    bytes: &'b [u8; BLOCK_BYTES],
    keys: usize,
    width: usize,
}

impl<'b> Block<'b> {
    /// None if the bytes are no block.
    pub(super) fn read(bytes: &'b [u8; BLOCK_BYTES]) -> Option<Block<'b>> {
        let keys = usize::from(u16::from_le_bytes(take(bytes, 4)));
        let width = usize::from(bytes[6]);
        let is_whole = u32::from_le_bytes(take(bytes, 0)) == crc32c::crc32c(&bytes[4..]);
        let others_bytes = keys.checked_sub(1)? * (width + PRINT_BYTES);
        let is_possible = (1..=16).contains(&width) && HEADER_BYTES + others_bytes + SPARE_BYTES <= BLOCK_BYTES;
        (is_whole && is_possible).then_some(Block { bytes, keys, width })
    }

    pub(super) fn first(&self) -> Key {
        Key::from_number(u128::from_le_bytes(take(self.bytes, 8)))
    }

    /// The key's print, if it is here.
    pub(super) fn find(&self, key: Key) -> Option<u64> {
        let (target, mask) = (key.number(), self.mask());
        let (mut number, mut print_at) = (self.first().number(), HEADER_BYTES - PRINT_BYTES);
        for _ in 1..self.keys {
            if number >= target {
                break;
            }
            let distance_at = print_at + PRINT_BYTES;
            number = number.wrapping_add(u128::from_le_bytes(take(self.bytes, distance_at)) & mask);
            print_at = distance_at + self.width;
        }
        (number == target).then(|| u64::from_le_bytes(take(self.bytes, print_at)))
    }

    /// Keys in ascending order, with their prints.
    pub(super) fn entries(&self) -> impl Iterator<Item = (Key, u64)> + use<'b> {
        let (bytes, width) = (self.bytes, self.width);
        let mask = self.mask();
        let mut number = self.first().number();
        let others = (1..self.keys).map(move |index| {
            let position = HEADER_BYTES + (index - 1) * (width + PRINT_BYTES);
            number = number.wrapping_add(u128::from_le_bytes(take(bytes, position)) & mask);
            (Key::from_number(number), u64::from_le_bytes(take(bytes, position + width)))
        });
        std::iter::once((self.first(), u64::from_le_bytes(take(bytes, HEADER_BYTES - PRINT_BYTES)))).chain(others)
    }

    fn mask(&self) -> u128 {
        u128::MAX >> (128 - 8 * self.width)
    }
}

fn take<const N: usize>(bytes: &[u8; BLOCK_BYTES], position: usize) -> [u8; N] {
    bytes[position..position + N].try_into().expect("it is that long")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn blocks(entries: &[(Key, u64)]) -> Vec<u8> {
        let mut writer = BlockWriter::default();
        let mut bytes = Vec::new();
        for (key, print) in entries {
            if !writer.push(*key, *print) {
                writer.write(&mut bytes);
                assert!(writer.push(*key, *print), "an empty block has space");
            }
        }
        writer.write(&mut bytes);
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Vec<(Key, u64)>> {
        let mut found = Vec::new();
        for block in bytes.as_chunks().0 {
            found.extend(Block::read(block)?.entries());
        }
        Some(found)
    }

    #[test]
    fn neighbours_fill_a_block_to_the_last_byte() {
        let entries: Vec<_> = (0..KEYS_MAX as u128).map(|number| (Key::from_number(number), number as u64)).collect();
        let bytes = blocks(&entries);
        assert_eq!((bytes.len(), read(&bytes)), (BLOCK_BYTES, Some(entries)));
    }

    #[test]
    fn any_bit_that_flips_is_found() {
        let entries: Vec<_> = (0..300_u128).map(|number| (Key::from_number(number << 100), 7)).collect();
        let whole = blocks(&entries);
        for place in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[place] ^= 1 << (place % 8);
            assert_eq!(read(&bytes), None, "at {place}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(keys in prop::collection::btree_set(prop_oneof![any::<u128>(), 0..5000_u128], 0..600)) {
            let entries: Vec<_> = keys.into_iter().map(|number| (Key::from_number(number), number as u64 ^ 5)).collect();
            let bytes = blocks(&entries);
            for block in bytes.as_chunks().0.iter().filter_map(Block::read) {
                for (key, print) in block.entries() {
                    let after = Key::from_number(key.number().wrapping_add(1));
                    prop_assert_eq!(block.find(key), Some(print));
                    prop_assert_eq!(block.find(after).is_some(), block.entries().any(|(other, _)| other == after));
                }
            }
            prop_assert_eq!(read(&bytes), Some(entries));
        }
    }
}
