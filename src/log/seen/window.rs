//! The window: epochs of log time, each with its runs. The oldest goes when log time has passed it, or when there are too many keys.

use super::Settings;
use super::clock::Clock;
use super::manifest::EpochNote;
use super::run::Run;
use crate::domain::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// A window is cut into so many epochs: it holds up to an eighth more than it must, and about so many runs are asked.
pub(super) const EPOCHS: u32 = 8;

pub(super) struct Window {
    length: Duration,
    keys_max: u64,
    clock: Clock,
    /// The oldest first; the last one is open. None before the first key.
    epochs: Vec<Epoch>,
}

struct Epoch {
    /// Without its runs.
    note: EpochNote,
    /// The oldest first.
    runs: Vec<Arc<Run>>,
}

impl Window {
    pub(super) fn new(settings: &Settings, now: Option<Timestamp>) -> Window {
        Window { length: settings.window, keys_max: settings.keys_max, clock: Clock::at(now), epochs: Vec::new() }
    }

    /// Puts an epoch of an earlier process behind the others.
    pub(super) fn restore(&mut self, note: EpochNote, runs: Vec<Arc<Run>>) {
        self.epochs.push(Epoch { note: EpochNote { runs: Vec::new(), ..note }, runs });
    }

    pub(super) fn now(&self) -> Option<Timestamp> {
        self.clock.now
    }

    /// Takes note of a key's time.
    pub(super) fn tell(&mut self, at: Timestamp) {
        self.clock.tell(at);
        if self.epochs.is_empty() {
            self.open(0);
        }
    }

    /// Takes note of so many keys more.
    pub(super) fn grow(&mut self, keys: u64) {
        if let Some(open) = self.epochs.last_mut() {
            open.note.keys += keys;
        }
    }

    pub(super) fn keys(&self) -> u64 {
        self.epochs.iter().map(|epoch| epoch.note.keys).sum()
    }

    /// The newest first.
    pub(super) fn runs(&self) -> impl Iterator<Item = &Arc<Run>> {
        self.epochs.iter().rev().flat_map(|epoch| epoch.runs.iter().rev())
    }

    /// How far back the keys reach.
    pub(super) fn held(&self) -> Duration {
        let oldest = self.epochs.first().map(|epoch| epoch.note.from);
        self.clock.now.zip(oldest).map_or(Duration::ZERO, |(now, oldest)| now.since(oldest))
    }

    /// Whether the open epoch holds its share of the window, in time or in keys.
    pub(super) fn is_epoch_over(&self) -> bool {
        self.epochs.last().zip(self.clock.now).is_some_and(|(open, now)| {
            now.since(open.note.from) >= self.length / EPOCHS || open.note.keys >= self.keys_max.div_ceil(u64::from(EPOCHS))
        })
    }

    /// Gives up what the window has left behind, and opens the next epoch if this one is over. Says which one was open, and which
    /// runs are to be given up.
    pub(super) fn advance(&mut self) -> (u64, Vec<Arc<Run>>) {
        let is_over = self.is_epoch_over();
        let Some((open, now)) = self.epochs.last_mut().zip(self.clock.now) else { return (0, Vec::new()) };
        open.note.until = now;
        let number = open.note.number;
        let expired = self.expire(now);
        if is_over {
            self.open(number + 1);
        }
        (number, expired)
    }

    pub(super) fn notes(&self) -> Vec<EpochNote> {
        self.epochs.iter().map(|epoch| epoch.note.clone()).collect()
    }

    /// Puts a run in the place of its inputs, or behind the others if it has none. Gives back what is of no use any more; the run
    /// itself, if its epoch has expired.
    pub(super) fn install(&mut self, epoch: u64, inputs: &[u64], run: Arc<Run>) -> Vec<Arc<Run>> {
        let Some(epoch) = self.epochs.iter_mut().find(|known| known.note.number == epoch) else { return vec![run] };
        let place = epoch.runs.iter().position(|known| inputs.contains(&known.note.number)).unwrap_or(epoch.runs.len());
        let replaced = epoch.runs.extract_if(.., |known| inputs.contains(&known.note.number)).collect();
        epoch.runs.insert(place, run);
        replaced
    }

    fn open(&mut self, number: u64) {
        let from = self.clock.now.unwrap_or_default();
        self.epochs.push(Epoch { note: EpochNote { number, from, until: from, keys: 0, runs: Vec::new() }, runs: Vec::new() });
    }

    fn expire(&mut self, now: Timestamp) -> Vec<Arc<Run>> {
        let mut expired = Vec::new();
        while let [oldest, _, ..] = &self.epochs[..] {
            let is_past = now.since(oldest.note.until) >= self.length;
            if !is_past && self.keys() <= self.keys_max {
                break;
            }
            expired.extend(self.epochs.remove(0).runs);
            if !is_past {
                let (held_s, window_s, keys_max) = (self.held().as_secs(), self.length.as_secs(), self.keys_max);
                tracing::warn!(held_s, window_s, keys_max, "so many ids that repeats are known for less time than they should be");
            }
        }
        expired
    }
}
