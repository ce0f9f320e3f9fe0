//! What a crash may take, what it may not, and what is damage.

use super::*;
use crate::log::disk::Disk;
use proptest::prelude::*;

const FIRST: &str = "facts.00000000.segment";

/// Appends each text as a batch of its own; gives the file and where each batch ends.
async fn written(texts: &[&str]) -> (Vec<u8>, Vec<usize>) {
    let disk = SimulatedDisk::new(1);
    let log = open(&disk);
    let mut ends = Vec::new();
    for text in texts {
        append(&log, text).await.expect("appended");
        let bytes = disk.contents(FIRST).expect("the file is there");
        ends.push(written_bytes(&bytes));
    }
    (disk.contents(FIRST).expect("the file is there"), ends)
}

/// Where the frame of the second batch begins.
fn second_frame(ends: &[usize]) -> usize {
    ends[0].next_multiple_of(crate::log::embedded::frame::ALIGNMENT)
}

/// How far the file is not zeros.
fn written_bytes(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

fn disk_with(bytes: Vec<u8>) -> SimulatedDisk {
    let disk = SimulatedDisk::new(1);
    disk.put(FIRST, bytes);
    disk
}

#[tokio::test]
async fn a_tail_torn_at_any_byte_is_left_out() {
    let (whole, ends) = written(&["first", "second", "third"]).await;
    for cut in ends[1]..ends[2] {
        let mut torn = whole.clone();
        torn[cut..].fill(0);
        let disk = disk_with(torn);
        let log = open(&disk);
        assert_eq!(texts(&log).await, ["first", "second"], "cut at {cut}");
        append(&log, "fourth").await.expect("appended");
        drop(log);
        assert_eq!(texts(&open(&disk)).await, ["first", "second", "fourth"], "cut at {cut}");
    }
}

#[tokio::test]
async fn a_first_batch_torn_at_any_byte_is_left_out() {
    let (whole, ends) = written(&["first"]).await;
    for cut in 0..ends[0] {
        let disk = disk_with(whole[..cut].to_vec());
        let log = open(&disk);
        assert_eq!(texts(&log).await, [""; 0], "cut at {cut}");
        append(&log, "again").await.expect("appended");
        drop(log);
        assert_eq!(texts(&open(&disk)).await, ["again"], "cut at {cut}");
    }
}

#[tokio::test]
async fn damage_before_durable_frames_is_told_and_nothing_is_changed() {
    let (whole, ends) = written(&["first", "second", "third"]).await;
    for place in 0..ends[1] {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x40;
        // Behind what every frame begins with.
        let is_version = place >= 3 && whole[place - 3..place] == whole[..3];
        if bytes == whole || is_version {
            // The versions have a test of their own.
            continue;
        }
        let disk = disk_with(bytes.clone());
        match Embedded::open(Arc::new(disk.clone()), settings()) {
            Err(LogError::Damaged { file, position, .. }) => assert!(file == FIRST && position <= place as u64, "at {place}"),
            Err(other) => panic!("{other} at {place}"),
            Ok(_) => panic!("opened with damage at {place}"),
        }
        assert_eq!(disk.contents(FIRST), Some(bytes));
    }
}

#[tokio::test]
async fn damage_in_a_closed_segment_is_told_to_who_reads_it() {
    let disk = SimulatedDisk::new(1);
    let log = open(&disk);
    for at in 0..50 {
        log.append(TOPIC, vec![record_at(at)]).await.expect("appended");
    }
    drop(log);
    let mut bytes = disk.contents(FIRST).expect("the file is there");
    bytes[5000] ^= 1;
    disk.put(FIRST, bytes.clone());
    let log = open(&disk);
    assert!(matches!(log.read(TOPIC, 0, 0, usize::MAX).await, Err(LogError::Damaged { position: 1..5000, .. })));
    assert_eq!(log.read(TOPIC, 0, 49, 1).await.expect("the rest can be read").entries.len(), 1);
    drop(log);
    disk.put(FIRST, bytes[..5000].to_vec());
    assert!(matches!(Embedded::open(Arc::new(disk.clone()), settings()), Err(LogError::Damaged { .. })), "cut short");
    disk.remove("facts.00000001.segment").expect("removed");
    assert!(matches!(Embedded::open(Arc::new(disk.clone()), settings()), Err(LogError::Damaged { .. })), "one is missing");
}

#[tokio::test]
async fn a_batch_that_reached_the_disk_out_of_order_is_left_out() {
    let disk = SimulatedDisk::new(1);
    let log = Embedded::open(Arc::new(disk.clone()), Settings { segment_bytes: 4 << 20, ..settings() }).expect("the log opens");
    append(&log, "first").await.expect("appended");
    disk.hold_syncs();
    let syncs = disk.syncs();
    let held = append(&log, "held");
    let mut held = Box::pin(held);
    assert!(futures_util::poll!(&mut held).is_pending());
    while disk.syncs() == syncs {
        std::thread::yield_now();
    }
    // What is appended while a sync is held goes together: two frames in one batch.
    let large = || log.append(TOPIC, vec![Record::new(b"", vec![b'x'; 200_000], Timestamp(0))]);
    let (first, second) = (large(), large());
    disk.release_syncs();
    let answers = tokio::join!(held, first, second);
    assert!(answers.0.is_ok() && answers.1.is_ok() && answers.2.is_ok());
    drop(log);
    let mut bytes = disk.contents(FIRST).expect("the file is there");
    bytes[100_000] ^= 1;
    disk.put(FIRST, bytes);
    let log = open(&disk);
    assert_eq!(texts(&log).await, ["first", "held"]);
    // As long as the frame that broke, so that the one that survived would follow it.
    log.append(TOPIC, vec![Record::new(b"", vec![b'y'; 200_000], Timestamp(0))]).await.expect("appended");
    drop(log);
    assert_eq!(open(&disk).bounds(TOPIC, 0).await, Ok((0, 3)), "what survived behind the break does not come back");
}

#[tokio::test]
async fn a_payload_cannot_pose_as_a_frame() {
    // A whole segment of a log of the same format, but with another salt, as the payload of a batch that is then torn.
    let (whole, ends) = written(&["first", "second", "third"]).await;
    for shift in 0..8 {
        let disk = SimulatedDisk::new(1);
        let log = Embedded::open(Arc::new(disk.clone()), Settings { salt: 99, ..settings() }).expect("the log opens");
        append(&log, "mine").await.expect("appended");
        let payload = [vec![0; shift], whole[..ends[2] + 8].to_vec()].concat();
        log.append(TOPIC, vec![Record::new(b"", payload, Timestamp(0))]).await.expect("appended");
        drop(log);
        let mut bytes = disk.contents(FIRST).expect("the file is there");
        let last = written_bytes(&bytes) - 1;
        bytes[last] ^= 1;
        let disk = disk_with(bytes);
        assert_eq!(texts(&open(&disk)).await, ["mine"], "shifted by {shift}");
    }
}

#[tokio::test]
async fn a_newer_log_is_refused() {
    let (bytes, ends) = written(&["first", "second"]).await;
    // Also where a newer release has gone on in a segment of an older one.
    for place in [3, second_frame(&ends) + 3] {
        let mut bytes = bytes.clone();
        bytes[place] += 1;
        let error = Embedded::open(Arc::new(disk_with(bytes)), settings()).err().expect("refused");
        assert_eq!(error, LogError::Newer { file: FIRST.to_owned(), version: 2, known: 1 });
    }
}

/// What happens to a log, one after the other.
#[derive(Clone, Debug)]
enum Move {
    /// So many appends at once, each of so many records.
    Append {
        appends: usize,
        records: usize,
        bytes: usize,
    },
    Reopen,
    PowerOff {
        after_operations: u64,
    },
    Fail {
        after: u64,
        operations: u64,
    },
    Fill,
    Empty,
    Retain,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        8 => (1..5_usize, 0..5_usize, 0..3000_usize).prop_map(|(appends, records, bytes)| Move::Append { appends, records, bytes }),
        1 => Just(Move::Reopen),
        3 => (0..8_u64).prop_map(|after_operations| Move::PowerOff { after_operations }),
        2 => (0..4_u64, 1..6_u64).prop_map(|(after, operations)| Move::Fail { after, operations }),
        1 => Just(Move::Fill),
        1 => Just(Move::Empty),
        1 => Just(Move::Retain),
    ];
    prop::collection::vec(one, 1..60)
}

/// One append as the model knows it. It also set the cursor to its number.
struct Attempt {
    number: u64,
    records: usize,
    fate: Fate,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Fate {
    Durable,
    /// Refused; may come to light when the log is opened again.
    Doubtful,
}

struct Model {
    disk: SimulatedDisk,
    log: Embedded,
    attempts: Vec<Attempt>,
    numbers: u64,
    partitions: u16,
}

impl Model {
    fn open(disk: &SimulatedDisk, partitions: u16) -> Embedded {
        let topic = TopicSettings { partitions, retention: Retention { age: None, bytes_max: Some(30_000) } };
        let topics = [(TOPIC.to_owned(), topic)].into();
        Embedded::open(Arc::new(disk.clone()), Settings { segment_bytes: 4096, topics, salt: 3, ..Settings::default() })
            .expect("it opens after any crash")
    }

    async fn append(&mut self, appends: usize, records: usize, bytes: usize) {
        let mut waiting = Vec::new();
        for _ in 0..appends {
            self.numbers += 1;
            let number = self.numbers;
            let records: Vec<Record> = (0..records)
                .map(|index| {
                    let payload = [&number.to_le_bytes()[..], &vec![b'x'; bytes]].concat();
                    Record::new(&[index as u8], payload, Timestamp(number as i64))
                })
                .collect();
            waiting.push((number, records.len(), self.log.commit(TOPIC, records, cursor(number))));
        }
        for (number, records, answer) in waiting {
            let fate = if answer.await.is_ok() { Fate::Durable } else { Fate::Doubtful };
            self.attempts.push(Attempt { number, records, fate });
        }
    }

    fn reopen(&mut self) {
        // Let the old one go before the new one comes, as processes do.
        self.log = open(&SimulatedDisk::new(0));
        self.log = Model::open(&self.disk, self.partitions);
    }

    fn crash(&mut self) {
        self.disk.power_off();
        self.log = open(&SimulatedDisk::new(0));
        self.disk.restart();
        self.log = Model::open(&self.disk, self.partitions);
    }

    /// The numbers of the attempts whose records can be read, once for each record.
    async fn seen(&self) -> Vec<u64> {
        let mut seen = Vec::new();
        for partition in 0..self.partitions {
            let (start, end) = self.log.bounds(TOPIC, partition).await.expect("the partition exists");
            let entries = self.log.read(TOPIC, partition, start, usize::MAX).await.expect("it can be read").entries;
            assert_eq!(entries.iter().map(|entry| entry.offset).collect::<Vec<_>>(), (start..end).collect::<Vec<_>>());
            let numbers: Vec<u64> =
                entries.iter().map(|entry| u64::from_le_bytes(entry.payload[..8].try_into().expect("8 bytes"))).collect();
            assert!(numbers.is_sorted(), "partition {partition}: {numbers:?}");
            seen.extend(numbers);
        }
        seen
    }

    /// Every durable attempt is there, whole and once, and the cursor is that of the last one. What is doubtful is not there, but when the
    /// log is opened again it may be; then it is durable from now on, and otherwise gone for good.
    async fn check(&mut self, was_reopened: bool) {
        let seen = self.seen().await;
        let oldest = seen.iter().copied().min();
        let cursor = self.log.cursor("profiles", "facts/0").await.expect("the log answers");
        let mut expected_cursor = None;
        let mut fates = Vec::new();
        for attempt in &self.attempts {
            let count = seen.iter().filter(|number| **number == attempt.number).count();
            let is_trimmed = attempt.fate == Fate::Durable && oldest.is_none_or(|oldest| attempt.number <= oldest);
            let is_there = match attempt.fate {
                Fate::Durable => {
                    assert!(
                        count == attempt.records || is_trimmed,
                        "{} is there {count} of {} times",
                        attempt.number,
                        attempt.records
                    );
                    true
                }
                Fate::Doubtful if was_reopened && attempt.records > 0 => {
                    assert!(count == 0 || count == attempt.records, "{} is there in part", attempt.number);
                    count > 0
                }
                // Without records it shows in the cursor, unless something came after it.
                Fate::Doubtful if was_reopened => cursor == Some(attempt.number),
                Fate::Doubtful => {
                    assert_eq!(count, 0, "{} was refused and can be read", attempt.number);
                    false
                }
            };
            fates.push(is_there);
            if is_there {
                expected_cursor = Some(attempt.number);
            }
        }
        assert_eq!(cursor, expected_cursor, "the cursor is the last commit's");
        if was_reopened {
            let mut fates = fates.into_iter();
            self.attempts.retain(|_| fates.next() == Some(true));
            self.attempts.iter_mut().for_each(|attempt| attempt.fate = Fate::Durable);
        }
    }
}

async fn play(seed: u64, partitions: u16, moves: Vec<Move>) {
    let disk = SimulatedDisk::new(seed);
    let log = Model::open(&disk, partitions);
    let mut model = Model { disk, log, attempts: Vec::new(), numbers: 0, partitions };
    for one in moves {
        let mut was_reopened = false;
        match one {
            Move::Append { appends, records, bytes } => model.append(appends, records, bytes).await,
            Move::Reopen => {
                // What an unhealed log had refused may come to light here too.
                was_reopened = true;
                model.disk.fail(0..0);
                model.reopen();
            }
            Move::PowerOff { after_operations } => {
                model.disk.power_off_after(after_operations);
                model.append(3, 2, 500).await;
                model.append(2, 1, 500).await;
                model.crash();
                was_reopened = true;
            }
            Move::Fail { after, operations } => model.disk.fail(after..after + operations),
            Move::Fill => model.disk.set_capacity(model.disk.bytes_used() + 5000),
            Move::Empty => model.disk.set_capacity(u64::MAX),
            Move::Retain => {
                let _ = model.log.retain(Timestamp(0)).await;
            }
        }
        model.check(was_reopened).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_crash_and_no_fault_loses_doubles_or_splits_a_commit(seed: u64, partitions in 1..4_u16, moves in moves()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(play(seed, partitions, moves));
    }
}
