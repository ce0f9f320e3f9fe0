//! The index of seen ids as a world holds it: opened when it is first needed, and anew when it was found damaged.
//!
//! It is a cache of the log. What it has not been told yet of an input, it is told before it is asked.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::log::{
    disk::Disk,
    seen::{Candidate, Fingerprints, Seen, SeenError, Settings, Verdict},
};

/// The index, and how far it knows the input.
pub struct SeenIndex {
    disk: Arc<dyn Disk>,
    settings: Settings,
    fingerprints: Fingerprints,
    open: Mutex<Option<Open>>,
}

struct Open {
    seen: Seen,
    /// By partition, the offset up to which it was told.
    reached: BTreeMap<u16, u64>,
}

impl SeenIndex {
    /// An index in the folder of that disk; nothing is read yet.
    pub fn new(disk: Arc<dyn Disk>, settings: Settings, fingerprints: Fingerprints) -> SeenIndex {
        SeenIndex { disk, settings, fingerprints, open: Mutex::new(None) }
    }

    /// What its keys and prints are made with.
    pub fn fingerprints(&self) -> &Fingerprints {
        &self.fingerprints
    }

    /// The offset of a partition up to which the index was told what is there.
    pub fn reached(&self, partition: u16) -> Result<u64, SeenError> {
        self.with(|open| Ok(open.reached.get(&partition).copied().unwrap_or(0)))
    }

    /// Says of each candidate whether it was there before; changes nothing.
    pub fn probe(&self, candidates: &[Candidate]) -> Result<Vec<Verdict>, SeenError> {
        self.with(|open| open.seen.probe(candidates))
    }

    /// Tells what was first, and that the partition's input before `next` is done with.
    pub fn add(&self, firsts: &[Candidate], partition: u16, next: u64) -> Result<(), SeenError> {
        self.with(|open| {
            open.seen.add(firsts, &BTreeMap::from([(partition, next)]));
            open.reached.insert(partition, next);
            Ok(())
        })
    }

    /// Throws away what it knows, because it knows what never happened: a log of an earlier day was put in place of today's. All of
    /// it, though one partition may have told: a run holds the keys of all, and a key does not say of which partition it is.
    pub fn forget_all(&self) -> Result<(), SeenError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        *open = None;
        for name in self.disk.list()? {
            self.disk.remove(&name)?;
        }
        Ok(())
    }

    /// Writes what is in memory, so that nothing has to be told again.
    pub fn close(&self) -> Result<(), SeenError> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner).take();
        open.map_or(Ok(()), |open| open.seen.close())
    }

    fn with<T>(&self, work: impl FnOnce(&mut Open) -> Result<T, SeenError>) -> Result<T, SeenError> {
        let mut place = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let open = match &mut *place {
            Some(open) => open,
            none => {
                let seen = Seen::open(Arc::clone(&self.disk), self.settings.clone(), &self.fingerprints)?;
                let reached = seen.checkpoint().clone();
                none.insert(Open { seen, reached })
            }
        };
        let outcome = work(open);
        if matches!(outcome, Err(SeenError::Damaged { .. })) {
            *place = None;
        }
        outcome
    }
}
