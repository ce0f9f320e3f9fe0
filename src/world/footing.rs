//! Where this process stands towards the topic `events`: which log it reads, by which offsets, and for how long that is settled.

use crate::domain::time::Timestamp;

/// What was settled last. It may be forgotten at any time, and is settled anew then.
#[derive(Debug, Default)]
pub struct Footing {
    /// What the log's own offsets are counted from; none if another process's log is the one that is read.
    pub base: Option<u64>,
    /// Until then nobody else settles it otherwise.
    pub until: Option<Timestamp>,
}
