//! Profiles: whose each event is, and what it adds to what is known of them.
//!
//! One consumer reads the topic `events` in its order. A batch is resolved in memory, on the part of the identity graph that it
//! touches, and everything that it changes is written in one transaction with the consumer's cursor: after a crash either all of a
//! batch has had its effect or none of it. The cursor moves by compare and swap, so whoever wakes up late changes nothing.

/// An event as this stage takes it in.
mod taken;
/// What a batch comes to.
mod batch;
/// What is left out, because somebody asked to be forgotten.
mod forgotten;
/// What is done to profiles besides what events do.
pub mod interventions;
/// Traits that models predict.
pub mod predictions;
/// Profiles as they are shown.
pub mod read;
/// Who may ask the Profile API.
pub mod access;

use std::collections::BTreeSet;

use crate::{
    domain::{
        identity::graph::{Graph, ProfileId},
        profile::Definitions,
        time::Timestamp,
    },
    log::{Claim, LogError},
    storage::{StorageError, consumers, definitions, identities, profile_states},
    world::{EVENTS, Progress, StageError, World, profiles::KnownProfiles},
};
use batch::Batch;
use taken::Taken;

/// Who reads, as its cursor names it.
pub const CONSUMER: &str = "profiles";
/// What one batch reads: working it out keeps a thread from serving requests, and its transaction other writers, for some milliseconds.
const READ_BYTES_MAX: usize = 256 << 10;
/// Profiles that are looked at together because a day has passed.
const DUE_MAX: i64 = 200;

/// Takes in the next events, else looks after what changes by the passing of days.
pub async fn step(world: &World, now: Timestamp) -> Result<Progress, StageError> {
    for claim in world.log.claims(CONSUMER, EVENTS).await? {
        if advance(world, &claim, now).await? {
            return Ok(Progress::Advanced);
        }
    }
    if look_after(world, now).await? { Ok(Progress::Advanced) } else { Ok(Progress::Idle) }
}

async fn advance(world: &World, claim: &Claim, now: Timestamp) -> Result<bool, StageError> {
    let input = claim.input.clone();
    let ask = world.storage.read(move |tx| Box::pin(async move { consumers::next(tx, CONSUMER, &input).await }));
    let from: u64 = ask.await?;
    let (start, end) = world.log.bounds(EVENTS, claim.partition).await?;
    if from.max(start) >= end {
        return Ok(false);
    }
    let (rules, definitions) = world
        .storage
        .read(|tx| Box::pin(async move { Ok::<_, StorageError>((definitions::rules(tx).await?, definitions::all(tx).await?)) }))
        .await?;
    let read = world.log.read(EVENTS, claim.partition, from.max(start), READ_BYTES_MAX).await?;
    let (taken, rules) = tokio::task::spawn_blocking(move || {
        let taken: Vec<Taken> = read.entries.iter().filter_map(|entry| Taken::of(entry, &rules)).collect();
        (taken, rules)
    })
    .await
    .map_err(|error| LogError::Unavailable(error.to_string()))?;
    if let Some((cause, asked)) = taken.first().and_then(|first| Some((&first.cause, first.intervention?))) {
        interventions::carry_out(world, claim, from, cause, asked, now).await?;
        return Ok(true);
    }
    let (mut taken, next) = before_intervention(taken, read.next);
    forgotten::leave_out(world, &mut taken).await?;

    // What is taken out comes back only after the commit: whatever goes wrong leaves nothing that could be wrong.
    let mut place = world.profiles.lock().await;
    let known = std::mem::take(&mut *place);
    let known = if world.storage.is_exclusive() { known } else { KnownProfiles::default() };
    let graph = load_ids(world, known.graph, &taken).await?;
    let mut batch = Batch::new(graph, known.states, claim.partition, &definitions, now);
    batch.resolve(&taken, &rules);
    batch.take_states(load_states(world, batch.missing_states()).await?);
    batch.apply(&taken);
    reckon(world, &mut batch).await?;

    let (written, known) = batch.finish(world);
    let input = claim.input.clone();
    let is_ours = world
        .storage
        .write(move |tx| {
            Box::pin(async move {
                if !consumers::advance(tx, CONSUMER, &input, from, next).await? {
                    return Ok::<_, StorageError>(false);
                }
                written.write(tx).await?;
                Ok(true)
            })
        })
        .await?;
    if !is_ours {
        return Err(LogError::Fenced.into());
    }
    *place = known.bounded();
    Ok(true)
}

/// An intervention is a step of its own, which finds all before it done: the events up to it, and where they end.
fn before_intervention(mut taken: Vec<Taken>, next: u64) -> (Vec<Taken>, u64) {
    let Some(place) = taken.iter().position(|event| event.intervention.is_some()) else { return (taken, next) };
    let next = taken[place].cause.offset;
    taken.truncate(place);
    (taken, next)
}

/// Brings audiences up to date where a window has moved over a day.
async fn look_after(world: &World, now: Timestamp) -> Result<bool, StageError> {
    let ask = world.storage.read(move |tx| Box::pin(async move { profile_states::due(tx, now, DUE_MAX).await }));
    let due: BTreeSet<ProfileId> = ask.await?;
    if due.is_empty() {
        return Ok(false);
    }
    // While a batch is under way, this waits: the two would write the same rows.
    let _place = world.profiles.lock().await;
    let (graph, definitions): (Graph, Definitions) = world
        .storage
        .read(move |tx| {
            Box::pin(async move {
                let mut graph = Graph::default();
                for profile in &due {
                    identities::load_profile(tx, &mut graph, *profile).await?;
                }
                Ok::<_, StorageError>((graph, definitions::all(tx).await?))
            })
        })
        .await?;
    let mut batch = Batch::new(graph, Default::default(), 0, &definitions, now);
    batch.touch_all();
    reckon(world, &mut batch).await?;
    let (written, _) = batch.finish(world);
    world.storage.write(move |tx| Box::pin(async move { written.write(tx).await })).await?;
    Ok(true)
}

/// Works out who enters and who leaves audiences, for the whole profiles that the batch has touched.
async fn reckon(world: &World, batch: &mut Batch<'_>) -> Result<(), StageError> {
    if batch.definitions.audiences.is_empty() {
        return Ok(());
    }
    batch.take_states(load_states(world, batch.missing_parts()).await?);
    let members = batch.touched_members();
    let ask = world.storage.read(move |tx| Box::pin(async move { profile_states::load_memberships(tx, &members).await }));
    batch.reckon(ask.await?);
    Ok(())
}

async fn load_ids(world: &World, graph: Graph, taken: &[Taken]) -> Result<Graph, StorageError> {
    let all = taken.iter().flat_map(|taken| &taken.subjects).flat_map(|subject| &subject.ids);
    let ids: Vec<_> = all.filter(|id| !graph.knows(id)).cloned().collect();
    let predicted = taken.iter().filter_map(|taken| Some(taken.prediction.as_ref()?.profile));
    let profiles: BTreeSet<ProfileId> = predicted.filter(|profile| !graph.has(*profile)).collect();
    if ids.is_empty() && profiles.is_empty() {
        return Ok(graph);
    }
    let mut graph = graph;
    let load = world.storage.read(move |tx| {
        Box::pin(async move {
            if !ids.is_empty() {
                identities::load(tx, &mut graph, &ids).await?;
            }
            for profile in profiles {
                identities::load_profile(tx, &mut graph, profile).await?;
            }
            Ok::<_, StorageError>(graph)
        })
    });
    load.await
}

async fn load_states(
    world: &World,
    profiles: BTreeSet<ProfileId>,
) -> Result<Vec<(ProfileId, crate::domain::profile::ProfileState)>, StorageError> {
    if profiles.is_empty() {
        return Ok(Vec::new());
    }
    world.storage.read(move |tx| Box::pin(async move { profile_states::load(tx, &profiles).await })).await
}
