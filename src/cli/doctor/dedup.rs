//! Whether repeats are recognised for as long as the configuration says.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use deputy::config::{LogAddress, Settings};
use deputy::domain::time::Timestamp;
use deputy::log::{
    disk::{RealDisk, free_bytes},
    embedded::reader::Reader,
};
use deputy::world::open::{log_path, seen_path, seen_settings};
use deputy::world::{FACTS, RECEIVED};

use super::Finding;

/// Whether the log holds what the index of seen ids may have to be made of anew. What brokers hold is not looked at.
pub(super) fn window(settings: &Settings, now: Timestamp) -> Option<Finding> {
    let (kept_s, window_s) = (settings.events_retention_s, settings.dedup_window_s);
    if kept_s < window_s {
        let what = format!("events_retention_s keeps {kept_s} seconds of events, and dedup_window_s is {window_s}");
        return Some(Finding::doubtful("dedup", what, "keep events as long as they are to be recognised"));
    }
    if settings.log != LogAddress::Embedded {
        return None;
    }
    let reader = Reader::open(Arc::new(RealDisk::at(&log_path(settings)))).ok()?;
    let held = (0..reader.partitions(RECEIVED)).filter_map(|partition| {
        let (start, _) = reader.bounds(RECEIVED, partition).ok().filter(|(start, _)| *start > 0)?;
        Some(now.since(reader.read(RECEIVED, partition, start, 1).ok()?.entries.first()?.at))
    });
    let held_s = held.min()?.as_secs();
    (held_s < u64::from(window_s)).then(|| {
        let what = format!("the log's size limit left {held_s} seconds of events, and dedup_window_s is {window_s}");
        Finding::doubtful("dedup", what, "raise events_retention_bytes_max, or lower dedup_window_s")
    })
}

/// Whether the index of seen ids may hold the window, and has the room for it. What brokers hold is not looked at.
pub(super) fn index(settings: &Settings) -> Vec<Finding> {
    let index = seen_settings(settings);
    let rate = match settings.log {
        LogAddress::Embedded => Reader::open(Arc::new(RealDisk::at(&log_path(settings)))).ok().and_then(|log| rate(&log)),
        LogAddress::Kafka { .. } => None,
    };
    let held = rate.and_then(|rate| held(settings, rate));
    let (disk_bytes, memory_bytes) = (index.disk_bytes_max(), index.memory_bytes_max());
    let path = seen_path(settings);
    let used_bytes =
        fs::read_dir(&path).into_iter().flatten().flatten().filter_map(|entry| entry.metadata().ok()).map(|found| found.len());
    let room = room(disk_bytes, memory_bytes, used_bytes.sum(), free_bytes(&path).ok());
    held.into_iter().chain([room]).collect()
}

/// How many new ids came in a second, on average over what the log holds; none if that is too short a time to tell.
fn rate(log: &Reader) -> Option<f64> {
    const TELLING: Duration = Duration::from_secs(3600);
    let mut ids = 0;
    let (mut first, mut last) = (None, None);
    for topic in [FACTS, RECEIVED] {
        for partition in 0..log.partitions(topic) {
            let (start, end) = log.bounds(topic, partition).ok()?;
            ids += end - start;
            let at = |offset| log.read(topic, partition, offset, 1).ok()?.entries.first().map(|entry| entry.at);
            if start < end {
                first = first.into_iter().chain(at(start)).min();
                last = last.into_iter().chain(at(end - 1)).max();
            }
        }
    }
    let span = last?.since(first?);
    (span >= TELLING).then(|| ids as f64 / span.as_secs_f64())
}

/// Whether so many new ids in a second are more than are remembered for as long as they should be.
fn held(settings: &Settings, rate: f64) -> Option<Finding> {
    let (window_s, keys_max) = (settings.dedup_window_s, settings.dedup_keys_max);
    let held_s = keys_max as f64 / rate;
    (held_s < f64::from(window_s)).then(|| {
        let keys = rate * f64::from(window_s);
        Finding::doubtful(
            "dedup",
            format!(
                "{rate:.1} new ids came in a second: dedup_keys_max = {keys_max} remembers them for {held_s:.0} seconds, and \
                 dedup_window_s is {window_s}"
            ),
            format!("set dedup_keys_max to {keys:.0} or more, or lower dedup_window_s"),
        )
    })
}

/// Whether the disk has the room that the index may take.
fn room(disk_bytes: u64, memory_bytes: u64, used_bytes: u64, free_bytes: Option<u64>) -> Finding {
    let what =
        format!("the index of seen ids may grow to {} of disk and {} of memory", gigabytes(disk_bytes), gigabytes(memory_bytes));
    match free_bytes {
        Some(free) if free.saturating_add(used_bytes) < disk_bytes => Finding::doubtful(
            "dedup",
            format!("{what}, and {} of disk are free for it", gigabytes(free.saturating_add(used_bytes))),
            "make room in data_dir, or lower dedup_keys_max: repeats are then recognised for a shorter time when there are many ids",
        ),
        _ => Finding::fine("dedup", what),
    }
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use deputy::log::{
        Log as _, Record, Retention, TopicSettings,
        embedded::{self, Embedded},
    };

    use super::super::super::wait_for;
    use super::super::{
        Verdict,
        tests::{folder, settings},
    };
    use super::*;

    #[test]
    fn the_log_should_hold_the_window() {
        let now = Timestamp::from_seconds(1_800_000_000);
        let folder = folder();
        let short = settings("events_retention_s = 86400", folder.path());
        assert_eq!(window(&short, now).map(|finding| finding.verdict), Some(Verdict::Doubtful));
        let settings = settings("dedup_window_s = 3600", folder.path());
        assert_eq!(window(&settings, now), None, "nothing has run here");
        fs::create_dir(log_path(&settings)).expect("the folder is ours");
        let retention = Retention { age: None, bytes_max: Some(20_000) };
        let topics = HashMap::from([(RECEIVED.to_owned(), TopicSettings { partitions: 1, retention })]);
        let kept = embedded::Settings { topics, segment_bytes: 4096, ..embedded::Settings::default() };
        let log = Embedded::open(Arc::new(RealDisk::at(&log_path(&settings))), kept).expect("the log opens");
        wait_for(async {
            for minutes_ago in (0..50).rev() {
                let record = Record::new(b"key", vec![0; 2048], now.minus(Duration::from_secs(60 * minutes_ago)));
                log.append(RECEIVED, vec![record]).await.expect("the disk works");
            }
            assert!(log.retain(now).await.expect("the disk works") > 0);
            log.close().await.expect("the disk works");
            Ok(())
        })
        .expect("it runs");
        let finding = window(&settings, now).expect("most has been deleted");
        assert!(finding.verdict == Verdict::Doubtful && finding.what.contains("size limit left"), "{finding}");
        assert_eq!(window(&settings, now.plus(Duration::from_secs(3600))), None, "what is gone is older than the window");
    }

    #[test]
    fn the_index_should_hold_the_window_at_the_rate_of_the_log() {
        let folder = folder();
        let settings = settings("dedup_keys_max = 1000000", folder.path());
        let doubts = |settings: &Settings| {
            let findings = index(settings).into_iter().filter(|finding| finding.verdict == Verdict::Doubtful);
            findings.map(|finding| finding.what).collect::<Vec<_>>()
        };
        assert!(doubts(&settings).is_empty(), "nothing has run here");
        fs::create_dir(log_path(&settings)).expect("the folder is ours");
        let log =
            Embedded::open(Arc::new(RealDisk::at(&log_path(&settings))), embedded::Settings::default()).expect("the log opens");
        let begun = Timestamp::from_seconds(1_800_000_000);
        let append = |after_s: u64, ids: usize| {
            let at = begun.plus(Duration::from_secs(after_s));
            let records = (0..ids).map(|_| Record::new(b"key", vec![0; 8], at)).collect();
            wait_for(async { Ok(log.append(RECEIVED, records).await) }).expect("it runs").expect("the disk works");
        };
        append(0, 3_000);
        append(60, 1);
        assert!(doubts(&settings).is_empty(), "a minute tells nothing");
        append(3_600, 999);
        assert_eq!(
            doubts(&settings),
            [
                "1.1 new ids came in a second: dedup_keys_max = 1000000 remembers them for 900000 seconds, and dedup_window_s is 2419200"
            ]
        );
        append(100_000, 1);
        assert!(doubts(&settings).is_empty(), "few come in the long run");
    }

    #[test]
    fn the_disk_should_have_room_for_the_index() {
        let found = |free| room(12_000_000_000, 700_000_000, 2_000_000_000, free);
        assert_eq!(found(Some(10_000_000_000)).verdict, Verdict::Fine, "what it has is its own");
        assert_eq!(found(None).what, "the index of seen ids may grow to 12.0 GB of disk and 0.7 GB of memory");
        let finding = found(Some(9_000_000_000));
        assert!(finding.verdict == Verdict::Doubtful && finding.what.ends_with("and 11.0 GB of disk are free for it"), "{finding}");
        let folder = folder();
        assert!(free_bytes(&folder.path().join("not/there")).is_ok_and(|free| free > 0), "there is a disk all the same");
    }
}
