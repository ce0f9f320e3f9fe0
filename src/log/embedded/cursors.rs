//! The cursors in memory. Every change of one stands in a frame of some topic; the frame with the highest sequence counts.

use super::super::Cursor;
use std::collections::HashMap;
use std::sync::RwLock;

#[derive(Default)]
pub(super) struct Cursors {
    held: RwLock<HashMap<(String, String), Held>>,
}

struct Held {
    next: u64,
    sequence: u64,
    /// The topic whose file the frame is in, and which therefore carries the cursor from segment to segment.
    topic: String,
}

impl Cursors {
    pub(super) fn get(&self, consumer: &str, input: &str) -> Option<u64> {
        let held = self.held.read().expect("no holder of this lock panics");
        held.get(&(consumer.to_owned(), input.to_owned())).map(|held| held.next)
    }

    /// Sets the cursor, unless a later frame has.
    pub(super) fn set(&self, topic: &str, sequence: u64, cursor: Cursor) {
        let mut held = self.held.write().expect("no holder of this lock panics");
        let key = (cursor.consumer, cursor.input);
        if held.get(&key).is_none_or(|before| before.sequence <= sequence) {
            held.insert(key, Held { next: cursor.next, sequence, topic: topic.to_owned() });
        }
    }

    /// The cursors that a new segment of the topic must carry on.
    pub(super) fn carried_by(&self, topic: &str) -> Vec<Cursor> {
        let held = self.held.read().expect("no holder of this lock panics");
        let carried = held.iter().filter(|(_, held)| held.topic == topic);
        carried
            .map(|((consumer, input), held)| Cursor { consumer: consumer.clone(), input: input.clone(), next: held.next })
            .collect()
    }
}
