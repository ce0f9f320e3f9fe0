//! How far each consumer is behind: its cursors beside the ends of what it reads.

use super::{Cursor, Log, LogError};

/// Where a consumer stands in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lag {
    pub consumer: String,
    pub topic: String,
    pub partition: u16,
    /// The offset that it reads next.
    pub next: u64,
    /// The offset that the partition's next record will get.
    pub end: u64,
}

impl Lag {
    /// How many records lie before it; on a shared log, which spends offsets on more than records, a little less than this.
    pub fn behind(&self) -> u64 {
        self.end.saturating_sub(self.next)
    }
}

/// Every consumer that reads partitions, by name, then topic and partition. Inputs of other kinds have no end and are left out.
///
/// # Errors
/// What `Log::cursors` and `Log::bounds` answer.
pub async fn of(log: &dyn Log) -> Result<Vec<Lag>, LogError> {
    let mut lags = Vec::new();
    for Cursor { consumer, input, next, .. } in log.cursors().await? {
        let Some((topic, partition)) = Cursor::partition_of(&input) else { continue };
        let (_, end) = log.bounds(topic, partition).await?;
        lags.push(Lag { consumer, topic: topic.to_owned(), partition, next, end });
    }
    lags.sort_by(|a, b| (&a.consumer, &a.topic, a.partition).cmp(&(&b.consumer, &b.topic, b.partition)));
    Ok(lags)
}
