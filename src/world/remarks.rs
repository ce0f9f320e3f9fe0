//! Remarks: facts that no decision depends on, such as that a token was used. No answer waits for one to be durable.
//!
//! Each is made once, as far as this process remembers: after a restart, or when so many others were made since that it is forgotten,
//! it is made again. What was not told when the process ended without a word is lost. Where more wait than there is room for, because
//! the log is slow or full, further ones are left out and counted; what happens again then has another chance.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::lately::Lately;
use crate::domain::event::Event;

/// Remarks that are known to have been made, at some 40 bytes each.
const KNOWN_MAX: usize = 65_536;
/// Remarks that wait to be told.
const WAITING_MAX: usize = 1_024;
/// Remarks that are told at once: the largest there can be, so many times, still fit one append.
const TOLD_AT_ONCE: usize = 100;

/// What one process remarks.
pub struct Remarks {
    known: Lately<()>,
    /// The oldest first.
    waiting: Mutex<Vec<Event>>,
}

impl Default for Remarks {
    fn default() -> Remarks {
        Remarks { known: Lately::new(KNOWN_MAX), waiting: Mutex::default() }
    }
}

impl Remarks {
    /// Makes a remark, unless it is known to have been made; by the key it is told from all others.
    pub fn make(&self, key: [u8; 32], event: impl FnOnce() -> Event) {
        if self.known.get(&key).is_some() {
            return;
        }
        let mut waiting = self.waiting();
        // Of several at once, one makes it.
        if self.known.get(&key).is_some() {
            return;
        }
        if waiting.len() >= WAITING_MAX {
            metrics::counter!("deputy_remarks_left_out_total").increment(1);
            return;
        }
        self.known.keep(key, ());
        waiting.push(event());
    }

    /// The oldest that wait, and whether there are more.
    pub fn take(&self) -> (Vec<Event>, bool) {
        let mut waiting = self.waiting();
        let count = waiting.len().min(TOLD_AT_ONCE);
        let taken = waiting.drain(..count).collect();
        (taken, !waiting.is_empty())
    }

    /// Has what was taken, and could not be told, wait again.
    pub fn put_back(&self, taken: Vec<Event>) {
        self.waiting().splice(..0, taken);
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Event>> {
        // Nothing panics while it holds the lock, so a poisoned one is still whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        event::{Actor, Fact},
        id::Id,
        time::Timestamp,
    };

    fn key(number: usize) -> [u8; 32] {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_le_bytes());
        key
    }

    fn make(remarks: &Remarks, number: usize) {
        let (id, client) = (Id::from_bytes((number as u128).to_be_bytes()), crate::domain::client::ClientId::parse("c"));
        let fact = Fact::ClientDeleted { client: client.expect("a client") };
        remarks.make(key(number), || Event { id, at: Timestamp(0), actor: Actor::Deputy, fact });
    }

    fn number(event: &Event) -> u128 {
        u128::from_be_bytes(event.id.to_bytes())
    }

    #[test]
    fn each_is_made_once_and_told_in_its_order() {
        let remarks = Remarks::default();
        for index in [0, 1, 0, 2, 1, 2] {
            make(&remarks, index);
        }
        let (taken, is_more) = remarks.take();
        assert_eq!((taken.iter().map(number).collect::<Vec<_>>(), is_more), (vec![0, 1, 2], false));
        make(&remarks, 3);
        remarks.put_back(taken);
        make(&remarks, 0);
        assert_eq!(remarks.take().0.iter().map(number).collect::<Vec<_>>(), [0, 1, 2, 3]);
        make(&remarks, 3);
        assert!(remarks.take().0.is_empty());
    }

    #[test]
    fn what_there_is_no_room_for_is_left_out_and_may_come_again() {
        let remarks = Remarks::default();
        for number in 0..WAITING_MAX + 10 {
            make(&remarks, number);
        }
        let mut told = 0;
        loop {
            let (taken, is_more) = remarks.take();
            assert!(taken.len() <= TOLD_AT_ONCE);
            told += taken.len();
            if !is_more {
                break;
            }
        }
        assert_eq!(told, WAITING_MAX);
        make(&remarks, 0);
        assert!(remarks.take().0.is_empty(), "it was told");
        make(&remarks, WAITING_MAX);
        assert_eq!(remarks.take().0.len(), 1, "it was not");
    }
}
