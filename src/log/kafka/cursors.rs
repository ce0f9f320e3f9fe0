//! The cursors as a compacted topic: the last record of each name counts.

use super::super::{Cursor, LogError};
use super::cluster::{CURSORS, Cluster, pause};
use super::unavailable;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How much is read at once, in bytes.
const READ_BYTES: usize = 1 << 20;
/// How long transactions of others may stay open before it is given up to see behind them; brokers end them earlier.
const OPEN_TIMEOUT: Duration = Duration::from_secs(20);
const LOOK_PAUSE: Duration = Duration::from_millis(5);

/// What has been read of the topic.
#[derive(Default)]
pub(super) struct Table {
    next: u64,
    values: HashMap<(String, String), u64>,
}

impl Table {
    /// Reads up to where the topic ended when this began. Transactions that were open then are waited for: what was committed behind
    /// them cannot be seen before they end.
    pub(super) fn refresh(&mut self, cluster: &Cluster) -> Result<(), LogError> {
        let end = cluster.end_written(CURSORS, 0)?;
        let begun = Instant::now();
        while self.next < end {
            let batch = match cluster.reader.read(cluster, CURSORS, 0, self.next, READ_BYTES) {
                Err(LogError::Trimmed { start }) => {
                    self.next = start;
                    continue;
                }
                read => read?,
            };
            let has_moved = batch.next > self.next;
            for entry in batch.entries {
                let (consumer, input, next) = serde_json::from_slice(&entry.payload).map_err(|_| LogError::Damaged {
                    file: cluster.name(CURSORS),
                    position: entry.offset,
                    what: "it is no cursor",
                })?;
                self.values.insert((consumer, input), next);
            }
            self.next = batch.next;
            if !has_moved {
                if begun.elapsed() > OPEN_TIMEOUT {
                    return Err(unavailable("a transaction stays open"));
                }
                pause(LOOK_PAUSE);
            }
        }
        Ok(())
    }

    pub(super) fn value(&self, consumer: &str, input: &str) -> Option<u64> {
        self.values.get(&(consumer.to_owned(), input.to_owned())).copied()
    }

    pub(super) fn all(&self) -> Vec<Cursor> {
        self.values.iter().map(|((consumer, input), next)| Cursor::new(consumer, input, *next)).collect()
    }
}

/// The record of a cursor: its key, by which Kafka compacts, and its value.
pub(super) fn record(cursor: &Cursor) -> (String, String) {
    let key = serde_json::json!([cursor.consumer, cursor.input]).to_string();
    (key, serde_json::json!([cursor.consumer, cursor.input, cursor.next]).to_string())
}
