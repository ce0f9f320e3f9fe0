//! Random bytes, real or seeded. Private keys and nonces never come from here: their library asks the operating system itself.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::keys::secrets;
use aws_lc_rs::digest::{SHA256, digest};

/// Where random bytes come from.
pub trait Entropy: Send + Sync {
    /// Fills a buffer of at most 32 bytes.
    fn fill(&self, buffer: &mut [u8; 32]);
}

impl dyn Entropy + '_ {
    /// `N` random bytes; at most 32.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        const { assert!(N <= 32) };
        let mut buffer = [0u8; 32];
        self.fill(&mut buffer);
        let mut bytes = [0u8; N];
        bytes.copy_from_slice(&buffer[..N]);
        bytes
    }
}

/// The operating system's randomness.
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, buffer: &mut [u8; 32]) {
        *buffer = secrets::random();
    }
}

/// The same bytes for the same seed, in the order of the calls.
pub struct SeededEntropy {
    seed: u64,
    calls: AtomicU64,
}

impl SeededEntropy {
    pub fn new(seed: u64) -> SeededEntropy {
        SeededEntropy { seed, calls: AtomicU64::new(0) }
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, buffer: &mut [u8; 32]) {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let input = [self.seed.to_be_bytes(), call.to_be_bytes()].concat();
        buffer.copy_from_slice(digest(&SHA256, &input).as_ref());
    }
}
