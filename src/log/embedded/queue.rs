//! The bounded queue between those who append and the writer, who takes all that waits at once.
//!
//! Where several come at a time, the writer lets them gather for a moment: a sync costs the processor more than what it carries.

use super::super::{Cursor, LogError, Position, Record};
use super::topic::Topic;
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::oneshot;

/// What one sync carries at most, unless a single request is larger: it bounds how long the first of the queue waits.
const BATCH_BYTES_MAX: usize = 8 << 20;

/// After a batch of so many requests, the next ones are expected soon.
const GATHER_FROM: usize = 4;
/// How long they may gather, and what is worth a sync without waiting.
const GATHER_MAX: Duration = Duration::from_micros(300);
const GATHER_BYTES_MAX: usize = 64 << 10;

/// What one caller wants to become durable.
pub(super) struct Request {
    pub topic: Arc<Topic>,
    pub records: Vec<Record>,
    pub cursor: Option<Cursor>,
    /// What it takes up in a frame.
    pub bytes: usize,
    pub answer: oneshot::Sender<Result<Vec<Position>, LogError>>,
}

pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    /// The topics whose last write failed.
    troubled: Mutex<BTreeSet<String>>,
    changed: Condvar,
    bytes_max: usize,
}

#[derive(Default)]
struct Waiting {
    requests: VecDeque<Request>,
    bytes: usize,
    /// How many came with the last batch.
    lately: usize,
    is_closed: bool,
}

impl Waiting {
    /// Whether nobody need wait for more: as many are here as the last time, or enough for a sync of their own.
    fn is_worth_a_sync(&self) -> bool {
        self.requests.len() >= self.lately || self.bytes >= GATHER_BYTES_MAX
    }
}

impl Queue {
    pub(super) fn new(bytes_max: usize) -> Queue {
        Queue { waiting: Mutex::default(), troubled: Mutex::default(), changed: Condvar::new(), bytes_max }
    }

    /// Puts a request in line.
    ///
    /// # Errors
    /// `Busy` or `Closed`; the request is gone.
    pub(super) fn push(&self, request: Request) -> Result<(), LogError> {
        let mut waiting = self.waiting();
        if waiting.is_closed {
            return Err(LogError::Closed);
        }
        if waiting.bytes > 0 && waiting.bytes + request.bytes > self.bytes_max {
            return Err(LogError::Busy);
        }
        waiting.bytes += request.bytes;
        waiting.requests.push_back(request);
        if waiting.requests.len() == 1 || waiting.requests.len() == waiting.lately || waiting.bytes >= GATHER_BYTES_MAX {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Waits for requests and takes what one batch may hold; none once the queue is closed and empty.
    pub(super) fn take(&self) -> Option<VecDeque<Request>> {
        let mut waiting = self.waiting();
        while waiting.requests.is_empty() {
            if waiting.is_closed {
                return None;
            }
            waiting = self.changed.wait(waiting).expect("no holder of this lock panics");
        }
        if waiting.lately >= GATHER_FROM {
            let is_gathering = |waiting: &mut Waiting| !waiting.is_worth_a_sync() && !waiting.is_closed;
            let gathered = self.changed.wait_timeout_while(waiting, GATHER_MAX, is_gathering);
            waiting = gathered.expect("no holder of this lock panics").0;
        }
        waiting.lately = waiting.requests.len();
        if waiting.bytes <= BATCH_BYTES_MAX {
            waiting.bytes = 0;
            return Some(std::mem::take(&mut waiting.requests));
        }
        let mut bytes = 0;
        let mut count = 0;
        for request in &waiting.requests {
            if count > 0 && bytes + request.bytes > BATCH_BYTES_MAX {
                break;
            }
            bytes += request.bytes;
            count += 1;
        }
        waiting.bytes -= bytes;
        Some(waiting.requests.drain(..count).collect())
    }

    /// Notes what became of a batch.
    pub(super) fn tell_outcome(&self, topic: &str, is_written: bool) {
        let mut troubled = self.troubled.lock().expect("no holder of this lock panics");
        if !is_written {
            troubled.insert(topic.to_owned());
        } else if !troubled.is_empty() {
            troubled.remove(topic);
        }
    }

    /// The topics whose last write failed.
    pub(super) fn troubled(&self) -> BTreeSet<String> {
        self.troubled.lock().expect("no holder of this lock panics").clone()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.waiting().is_closed
    }

    /// Nothing more is taken in.
    pub(super) fn close(&self) {
        self.waiting().is_closed = true;
        self.changed.notify_one();
    }

    /// Nobody takes from the queue any more: those who wait learn it by their answer's end.
    pub(super) fn abandon(&self) {
        self.close();
        self.waiting().requests.clear();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("no holder of this lock panics")
    }
}
