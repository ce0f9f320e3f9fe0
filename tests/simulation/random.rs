//! Choices that follow from a seed: SplitMix64.

use std::ops::Range;

/// A source of choices; the same seed makes the same ones.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of the range, which is not empty.
    pub fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.number() % (range.end - range.start)
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.within(0..100) < percent
    }

    /// An index below `count`; `None` if there is none.
    pub fn index(&mut self, count: usize) -> Option<usize> {
        (count > 0).then(|| self.within(0..count as u64) as usize)
    }

    pub fn pick<'t, T>(&mut self, choices: &'t [T]) -> Option<&'t T> {
        self.index(choices.len()).map(|index| &choices[index])
    }

    /// One of the choices, each as often as its weight says.
    pub fn weighted<T: Copy>(&mut self, choices: &[(u64, T)]) -> T {
        let total = choices.iter().map(|(weight, _)| weight).sum();
        let mut left = self.within(0..total);
        for (weight, choice) in choices {
            if left < *weight {
                return *choice;
            }
            left -= weight;
        }
        unreachable!("the weights sum up to the total")
    }
}
