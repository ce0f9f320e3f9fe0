//! The limit: each key into a set in memory that has space for all, and 24 bytes to the end of a file. No filter, no expiry, no crash.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasherDefault, Hasher};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use super::{BATCH, Failure, mix};

/// Keys are random, and hash enough.
#[derive(Default)]
struct First(u64);

impl Hasher for First {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some((first, _)) = bytes.split_first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }
}

/// Inserts per second, and the longest batch.
pub fn insert(file: &Path, keys: u64) -> Result<(f64, Duration), Failure> {
    let mut set: HashMap<[u8; 16], u64, BuildHasherDefault<First>> = HashMap::default();
    set.reserve(usize::try_from(keys)?);
    let mut file = BufWriter::with_capacity(1 << 20, File::create(file)?);
    let (began, mut longest, mut repeats) = (Instant::now(), Duration::ZERO, 0_u64);
    for start in (0..keys).step_by(BATCH as usize) {
        let batch_began = Instant::now();
        for number in start..start + BATCH {
            let (high, low) = (mix(number).to_le_bytes(), mix(!number).to_le_bytes());
            let mut key = [0; 16];
            key[..8].copy_from_slice(&high);
            key[8..].copy_from_slice(&low);
            repeats += u64::from(set.insert(key, number).is_some());
            file.write_all(&key)?;
            file.write_all(&number.to_le_bytes())?;
        }
        longest = longest.max(batch_began.elapsed());
    }
    file.flush()?;
    if repeats > 0 {
        return Err("two keys are the same".into());
    }
    Ok((keys as f64 / began.elapsed().as_secs_f64(), longest))
}
