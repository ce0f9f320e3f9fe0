//! Which ids were there before, over a window of log time: an index of keys, each with a print of the payload that it came with.
//!
//! The newest keys are in memory; the others are in runs, sorted files that never change, each with a filter in memory that knows
//! nearly every key which is not there. Log time is cut into epochs. The runs of an epoch become one, and when the epoch is older
//! than the window they are deleted: nothing is ever taken out of a run.
//!
//! The index is a cache of the log, and never ahead of it: who uses it probes, commits to the log what is first, and then adds it.
//! After a crash the index knows up to which input it can answer (`checkpoint`), and the input from there up to the log's own cursor
//! is probed and added once more, without publishing anything. A run that is found damaged is set aside under another name and the
//! checkpoint goes back to where its keys began.
//!
//! Invariants:
//! - A key that was added is found until the window has passed it, and a key that was not is never found: filters only save reads.
//! - `probe` and `add` never wait for a run to be written. When that falls behind, `probe` says so, and memory stays bounded.
//! - The window is of log time. If the keys are too many for it, it shrinks, and that is told.

/// What an id and a payload are known by.
mod key;
/// Log time.
mod clock;
/// What expires as one.
mod window;
/// The newest keys, in memory.
mod bucket;
/// How keys stand on disk.
mod block;
/// What is kept in memory of a run.
mod outline;
/// A file of keys that does not change.
mod run;
/// Which runs count.
mod manifest;
/// How an index is opened again.
mod recover;
/// One run of several.
mod merge;
/// The thread that writes.
mod keeper;

#[cfg(test)]
mod tests;

pub use key::{Fingerprints, Key};

use super::LogError;
use super::disk::Disk;
use crate::domain::time::Timestamp;
use bucket::Bucket;
use keeper::{Keeper, Report, Seal, Task};
use key::BuildKeyHasher;
use run::Run;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;
use std::time::Duration;
use window::Window;

/// How many buckets may wait to become runs.
const WAITING_MAX: usize = 2;
/// So much input is read again at most after a crash, and a bucket more: memory is given up early if few of the input's ids are new.
const REPLAY_RECORDS_MAX: u64 = 4 << 20;

/// What a key takes up on disk.
const KEY_DISK_BYTES: u64 = 24;

/// Of each partition of the input, the offset that comes next. One that is missing begins at 0.
pub type Offsets = BTreeMap<u16, u64>;

/// What an installation may decide about its index.
#[derive(Clone)]
pub struct Settings {
    /// How long an id is remembered at least, by log time.
    pub window: Duration,
    /// With more keys than this, the window shrinks. A key takes `KEY_DISK_BYTES` on disk and one and a quarter in memory.
    pub keys_max: u64,
    /// How many keys memory gathers before they become a run, at 29 bytes each, up to three times.
    pub bucket_keys_max: usize,
}

impl Settings {
    /// What the index takes up on disk, at most: all keys, and once more those of the epoch whose runs become one.
    pub fn disk_bytes_max(&self) -> u64 {
        self.keys_max.saturating_add(self.keys_max / u64::from(window::EPOCHS)).saturating_mul(KEY_DISK_BYTES)
    }

    /// What it takes up in memory, at most: filters, and the newest keys.
    pub fn memory_bytes_max(&self) -> u64 {
        (self.keys_max / 4).saturating_mul(5).saturating_add(3 * 29 * self.bucket_keys_max as u64)
    }
}

impl Default for Settings {
    fn default() -> Settings {
        // A bucket's 64 shelves then nearly fill space for 28,672 keys each.
        Settings { window: Duration::from_hours(28 * 24), keys_max: 500_000_000, bucket_keys_max: 1_790_000 }
    }
}

/// An id that may have been there before.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    pub key: Key,
    /// Of its payload.
    pub print: u64,
    /// The log time of its record.
    pub at: Timestamp,
}

/// Whether it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    First,
    /// With the same payload.
    Again,
    /// With another payload.
    Conflict {
        first_print: u64,
    },
}

/// Why the index did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SeenError {
    /// More was added than could be written. It passes.
    #[error("the index of seen ids is behind with writing")]
    Behind,
    /// The run has been set aside. The index has to be opened again, and the input from its checkpoint on to be added again.
    #[error("{file} of the index of seen ids is damaged at byte {position}: {what}; it is set aside as {file}.damaged")]
    Damaged { file: String, position: u64, what: &'static str },
    #[error("the index of seen ids was written by a newer release (version {version}, this one knows {known})")]
    Newer { version: u8, known: u8 },
    #[error("the index of seen ids has no use of its disk")]
    Disk(#[from] LogError),
}

impl From<io::Error> for SeenError {
    fn from(error: io::Error) -> SeenError {
        SeenError::Disk(error.into())
    }
}

/// What can be told of an index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    pub keys: u64,
    pub runs: usize,
    pub disk_bytes: u64,
    pub memory_bytes: usize,
    /// How far back its keys reach, by log time.
    pub window_held: Duration,
    /// How often a filter let a key pass that was not there.
    pub filter_misses: u64,
    /// Buckets that are not runs yet.
    pub waiting: usize,
}

/// The index.
pub struct Seen {
    disk: Arc<dyn Disk>,
    settings: Settings,
    window: Window,
    bucket: Bucket,
    /// Full buckets, the oldest first.
    waiting: VecDeque<Arc<Bucket>>,
    /// With each of them, the runs that are given up with it. They answer until that is durable: what an index has forgotten once, it
    /// must not know after a crash, as it would then take the next of that id for a repeat of the first, and forget both together.
    leaving: VecDeque<Vec<Arc<Run>>>,
    /// What was told of the input.
    reached: Offsets,
    records_since_seal: u64,
    checkpoint: Offsets,
    filter_misses: u64,
    /// Why the keeper has stopped.
    trouble: Option<SeenError>,
    is_retrying: bool,
    /// The reason why it can go on only after it was opened again.
    damage: Option<SeenError>,
    tasks: Option<Sender<Task>>,
    reports: Receiver<Report>,
    keeper: Option<JoinHandle<()>>,
}

impl Seen {
    /// Takes the disk's folder, which is its own, and opens what is there. What is damaged is set aside, and `checkpoint` goes back.
    /// `fingerprints` are those that its keys are made with: an index of other keys is set aside too.
    ///
    /// # Errors
    /// `Newer`, or what the disk says, `Locked` included.
    pub fn open(disk: Arc<dyn Disk>, settings: Settings, fingerprints: &Fingerprints) -> Result<Seen, SeenError> {
        let lock = disk.lock()?;
        let (manifest, runs) = recover::recover(&*disk, fingerprints.check())?;
        let mut window = Window::new(&settings, manifest.now);
        for note in &manifest.epochs {
            window.restore(note.clone(), note.runs.iter().filter_map(|note| runs.get(&note.number).cloned()).collect());
        }
        let (tasks, to_do) = mpsc::channel();
        let (done, reports) = mpsc::channel();
        let mut seen = Seen {
            settings,
            window,
            bucket: Bucket::new(manifest.checkpoint.clone()),
            waiting: VecDeque::new(),
            leaving: VecDeque::new(),
            reached: manifest.checkpoint.clone(),
            records_since_seal: 0,
            checkpoint: manifest.checkpoint.clone(),
            filter_misses: 0,
            trouble: None,
            is_retrying: false,
            damage: None,
            tasks: Some(tasks),
            reports,
            keeper: None,
            disk: disk.clone(),
        };
        let keeper = Keeper::new(disk, manifest, runs.into_values(), to_do, done);
        seen.keeper = Some(std::thread::Builder::new().name("seen".to_owned()).spawn(move || {
            // The folder is free for others when the last file is closed.
            let _lock = lock;
            keeper.run();
        })?);
        Ok(seen)
    }

    /// The input that its runs cover. When it has just been opened: the input from which on the log must be probed and added again.
    pub fn checkpoint(&self) -> &Offsets {
        &self.checkpoint
    }

    /// Says of each candidate whether its key was added before, or stands earlier in the batch. Changes nothing: what was first has to
    /// be added, and before the next probe.
    ///
    /// # Errors
    /// `Behind` if memory is full, or why that is so; `Damaged` if a run cannot be read; what the disk says.
    pub fn probe(&mut self, batch: &[Candidate]) -> Result<Vec<Verdict>, SeenError> {
        self.hear();
        self.check_space()?;
        let mut found: Vec<Option<u64>> = batch.iter().map(|candidate| self.find_in_memory(candidate.key)).collect();
        let mut possible = Vec::with_capacity(batch.len());
        for run in self.window.runs().chain(self.leaving.iter().flatten()) {
            // Filters first, and nothing else in between: then many keys are underway to memory at once.
            let candidates = batch.iter().zip(&found).enumerate();
            possible.extend(
                candidates.filter(|(_, (one, found))| run.outline.may_hold(one.key) && found.is_none()).map(|(index, _)| index),
            );
            for index in possible.drain(..) {
                match run.find(batch[index].key) {
                    Ok(None) => self.filter_misses += 1,
                    Ok(print) => found[index] = print,
                    Err(error) => return Err(condemn(&*self.disk, &mut self.damage, error)),
                }
            }
        }
        Ok(judge(batch, &found))
    }

    /// Adds keys that were first and are committed, and takes note that the input before `next` is done with: offsets are set for the
    /// partitions that it names.
    pub fn add(&mut self, firsts: &[Candidate], next: &Offsets) {
        let keys_before = self.bucket.keys;
        for candidate in firsts {
            self.window.tell(candidate.at);
            self.bucket.add(candidate.key, candidate.print);
        }
        self.window.grow((self.bucket.keys - keys_before) as u64);
        for (partition, offset) in next {
            let before = self.reached.insert(*partition, *offset).unwrap_or_default();
            self.records_since_seal += offset.saturating_sub(before);
        }
        self.hear();
        let is_full = self.bucket.keys >= self.settings.bucket_keys_max || self.records_since_seal >= REPLAY_RECORDS_MAX;
        if (is_full || self.window.is_epoch_over()) && self.waiting.len() < WAITING_MAX {
            self.seal();
        }
        self.show();
    }

    /// What can be told of it.
    pub fn standing(&self) -> Standing {
        let buckets = || self.waiting.iter().map(|bucket| &**bucket).chain([&self.bucket]);
        let outlines_bytes: usize = self.window.runs().map(|run| run.outline.memory_bytes()).sum();
        Standing {
            keys: self.window.keys(),
            runs: self.window.runs().count(),
            disk_bytes: self.window.runs().map(|run| run.disk_bytes).sum(),
            memory_bytes: outlines_bytes + buckets().map(Bucket::memory_bytes).sum::<usize>(),
            window_held: self.window.held(),
            filter_misses: self.filter_misses,
            waiting: self.waiting.len(),
        }
    }

    /// Writes what is in memory, so that nothing has to be read again, and ends.
    ///
    /// # Errors
    /// Why it could not all be written; then there is more to read again.
    pub fn close(mut self) -> Result<(), SeenError> {
        self.hear();
        if self.reached != self.checkpoint || self.bucket.keys > 0 {
            self.seal();
        }
        self.ask(Task::End);
        self.join();
        self.hear();
        self.damage.take().or(self.trouble.take()).map_or(Ok(()), Err)
    }

    fn find_in_memory(&self, key: Key) -> Option<u64> {
        let waiting = self.waiting.iter().map(|bucket| &**bucket);
        std::iter::once(&self.bucket).chain(waiting).find_map(|bucket| bucket.get(key))
    }

    fn check_space(&mut self) -> Result<(), SeenError> {
        if let Some(damage) = &self.damage {
            return Err(damage.clone());
        }
        if self.trouble.is_some() && !self.is_retrying {
            self.is_retrying = true;
            self.ask(Task::Retry);
        }
        if self.waiting.len() < WAITING_MAX || self.bucket.keys < self.settings.bucket_keys_max {
            return Ok(());
        }
        Err(self.trouble.clone().unwrap_or(SeenError::Behind))
    }

    /// Takes note of what the keeper has done.
    fn hear(&mut self) {
        while let Ok(report) = self.reports.try_recv() {
            self.is_retrying = false;
            match report {
                Report::Sealed { epoch, run, checkpoint } => {
                    self.trouble = None;
                    self.checkpoint = checkpoint;
                    let bucket = self.waiting.pop_front();
                    let mut useless = run.map_or_else(Vec::new, |run| self.window.install(epoch, &[], run));
                    useless.extend(self.leaving.pop_front().into_iter().flatten());
                    self.let_go(useless, bucket);
                }
                Report::Merged { epoch, inputs, run } => {
                    self.trouble = None;
                    let replaced = self.window.install(epoch, &inputs, run);
                    self.let_go(replaced, None);
                }
                Report::Failed(error @ SeenError::Damaged { .. }) => {
                    condemn(&*self.disk, &mut self.damage, error);
                }
                Report::Failed(error) => {
                    if self.trouble.is_none() {
                        tracing::warn!(%error, "the index of seen ids cannot write, and goes on in memory for a while");
                    }
                    self.trouble = Some(error);
                }
            }
        }
    }

    /// Hands the bucket over to become a run.
    fn seal(&mut self) {
        let (epoch, expired) = self.window.advance();
        self.leaving.push_back(expired);
        let bucket = std::mem::replace(&mut self.bucket, Bucket::new(self.reached.clone()));
        let bucket = Arc::new(bucket);
        self.waiting.push_back(bucket.clone());
        self.records_since_seal = 0;
        let (epochs, checkpoint, now) = (self.window.notes(), self.reached.clone(), self.window.now());
        self.ask(Task::Seal(Box::new(Seal { bucket, epoch, epochs, checkpoint, now })));
    }

    /// Whoever holds something last frees it: better the keeper, whom nobody waits for.
    fn let_go(&self, runs: Vec<Arc<Run>>, bucket: Option<Arc<Bucket>>) {
        if let Some(tasks) = self.tasks.as_ref().filter(|_| !runs.is_empty() || bucket.is_some()) {
            // If the keeper has ended, it is freed here.
            let _ = tasks.send(Task::LetGo(runs, bucket));
        }
    }

    fn ask(&mut self, task: Task) {
        let is_heard = self.tasks.as_ref().is_some_and(|tasks| tasks.send(task).is_ok());
        if !is_heard {
            self.trouble = Some(SeenError::Disk(LogError::Closed));
        }
    }

    fn join(&mut self) {
        if self.keeper.take().is_some_and(|keeper| keeper.join().is_err()) {
            self.trouble = Some(SeenError::Disk(LogError::Unavailable("the keeper has panicked".to_owned())));
        }
    }

    fn show(&self) {
        let Standing { keys, runs, disk_bytes, memory_bytes, window_held, filter_misses, waiting } = self.standing();
        metrics::gauge!("deputy_seen_keys").set(keys as f64);
        metrics::gauge!("deputy_seen_runs").set(runs as f64);
        metrics::gauge!("deputy_seen_disk_bytes").set(disk_bytes as f64);
        metrics::gauge!("deputy_seen_memory_bytes").set(memory_bytes as f64);
        metrics::gauge!("deputy_seen_window_held_seconds").set(window_held.as_secs_f64());
        metrics::gauge!("deputy_seen_buckets_waiting").set(waiting as f64);
        metrics::counter!("deputy_seen_filter_misses_total").absolute(filter_misses);
    }
}

/// Ends as a crash would: what is in memory is read again.
impl Drop for Seen {
    fn drop(&mut self) {
        self.tasks = None;
        self.join();
    }
}

/// The batch's verdicts, from the prints that its keys have in the index. Within the batch, the first counts.
fn judge(batch: &[Candidate], found: &[Option<u64>]) -> Vec<Verdict> {
    let mut prints: HashMap<Key, u64, BuildKeyHasher> = HashMap::with_capacity_and_hasher(batch.len(), BuildKeyHasher::default());
    let verdict = |(candidate, found): (&Candidate, &Option<u64>)| {
        let first_print = match found {
            Some(print) => *print,
            None => match prints.entry(candidate.key) {
                Entry::Occupied(print) => *print.get(),
                Entry::Vacant(place) => {
                    place.insert(candidate.print);
                    return Verdict::First;
                }
            },
        };
        if first_print == candidate.print { Verdict::Again } else { Verdict::Conflict { first_print } }
    };
    batch.iter().zip(found).map(verdict).collect()
}

/// Sets a damaged run aside, and remembers that nothing can be answered without it.
fn condemn(disk: &dyn Disk, damage: &mut Option<SeenError>, error: SeenError) -> SeenError {
    if let SeenError::Damaged { file, .. } = &error {
        tracing::error!(%error, "the index of seen ids is damaged");
        if let Err(error) = set_aside(disk, file) {
            tracing::error!(file, %error, "a damaged file could not be set aside");
        }
        *damage = Some(error.clone());
    }
    error
}

/// Keeps a file that cannot be read under a name by which nobody reads it.
fn set_aside(disk: &dyn Disk, file: &str) -> io::Result<()> {
    match disk.rename(file, &format!("{file}.damaged")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

fn damaged(file: &str, position: u64, what: &'static str) -> SeenError {
    SeenError::Damaged { file: file.to_owned(), position, what }
}

/// The input before both.
fn earlier(left: &Offsets, right: &Offsets) -> Offsets {
    left.iter().filter_map(|(partition, offset)| Some((*partition, *offset.min(right.get(partition)?)))).collect()
}
