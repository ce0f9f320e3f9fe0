//! Outputs and cursors in one commit, and who may commit.

use super::*;
use deputy::log::{Cursor, lag};
use futures_util::future::join_all;

#[tokio::test]
async fn outputs_and_cursor_are_there_together_and_stay() {
    each_log(async |place| {
        let log = place.open().await;
        assert_eq!(log.cursor("profiles", "facts/0").await, Ok(None));
        let claim = log.claim("profiles", "facts/0").await.expect("claimed");
        assert_eq!(log.claim("profiles", "facts/0").await, Ok(claim.clone()), "it is held");
        for number in 0..10_u64 {
            let outputs = vec![record(&format!("{number}a")), record(&format!("{number}b"))];
            let positions = log.commit(OUT, outputs, claim.at(number + 1)).await.expect("committed");
            assert_eq!(positions.len(), 2);
            assert!(positions[0] < positions[1]);
            assert_eq!(log.cursor("profiles", "facts/0").await, Ok(Some(number + 1)));
            let (_, end) = log.bounds(OUT, 0).await.expect("the partition exists");
            assert!(end > positions[1].offset, "what was answered can be read");
        }
        log.commit(TOPIC, vec![], log.claim("relay", "outbox").await.expect("claimed").at(u64::MAX >> 1)).await.expect("committed");
        log.close().await.expect("closed");

        let log = place.open().await;
        let expected: Vec<String> = (0..10).flat_map(|number| [format!("{number}a"), format!("{number}b")]).collect();
        assert_eq!(texts(&*log, OUT).await, expected);
        assert_eq!(log.cursor("profiles", "facts/0").await, Ok(Some(10)));
        assert_eq!(log.cursor("relay", "outbox").await, Ok(Some(u64::MAX >> 1)), "any number is kept");
        let mut cursors = log.cursors().await.expect("the log answers");
        cursors.sort_by_key(|cursor| cursor.next);
        assert_eq!(cursors, [Cursor::new("profiles", "facts/0", 10), Cursor::new("relay", "outbox", u64::MAX >> 1)]);
        log.close().await.expect("closed");
    })
    .await;
}

#[tokio::test]
async fn a_reader_gets_on_from_every_offset_whatever_lies_between_the_records() {
    each_log(async |place| {
        let log = place.open().await;
        let claim = log.claim("dedup", "facts/0").await.expect("claimed");
        for number in 0..12_u64 {
            match number % 3 {
                0 => log.append(OUT, vec![record(&number.to_string())]).await.expect("appended"),
                1 => log.commit(OUT, vec![record(&number.to_string())], claim.at(number)).await.expect("committed"),
                _ => log.commit(OUT, vec![], claim.at(number)).await.expect("committed"),
            };
        }
        let all = entries(&*log, OUT, 0).await;
        assert_eq!(all.iter().map(text).collect::<Vec<_>>(), ["0", "1", "3", "4", "6", "7", "9", "10"]);
        let (start, end) = log.bounds(OUT, 0).await.expect("the partition exists");
        for from in start..=end {
            let mut next = from;
            let mut read = Vec::new();
            while next < end {
                let batch = log.read(OUT, 0, next, 1).await.expect("read");
                assert!(batch.next > next);
                next = batch.next;
                read.extend(batch.entries);
            }
            assert_eq!(read, all.iter().filter(|entry| entry.offset >= from).cloned().collect::<Vec<_>>(), "from {from}");
            assert_eq!(log.read(OUT, 0, next, 1).await.expect("read").entries, [], "nothing at the end");
        }
        log.append(OUT, vec![record("last")]).await.expect("appended");
        assert_eq!(log.read(OUT, 0, end, 1).await.expect("read").entries.iter().map(text).collect::<Vec<_>>(), ["last"]);
        log.close().await.expect("closed");
    })
    .await;
}

#[tokio::test]
async fn a_claim_ends_when_an_operator_sets_the_cursor_back() {
    each_log(async |place| {
        let log = place.open().await;
        let claim = log.claims("profiles", TOPIC).await.expect("claimed");
        let claim = match claim.into_iter().next() {
            Some(claim) => claim,
            // The group has not said yet; the claim is the same thing.
            None => log.claim("profiles", "facts/0").await.expect("claimed"),
        };
        log.commit(OUT, vec![record("first")], claim.at(5)).await.expect("committed");
        log.commit(TOPIC, vec![], Cursor::new("profiles", "facts/0", 2)).await.expect("set back");
        let late: Vec<_> = (6..9).map(|next| log.commit(OUT, vec![record("late")], claim.at(next))).collect();
        assert!(join_all(late).await.iter().all(|answer| *answer == Err(LogError::Fenced)));
        assert_eq!(log.cursor("profiles", "facts/0").await, Ok(Some(2)));
        let again = log.claim("profiles", "facts/0").await.expect("claimed");
        assert_ne!(again, claim);
        log.commit(OUT, vec![record("again")], again.at(3)).await.expect("committed");
        assert_eq!(texts(&*log, OUT).await, ["first", "again"]);
        assert_eq!(log.cursor("profiles", "facts/0").await, Ok(Some(3)));
        log.close().await.expect("closed");
    })
    .await;
}

#[tokio::test]
async fn lag_is_what_lies_between_cursor_and_end() {
    each_log(async |place| {
        let log = place.open().await;
        for _ in 0..7 {
            log.append(TOPIC, vec![record("x")]).await.expect("appended");
        }
        log.commit(TOPIC, vec![], Cursor::new("profiles", "facts/0", 3)).await.expect("set");
        log.commit(TOPIC, vec![], Cursor::new("relay", "outbox", 99)).await.expect("set");
        let lag = lag::of(&*log).await.expect("the log answers");
        assert_eq!(lag.len(), 1, "{lag:?}");
        assert_eq!((lag[0].consumer.as_str(), lag[0].topic.as_str(), lag[0].partition, lag[0].behind()), ("profiles", TOPIC, 0, 4));
        log.close().await.expect("closed");
    })
    .await;
}
