//! Where this process stands towards the topic `events`: which log it reads, by which offsets, and for how long that is settled.

use crate::{
    domain::time::Timestamp,
    log::{Log, LogError},
};

/// What was settled last. It may be forgotten at any time, and is settled anew then.
#[derive(Debug, Default)]
pub struct Footing {
    /// What the log's own offsets are counted from; none if another process's log is the one that is read.
    pub base: Option<u64>,
    /// Until then nobody else settles it otherwise.
    pub until: Option<Timestamp>,
    /// Where each partition of `events` ended when this process opened its log: what stands behind came since. None of a shared log.
    pub ends_at_start: Option<Vec<u64>>,
}

impl Footing {
    /// Nothing is settled.
    pub async fn on(log: &dyn Log, topic: &str) -> Result<Footing, LogError> {
        if log.is_shared() {
            return Ok(Footing::default());
        }
        Ok(Footing { ends_at_start: Some(ends(log, topic).await?), ..Footing::default() })
    }
}

/// Where each partition of a topic ends.
pub async fn ends(log: &dyn Log, topic: &str) -> Result<Vec<u64>, LogError> {
    let mut ends = Vec::new();
    for partition in 0..log.partitions(topic).await? {
        ends.push(log.bounds(topic, partition).await?.1);
    }
    Ok(ends)
}
