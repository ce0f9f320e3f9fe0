//! The bounded queue between those who append and the writer, who takes all that waits at once.

use super::super::{Cursor, LogError, Position, Record};
use super::topic::Topic;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use tokio::sync::oneshot;

/// What one sync carries at most, unless a single request is larger: it bounds how long the first of the queue waits.
const BATCH_BYTES_MAX: usize = 8 << 20;

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
    changed: Condvar,
    bytes_max: usize,
}

#[derive(Default)]
struct Waiting {
    requests: VecDeque<Request>,
    bytes: usize,
    is_closed: bool,
}

impl Queue {
    pub(super) fn new(bytes_max: usize) -> Queue {
        Queue { waiting: Mutex::default(), changed: Condvar::new(), bytes_max }
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
        if waiting.requests.len() == 1 {
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
