//! The newest keys, in memory until a run holds them.

use super::Offsets;
use super::key::{BuildKeyHasher, Key};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// A shelf that outgrows its space moves alone: were the bucket one map, all of it would have to move at once.
const SHELF_BITS: u32 = 6;

pub(super) struct Bucket {
    /// In the order of their keys' first bits.
    shelves: Vec<HashMap<Key, u64, BuildKeyHasher>>,
    pub keys: usize,
    /// The input offsets from which on its keys came.
    pub begins: Offsets,
}

impl Bucket {
    pub(super) fn new(begins: Offsets) -> Bucket {
        Bucket { shelves: (0..1 << SHELF_BITS).map(|_| HashMap::default()).collect(), keys: 0, begins }
    }

    pub(super) fn get(&self, key: Key) -> Option<u64> {
        self.shelves[shelf(key)].get(&key).copied()
    }

    /// Adds a key, unless it is there.
    pub(super) fn add(&mut self, key: Key, print: u64) {
        if let Entry::Vacant(place) = self.shelves[shelf(key)].entry(key) {
            place.insert(print);
            self.keys += 1;
        }
    }

    /// All keys with their prints, in order, a shelf at a time.
    pub(super) fn sorted(&self) -> impl Iterator<Item = Vec<(Key, u64)>> {
        self.shelves.iter().map(|shelf| {
            let mut entries: Vec<(Key, u64)> = shelf.iter().map(|(key, print)| (*key, *print)).collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            entries
        })
    }

    pub(super) fn memory_bytes(&self) -> usize {
        // One byte more for each place, by which it is found.
        self.shelves.iter().map(|shelf| shelf.capacity() * (size_of::<(Key, u64)>() + 1)).sum()
    }
}

fn shelf(key: Key) -> usize {
    (key.high >> (64 - SHELF_BITS)) as usize
}
