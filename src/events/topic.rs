//! A topic by the offsets that storage has of it, and which process reads it.
//!
//! What is kept of `events` in storage (cursors, places, what is left out) is offsets, and those are of one log. Whenever another log
//! takes its place, because the installation moved to Kafka or its data folder was lost or restored from a copy, its offsets are counted
//! from behind all that were read before. So nothing of it is passed over, nothing is taken for what it is not, and who was suppressed
//! stays so. What stood unread in the former log is not read any more, unless it comes back: that is said aloud.
//!
//! Where processes share a database, one log is read: that of whoever holds the lease. Processes whose log is a shared one hold it
//! together. A process with a log of its own, beside another with one of its own, reads nothing, and says so.

use std::{sync::Arc, time::Duration};

use super::relay;
use crate::{
    domain::{
        event::{Actor, Event, Fact},
        id::Id,
        time::Timestamp,
    },
    log::{Answer, Batch, Claim, Cursor, Log, LogError},
    storage::{
        StorageError,
        event_logs::{self, Adopted, EventLog, Offered},
        interventions, leases, outbox,
    },
    world::{
        EVENTS, StageError, World,
        footing::{Footing, ends},
        open::log_place,
    },
};

/// The lease under which a log is the one that is read.
const LEASE: &str = "events";
/// How long a process that stops without a word keeps another log from taking the place of its own.
const LEASE_TTL: Duration = Duration::from_secs(60);
/// Well before that, it is renewed; and as often others look whether it has run out.
const SETTLED: Duration = Duration::from_secs(20);

/// A topic, by the offsets of those who read it.
pub(super) struct Topic {
    log: Arc<dyn Log>,
    pub name: &'static str,
    base: u64,
}

/// A stretch that was read on from a cursor.
pub(super) struct Stretch {
    pub batch: Batch,
    /// Where the partition ended.
    pub end: u64,
}

impl Topic {
    /// A topic that is read by the log's own offsets.
    pub(super) fn of_log(world: &World, name: &'static str) -> Topic {
        Topic { log: Arc::clone(&world.log), name, base: 0 }
    }

    /// As `Log::claims`.
    pub(super) fn claims(&self, consumer: &str) -> Answer<Vec<Claim>> {
        self.log.claims(consumer, self.name)
    }

    /// As `Log::partitions`.
    pub(super) fn partitions(&self) -> Answer<u16> {
        self.log.partitions(self.name)
    }

    /// As `Log::bounds`.
    pub(super) async fn bounds(&self, partition: u16) -> Result<(u64, u64), LogError> {
        let (start, end) = self.log.bounds(self.name, partition).await?;
        Ok((start + self.base, end + self.base))
    }

    /// As `Log::offset_at`.
    pub(super) async fn offset_at(&self, partition: u16, time: Timestamp) -> Result<u64, LogError> {
        Ok(self.log.offset_at(self.name, partition, time).await? + self.base)
    }

    /// As `Log::read`. What is of a log before this one is not there any longer.
    pub(super) async fn read(&self, partition: u16, from: u64, bytes_max: usize) -> Result<Batch, LogError> {
        let Some(own) = from.checked_sub(self.base) else {
            let (start, _) = self.bounds(partition).await?;
            return Err(LogError::Trimmed { start });
        };
        let mut batch = self.log.read(self.name, partition, own, bytes_max).await?;
        batch.entries.iter_mut().for_each(|entry| entry.offset += self.base);
        batch.next += self.base;
        Ok(batch)
    }

    /// What comes next for a consumer whose cursor is here; `None` if nothing does yet. What retention has deleted before it was read is
    /// passed over, and told.
    ///
    /// # Errors
    /// `Invalid` if the log ends before the cursor: what would come next could not be told from what was read.
    pub(super) async fn read_on(&self, claim: &Claim, from: u64, bytes_max: usize) -> Result<Option<Stretch>, LogError> {
        let (start, end) = self.bounds(claim.partition).await?;
        if from > end {
            tracing::error!(consumer = claim.consumer, input = claim.input, from, end, "the log ends before what was read of it");
            return Err(LogError::Invalid("the log ends before what was read of it: restore it whole, or restart on an empty one"));
        }
        if from.max(start) == end {
            return Ok(None);
        }
        match trimmed_unread(from, start) {
            0 => {}
            lost => tell_trimmed(claim, lost),
        }
        let batch = self.read(claim.partition, from.max(start), bytes_max).await?;
        Ok(Some(Stretch { batch, end }))
    }
}

/// How many records retention has deleted, up to `start`, that a consumer was still to read from `next` on.
pub(super) fn trimmed_unread(next: u64, start: u64) -> u64 {
    // At 0 it has not begun: nothing was kept for it.
    if next == 0 { 0 } else { start.saturating_sub(next) }
}

/// Tells that retention has deleted what a consumer had not read.
pub(super) fn tell_trimmed(claim: &Claim, lost: u64) {
    let Claim { consumer, input, .. } = claim;
    tracing::error!(consumer, input, lost, "retention has deleted what was not read yet");
    metrics::counter!("deputy_facts_trimmed_unread_total", "consumer" => consumer.clone()).increment(lost);
}

/// The topic `events`, for a stage that reads it on; `None` where another process's log is the one that is read.
pub(super) async fn events(world: &World, now: Timestamp) -> Result<Option<Topic>, StageError> {
    let mut footing = world.footing.lock().await;
    if footing.until.is_none_or(|until| until <= now) {
        settle(world, &mut footing, now).await?;
    }
    Ok(footing.base.map(|base| Topic { log: Arc::clone(&world.log), name: EVENTS, base }))
}

/// The topic `events` for whoever shows what is in it: nothing is settled by looking. `None` where another process's log is the one
/// that is read.
pub(super) async fn events_shown<E: From<StorageError> + From<LogError>>(world: &World) -> Result<Option<Topic>, E> {
    let current: Result<_, StorageError> = world.storage.read(|tx| Box::pin(async move { event_logs::current(tx).await })).await;
    let base = match current? {
        None => 0,
        Some(EventLog { log, base }) if log == relay::identity(world).await? => base,
        Some(_) => return Ok(None),
    };
    Ok(Some(Topic { log: Arc::clone(&world.log), name: EVENTS, base }))
}

async fn settle(world: &World, footing: &mut Footing, now: Timestamp) -> Result<(), StageError> {
    let offered = offer(world, footing).await?;
    let mut until = Timestamp(i64::MAX);
    if !world.storage.is_exclusive() {
        until = now.plus(SETTLED);
        let holder = offered.log.to_string();
        let hold = world
            .storage
            .write(move |tx| Box::pin(async move { leases::hold(tx, LEASE, &holder, now, now.plus(LEASE_TTL)).await }));
        if !hold.await? {
            tracing::warn!(
                "profiles, risk and who is who run on another process, by its log: what comes in here is not seen by them; \
                 set `log` to a Kafka that all processes share"
            );
            metrics::gauge!("deputy_events_elsewhere").set(1.0);
            (footing.base, footing.until) = (None, Some(until));
            return Ok(());
        }
    }
    metrics::gauge!("deputy_events_elsewhere").set(0.0);
    (footing.base, footing.until) = (Some(adopt(world, offered, now).await?), Some(until));
    Ok(())
}

/// Has our log read from now on, if it is not already. What people asked for and nobody had read yet is asked for once more.
async fn adopt(world: &World, offered: Offered, now: Timestamp) -> Result<u64, StageError> {
    let (entropy, log) = (Arc::clone(&world.entropy), offered.log);
    let write = world.storage.write(move |tx| {
        Box::pin(async move {
            let adopted = event_logs::adopt(tx, &offered, now).await?;
            if let Adopted::InPlaceOfAnother(_) = adopted {
                for intervention in interventions::under_way(tx).await? {
                    let (id, fact) = (Id::new(now, entropy.bytes()), Fact::InterventionRequested { intervention });
                    outbox::put(tx, &Event { id, at: now, actor: Actor::Deputy, fact }).await?;
                }
            }
            Ok::<_, StorageError>(adopted)
        })
    });
    match write.await? {
        Adopted::AsBefore(EventLog { base, .. }) => Ok(base),
        Adopted::InPlaceOfAnother(EventLog { base, .. }) => {
            tracing::error!(
                log,
                base,
                "the log is another one than before: profiles, risk and who is who go on where they left it, or else begin with its first \
                 event; what stood unread in the former one is not read"
            );
            metrics::counter!("deputy_event_logs_replaced_total").increment(1);
            Ok(base)
        }
    }
}

async fn offer(world: &World, footing: &Footing) -> Result<Offered, StageError> {
    let log = relay::identity(world).await?;
    let ends = match &footing.ends_at_start {
        Some(ends) => ends.clone(),
        None => ends(&*world.log, EVENTS).await?,
    };
    let ends = (0..).zip(ends).map(|(partition, end)| (Cursor::input(EVENTS, partition), end)).collect();
    let mut offered = Offered { log, ends, place: log_place(&world.settings), is_restored: false };
    // A shared log may tell an end that is behind for a moment; what it lost for good, reading tells.
    if footing.until.is_none() && !world.log.is_shared() {
        let ask = world.storage.read(|tx| {
            Box::pin(async move { Ok::<_, StorageError>((event_logs::current(tx).await?, event_logs::reached(tx).await?)) })
        });
        let (current, reached) = ask.await?;
        let base = current.map_or(0, |current| current.base);
        let is_ours = current.is_none_or(|current| current.log == log);
        offered.is_restored = is_ours && reached.iter().any(|reached| reached.until > base + offered.end_of(&reached.input));
    }
    Ok(offered)
}
