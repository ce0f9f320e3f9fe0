//! What is left out of profiles: events with an id of somebody who was deleted, from before that, and of somebody who is suppressed.
//!
//! An event with such an id is left out whole, whoever else it speaks of: it tells of the person too. The spans are in offsets of the
//! log, so a replay leaves out what was left out before, and nothing else. What came in before a span was asked for to end, and was
//! published after it, is left out as well: it is of before.

use std::collections::{HashMap, HashSet};

use super::taken::Taken;
use crate::{
    domain::{identity::external_id::ExternalId, secret::Digest},
    storage::{
        StorageError,
        interventions::{self, Place, Span},
    },
    world::World,
};

/// What is left out of the events of some ids.
#[derive(Default)]
pub(in crate::events) struct Forgotten(HashMap<ExternalId, Vec<Span>>);

/// Takes out what is to be left out.
pub(super) async fn leave_out(world: &World, taken: &mut Vec<Taken>) -> Result<(), StorageError> {
    let ids = || taken.iter().flat_map(|event| &event.subjects).flat_map(|subject| &subject.ids);
    let forgotten = Forgotten::of(world, ids()).await?;
    if !forgotten.0.is_empty() {
        taken.retain(|event| {
            let place = Place { offset: event.cause.offset, at: event.cause.at };
            !event.subjects.iter().any(|subject| forgotten.covers(&subject.ids, place))
        });
    }
    Ok(())
}

impl Forgotten {
    /// What is left out of these ids' events.
    pub(in crate::events) async fn of<'i>(
        world: &World,
        ids: impl Iterator<Item = &'i ExternalId>,
    ) -> Result<Forgotten, StorageError> {
        if !world.storage.read(|tx| Box::pin(async move { interventions::is_any_left_out(tx).await })).await? {
            return Ok(Forgotten::default());
        }
        let ids: HashSet<&ExternalId> = ids.collect();
        let known: Vec<(Digest, ExternalId)> = ids.into_iter().map(|id| (world.secrets.digest_of_id(id), id.clone())).collect();
        let digests: Vec<Digest> = known.iter().map(|(digest, _)| *digest).collect();
        let spans = world.storage.read(move |tx| Box::pin(async move { interventions::left_out(tx, &digests).await })).await?;
        let mut by_digest: HashMap<[u8; 32], Vec<Span>> = HashMap::new();
        for span in spans {
            by_digest.entry(span.digest.0).or_default().push(span);
        }
        Ok(Forgotten(known.into_iter().filter_map(|(digest, id)| Some((id, by_digest.remove(&digest.0)?))).collect()))
    }

    /// Whether an event that stands there and carries these ids is left out.
    pub(in crate::events) fn covers(&self, ids: &[ExternalId], place: Place) -> bool {
        let mut spans = ids.iter().filter_map(|id| self.0.get(id)).flatten();
        spans.any(|span| span.covers(place))
    }
}
