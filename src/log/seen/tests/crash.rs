//! Crashes and faults at every write, against a map that remembers everything.
//!
//! The stage is played as it is to be built: it probes, commits to a log that never fails, adds; and after a crash it reads the log
//! again from the checkpoint to its cursor.

use super::*;
use proptest::prelude::*;

/// What happens to an index, one after the other.
#[derive(Clone, Debug)]
enum Move {
    /// So many records, some of them repeats, with time going by before them.
    Take {
        records: u64,
        hours: i64,
    },
    Close,
    /// The power fails after so many operations, while records come.
    PowerOff {
        after_operations: u64,
    },
    /// The process ends between its commit to the log and what the index hears of it.
    DieAfterCommit,
    Fail {
        after: u64,
        operations: u64,
    },
    HoldSyncs,
    Fill,
    Mend,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        12 => (1..60_u64, prop_oneof![Just(0), 0..23_i64]).prop_map(|(records, hours)| Move::Take { records, hours }),
        1 => Just(Move::Close),
        3 => (0..40_u64).prop_map(|after_operations| Move::PowerOff { after_operations }),
        1 => Just(Move::DieAfterCommit),
        2 => (0..10_u64, 1..12_u64).prop_map(|(after, operations)| Move::Fail { after, operations }),
        1 => Just(Move::HoldSyncs),
        1 => Just(Move::Fill),
        2 => Just(Move::Mend),
    ];
    prop::collection::vec(one, 1..80)
}

struct Model {
    disk: SimulatedDisk,
    seen: Option<Seen>,
    /// The input, by offset; up to `cursor` it has been committed.
    input: Vec<Candidate>,
    cursor: usize,
    /// Of each key that counts as first: its print and its time.
    firsts: HashMap<Key, (u64, Timestamp)>,
    now: i64,
    random: u64,
}

impl Model {
    fn open(disk: &SimulatedDisk) -> Option<Seen> {
        Some(open_with(disk, Settings { bucket_keys_max: 40, keys_max: 100_000, ..settings() }))
    }

    fn seen(&mut self) -> &mut Seen {
        self.seen.as_mut().expect("it is open")
    }

    fn draw(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % bound
    }

    /// New records, of which about a third are repeats, and some of those have another payload.
    fn receive(&mut self, records: u64) {
        for _ in 0..records {
            let number = if self.draw(3) == 0 { self.draw(self.input.len() as u64 + 1) } else { self.input.len() as u64 };
            let print = number + u64::from(self.draw(5) == 0);
            self.input.push(Candidate { print, ..candidate(number, self.now) });
        }
    }

    /// Takes what was received: the verdicts must be the map's. Says whether the index answered.
    fn take(&mut self, commit_only: bool) -> bool {
        let batch = self.input[self.cursor..].to_vec();
        let Ok(verdicts) = self.seen().probe(&batch) else { return false };
        let mut added = Vec::new();
        for (one, verdict) in batch.iter().zip(verdicts) {
            let known = self.firsts.get(&one.key).copied();
            let is_in_window = known.is_some_and(|(_, at)| one.at.since(at) < settings().window);
            match (verdict, known) {
                (Verdict::First, None) => {}
                (Verdict::First, Some(_)) => assert!(!is_in_window, "{one:?} was there before"),
                (Verdict::Again, Some((print, _))) => assert_eq!(print, one.print),
                (Verdict::Conflict { first_print }, Some((print, _))) => assert!(first_print == print && print != one.print),
                (_, None) => panic!("{one:?} was never there: {verdict:?}"),
            }
            if verdict == Verdict::First {
                self.firsts.insert(one.key, (one.print, one.at));
                added.push(*one);
            }
        }
        self.cursor = self.input.len();
        if !commit_only {
            let reached = next(self.cursor as u64);
            self.seen().add(&added, &reached);
        }
        true
    }

    /// Opens the index again, and reads what it does not know.
    fn recover(&mut self) {
        self.seen = None;
        self.disk.restart();
        self.disk.set_capacity(u64::MAX);
        self.seen = Model::open(&self.disk);
        let damaged: Vec<_> = files(&self.disk).into_iter().filter(|file| file.ends_with(".damaged")).collect();
        assert_eq!(damaged, [""; 0], "no crash damages a file that counts");
        let mut offset = self.seen().checkpoint().get(&0).copied().unwrap_or_default() as usize;
        assert!(offset <= self.cursor, "the index is ahead of the log: {offset} of {}", self.cursor);
        while offset < self.cursor {
            let end = self.cursor.min(offset + 30);
            let batch = self.input[offset..end].to_vec();
            let verdicts = self.seen().probe(&batch).expect("the disk is mended");
            let firsts: Vec<_> =
                batch.iter().zip(verdicts).filter(|(_, verdict)| *verdict == Verdict::First).map(|(one, _)| *one).collect();
            self.seen().add(&firsts, &next(end as u64));
            self.seen().settle();
            offset = end;
        }
    }

    fn play(&mut self, one: Move) {
        match one {
            Move::Take { records, hours } => {
                self.now += hours * HOUR;
                self.receive(records);
                self.take(false);
            }
            Move::Close => {
                self.disk.release_syncs();
                let seen = self.seen.take().expect("it is open");
                let is_closed = seen.close().is_ok();
                self.recover();
                assert!(!is_closed || self.seen().checkpoint().get(&0).copied().unwrap_or_default() == self.cursor as u64);
            }
            Move::PowerOff { after_operations } => {
                self.disk.power_off_after(after_operations);
                for _ in 0..4 {
                    self.receive(50);
                    self.take(false);
                }
                self.disk.power_off();
                self.recover();
            }
            Move::DieAfterCommit => {
                self.receive(20);
                self.take(true);
                self.disk.release_syncs();
                self.recover();
            }
            Move::Fail { after, operations } => self.disk.fail(after..after + operations),
            Move::HoldSyncs => self.disk.hold_syncs(),
            Move::Fill => self.disk.set_capacity(self.disk.bytes_used() + 20_000),
            Move::Mend => {
                self.disk.fail(0..0);
                self.disk.release_syncs();
                self.disk.set_capacity(u64::MAX);
                // A fault may need to be met twice before it is known to be over.
                (0..3).for_each(|_| {
                    self.seen().settle();
                    let _ = self.seen().probe(&[]);
                });
                self.seen().settle();
                assert!(self.take(false), "a mended disk serves");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_crash_and_no_fault_forgets_a_key_or_invents_one(seed: u64, moves in moves()) {
        let disk = SimulatedDisk::new(seed);
        let seen = Model::open(&disk);
        let mut model = Model { disk, seen, input: Vec::new(), cursor: 0, firsts: HashMap::new(), now: 0, random: seed };
        for one in moves {
            model.play(one);
        }
        model.play(Move::Mend);
    }
}
