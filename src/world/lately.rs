//! What was met lately, by SHA-256: a bounded memory whose every lookup may write nothing.
//!
//! Values stand in two generations. What is found in the older one moves to the younger; when that is full it becomes the older,
//! and what nobody asked for meanwhile is forgotten. A library that ranks each value by its use counts every lookup, and that took
//! a twentieth of an introspection (2026-11).

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

/// Parts with a lock each, so that the processors do not wait for each other.
const PARTS: usize = 16;

/// Values by the SHA-256 of what they were made from.
pub struct Lately<V> {
    parts: [RwLock<Generations<V>>; PARTS],
    /// Values of one generation in one part.
    values_max: usize,
}

struct Generations<V> {
    younger: HashMap<[u8; 32], V>,
    older: HashMap<[u8; 32], V>,
}

impl<V: Clone> Lately<V> {
    /// A memory of at most so many values.
    pub fn new(values_max: usize) -> Lately<V> {
        let part = |_| RwLock::new(Generations { younger: HashMap::new(), older: HashMap::new() });
        Lately { parts: std::array::from_fn(part), values_max: (values_max / PARTS / 2).max(1) }
    }

    /// The value, if it is not forgotten.
    pub fn get(&self, hash: &[u8; 32]) -> Option<V> {
        let part = self.part(hash).read().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = part.younger.get(hash) {
            return Some(value.clone());
        }
        let value = part.older.get(hash)?.clone();
        drop(part);
        self.keep(*hash, value.clone());
        Some(value)
    }

    /// Remembers a value.
    pub fn keep(&self, hash: [u8; 32], value: V) {
        let mut part = self.part(&hash).write().unwrap_or_else(PoisonError::into_inner);
        if part.younger.len() >= self.values_max && !part.younger.contains_key(&hash) {
            part.older = std::mem::take(&mut part.younger);
        }
        part.younger.insert(hash, value);
    }

    fn part(&self, hash: &[u8; 32]) -> &RwLock<Generations<V>> {
        &self.parts[usize::from(hash[0]) % PARTS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hash of a number, all in one part.
    fn hash(number: u8) -> [u8; 32] {
        let mut hash = [0; 32];
        hash[31] = number;
        hash
    }

    #[test]
    fn what_is_asked_for_stays_and_the_rest_is_forgotten() {
        let lately = Lately::new(4 * 2 * PARTS);
        for number in 0..100 {
            lately.keep(hash(number), number);
            assert_eq!(lately.get(&hash(0)), Some(0), "it is asked for all the time");
        }
        let remembered = (0..100).filter(|number| lately.get(&hash(*number)).is_some()).count();
        assert!((4..=8).contains(&remembered), "{remembered}");
        assert_eq!((lately.get(&hash(99)), lately.get(&hash(1))), (Some(99), None));
    }
}
