//! One run of several. Fewer runs are fewer to ask: of an open epoch runs of like size become one, of a closed one all.

use super::manifest::{Manifest, RunNote};
use super::run::{Run, RunReader, RunWriter};
use super::{SeenError, earlier};
use crate::log::disk::Disk;
use std::sync::Arc;

/// So many runs of the same level become one of the next. With fewer, each key would be written more often, and the disk is what
/// gives in first.
const FAN_IN: usize = 8;
/// All of a closed epoch, but not more than this at once.
const INPUTS_MAX: usize = 16;
/// How many keys go by before somebody else may have his turn: some milliseconds.
const STEP_KEYS: usize = 64 << 10;

/// The runs that should be merged next, with their epoch.
pub(super) fn due(manifest: &Manifest) -> Option<(u64, Vec<u64>)> {
    let numbers = |runs: &[&RunNote]| runs.iter().map(|run| run.number).collect();
    let (open, closed) = manifest.epochs.split_last()?;
    if let Some(epoch) = closed.iter().rfind(|epoch| epoch.runs.len() > 1) {
        let runs: Vec<_> = epoch.runs.iter().take(INPUTS_MAX).collect();
        return Some((epoch.number, numbers(&runs)));
    }
    let levels_max = open.runs.iter().map(|run| run.level).max()?;
    (0..=levels_max).find_map(|level| {
        let alike: Vec<_> = open.runs.iter().filter(|run| run.level == level).take(FAN_IN).collect();
        (alike.len() == FAN_IN).then(|| (open.number, numbers(&alike)))
    })
}

pub(super) struct Merge {
    pub epoch: u64,
    /// Of the run that is made.
    pub number: u64,
    /// The oldest first: of two prints of a key, the older counts.
    inputs: Vec<Arc<Run>>,
    stage: Stage,
}

enum Stage {
    Planned,
    Underway { readers: Vec<RunReader>, writer: Box<RunWriter>, last: Option<super::Key> },
    Written(Arc<Run>),
}

/// What a step has come to.
pub(super) enum Progress {
    Continues,
    Written(Arc<Run>),
}

impl Merge {
    pub(super) fn new(epoch: u64, inputs: Vec<Arc<Run>>, number: u64) -> Merge {
        Merge { epoch, number, inputs, stage: Stage::Planned }
    }

    pub(super) fn inputs(&self) -> Vec<u64> {
        self.inputs.iter().map(|run| run.note.number).collect()
    }

    /// Goes on a little. Once the run is written, it says so as often as it is asked.
    ///
    /// # Errors
    /// `Damaged` if an input cannot be read, or what the disk says.
    pub(super) fn step(&mut self, disk: &dyn Disk) -> Result<Progress, SeenError> {
        match &mut self.stage {
            Stage::Planned => {
                let keys = self.inputs.iter().map(|run| run.note.keys).sum();
                let readers = self.inputs.iter().cloned().map(RunReader::new).collect::<Result<_, _>>()?;
                let writer = Box::new(RunWriter::create(disk, self.number, keys)?);
                self.stage = Stage::Underway { readers, writer, last: None };
                Ok(Progress::Continues)
            }
            Stage::Underway { readers, writer, last } => {
                for _ in 0..STEP_KEYS {
                    let Some((least, key, print)) = least(readers) else { return self.finish(disk) };
                    if last.replace(key) != Some(key) {
                        writer.push(key, print)?;
                    }
                    readers[least].advance()?;
                }
                Ok(Progress::Continues)
            }
            Stage::Written(run) => Ok(Progress::Written(run.clone())),
        }
    }

    fn finish(&mut self, disk: &dyn Disk) -> Result<Progress, SeenError> {
        let level = self.inputs.iter().map(|run| run.note.level + 1).max().unwrap_or_default();
        let begins = self.inputs.iter().map(|run| run.note.begins.clone()).reduce(|left, right| earlier(&left, &right));
        let note = RunNote { level, begins: begins.unwrap_or_default(), ..RunNote::default() };
        if let Stage::Underway { writer, .. } = std::mem::replace(&mut self.stage, Stage::Planned) {
            self.stage = Stage::Written(Arc::new(writer.finish(disk, note)?));
        }
        Ok(Progress::Continues)
    }
}

/// The reader that stands at the least key, the oldest of those if there are several.
fn least(readers: &[RunReader]) -> Option<(usize, super::Key, u64)> {
    let heads = readers.iter().enumerate().filter_map(|(index, reader)| reader.entry().map(|(key, print)| (index, key, print)));
    heads.min_by_key(|(_, key, _)| *key)
}
