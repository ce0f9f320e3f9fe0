//! Who is it: everybody who is seen in events gets a kind, with the evidence that led to it.
//!
//! One consumer reads the topic `events` in its order. What a batch finds and the consumer's cursor are one transaction: after a crash
//! either all of it has happened or none. Nearly every event tells what is known already; that is noticed in memory, so only news
//! costs a question to storage. At an intervention the consumer waits until profiles have carried it out: then it is known whose
//! events are left out, and whoever was deleted is forgotten here too. It cannot go on and forget afterwards: by then it would have
//! taken in what is to be left out, and could not tell that from what somebody did since. The list of consumers says what it waits for.

/// What an event says of whom.
mod sighting;
/// What sightings come to.
mod roll;
#[cfg(test)]
mod tests;

use std::{collections::HashSet, sync::Arc, time::Duration};

use crate::{
    domain::{
        actor::{ActorKind, pace::Pace},
        client::ClientId,
        event::{Actor, Event, Fact},
        id::{Id, InterventionKind},
        intervention::Status,
        secret::Digest,
        time::Timestamp,
    },
    events::{
        profiles::forgotten::Forgotten,
        topic::{self, Stretch, Topic},
    },
    log::{Claim, Entry, LogError},
    storage::{
        StorageError, Tx, actors, clients, consumers,
        interventions::{self, Place},
        outbox, revocations,
    },
    world::{Progress, StageError, World, actors::KnownActors, entropy::Entropy},
};
use roll::{Became, Roll};
use sighting::{Sighting, What, look, look_back};

/// Who reads, as its cursor names it.
pub const CONSUMER: &str = "who";
/// What one batch reads: its transaction holds up other writers for some milliseconds.
const READ_BYTES_MAX: usize = 1 << 20;
/// What a rogue got between the event that gave it away and our reading of it dies too: all of it, unless an operator has let it act
/// since. Then it is what it got within this time, and what it was let have lives.
const NOTICE: Duration = Duration::from_secs(60);
/// A token that was asked for before, and is committed after, may tell a moment so much later than the batch's.
const UNDER_WAY: Duration = Duration::from_secs(1);

/// Takes in the next events.
pub async fn step(world: &World, now: Timestamp) -> Result<Progress, StageError> {
    let Some(events) = topic::events(world, now).await? else { return Ok(Progress::Idle) };
    for claim in events.claims(CONSUMER).await? {
        match advance(world, &events, &claim, now).await? {
            Progress::Idle => {}
            progress => return Ok(progress),
        }
    }
    Ok(Progress::Idle)
}

async fn advance(world: &World, events: &Topic, claim: &Claim, now: Timestamp) -> Result<Progress, StageError> {
    let input = claim.input.clone();
    let ask = world.storage.read(move |tx| Box::pin(async move { consumers::next(tx, CONSUMER, &input).await }));
    let from: u64 = ask.await?;
    let Some(Stretch { batch: read, end }) = events.read_on(claim, from, READ_BYTES_MAX).await? else { return Ok(Progress::Idle) };

    // What is taken out comes back only after the commit: whatever goes wrong leaves nothing that could be wrong.
    let mut place = world.actors.lock().await;
    let mut known = std::mem::take(&mut *place);
    if !world.storage.is_exclusive() {
        known.unsettle();
    }
    let (pace, known) = match known.take_pace(&claim.input, from) {
        Some(pace) => (pace, known),
        None => look_back_from(world, events, claim, from, known).await?,
    };
    let paced_since = pace.since();
    // Reading so many events takes milliseconds: not on a thread that serves requests.
    let looking = tokio::task::spawn_blocking(move || {
        let (mut known, mut pace) = (known, pace);
        let looked = look(&read.entries, &mut known, &mut pace);
        let is_first = looked.before.is_some_and(|(_, offset)| read.entries.first().is_some_and(|first| first.offset == offset));
        let next = looked.before.map_or(read.next, |(_, offset)| offset);
        (known, pace, looked, next, is_first)
    });
    let (mut known, pace, looked, next, is_first) = looking.await.map_err(|error| LogError::Unavailable(error.to_string()))?;
    let done = match looked.before.filter(|_| is_first) {
        Some((intervention, offset)) => {
            known.unsettle();
            forget(world, claim, from, Met { intervention, offset }).await?
        }
        None => {
            let found = find(world, looked.sightings).await?;
            let since = (pace.since() != paced_since).then(|| pace.since());
            write(world, claim, Read { from, next, found, paced_since: since }, now).await?;
            Some(next)
        }
    };
    known.keep_pace(&claim.input, done.unwrap_or(from), pace);
    *place = known;
    Ok(match done {
        Some(next) if next < end => Progress::Advanced,
        Some(_) => Progress::CaughtUp,
        // Profiles are not there yet.
        None => Progress::Idle,
    })
}

/// Counts once more what is counted within the window of arrivals that was running at this offset.
async fn look_back_from(
    world: &World,
    events: &Topic,
    claim: &Claim,
    until: u64,
    mut known: KnownActors,
) -> Result<(Pace, KnownActors), StageError> {
    let input = claim.input.clone();
    let ask = world.storage.read(move |tx| Box::pin(async move { actors::pace_since(tx, &input).await }));
    let since: u64 = ask.await?;
    let (start, _) = events.bounds(claim.partition).await?;
    let (mut next, mut pace) = (since.max(start), Pace::default());
    while next < until {
        let mut read = events.read(claim.partition, next, READ_BYTES_MAX).await?;
        next = read.next;
        read.entries.retain(|entry| entry.offset < until);
        let looking = tokio::task::spawn_blocking(move || {
            let (mut known, mut pace) = (known, pace);
            look_back(&read.entries, &mut known, &mut pace);
            (known, pace)
        });
        (known, pace) = looking.await.map_err(|error| LogError::Unavailable(error.to_string()))?;
    }
    Ok((pace, known))
}

/// An intervention that was met, and where it stands.
struct Met {
    intervention: Id<InterventionKind>,
    offset: u64,
}

/// Forgets whom the intervention has deleted, once it is carried out; where to go on, or `None` while it is not.
async fn forget(world: &World, claim: &Claim, from: u64, met: Met) -> Result<Option<u64>, StageError> {
    let Met { intervention, offset } = met;
    if is_under_way(world, intervention).await? {
        return Ok(None);
    }
    let (input, next) = (claim.input.clone(), offset + 1);
    let write = world.storage.write(move |tx| {
        Box::pin(async move {
            if !consumers::advance(tx, CONSUMER, &input, from, next).await? {
                return Ok::<_, StorageError>(false);
            }
            actors::forget_left_out(tx, offset).await?;
            Ok(true)
        })
    });
    if write.await? { Ok(Some(next)) } else { Err(LogError::Fenced.into()) }
}

async fn is_under_way(world: &World, intervention: Id<InterventionKind>) -> Result<bool, StorageError> {
    let asked = world.storage.read(move |tx| Box::pin(async move { interventions::find(tx, intervention).await })).await?;
    Ok(asked.is_some_and(|asked| matches!(asked.status, Status::Initialized | Status::Running)))
}

/// Whether this is an intervention that profiles have not carried out yet: nothing is passed before they have.
pub(super) async fn waits_at(world: &World, entry: &Entry) -> Result<bool, StorageError> {
    match serde_json::from_slice(&entry.payload) {
        Ok(Event { fact: Fact::InterventionRequested { intervention }, .. }) => is_under_way(world, intervention).await,
        _ => Ok(false),
    }
}

/// The sightings that bring something new, each with the digest of whom it is of. Nothing is decided yet: others may write meanwhile.
async fn find(world: &World, mut sightings: Vec<Sighting>) -> Result<Vec<(Digest, Sighting)>, StorageError> {
    if sightings.is_empty() {
        return Ok(Vec::new());
    }
    let forgotten = Forgotten::of(world, sightings.iter().map(|sighting| sighting.actor.external_id())).await?;
    sightings.retain(|sighting| match &sighting.what {
        What::Seen(seen) => {
            let place = Place { offset: sighting.offset, at: seen.at };
            !forgotten.covers(std::slice::from_ref(sighting.actor.external_id()), place)
        }
        What::Gone => true,
    });
    let digests: Vec<Digest> = sightings.iter().map(|sighting| world.secrets.digest_of_id(sighting.actor.external_id())).collect();
    let asked = distinct(&digests);
    let load = world.storage.read(move |tx| Box::pin(async move { actors::load(tx, &asked).await }));
    let mut roll = Roll::of(load.await?);
    for (digest, sighting) in digests.iter().zip(&sightings) {
        roll.take_in(*digest, sighting);
    }
    let touched = roll.touched();
    Ok(digests.into_iter().zip(sightings).filter(|(digest, _)| touched.contains(&digest.0)).collect())
}

fn distinct(digests: &[Digest]) -> Vec<Digest> {
    let mut met = HashSet::new();
    digests.iter().filter(|digest| met.insert(digest.0)).copied().collect()
}

/// What a part of the log comes to.
struct Read {
    from: u64,
    next: u64,
    found: Vec<(Digest, Sighting)>,
    /// From where it has to be read again to know how fast everybody is, if that is elsewhere now.
    paced_since: Option<u64>,
}

async fn write(world: &World, claim: &Claim, read: Read, now: Timestamp) -> Result<(), StageError> {
    let Read { from, next, found, paced_since } = read;
    let teller = Teller { entropy: Arc::clone(&world.entropy), now };
    let input = claim.input.clone();
    let write = world.storage.write(move |tx| {
        Box::pin(async move {
            if !consumers::advance(tx, CONSUMER, &input, from, next).await? {
                return Ok::<_, StorageError>(false);
            }
            if let Some(since) = paced_since {
                actors::put_pace_since(tx, &input, since).await?;
            }
            teller.take_in(tx, &found).await?;
            Ok(true)
        })
    });
    if write.await? { Ok(()) } else { Err(LogError::Fenced.into()) }
}

/// What one transaction decides and tells with.
struct Teller {
    entropy: Arc<dyn Entropy>,
    now: Timestamp,
}

impl Teller {
    async fn take_in(&self, tx: &mut Tx, found: &[(Digest, Sighting)]) -> Result<(), StorageError> {
        if found.is_empty() {
            return Ok(());
        }
        let digests: Vec<Digest> = found.iter().map(|(digest, _)| *digest).collect();
        let mut roll = Roll::of(actors::hold(tx, &distinct(&digests)).await?);
        for (digest, sighting) in found {
            roll.take_in(*digest, sighting);
        }
        let (facts, kinds) = (std::mem::take(&mut roll.facts), std::mem::take(&mut roll.kinds));
        let (changed, gone) = roll.finish();
        actors::forget(tx, &gone).await?;
        actors::put(tx, &changed).await?;
        for (client, became) in kinds {
            let is_new = clients::set_kind(tx, &client, became.kind).await?;
            if is_new && became.kind == ActorKind::Rogue {
                self.revoke(tx, &client, &became).await?;
            }
        }
        for fact in facts {
            let event = Event { id: Id::new(self.now, self.entropy.bytes()), at: self.now, actor: Actor::Deputy, fact };
            outbox::put(tx, &event).await?;
        }
        Ok(())
    }

    async fn revoke(&self, tx: &mut Tx, client: &ClientId, became: &Became) -> Result<(), StorageError> {
        let let_act_at = became.spoken_at.max(clients::enabled_at(tx, client).await?);
        let until = match let_act_at.is_some_and(|at| at > became.since) {
            true => became.since.plus(NOTICE).min(self.now),
            false => self.now.plus(UNDER_WAY),
        };
        revocations::revoke(tx, client.as_str(), until, self.now).await
    }
}
