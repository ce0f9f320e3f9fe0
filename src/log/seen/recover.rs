//! Opening what an earlier process left, however it ended. What cannot be read is set aside, and never deleted.

use super::manifest::{self, EpochNote, Found, Manifest, RunNote};
use super::run::{self, Run};
use super::{SeenError, earlier, set_aside};
use crate::log::disk::Disk;
use std::collections::HashMap;
use std::sync::Arc;

/// The manifest, true of the disk, and its runs by number.
///
/// # Errors
/// `Newer`, or what the disk says.
pub(super) fn recover(disk: &dyn Disk, secret_check: u64) -> Result<(Manifest, HashMap<u64, Arc<Run>>), SeenError> {
    let files = disk.list()?;
    let mut runs = HashMap::new();
    let manifest = match Manifest::read(disk)? {
        Found::Manifest(manifest) if manifest.secret_check == secret_check => {
            let manifest = open_runs(disk, manifest, &mut runs)?;
            remove_unfinished(disk, &manifest, &files);
            manifest
        }
        Found::Nothing if files.iter().all(|file| run::parse_file_name(file).is_none()) => begin(disk, secret_check, &files)?,
        Found::Manifest(_) | Found::Damage | Found::Nothing => {
            tracing::error!(
                folder = disk.folder(),
                "the index of seen ids cannot be read and begins anew; what was there is set aside"
            );
            metrics::counter!("deputy_seen_damaged_total").increment(1);
            for file in files.iter().filter(|file| *file == manifest::NAME || run::parse_file_name(file).is_some()) {
                set_aside(disk, file)?;
            }
            begin(disk, secret_check, &files)?
        }
    };
    Ok((manifest, runs))
}

/// An empty index, whose files are not called as any that were there.
fn begin(disk: &dyn Disk, secret_check: u64, files: &[String]) -> Result<Manifest, SeenError> {
    let numbers = files.iter().filter_map(|file| file.split('.').next()?.parse::<u64>().ok());
    let next_number = numbers.max().map_or(0, |last| last + 1);
    let manifest = Manifest { secret_check, next_number, ..Manifest::default() };
    // From now on it is damage if there are runs and no manifest.
    manifest.write(disk)?;
    Ok(manifest)
}

/// Opens the runs; without those that cannot be read, and with a checkpoint that makes up for them.
fn open_runs(disk: &dyn Disk, mut manifest: Manifest, runs: &mut HashMap<u64, Arc<Run>>) -> Result<Manifest, SeenError> {
    let mut lost: Vec<RunNote> = Vec::new();
    for note in manifest.runs() {
        match Run::open(disk, note.clone()) {
            Ok(run) => _ = runs.insert(note.number, Arc::new(run)),
            Err(SeenError::Damaged { file, position, what }) => {
                tracing::error!(file, position, what, "a run of seen ids is damaged: its input is read again");
                metrics::counter!("deputy_seen_damaged_total").increment(1);
                lost.push(note.clone());
            }
            Err(error) => return Err(error),
        }
    }
    if lost.is_empty() {
        return Ok(manifest);
    }
    for note in &lost {
        set_aside(disk, &run::file_name(note.number))?;
        set_aside(disk, &run::outline_name(note.number))?;
        manifest.checkpoint = earlier(&manifest.checkpoint, &note.begins);
    }
    for EpochNote { keys, runs, .. } in &mut manifest.epochs {
        runs.retain(|note| !lost.contains(note));
        *keys = runs.iter().map(|note| note.keys).sum();
    }
    manifest.write(disk)?;
    Ok(manifest)
}

/// Removes runs that were never named, or no longer are.
fn remove_unfinished(disk: &dyn Disk, manifest: &Manifest, files: &[String]) {
    for number in files.iter().filter_map(|file| run::parse_file_name(file)) {
        if manifest.runs().all(|run| run.number != number) {
            run::remove(disk, number);
        }
    }
}
