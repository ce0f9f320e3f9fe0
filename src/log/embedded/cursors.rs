//! The cursors in memory. Every change of one stands in a frame of some topic; the frame with the highest sequence counts.
//!
//! The log has one owner, so claims are numbers in memory: setting a cursor without a claim makes the next number count.

use super::super::Cursor;
use super::queue::Request;
use std::collections::HashMap;
use std::sync::RwLock;

#[derive(Default)]
pub(super) struct Cursors {
    held: RwLock<HashMap<Name, Held>>,
}

#[derive(Default)]
struct Held {
    /// None if a claim was made and nothing committed yet.
    next: Option<u64>,
    sequence: u64,
    /// The topic whose file the frame is in, and which therefore carries the cursor from segment to segment.
    topic: String,
    /// Of the claim that counts.
    epoch: u64,
}

/// A consumer and its input.
type Name = (String, String);

impl Cursors {
    pub(super) fn get(&self, consumer: &str, input: &str) -> Option<u64> {
        self.held.read().expect("no holder of this lock panics").get(&(consumer.to_owned(), input.to_owned()))?.next
    }

    pub(super) fn all(&self) -> Vec<Cursor> {
        let held = self.held.read().expect("no holder of this lock panics");
        let committed = held.iter().filter_map(|(name, held)| Some((name, held.next?)));
        committed.map(|((consumer, input), next)| Cursor::new(consumer, input, next)).collect()
    }

    /// The epoch of the claim that counts.
    pub(super) fn epoch(&self, consumer: &str, input: &str) -> u64 {
        let mut held = self.held.write().expect("no holder of this lock panics");
        held.entry((consumer.to_owned(), input.to_owned())).or_default().epoch
    }

    /// Takes out those requests whose claim has ended, or ends by a request before them.
    pub(super) fn fenced(&self, requests: &mut Vec<Request>) -> Vec<Request> {
        let held = self.held.read().expect("no holder of this lock panics");
        let mut ended: Vec<Name> = Vec::new();
        let is_fenced = |request: &mut Request| {
            let Some(cursor) = &request.cursor else { return false };
            let name = (cursor.consumer.clone(), cursor.input.clone());
            let Some(epoch) = cursor.epoch else {
                ended.push(name);
                return false;
            };
            ended.contains(&name) || held.get(&name).is_none_or(|held| held.epoch != epoch)
        };
        requests.extract_if(.., is_fenced).collect()
    }

    /// Sets the cursor, unless a later frame has.
    pub(super) fn set(&self, topic: &str, sequence: u64, cursor: Cursor) {
        let mut held = self.held.write().expect("no holder of this lock panics");
        let held = held.entry((cursor.consumer, cursor.input)).or_default();
        if held.sequence <= sequence {
            let epoch = held.epoch + u64::from(cursor.epoch.is_none());
            *held = Held { next: Some(cursor.next), sequence, topic: topic.to_owned(), epoch };
        }
    }

    /// The cursors that a new segment of the topic must carry on.
    pub(super) fn carried_by(&self, topic: &str) -> Vec<Cursor> {
        let held = self.held.read().expect("no holder of this lock panics");
        let carried = held.iter().filter(|(_, held)| held.topic == topic);
        carried.filter_map(|((consumer, input), held)| Some(Cursor::new(consumer, input, held.next?))).collect()
    }
}
