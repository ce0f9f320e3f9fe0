//! A disk in memory for tests and the simulator: seeded, and as unkind as a real one may be.
//!
//! At a crash, each write that was not synced survives wholly, in part (a prefix, or a choice of its sectors), or not at all. A
//! failed sync leaves its writes readable until the crash and in doubt for ever, as a page cache does.

use super::{Disk, DiskFile, LogError};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

const SECTOR_BYTES: usize = 512;

/// The disk; clones are the same disk.
#[derive(Clone)]
pub struct SimulatedDisk {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    released: Condvar,
}

struct State {
    random: u64,
    names: BTreeMap<String, u64>,
    files: HashMap<u64, Contents>,
    files_made: u64,
    is_locked: bool,
    /// How often the power came back. What was opened before is dead.
    boots: u64,
    is_on: bool,
    operations_until_power_off: Option<u64>,
    /// Counted from here.
    failing_operations: Range<u64>,
    are_syncs_held: bool,
    syncs: u64,
    capacity_bytes: u64,
}

#[derive(Default)]
struct Contents {
    live: Image,
    durable: Image,
    unsynced: Vec<Change>,
}

/// What a file holds. Space that is set aside and not written yet takes no memory.
#[derive(Clone, Default)]
struct Image {
    /// Up to the last byte that was written; from there on it reads as zeros.
    written: Vec<u8>,
    bytes: usize,
}

struct Change {
    kind: ChangeKind,
    /// A sync that should have covered it has failed; no later one will.
    is_doubtful: bool,
}

enum ChangeKind {
    Write { position: usize, bytes: Vec<u8> },
    Truncate { bytes: usize },
}

impl SimulatedDisk {
    /// An empty disk without limits, whose misfortunes follow from the seed.
    pub fn new(seed: u64) -> SimulatedDisk {
        let state = State {
            random: seed,
            names: BTreeMap::new(),
            files: HashMap::new(),
            files_made: 0,
            is_locked: false,
            boots: 0,
            is_on: true,
            operations_until_power_off: None,
            failing_operations: 0..0,
            are_syncs_held: false,
            syncs: 0,
            capacity_bytes: u64::MAX,
        };
        SimulatedDisk { shared: Arc::new(Shared { state: Mutex::new(state), released: Condvar::new() }) }
    }

    /// From now on nothing works.
    pub fn power_off(&self) {
        let mut state = self.state();
        state.is_on = false;
        self.shared.released.notify_all();
    }

    /// The power fails at the given changing operation from here: 0 is the very next write, sync, create, remove or truncate.
    pub fn power_off_after(&self, operations: u64) {
        self.state().operations_until_power_off = Some(operations);
    }

    /// The power comes back, and what was not synced has met its fate. Files and locks taken before are dead; faults are over.
    pub fn restart(&self) {
        let mut state = self.state();
        let mut random = state.random;
        for contents in state.files.values_mut() {
            contents.crash(&mut random);
        }
        let named: Vec<u64> = state.names.values().copied().collect();
        state.files.retain(|file, _| named.contains(file));
        state.random = random;
        state.boots += 1;
        state.is_on = true;
        state.is_locked = false;
        state.operations_until_power_off = None;
        state.failing_operations = 0..0;
        state.are_syncs_held = false;
        self.shared.released.notify_all();
    }

    /// Which of the changing operations from here on fail, half done: `0..3` are the next three, `1..2` is the one after the next.
    pub fn fail(&self, operations: Range<u64>) {
        self.state().failing_operations = operations;
    }

    /// Syncs wait from now on, until `release_syncs`: the slowest disk there is.
    pub fn hold_syncs(&self) {
        self.state().are_syncs_held = true;
    }

    /// Lets the syncs that wait go on.
    pub fn release_syncs(&self) {
        self.state().are_syncs_held = false;
        self.shared.released.notify_all();
    }

    /// How many syncs have begun, those of new files' names not counted.
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// The disk holds no more than this.
    pub fn set_capacity(&self, bytes: u64) {
        self.state().capacity_bytes = bytes;
    }

    /// What the files take up.
    pub fn bytes_used(&self) -> u64 {
        self.state().bytes_used()
    }

    /// The bytes of a file, if there is one of that name.
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state();
        let file = state.names.get(name)?;
        state.files.get(file).map(|contents| contents.live.read(0..contents.live.bytes).expect("it is all of the file"))
    }

    /// Puts a file there, durable.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        let mut state = self.state();
        let file = state.make(name);
        let image = Image { bytes: bytes.len(), written: bytes };
        state.files.insert(file, Contents { live: image.clone(), durable: image, unsynced: Vec::new() });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }
}

impl State {
    fn bytes_used(&self) -> u64 {
        self.names.values().filter_map(|file| self.files.get(file)).map(|contents| contents.live.bytes as u64).sum()
    }

    fn make(&mut self, name: &str) -> u64 {
        self.files_made += 1;
        self.names.insert(name.to_owned(), self.files_made);
        self.files_made
    }

    /// Whether the next changing operation succeeds.
    fn change(&mut self) -> io::Result<()> {
        if let Some(left) = &mut self.operations_until_power_off {
            match left.checked_sub(1) {
                Some(fewer) => *left = fewer,
                None => self.is_on = false,
            }
        }
        self.power()?;
        let Range { start, end } = self.failing_operations;
        self.failing_operations = start.saturating_sub(1)..end.saturating_sub(1);
        if start == 0 && end > 0 {
            return Err(io::Error::other("a simulated fault"));
        }
        Ok(())
    }

    fn power(&self) -> io::Result<()> {
        if self.is_on { Ok(()) } else { Err(io::Error::other("the power is off")) }
    }
}

impl Contents {
    fn crash(&mut self, random: &mut u64) {
        for change in self.unsynced.drain(..) {
            let whole = match &change.kind {
                ChangeKind::Write { bytes, .. } => bytes.len(),
                ChangeKind::Truncate { .. } => 1,
            };
            match below(random, 4) {
                0 => {}
                1 => apply(&mut self.durable, &change.kind, |_| true),
                2 => {
                    let kept = below(random, whole as u64 + 1) as usize;
                    apply(&mut self.durable, &change.kind, |index| index < kept);
                }
                _ => {
                    let salt = next(random);
                    apply(&mut self.durable, &change.kind, |index| next(&mut (salt ^ (index / SECTOR_BYTES) as u64)) & 1 == 0);
                }
            }
        }
        self.live = self.durable.clone();
    }

    fn sync(&mut self) {
        let (kept, synced): (Vec<Change>, Vec<Change>) = self.unsynced.drain(..).partition(|change| change.is_doubtful);
        for change in synced {
            apply(&mut self.durable, &change.kind, |_| true);
        }
        self.unsynced = kept;
    }

    fn change(&mut self, kind: ChangeKind) {
        apply(&mut self.live, &kind, |_| true);
        self.unsynced.push(Change { kind, is_doubtful: false });
    }
}

impl Image {
    fn zeros(bytes: usize) -> Image {
        Image { written: Vec::new(), bytes }
    }

    /// `None` beyond the end.
    fn read(&self, range: Range<usize>) -> Option<Vec<u8>> {
        if range.end > self.bytes {
            return None;
        }
        let written = self.written.get(range.start.min(self.written.len())..range.end.min(self.written.len()))?;
        let mut found = vec![0; range.len()];
        found[..written.len()].copy_from_slice(written);
        Some(found)
    }
}

/// Does the part of a change whose bytes are chosen.
fn apply(file: &mut Image, change: &ChangeKind, is_chosen: impl Fn(usize) -> bool) {
    match change {
        ChangeKind::Truncate { bytes } if is_chosen(0) => {
            file.written.truncate(*bytes);
            file.bytes = *bytes;
        }
        ChangeKind::Truncate { .. } => {}
        ChangeKind::Write { position, bytes } => {
            let end = position + bytes.len();
            if file.written.len() < end {
                file.written.resize(end, 0);
            }
            file.bytes = file.bytes.max(end);
            for (index, byte) in bytes.iter().enumerate().filter(|(index, _)| is_chosen(*index)) {
                file.written[position + index] = *byte;
            }
        }
    }
}

/// SplitMix64.
fn next(random: &mut u64) -> u64 {
    *random = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *random;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn below(random: &mut u64, bound: u64) -> u64 {
    next(random) % bound
}

struct SimulatedLock {
    shared: Arc<Shared>,
    boot: u64,
}

impl Drop for SimulatedLock {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        if state.boots == self.boot {
            state.is_locked = false;
        }
    }
}

impl Disk for SimulatedDisk {
    fn folder(&self) -> String {
        "the simulated disk".to_owned()
    }

    fn lock(&self) -> Result<Box<dyn Send + Sync>, LogError> {
        let mut state = self.state();
        state.power()?;
        if state.is_locked {
            return Err(LogError::Locked { folder: self.folder() });
        }
        state.is_locked = true;
        Ok(Box::new(SimulatedLock { shared: self.shared.clone(), boot: state.boots }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let state = self.state();
        state.power()?;
        Ok(state.names.keys().cloned().collect())
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        // Before the fault is known: a create that fails may have left an empty file.
        let file = state.make(name);
        state.files.insert(file, Contents::default());
        state.change()?;
        if bytes > state.capacity_bytes.saturating_sub(state.bytes_used()) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let zeros = Image::zeros(usize::try_from(bytes).map_err(io::Error::other)?);
        state.files.insert(file, Contents { live: zeros.clone(), durable: zeros, unsynced: Vec::new() });
        Ok(Box::new(SimulatedFile { shared: self.shared.clone(), file, boot: state.boots }))
    }

    fn open_to_write(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.open_to_read(name)
    }

    fn open_to_read(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let state = self.state();
        state.power()?;
        let file = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(SimulatedFile { shared: self.shared.clone(), file, boot: state.boots }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.change()?;
        state.names.remove(name).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn rename(&self, name: &str, new_name: &str) -> io::Result<()> {
        let mut state = self.state();
        let outcome = state.change();
        // One that fails has happened or not.
        if outcome.is_ok() || below(&mut state.random, 2) == 0 {
            let file = state.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
            state.names.insert(new_name.to_owned(), file);
        }
        outcome
    }
}

struct SimulatedFile {
    shared: Arc<Shared>,
    file: u64,
    boot: u64,
}

impl SimulatedFile {
    fn with<T>(&self, use_contents: impl FnOnce(&mut State, u64) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.shared.state();
        self.check(&state)?;
        use_contents(&mut state, self.file)
    }

    fn check(&self, state: &State) -> io::Result<()> {
        if state.boots == self.boot { state.power() } else { Err(io::Error::other("opened before the power failed")) }
    }
}

fn contents(state: &mut State, file: u64) -> io::Result<&mut Contents> {
    state.files.get_mut(&file).ok_or(io::ErrorKind::NotFound.into())
}

impl DiskFile for SimulatedFile {
    fn bytes(&self) -> io::Result<u64> {
        self.with(|state, file| Ok(contents(state, file)?.live.bytes as u64))
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        self.with(|state, file| {
            let start = usize::try_from(position).map_err(io::Error::other)?;
            let found = contents(state, file)?.live.read(start..start + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            buffer.copy_from_slice(&found);
            Ok(())
        })
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.with(|state, file| {
            let outcome = state.change();
            let done = match outcome {
                Ok(()) => bytes.len(),
                Err(_) => below(&mut state.random, bytes.len() as u64 + 1) as usize,
            };
            let position = usize::try_from(position).map_err(io::Error::other)?;
            contents(state, file)?.change(ChangeKind::Write { position, bytes: bytes[..done].to_vec() });
            outcome
        })
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.shared.state();
        state.syncs += 1;
        while state.are_syncs_held && state.is_on && state.boots == self.boot {
            state = self.shared.released.wait(state).expect("no holder of this lock panics");
        }
        self.check(&state)?;
        let outcome = state.change();
        let contents = contents(&mut state, self.file)?;
        match outcome {
            Ok(()) => contents.sync(),
            Err(_) => contents.unsynced.iter_mut().for_each(|change| change.is_doubtful = true),
        }
        outcome
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.with(|state, file| {
            state.change()?;
            let bytes = usize::try_from(bytes).map_err(io::Error::other)?;
            contents(state, file)?.change(ChangeKind::Truncate { bytes });
            Ok(())
        })
    }
}
