//! The facts on record, as operators read them from the log: oldest first, by offset.

use serde::{Deserialize, Serialize};

use super::paging;
use crate::{
    domain::refusal::{ADMIN_VALUE, INTERNAL, OAuthError},
    log::{Batch, Entry},
    world::{FACTS, World},
};

/// What is read at once at most; the reader goes on at `next`.
const READ_BYTES_MAX: usize = 1 << 20;

/// Which facts are asked for.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct FactsRequest {
    /// The first offset that is wanted; the oldest fact there is if absent.
    from: Option<u64>,
    /// How many items at most: 1 to 500, 100 if absent.
    limit: Option<u32>,
    /// The part of the log; the first if absent.
    partition: Option<u16>,
}

/// Some of the facts.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct FactsPage {
    items: Vec<RecordedFact>,
    /// Where to go on: `from` of the next request, whether or not there is anything yet.
    next: u64,
    /// The offset that the next fact to be recorded will get.
    end: u64,
    /// Into how many parts the log is cut, each with its own offsets.
    partitions: u16,
}

/// A fact and where it stands.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct RecordedFact {
    offset: u64,
    event: serde_json::Value,
}

/// The facts from an offset on. What retention has deleted is passed over.
pub async fn list(world: &World, request: FactsRequest) -> Result<FactsPage, OAuthError> {
    let limit = paging::limit(request.limit)?;
    let (partition, partitions) = (request.partition.unwrap_or_default(), world.log.partitions(FACTS).await?);
    if partition >= partitions {
        return Err(ADMIN_VALUE.because(format!("partition must be below {partitions}.")));
    }
    let (start, end) = world.log.bounds(FACTS, partition).await?;
    let from = request.from.unwrap_or(start).max(start);
    let mut read = if from < end {
        world.log.read(FACTS, partition, from, READ_BYTES_MAX).await?
    } else {
        Batch { entries: Vec::new(), next: from }
    };
    if let Some(beyond) = read.entries.get(limit) {
        read.next = beyond.offset;
        read.entries.truncate(limit);
    }
    let items = read.entries.into_iter().map(recorded).collect::<Result<Vec<_>, _>>()?;
    let next = read.next;
    Ok(FactsPage { items, next, end, partitions })
}

fn recorded(entry: Entry) -> Result<RecordedFact, OAuthError> {
    let event = serde_json::from_slice(&entry.payload).map_err(|error| {
        tracing::error!(%error, offset = entry.offset, "a recorded fact cannot be read");
        INTERNAL
    })?;
    Ok(RecordedFact { offset: entry.offset, event })
}
