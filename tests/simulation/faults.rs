//! What befalls the machine while it serves, and while its stages work.

use std::ops::Range;

use super::{
    machine::{Machine, POLLS},
    random::Random,
};

/// A misfortune.
#[derive(Debug, Clone)]
pub enum Fault {
    /// So many commits find the disk full.
    FullStorage(u32),
    SlowStorage,
    CrashBeforeCommit,
    CrashAfterCommit,
    /// These operations of the log's disk fail.
    FailingLog(Range<u64>),
    /// The log has to begin a new file, and there is no space for one.
    FullLog,
    /// No sync of the log ends until everybody has waited for it.
    SlowLog,
    /// The power fails at this operation of the log's disk.
    PowerFailure(u64),
    /// These operations of the disk of the index of seen ids fail.
    FailingIndex(Range<u64>),
    /// The power fails at this operation of that disk.
    IndexPowerFailure(u64),
    /// The process is killed when everybody has gone on so often.
    Killed(usize),
    /// The callers hang up.
    Impatience,
    /// Every connection to PostgreSQL breaks, some of them in the middle of a transaction or of a commit.
    LostConnections,
    /// PostgreSQL knows no such database.
    DatabaseAway,
}

impl Fault {
    /// Whether who is answered with trouble cannot know what was done.
    pub fn ends_the_process(&self) -> bool {
        use Fault::{CrashAfterCommit, CrashBeforeCommit, IndexPowerFailure, Killed, PowerFailure};
        matches!(self, CrashBeforeCommit | CrashAfterCommit | PowerFailure(_) | IndexPowerFailure(_) | Killed(_))
    }

    /// Whether an answer that is missing, or that tells of trouble, may hide a success.
    pub fn may_hide_success(&self) -> bool {
        self.ends_the_process() || matches!(self, Fault::Impatience | Fault::LostConnections)
    }
}

impl Machine {
    /// Which fault befalls it, if any.
    pub fn fault(&self, random: &mut Random) -> Option<Fault> {
        Some(match random.within(0..20) {
            0 => Fault::FullStorage(random.within(1..4) as u32),
            1 => Fault::SlowStorage,
            2 => Fault::CrashBeforeCommit,
            3 => Fault::CrashAfterCommit,
            4 => {
                let from = random.within(0..3);
                Fault::FailingLog(from..from + random.within(1..6))
            }
            5 => Fault::FullLog,
            6 => Fault::SlowLog,
            7 => Fault::PowerFailure(random.within(0..6)),
            8 => Fault::Impatience,
            9 | 10 if self.may_be_crowded() => Fault::LostConnections,
            11 if self.may_be_crowded() => Fault::DatabaseAway,
            _ => return None,
        })
    }

    /// Which fault befalls it while its stages work, if any: there is more to interrupt.
    pub fn fault_at_work(&self, random: &mut Random) -> Option<Fault> {
        Some(match random.within(0..24) {
            0..3 => Fault::CrashBeforeCommit,
            3..6 => Fault::CrashAfterCommit,
            6..9 => Fault::PowerFailure(random.within(0..10)),
            9 => Fault::IndexPowerFailure(random.within(0..6)),
            10..12 => Fault::Killed(random.within(1..POLLS as u64) as usize),
            12 => Fault::FullStorage(random.within(1..4) as u32),
            13 => {
                let from = random.within(0..6);
                Fault::FailingLog(from..from + random.within(1..6))
            }
            14 => Fault::FailingIndex(0..random.within(1..9)),
            15 => Fault::FullLog,
            16 => Fault::SlowLog,
            17 if self.may_be_crowded() => Fault::LostConnections,
            18 if self.may_be_crowded() => Fault::DatabaseAway,
            _ => return None,
        })
    }
}
