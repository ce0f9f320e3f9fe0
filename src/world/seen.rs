//! The index of seen ids as a world holds it: opened when it is first needed, and anew when it was found damaged.
//!
//! It is a cache of the log. What it has not been told yet of an input, it is told before it is asked. Several stages ask, each about
//! inputs of its own, and any of them may have it made anew meanwhile. So whoever asks or tells says how far they take it to know
//! their input; if it does not know just that much, nothing is answered and nothing is kept, and they tell it from the beginning.

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

impl Open {
    fn reached(&self, partition: u16) -> u64 {
        self.reached.get(&partition).copied().unwrap_or(0)
    }

    fn add(&mut self, firsts: &[Candidate], partition: u16, next: u64) {
        self.seen.add(firsts, &BTreeMap::from([(partition, next)]));
        self.reached.insert(partition, next);
    }
}

/// Those that were not there before.
pub fn firsts(candidates: &[Candidate], verdicts: &[Verdict]) -> Vec<Candidate> {
    candidates.iter().zip(verdicts).filter(|(_, verdict)| **verdict == Verdict::First).map(|(candidate, _)| *candidate).collect()
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
        self.with(|open| Ok(open.reached(partition)))
    }

    /// Says of each candidate whether it was there before; changes nothing. `None` if the index does not know the partition's input up
    /// to `reached`: then it would take for new what is not.
    pub fn probe(&self, candidates: &[Candidate], partition: u16, reached: u64) -> Result<Option<Vec<Verdict>>, SeenError> {
        self.with(|open| if open.reached(partition) == reached { open.seen.probe(candidates).map(Some) } else { Ok(None) })
    }

    /// Tells what was first in the partition's input from `from` up to `next`, which is done with. Nothing is kept if the index does not
    /// know what stands before that: it would take the gap for known.
    pub fn add(&self, firsts: &[Candidate], partition: u16, from: u64, next: u64) -> Result<(), SeenError> {
        self.with(|open| {
            if open.reached(partition) == from {
                open.add(firsts, partition, next);
            }
            Ok(())
        })
    }

    /// As `add`, of input that was done with in another life: which of it was first, the index finds itself.
    pub fn tell(&self, candidates: &[Candidate], partition: u16, from: u64, next: u64) -> Result<(), SeenError> {
        self.with(|open| {
            if open.reached(partition) == from {
                let verdicts = open.seen.probe(candidates)?;
                open.add(&firsts(candidates, &verdicts), partition, next);
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::time::Timestamp, log::disk::simulated::SimulatedDisk};

    fn index() -> SeenIndex {
        SeenIndex::new(Arc::new(SimulatedDisk::new(1)), Settings::default(), Fingerprints::new([7; 32]))
    }

    fn candidate(index: &SeenIndex, id: &str) -> Candidate {
        Candidate { key: index.fingerprints().key("organization", "source", id), print: 1, at: Timestamp(0) }
    }

    #[test]
    fn an_index_that_was_made_anew_in_between_neither_answers_nor_takes_a_gap_for_known() {
        let index = index();
        let (old, new) = (candidate(&index, "old"), candidate(&index, "new"));
        index.add(&[old], 1, 0, 10).expect("the disk works");
        assert_eq!(index.probe(&[old, new], 1, 10), Ok(Some(vec![Verdict::Again, Verdict::First])));
        // Another stage does this, between any two questions of ours.
        index.forget_all().expect("the disk works");
        assert_eq!(index.probe(&[old, new], 1, 10), Ok(None), "it would call both of them new");
        index.add(&[new], 1, 10, 20).expect("the disk works");
        index.tell(&[new], 1, 10, 20).expect("the disk works");
        assert_eq!(index.reached(1), Ok(0), "it does not know what stands before");
        index.tell(&[old, old], 1, 0, 10).expect("the disk works");
        index.tell(&[old, new], 1, 10, 20).expect("the disk works");
        assert_eq!(index.probe(&[old, new], 1, 20), Ok(Some(vec![Verdict::Again, Verdict::Again])));
        assert_eq!((index.reached(1), index.reached(0)), (Ok(20), Ok(0)));
    }
}
