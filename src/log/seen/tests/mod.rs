//! The index of seen ids, as the stage that asks it sees it.

/// Crashes and faults, against a map that remembers everything.
mod crash;
/// What was durable and cannot be read.
mod damage;

use super::*;
use crate::log::disk::simulated::SimulatedDisk;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// A window of 28 days, whose buckets are full with 100 keys.
fn settings() -> Settings {
    Settings { bucket_keys_max: 100, ..Settings::default() }
}

fn open_with(disk: &SimulatedDisk, settings: Settings) -> Seen {
    Seen::open(Arc::new(disk.clone()), settings, &Fingerprints::new([7; 32])).expect("the index opens")
}

fn open(disk: &SimulatedDisk) -> Seen {
    open_with(disk, settings())
}

fn candidate(number: u64, at: i64) -> Candidate {
    let key = Fingerprints::new([7; 32]).key("deputy", "web", &number.to_string());
    Candidate { key, print: number, at: Timestamp(at) }
}

fn candidates(numbers: impl IntoIterator<Item = u64>, at: i64) -> Vec<Candidate> {
    numbers.into_iter().map(|number| candidate(number, at)).collect()
}

fn next(offset: u64) -> Offsets {
    Offsets::from([(0, offset)])
}

impl Seen {
    /// Waits until there is nothing left to write, and takes note of it.
    fn settle(&mut self) {
        let (settler, settled) = mpsc::channel();
        self.ask(Task::Settle(settler));
        settled.recv().expect_err("the keeper lets go of it when it has settled");
        self.hear();
    }

    /// Adds as the stage does: what is first, a batch at a time. The input's offsets are the numbers.
    fn take(&mut self, numbers: std::ops::Range<u64>, at: i64) {
        for start in numbers.clone().step_by(50) {
            let batch = candidates(start..numbers.end.min(start + 50), at);
            let verdicts = self.probe(&batch).expect("it answers");
            let firsts: Vec<_> = batch.iter().zip(verdicts).filter(|(_, verdict)| *verdict == Verdict::First).collect();
            self.add(&firsts.into_iter().map(|(one, _)| *one).collect::<Vec<_>>(), &next(start + batch.len() as u64));
            self.settle();
        }
    }

    /// How many of the numbers are known.
    fn known(&mut self, numbers: std::ops::Range<u64>) -> usize {
        let verdicts = self.probe(&candidates(numbers, 0)).expect("it answers");
        verdicts.iter().filter(|verdict| **verdict == Verdict::Again).count()
    }
}

fn files(disk: &SimulatedDisk) -> Vec<String> {
    disk.list().expect("the disk is there")
}

#[test]
fn the_first_counts_until_it_is_added_and_then_others_are_told_apart_by_their_print() {
    let mut seen = open(&SimulatedDisk::new(1));
    let one = candidate(1, 0);
    let other = Candidate { print: 2, ..one };
    for _ in 0..2 {
        let verdicts = seen.probe(&[one, one, other, candidate(3, 0)]);
        assert_eq!(verdicts, Ok(vec![Verdict::First, Verdict::Again, Verdict::Conflict { first_print: 1 }, Verdict::First]));
    }
    seen.add(&[one], &next(4));
    for _ in 0..2 {
        let verdicts = seen.probe(&[other, one, other, candidate(3, 0)]);
        let conflict = Verdict::Conflict { first_print: 1 };
        assert_eq!(verdicts, Ok(vec![conflict, Verdict::Again, conflict, Verdict::First]));
        // Once from memory, and once from a run.
        seen.seal();
        seen.settle();
    }
}

#[test]
fn many_runs_become_few_and_hold_all_that_they_held() {
    let disk = SimulatedDisk::new(1);
    let mut seen = open(&disk);
    seen.take(0..3000, 0);
    let standing = seen.standing();
    assert_eq!((standing.keys, standing.waiting), (3000, 0));
    assert!((2..10).contains(&standing.runs), "{standing:?}");
    assert_eq!((seen.known(0..3000), seen.known(3000..9000)), (3000, 0));
    assert!((1..600).contains(&seen.standing().filter_misses), "6000 keys ask some runs: {:?}", seen.standing());
    // An epoch that is over becomes one run.
    for day in 1..=5 {
        seen.take(2990 + day * 10..3000 + day * 10, day as i64 * DAY);
    }
    assert_eq!(seen.standing().runs, 1, "{:?}", seen.standing());
    assert_eq!(files(&disk).len(), 3, "its run, its filter and the manifest: {:?}", files(&disk));
    assert_eq!(seen.known(0..3050), 3050);
}

#[test]
fn what_was_closed_is_there_when_it_is_opened() {
    let disk = SimulatedDisk::new(1);
    let mut seen = open(&disk);
    seen.take(0..250, 0);
    seen.close().expect("it closes");
    let mut seen = open(&disk);
    assert_eq!((seen.known(0..300), seen.checkpoint()), (250, &next(250)));
    assert_eq!(seen.standing().keys, 250);
    seen.take(250..300, DAY);
    assert_eq!(seen.known(0..300), 300);
}

#[test]
fn what_was_not_written_is_behind_the_checkpoint() {
    let disk = SimulatedDisk::new(1);
    let mut seen = open(&disk);
    seen.take(0..250, 0);
    drop(seen);
    let mut seen = open(&disk);
    assert_eq!((seen.known(0..250), seen.checkpoint()), (200, &next(200)));
}

#[test]
fn the_checkpoint_goes_on_where_nothing_is_new() {
    let mut seen = open(&SimulatedDisk::new(1));
    seen.take(0..10, 0);
    assert_eq!(seen.checkpoint(), &Offsets::new());
    seen.add(&[], &next(REPLAY_RECORDS_MAX + 10));
    seen.settle();
    assert_eq!(seen.checkpoint(), &next(REPLAY_RECORDS_MAX + 10));
    assert_eq!(seen.known(0..10), 10);
}

#[test]
fn keys_are_known_for_the_window_of_log_time_and_then_their_files_go() {
    let disk = SimulatedDisk::new(1);
    let mut seen = open(&disk);
    for day in 0..100 {
        seen.take(day * 120..(day + 1) * 120, day as i64 * DAY);
        let oldest_needed = (day + 1).saturating_sub(28) * 120;
        assert_eq!(seen.known(oldest_needed..(day + 1) * 120) as u64, (day + 1) * 120 - oldest_needed, "day {day}");
    }
    let standing = seen.standing();
    assert!((28..33).contains(&(standing.window_held.as_secs() / 86_400)), "{standing:?}");
    assert!(standing.keys < 33 * 120 && standing.runs < 20, "{standing:?}");
    assert_eq!(seen.known(0..67 * 120), 0);
    assert!(files(&disk).len() < 40, "{:?}", files(&disk));
}

/// Or a crash would bring it back, and whatever had come under its id meanwhile would be forgotten with it.
#[test]
fn a_key_is_forgotten_when_that_is_durable_and_not_before() {
    let disk = SimulatedDisk::new(1);
    let mut seen = open(&disk);
    (0..35).for_each(|day| seen.take(day * 120..(day + 1) * 120, day as i64 * DAY));
    let known = seen.known(0..35 * 120);
    // The last day's are in part in memory only.
    let durable = seen.known(0..34 * 120);
    disk.fail(0..1000);
    // Two of them expire an epoch, wherever the last one ended.
    (35..43).for_each(|day| seen.take(day * 20 + 3500..(day + 1) * 20 + 3500, day as i64 * DAY));
    assert_eq!(seen.known(0..35 * 120), known, "nothing could be written");
    disk.fail(0..0);
    drop(seen);
    let mut seen = open(&disk);
    assert_eq!(seen.known(0..34 * 120), durable, "and so nothing was forgotten");
}

#[test]
fn too_many_keys_shrink_the_window_and_it_is_told() {
    let disk = SimulatedDisk::new(1);
    let mut seen = open_with(&disk, Settings { keys_max: 2000, ..settings() });
    for day in 0..20 {
        seen.take(day * 250..(day + 1) * 250, day as i64 * DAY);
    }
    let standing = seen.standing();
    assert!((1500..2200).contains(&standing.keys), "{standing:?}");
    assert!((5..9).contains(&(standing.window_held.as_secs() / 86_400)), "{standing:?}");
    assert_eq!(seen.known(5000 - 1500..5000), 1500);
    assert_eq!(seen.known(0..2500), 0);
}

#[test]
fn a_clock_that_leaps_empties_nothing_until_it_is_believed() {
    let mut seen = open(&SimulatedDisk::new(1));
    seen.take(0..200, 0);
    seen.take(200..400, 365 * DAY);
    seen.take(400..600, HOUR);
    seen.take(600..800, -365 * DAY);
    assert_eq!(seen.known(0..800), 800);
    seen.take(800..1000, 365 * DAY);
    for day in 366..395 {
        assert_eq!(
            (seen.known(0..1000), seen.standing().window_held.as_secs() / 86_400 / 100),
            (1000, u64::from(day > 366) * 3),
            "day {day}"
        );
        seen.take(1000 + (day - 366) * 10..1010 + (day - 366) * 10, day as i64 * DAY);
    }
    seen.take(1290..1300, 395 * DAY);
    assert_eq!((seen.known(0..1000), seen.known(1010..1300)), (0, 290));
}

#[test]
fn a_disk_that_is_slow_is_told_before_memory_is_full_and_nothing_is_lost() {
    let disk = SimulatedDisk::new(1);
    let mut seen = open(&disk);
    disk.hold_syncs();
    let mut added = 0;
    let refused = loop {
        let batch = candidates(added..added + 50, 0);
        match seen.probe(&batch) {
            Ok(_) => seen.add(&batch, &next(added + 50)),
            Err(error) => break error,
        }
        added += 50;
    };
    assert_eq!((refused, added), (SeenError::Behind, 300), "two buckets wait, and one is full");
    disk.release_syncs();
    seen.settle();
    assert_eq!(seen.known(0..300), 300);
}

#[test]
fn a_disk_that_is_full_is_told_and_asked_again() {
    let disk = SimulatedDisk::new(1);
    let mut seen = open(&disk);
    seen.take(0..100, 0);
    disk.set_capacity(disk.bytes_used());
    for start in (100..400).step_by(50) {
        assert_eq!(seen.known(start..start + 50), 0);
        seen.add(&candidates(start..start + 50, 0), &next(start + 50));
        seen.settle();
    }
    assert_eq!(seen.probe(&[]), Err(SeenError::Disk(LogError::Full)));
    disk.set_capacity(u64::MAX);
    while seen.probe(&[]).is_err() {
        seen.settle();
    }
    seen.take(400..401, 0);
    assert_eq!((seen.known(0..401), seen.checkpoint()), (401, &next(401)));
}

#[test]
fn a_folder_has_one_owner() {
    let disk = SimulatedDisk::new(1);
    let seen = open(&disk);
    let second = Seen::open(Arc::new(disk.clone()), settings(), &Fingerprints::new([7; 32]));
    assert!(matches!(second.err(), Some(SeenError::Disk(LogError::Locked { .. }))));
    drop(seen);
    open(&disk);
}

#[test]
fn a_real_folder_serves_as_the_simulated_one_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = || {
        let disk = crate::log::disk::RealDisk::create(&folder.path().join("seen")).expect("a disk");
        Seen::open(Arc::new(disk), settings(), &Fingerprints::new([7; 32])).expect("the index opens")
    };
    let mut seen = open();
    seen.take(0..1000, 0);
    seen.close().expect("it closes");
    let mut seen = open();
    assert_eq!((seen.known(0..1500), seen.checkpoint()), (1000, &next(1000)));
}
