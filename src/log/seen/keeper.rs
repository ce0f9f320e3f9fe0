//! The thread behind the index: it makes runs of what memory gives up, and one run of several, so that few have to be asked.
//!
//! A bucket comes before a merge: merges are made in small pieces, and what waits is looked at between any two.

use super::bucket::Bucket;
use super::manifest::{EpochNote, Manifest, RunNote};
use super::merge::{self, Merge, Progress};
use super::run::{self, Run, RunWriter};
use super::{Offsets, SeenError};
use crate::domain::time::Timestamp;
use crate::log::disk::Disk;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};

/// What the keeper is asked for.
pub(super) enum Task {
    Seal(Box<Seal>),
    /// To try again what failed.
    Retry,
    /// To let go of what was replaced or has expired: to free much memory, and a file that is deleted, takes a while.
    LetGo(Vec<Arc<Run>>, Option<Arc<Bucket>>),
    /// To finish what was asked for, and end.
    End,
    /// To answer when there is nothing left to do.
    #[cfg(test)]
    Settle(Sender<()>),
}

/// A bucket to make a run of, and all that will be true once it is one.
pub(super) struct Seal {
    pub bucket: Arc<Bucket>,
    /// Whose keys they are.
    pub epoch: u64,
    /// All epochs, the last one open. Those that are missing have expired. Of their runs nothing is said here.
    pub epochs: Vec<EpochNote>,
    pub checkpoint: Offsets,
    pub now: Option<Timestamp>,
}

/// What the keeper has done, in this order.
pub(super) enum Report {
    /// The oldest bucket that was handed over is a run now; or there was nothing in it.
    Sealed { epoch: u64, run: Option<Arc<Run>>, checkpoint: Offsets },
    /// The run holds what the inputs did.
    Merged { epoch: u64, inputs: Vec<u64>, run: Arc<Run> },
    /// It waits to be asked again.
    Failed(SeenError),
}

pub(super) struct Keeper {
    disk: Arc<dyn Disk>,
    /// As the disk has it.
    manifest: Manifest,
    /// Those of the manifest, by number.
    runs: HashMap<u64, Arc<Run>>,
    tasks: Receiver<Task>,
    reports: Sender<Report>,
    /// With the run, from when it is written until it counts.
    waiting: VecDeque<(Box<Seal>, Option<Arc<Run>>)>,
    merge: Option<Merge>,
    is_ending: bool,
    #[cfg(test)]
    settlers: Vec<Sender<()>>,
}

impl Keeper {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        manifest: Manifest,
        runs: impl IntoIterator<Item = Arc<Run>>,
        tasks: Receiver<Task>,
        reports: Sender<Report>,
    ) -> Keeper {
        Keeper {
            disk,
            manifest,
            runs: runs.into_iter().map(|run| (run.note.number, run)).collect(),
            tasks,
            reports,
            waiting: VecDeque::new(),
            merge: None,
            is_ending: false,
            #[cfg(test)]
            settlers: Vec::new(),
        }
    }

    /// Works until it is to end, or nobody is left who could ask.
    pub(super) fn run(mut self) {
        let mut is_stuck = false;
        loop {
            let is_idle = is_stuck || !self.has_work();
            if is_idle && self.is_ending {
                return self.abandon_merge();
            }
            #[cfg(test)]
            if is_idle {
                self.settlers.clear();
            }
            let task = if is_idle { self.tasks.recv().map_err(|_| TryRecvError::Disconnected) } else { self.tasks.try_recv() };
            match task {
                Ok(task) => {
                    is_stuck = false;
                    self.take(task);
                }
                Err(TryRecvError::Disconnected) if !self.is_ending => return self.abandon_merge(),
                Err(_) => {
                    if let Err(error) = self.work() {
                        is_stuck = true;
                        self.abandon_merge();
                        // Whoever does not listen is about to go.
                        let _ = self.reports.send(Report::Failed(error));
                    }
                }
            }
        }
    }

    fn take(&mut self, task: Task) {
        match task {
            Task::Seal(seal) => self.waiting.push_back((seal, None)),
            Task::Retry => {}
            Task::LetGo(runs, bucket) => drop((runs, bucket)),
            Task::End => self.is_ending = true,
            #[cfg(test)]
            Task::Settle(settler) => self.settlers.push(settler),
        }
    }

    fn has_work(&self) -> bool {
        let may_merge = !self.is_ending && (self.merge.is_some() || merge::due(&self.manifest).is_some());
        may_merge || !self.waiting.is_empty()
    }

    /// Does a piece of what is to be done.
    fn work(&mut self) -> Result<(), SeenError> {
        if !self.waiting.is_empty() {
            return self.seal();
        }
        if let Some(merge) = &mut self.merge {
            return match merge.step(&*self.disk)? {
                Progress::Continues => Ok(()),
                Progress::Written(run) => self.install_merged(run),
            };
        }
        if let Some((epoch, numbers)) = merge::due(&self.manifest) {
            let inputs = numbers.iter().filter_map(|number| self.runs.get(number).cloned()).collect();
            let number = self.take_number();
            self.merge = Some(Merge::new(epoch, inputs, number));
        }
        Ok(())
    }

    fn seal(&mut self) -> Result<(), SeenError> {
        let number = self.take_number();
        let Some((seal, run)) = self.waiting.front_mut() else { return Ok(()) };
        if run.is_none() && seal.bucket.keys > 0 {
            let written = write_run(&*self.disk, number, &seal.bucket).inspect_err(|_| run::remove(&*self.disk, number))?;
            *run = Some(Arc::new(written));
        }
        let run = run.clone();
        let mut epochs = seal.epochs.clone();
        for epoch in &mut epochs {
            epoch.runs = self.notes_of(epoch.number);
            if let Some(run) = run.as_ref().filter(|_| epoch.number == self.waiting[0].0.epoch) {
                epoch.runs.push(run.note.clone());
            }
        }
        let seal = &self.waiting[0].0;
        let (checkpoint, now, epoch) = (seal.checkpoint.clone(), seal.now, seal.epoch);
        self.install(Manifest { epochs, checkpoint: checkpoint.clone(), now, ..self.manifest.clone() })?;
        self.waiting.pop_front();
        if let Some(run) = &run {
            self.runs.insert(run.note.number, run.clone());
        }
        let _ = self.reports.send(Report::Sealed { epoch, run, checkpoint });
        Ok(())
    }

    fn install_merged(&mut self, run: Arc<Run>) -> Result<(), SeenError> {
        let Some(merge) = &self.merge else { return Ok(()) };
        let (number, inputs) = (merge.epoch, merge.inputs());
        let mut next = self.manifest.clone();
        if let Some(epoch) = next.epochs.iter_mut().find(|epoch| epoch.number == number) {
            let place = epoch.runs.iter().position(|note| inputs.contains(&note.number)).unwrap_or(0);
            epoch.runs.retain(|note| !inputs.contains(&note.number));
            epoch.runs.insert(place, run.note.clone());
        }
        self.install(next)?;
        self.merge = None;
        self.runs.insert(run.note.number, run.clone());
        let _ = self.reports.send(Report::Merged { epoch: number, inputs, run });
        Ok(())
    }

    /// Makes the manifest count, and removes what it no longer names.
    fn install(&mut self, next: Manifest) -> Result<(), SeenError> {
        next.write(&*self.disk)?;
        let before = std::mem::replace(&mut self.manifest, next);
        for gone in before.runs().filter(|run| self.manifest.runs().all(|kept| kept.number != run.number)) {
            self.runs.remove(&gone.number);
            run::remove(&*self.disk, gone.number);
        }
        if self.merge.as_ref().is_some_and(|merge| self.notes_of(merge.epoch).is_empty()) {
            self.abandon_merge();
        }
        Ok(())
    }

    /// Gives up a merge that would be of no use, or that has failed: it can be begun anew.
    fn abandon_merge(&mut self) {
        if let Some(merge) = self.merge.take() {
            run::remove(&*self.disk, merge.number);
        }
    }

    fn notes_of(&self, epoch: u64) -> Vec<RunNote> {
        self.manifest.epochs.iter().find(|known| known.number == epoch).map_or_else(Vec::new, |known| known.runs.clone())
    }

    fn take_number(&mut self) -> u64 {
        self.manifest.next_number += 1;
        self.manifest.next_number - 1
    }
}

fn write_run(disk: &dyn Disk, number: u64, bucket: &Bucket) -> Result<Run, SeenError> {
    let mut writer = RunWriter::create(disk, number, bucket.keys as u64)?;
    for (key, print) in bucket.sorted().flatten() {
        writer.push(key, print)?;
    }
    writer.finish(disk, RunNote { begins: bucket.begins.clone(), ..RunNote::default() })
}
