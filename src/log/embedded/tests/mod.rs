//! The embedded log, as its callers see it.

/// Crashes, torn tails and damage.
mod crash;

use super::reader::Reader;
use super::*;
use crate::log::disk::RealDisk;
use crate::log::disk::simulated::SimulatedDisk;
use crate::log::{Entry, Retention};
use futures_util::future::join_all;
use std::time::Duration;

const TOPIC: &str = "facts";

fn settings() -> Settings {
    Settings { segment_bytes: 16 << 10, salt: 7, ..Settings::default() }
}

fn keeping(retention: Retention) -> Settings {
    Settings { topics: [(TOPIC.to_owned(), TopicSettings { retention, ..TopicSettings::default() })].into(), ..settings() }
}

fn open(disk: &SimulatedDisk) -> Embedded {
    Embedded::open(Arc::new(disk.clone()), settings()).expect("the log opens")
}

fn record(text: &str) -> Record {
    Record::new(b"key", text.as_bytes().to_vec(), Timestamp(1000))
}

fn record_at(at: i64) -> Record {
    Record::new(b"key", vec![b'x'; 1000], Timestamp(at))
}

async fn append(log: &Embedded, text: &str) -> Result<Vec<Position>, LogError> {
    log.append(TOPIC, vec![record(text)]).await
}

fn cursor(next: u64) -> Cursor {
    Cursor::new("profiles", &Cursor::input(TOPIC, 0), next)
}

async fn texts(log: &Embedded) -> Vec<String> {
    let (start, _) = log.bounds(TOPIC, 0).await.expect("the partition exists");
    let entries = log.read(TOPIC, 0, start, usize::MAX).await.expect("the log can be read").entries;
    assert!(entries.iter().zip(start..).all(|(entry, offset)| entry.offset == offset), "offsets are dense");
    entries.into_iter().map(|entry| String::from_utf8(entry.payload.into()).expect("payloads are text")).collect()
}

#[tokio::test]
async fn what_was_appended_is_read_back_at_its_offset() {
    let log = open(&SimulatedDisk::new(1));
    assert_eq!(log.bounds(TOPIC, 0).await, Ok((0, 0)));
    let positions = log.append(TOPIC, vec![record("a"), record("b")]).await;
    assert_eq!(positions, Ok(vec![Position { partition: 0, offset: 0 }, Position { partition: 0, offset: 1 }]));
    assert_eq!(append(&log, "c").await, Ok(vec![Position { partition: 0, offset: 2 }]));
    assert_eq!(log.bounds(TOPIC, 0).await, Ok((0, 3)));
    let expected = Entry { offset: 1, at: Timestamp(1000), payload: b"b".as_slice().into() };
    assert_eq!(log.read(TOPIC, 0, 1, 1).await, Ok(Batch { entries: vec![expected], next: 2 }));
    assert_eq!(log.read(TOPIC, 0, 3, 1).await, Ok(Batch { entries: vec![], next: 3 }));
}

#[tokio::test]
async fn a_key_stays_in_its_partition_and_in_order() {
    let disk = SimulatedDisk::new(1);
    let open = |partitions| {
        Embedded::open(
            Arc::new(disk.clone()),
            Settings {
                topics: [(TOPIC.to_owned(), TopicSettings { partitions, ..TopicSettings::default() })].into(),
                ..settings()
            },
        )
        .expect("the log opens")
    };
    let log = open(4);
    for number in 0..200_u64 {
        let key = (number % 10).to_string();
        log.append(TOPIC, vec![Record::new(key.as_bytes(), number.to_le_bytes().to_vec(), Timestamp(0))]).await.expect("appended");
    }
    drop(log);
    let log = open(1);
    assert_eq!(log.partitions(TOPIC).await, Ok(4), "a topic keeps the partitions it was born with");
    let mut seen = HashMap::new();
    for partition in 0..4 {
        for entry in log.read(TOPIC, partition, 0, usize::MAX).await.expect("read").entries {
            let number = u64::from_le_bytes(entry.payload[..].try_into().expect("a number"));
            let (home, last) = *seen.entry(number % 10).or_insert((partition, number));
            assert_eq!(home, partition);
            assert!(last <= number);
            seen.insert(number % 10, (partition, number));
        }
    }
    assert_eq!(seen.len(), 10);
}

#[tokio::test]
async fn appends_that_wait_share_a_sync() {
    let disk = SimulatedDisk::new(1);
    let log = open(&disk);
    disk.hold_syncs();
    let waiting: Vec<_> = (0..100).map(|number| log.append(TOPIC, vec![record(&number.to_string())])).collect();
    disk.release_syncs();
    let answers = join_all(waiting).await;
    assert!(
        answers
            .iter()
            .enumerate()
            .all(|(index, answer)| answer.as_ref().is_ok_and(|positions| positions[0].offset == index as u64))
    );
    // One for what the writer took at once, one for all that came while that was held.
    assert!(disk.syncs() <= 2, "{} syncs", disk.syncs());
}

#[tokio::test]
async fn a_slow_disk_makes_it_busy_and_then_it_goes_on() {
    let disk = SimulatedDisk::new(1);
    let log = Embedded::open(Arc::new(disk.clone()), Settings { queue_bytes_max: 1000, ..settings() }).expect("the log opens");
    disk.hold_syncs();
    // At most one batch and one queue of these are taken.
    let waiting: Vec<_> = (0..300).map(|_| log.append(TOPIC, vec![record("0123456789")])).collect();
    disk.release_syncs();
    let answers = join_all(waiting).await;
    let taken = answers.iter().filter(|answer| answer.is_ok()).count();
    assert!(answers.iter().all(|answer| matches!(answer, Ok(_) | Err(LogError::Busy))));
    assert!(taken < 300, "the queue is bounded");
    assert_eq!(texts(&log).await.len(), taken);
    append(&log, "again").await.expect("appended");
}

#[tokio::test]
async fn refuses_what_it_cannot_hold() {
    let log = open(&SimulatedDisk::new(1));
    let large = Record::new(b"", vec![0; APPEND_BYTES_MAX], Timestamp(0));
    assert!(matches!(log.append(TOPIC, vec![large]).await, Err(LogError::TooLarge { .. })));
    let largest = Record::new(b"", vec![0; APPEND_BYTES_MAX - 12], Timestamp(0));
    log.append(TOPIC, vec![largest]).await.expect("a batch larger than a segment gets a larger one");
    assert!(matches!(log.append("../facts", vec![record("a")]).await, Err(LogError::Invalid(_))));
    assert!(matches!(log.commit(TOPIC, vec![], Cursor::new("", "a", 1)).await, Err(LogError::Invalid(_))));
    assert!(matches!(log.read(TOPIC, 1, 0, 1).await, Err(LogError::Invalid(_))));
    assert!(matches!(log.wait_beyond(TOPIC, 1, 0).await, Err(LogError::Invalid(_))));
}

#[tokio::test]
async fn outputs_and_cursor_are_read_back_together() {
    let disk = SimulatedDisk::new(1);
    let log = open(&disk);
    assert_eq!(log.cursor("profiles", "facts/0").await, Ok(None));
    log.commit("events", vec![record("out")], cursor(5)).await.expect("committed");
    log.commit(TOPIC, vec![], cursor(4)).await.expect("a cursor alone, and back");
    assert_eq!(log.cursor("profiles", "facts/0").await, Ok(Some(4)));
    drop(log);
    let log = open(&disk);
    assert_eq!(log.cursor("profiles", "facts/0").await, Ok(Some(4)), "the later commit counts, in whichever topic it stands");
    assert_eq!(log.bounds("events", 0).await, Ok((0, 1)));
    assert_eq!(log.bounds(TOPIC, 0).await, Ok((0, 0)));
}

#[tokio::test]
async fn a_claim_ends_when_somebody_sets_the_cursor_without_it() {
    let disk = SimulatedDisk::new(1);
    let log = open(&disk);
    let claim = log.claim("profiles", "facts/0").await.expect("claimed");
    log.commit("events", vec![record("first")], claim.at(1)).await.expect("committed");
    disk.hold_syncs();
    let back = log.commit(TOPIC, vec![], cursor(0));
    // Claimed and read again before the other commit is durable: it is as stale as the claim before.
    let between = log.claim("profiles", "facts/0").await.expect("claimed");
    let late = [log.commit("events", vec![record("late")], claim.at(2)), log.commit(TOPIC, vec![], between.at(2))];
    disk.release_syncs();
    back.await.expect("committed");
    assert!(join_all(late).await.iter().all(|answer| *answer == Err(LogError::Fenced)));
    assert_eq!(log.cursor("profiles", "facts/0").await, Ok(Some(0)));
    assert_eq!(log.bounds("events", 0).await, Ok((0, 1)));
    let claims = log.claims("profiles", TOPIC).await.expect("claimed");
    log.commit("events", vec![record("again")], claims[0].at(1)).await.expect("committed");
    assert_eq!(log.cursors().await, Ok(vec![cursor(1)]));
    let lag = crate::log::lag::of(&log).await.expect("the log answers");
    assert_eq!((lag.len(), lag[0].next, lag[0].end, lag[0].behind()), (1, 1, 0, 0));
}

#[tokio::test]
async fn waiting_ends_with_the_record_or_with_the_log() {
    let log = open(&SimulatedDisk::new(1));
    let (end, _) = tokio::join!(log.wait_beyond(TOPIC, 0, 0), append(&log, "a"));
    assert_eq!(end, Ok(1));
    assert_eq!(log.wait_beyond(TOPIC, 0, 0).await, Ok(1));
    let (end, closed) = tokio::join!(log.wait_beyond(TOPIC, 0, 1), log.close());
    assert_eq!((end, closed), (Err(LogError::Closed), Ok(())));
}

#[tokio::test]
async fn closing_answers_what_is_queued() {
    let disk = SimulatedDisk::new(1);
    let log = open(&disk);
    disk.hold_syncs();
    let waiting: Vec<_> = (0..10).map(|number| log.append(TOPIC, vec![record(&number.to_string())])).collect();
    let closing = log.close();
    disk.release_syncs();
    closing.await.expect("closed");
    assert!(join_all(waiting).await.iter().all(Result::is_ok));
    assert_eq!(append(&log, "late").await, Err(LogError::Closed));
    assert_eq!(texts(&log).await.len(), 10, "a closed log can be read");
    drop(open(&disk));
}

#[tokio::test]
async fn reading_begins_anywhere_across_segments() {
    let disk = SimulatedDisk::new(1);
    let log = open(&disk);
    for at in 0..100 {
        log.append(TOPIC, vec![record_at(at * 10)]).await.expect("appended");
    }
    drop(log);
    let log = open(&disk);
    assert!(disk.list().expect("listed").len() > 3, "there are several segments");
    for from in 0..100 {
        let entries = log.read(TOPIC, 0, from, 2500).await.expect("read").entries;
        let expected: Vec<u64> = (from..100).take(2).collect();
        assert_eq!(entries.iter().map(|entry| entry.offset).collect::<Vec<_>>(), expected);
        assert_eq!(entries[0].at, Timestamp(from as i64 * 10));
        assert_eq!(log.offset_at(TOPIC, 0, Timestamp(from as i64 * 10 - 3)).await, Ok(from));
    }
    assert_eq!(log.offset_at(TOPIC, 0, Timestamp(991)).await, Ok(100));
}

#[tokio::test]
async fn retention_deletes_closed_segments_and_keeps_cursors() {
    let disk = SimulatedDisk::new(1);
    let age = Some(Duration::from_millis(300));
    for retention in [Retention { age, bytes_max: None }, Retention { age: None, bytes_max: Some(40_000) }] {
        let settings = keeping(retention);
        let log = Embedded::open(Arc::new(disk.clone()), settings).expect("the log opens");
        log.commit(TOPIC, vec![record_at(0)], cursor(1)).await.expect("committed");
        for at in 1..100 {
            log.append(TOPIC, vec![record_at(at * 10)]).await.expect("appended");
        }
        let before = disk.bytes_used();
        let (old_start, end) = log.bounds(TOPIC, 0).await.expect("bounds");
        assert!(log.retain(Timestamp(1000)).await.expect("retained") > 0);
        let (start, _) = log.bounds(TOPIC, 0).await.expect("bounds");
        assert!(disk.bytes_used() < before);
        assert_eq!(log.read(TOPIC, 0, old_start, 1).await, Err(LogError::Trimmed { start }));
        match retention.bytes_max {
            Some(bytes_max) => assert!(disk.bytes_used() <= bytes_max + (16 << 10) && end - start > 20, "{start} to {end}"),
            // Of the last 300 ms nothing is missing, and little is kept beside.
            None => assert!(end - start >= 30 && end - start <= 50, "{start} to {end}"),
        }
        assert_eq!(log.retain(Timestamp(1000)).await, Ok(0), "once is enough");
        drop(log);
        let log = open(&disk);
        assert_eq!(log.bounds(TOPIC, 0).await, Ok((start, end)));
        assert_eq!(log.cursor("profiles", "facts/0").await, Ok(Some(1)), "its frame is gone, it is not");
    }
}

#[tokio::test]
async fn a_full_disk_refuses_and_heals() {
    let disk = SimulatedDisk::new(1);
    let log = open(&disk);
    disk.set_capacity(20 << 10);
    let mut taken = 0;
    let error = loop {
        match log.append(TOPIC, vec![record_at(taken)]).await {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error, LogError::Full);
    assert_eq!(log.bounds(TOPIC, 0).await, Ok((0, taken as u64)));
    assert_eq!(log.append(TOPIC, vec![record_at(taken)]).await, Err(LogError::Full));
    append(&log, "small").await.expect("what still fits is taken");
    disk.set_capacity(u64::MAX);
    log.append(TOPIC, vec![record_at(taken)]).await.expect("there is space again");
    drop(log);
    assert_eq!(open(&disk).bounds(TOPIC, 0).await, Ok((0, taken as u64 + 2)));
}

#[tokio::test]
async fn a_failed_write_or_sync_is_written_again_elsewhere() {
    for before in 0..3 {
        let disk = SimulatedDisk::new(before);
        let log = open(&disk);
        for number in 0..before {
            append(&log, &number.to_string()).await.expect("appended");
        }
        for failures in 1..6 {
            disk.fail(0..failures);
            // Each attempt uses up at least one fault, and shows nothing when it fails.
            let mut attempts = 0;
            while let Err(error) = append(&log, "once").await {
                assert!(matches!(error, LogError::Unavailable(_)));
                attempts += 1;
                assert!(attempts <= failures);
            }
        }
        let expected = texts(&log).await;
        assert_eq!(expected.len() as u64, before + 5);
        disk.power_off();
        drop(log);
        disk.restart();
        assert_eq!(texts(&open(&disk)).await, expected, "what failed before stays void");
    }
}

#[tokio::test]
async fn one_owner_many_readers() {
    let disk = SimulatedDisk::new(1);
    let retention = Retention { age: None, bytes_max: Some(20_000) };
    let log = Embedded::open(Arc::new(disk.clone()), keeping(retention)).expect("the log opens");
    assert!(matches!(Embedded::open(Arc::new(disk.clone()), settings()), Err(LogError::Locked { .. })));
    let mut reader = Reader::open(Arc::new(disk.clone())).expect("an empty log can be read");
    assert_eq!(reader.topics().count(), 0);
    let mut next = 0;
    for at in 0..100 {
        log.append(TOPIC, vec![record_at(at)]).await.expect("appended");
        if at % 7 == 0 {
            reader.refresh().expect("refreshed");
            let entries = reader.read(TOPIC, 0, next, usize::MAX).expect("read").entries;
            next += entries.len() as u64;
            assert_eq!(next, at as u64 + 1);
        }
    }
    log.retain(Timestamp(0)).await.expect("retained");
    reader.refresh().expect("refreshed");
    assert_eq!(reader.bounds(TOPIC, 0), log.bounds(TOPIC, 0).await);
    assert!(matches!(reader.read(TOPIC, 0, 0, 1), Err(LogError::Trimmed { .. })));
    assert_eq!(reader.offset_at(TOPIC, 0, Timestamp(95)), Ok(95));
}

#[tokio::test]
async fn the_real_disk_keeps_it_and_lets_one_process_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = || Arc::new(RealDisk::create(&folder.path().join("log")).expect("a disk"));
    let log = Embedded::open(disk(), settings()).expect("the log opens");
    for number in 0..50 {
        log.append(TOPIC, vec![record_at(number)]).await.expect("appended");
    }
    assert!(matches!(Embedded::open(disk(), settings()), Err(LogError::Locked { .. })));
    let reader = Reader::open(disk()).expect("a reader opens");
    assert_eq!(reader.read(TOPIC, 0, 0, usize::MAX).expect("read").entries.len(), 50);
    log.close().await.expect("closed");
    let log = Embedded::open(disk(), settings()).expect("free after closing");
    assert_eq!(log.bounds(TOPIC, 0).await, Ok((0, 50)));
    assert_eq!(log.read(TOPIC, 0, 49, 1).await.expect("read").entries.len(), 1);
}

#[tokio::test]
async fn a_log_that_met_trouble_says_so_until_it_can_write_again() {
    let disk = SimulatedDisk::new(1);
    let log = open(&disk);
    append(&log, "first").await.expect("appended");
    let (syncs, operations) = (disk.syncs(), 0..1_000);
    assert_eq!((log.try_out().await, disk.syncs()), (Ok(()), syncs), "nothing is written while all is well");
    disk.fail(operations);
    append(&log, "lost").await.expect_err("the disk fails");
    log.try_out().await.expect_err("it still does");
    disk.fail(0..0);
    assert_eq!(log.try_out().await, Ok(()));
    append(&log, "second").await.expect("appended");
    assert_eq!(texts(&log).await, ["first", "second"], "a try leaves no record");
    drop(log);
    let log = open(&disk);
    assert_eq!(texts(&log).await, ["first", "second"]);
    log.close().await.expect("it closes");
    assert_eq!(log.try_out().await, Err(LogError::Closed));
}
