//! Facts on record in the commit of the decision that causes them: the one way in which a transaction of this room records.

use std::sync::Arc;

use crate::{
    domain::{
        event::{Actor, Event, Fact},
        id::{EventKind, Id},
        time::Timestamp,
    },
    storage::{StorageError, Tx, outbox},
    world::{World, entropy::Entropy},
};

/// Who does it and when, for the facts of one transaction: often only there it is known which they are.
#[derive(Clone)]
pub(super) struct Witness {
    entropy: Arc<dyn Entropy>,
    actor: Actor,
    now: Timestamp,
}

impl Witness {
    pub(super) fn new(world: &World, actor: Actor, now: Timestamp) -> Witness {
        Witness { entropy: Arc::clone(&world.entropy), actor, now }
    }

    /// Puts a fact on record with the transaction's commit.
    pub(super) async fn record(&self, tx: &mut Tx, fact: Fact) -> Result<(), StorageError> {
        let id = self.event_id();
        self.record_as(tx, id, fact).await
    }

    /// As `record`, where the event's identifier is written elsewhere too.
    pub(super) async fn record_as(&self, tx: &mut Tx, id: Id<EventKind>, fact: Fact) -> Result<(), StorageError> {
        outbox::put(tx, &Event { id, at: self.now, actor: self.actor.clone(), fact }).await
    }

    /// The identifier of an event that is going to be recorded.
    pub(super) fn event_id(&self) -> Id<EventKind> {
        Id::new(self.now, self.entropy.bytes())
    }
}
