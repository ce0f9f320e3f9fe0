//! Appending, reading, waiting, closing.

use super::*;
use deputy::log::{APPEND_BYTES_MAX, Batch};
use futures_util::future::join_all;

#[tokio::test]
async fn records_are_read_in_the_order_of_the_calls_and_kept() {
    each_log(async |place| {
        let log = place.open().await;
        let appends: Vec<_> = (0..100).map(|number| log.append(TOPIC, vec![record(&number.to_string())])).collect();
        let mut positions = Vec::new();
        for answer in join_all(appends).await {
            positions.extend(answer.expect("appended"));
        }
        assert!(positions.is_sorted() && positions.len() == 100, "{positions:?}");
        let expected: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        assert_eq!(texts(&*log, TOPIC).await, expected);
        log.close().await.expect("closed");

        let log = place.open().await;
        assert_eq!(texts(&*log, TOPIC).await, expected, "opened again");
        assert_eq!(log.append(TOPIC, vec![record("more")]).await.expect("appended")[0].offset, positions[99].offset + 1);
        log.close().await.expect("closed");
    })
    .await;
}

#[tokio::test]
async fn a_key_stays_in_its_partition_and_in_order() {
    each_log(async |place| {
        let log = place.open().await;
        assert_eq!(log.partitions(WIDE).await, Ok(WIDE_PARTITIONS));
        let writers = (0..8_u64).map(|writer| {
            let log = log.clone();
            async move {
                for number in 0..25_u64 {
                    let record = Record::new(&writer.to_le_bytes(), format!("{writer} {number}").into_bytes(), Timestamp(1));
                    log.append(WIDE, vec![record]).await.expect("appended");
                }
            }
        });
        join_all(writers).await;
        let mut seen: HashMap<String, (u16, i64)> = HashMap::new();
        let mut count = 0;
        for partition in 0..WIDE_PARTITIONS {
            for entry in entries(&*log, WIDE, partition).await {
                let text = text(&entry);
                let (writer, number) = text.split_once(' ').expect("two words");
                let number = number.parse().expect("a number");
                let (home, last) = seen.entry(writer.to_owned()).or_insert((partition, -1));
                assert_eq!((*home, *last + 1), (partition, number), "{text}");
                *last = number;
                count += 1;
            }
        }
        assert_eq!(count, 200);
        log.close().await.expect("closed");
    })
    .await;
}

#[tokio::test]
async fn reading_begins_at_any_offset_and_at_any_time() {
    each_log(async |place| {
        let log = place.open().await;
        assert_eq!(log.bounds(TOPIC, 0).await, Ok((0, 0)));
        assert_eq!(log.read(TOPIC, 0, 0, 1).await, Ok(Batch { entries: vec![], next: 0 }));
        for number in 0..40_i64 {
            let record = Record::new(b"key", vec![b'x'; 1000], Timestamp(1_000 + number * 10));
            log.append(TOPIC, vec![record]).await.expect("appended");
        }
        for from in [0, 1, 17, 39] {
            let batch = log.read(TOPIC, 0, from, 2500).await.expect("read");
            let expected: Vec<u64> = (from..40).take(2).collect();
            assert_eq!(batch.entries.iter().map(|entry| entry.offset).collect::<Vec<_>>(), expected);
            assert_eq!(batch.next, expected.last().expect("there is one") + 1);
            assert_eq!(batch.entries[0].at, Timestamp(1_000 + from.cast_signed() * 10));
            assert_eq!(log.offset_at(TOPIC, 0, Timestamp(1_000 + from.cast_signed() * 10 - 3)).await, Ok(from));
        }
        assert_eq!(log.read(TOPIC, 0, 5, 1).await.expect("read").entries.len(), 1, "one is always given");
        assert_eq!(log.offset_at(TOPIC, 0, Timestamp(9_999)).await, Ok(40));
        assert_eq!(log.bounds(TOPIC, 0).await, Ok((0, 40)));
        log.close().await.expect("closed");
    })
    .await;
}

#[tokio::test]
async fn what_retention_has_deleted_is_told() {
    each_log(async |place| {
        let log = place.open().await;
        for number in 0..60_i64 {
            log.append(SHORT, vec![Record::new(b"key", vec![b'x'; 1000], Timestamp(1 + number))]).await.expect("appended");
        }
        place.forget_some(&*log).await;
        let (start, end) = log.bounds(SHORT, 0).await.expect("the partition exists");
        assert!(start > 0 && end == 60, "{start} to {end}");
        assert_eq!(log.read(SHORT, 0, start - 1, 1).await, Err(LogError::Trimmed { start }));
        assert_eq!(entries(&*log, SHORT, 0).await.len() as u64, end - start);
        log.close().await.expect("closed");
    })
    .await;
}

#[tokio::test]
async fn waiting_ends_with_the_record() {
    each_log(async |place| {
        let log = place.open().await;
        let (end, appended) = tokio::join!(log.wait_beyond(TOPIC, 0, 0), log.append(TOPIC, vec![record("a")]));
        appended.expect("appended");
        assert_eq!(end, Ok(1));
        assert_eq!(log.wait_beyond(TOPIC, 0, 0).await, Ok(1));
        let (end, closed) = tokio::join!(log.wait_beyond(TOPIC, 0, 1), log.close());
        assert_eq!((end, closed), (Err(LogError::Closed), Ok(())));
    })
    .await;
}

#[tokio::test]
async fn closing_answers_what_is_queued_and_refuses_the_rest() {
    each_log(async |place| {
        let log = place.open().await;
        let claim = log.claim("profiles", "facts/0").await.expect("claimed");
        log.append(OUT, vec![record("first")]).await.expect("appended");
        let appends: Vec<_> = (0..10).map(|_| log.append(TOPIC, vec![record("x")])).collect();
        let commits: Vec<_> = (0..10).map(|number| log.commit(OUT, vec![record("y")], claim.at(number))).collect();
        log.close().await.expect("closed");
        assert!(join_all(appends.into_iter().chain(commits)).await.iter().all(Result::is_ok));
        assert_eq!(log.append(TOPIC, vec![record("late")]).await, Err(LogError::Closed));
        assert_eq!(log.commit(TOPIC, vec![], claim.at(10)).await, Err(LogError::Closed));
        let log = place.open().await;
        assert_eq!((texts(&*log, TOPIC).await.len(), texts(&*log, OUT).await.len()), (10, 11));
        assert_eq!(log.cursor("profiles", "facts/0").await, Ok(Some(9)));
        log.close().await.expect("closed");
    })
    .await;
}

#[tokio::test]
async fn what_it_cannot_hold_is_refused_and_what_is_most_is_taken() {
    each_log(async |place| {
        let log = place.open().await;
        let of = |bytes| Record::new(b"", vec![b'x'; bytes], Timestamp(1));
        assert!(matches!(log.append(TOPIC, vec![of(APPEND_BYTES_MAX + 1)]).await, Err(LogError::TooLarge { .. })));
        log.append(TOPIC, vec![of(APPEND_BYTES_MAX - 100)]).await.expect("appended");
        assert_eq!(entries(&*log, TOPIC, 0).await[0].payload.len(), APPEND_BYTES_MAX - 100);
        assert!(matches!(log.append("../facts", vec![record("a")]).await, Err(LogError::Invalid(_))));
        assert!(matches!(log.read(TOPIC, 9, 0, 1).await, Err(LogError::Invalid(_))));
        assert!(matches!(log.bounds(TOPIC, 9).await, Err(LogError::Invalid(_))));
        assert!(matches!(log.wait_beyond(TOPIC, 9, 0).await, Err(LogError::Invalid(_))));
        log.close().await.expect("closed");
    })
    .await;
}

#[tokio::test]
async fn more_than_it_keeps_up_with_is_busy_and_none_of_it_is_there() {
    let log = Place::topics().open().await;
    let appends: Vec<_> = (0..40).map(|_| log.append(TOPIC, vec![Record::new(b"", vec![b'x'; 100_000], Timestamp(1))])).collect();
    let answers = join_all(appends).await;
    let taken = answers.iter().filter(|answer| answer.is_ok()).count();
    assert!(answers.iter().all(|answer| matches!(answer, Ok(_) | Err(LogError::Busy))) && taken < 40, "{taken}");
    assert_eq!(entries(&*log, TOPIC, 0).await.len(), taken);
    log.append(TOPIC, vec![record("again")]).await.expect("appended");
    log.close().await.expect("closed");
}
