//! Profiles: whose each event is, and what it adds to what is known of them.
//!
//! One consumer reads the topic `events` in its order. A batch is resolved in memory, on the part of the identity graph that it
//! touches, and everything that it changes is written in one transaction with the consumer's cursor: after a crash either all of a
//! batch has had its effect or none of it. The cursor moves by compare and swap, so whoever wakes up late changes nothing.
//!
//! The rules of identity are those of the place in the log: a change of them is an intervention, carried out where its fact stands. So
//! what becomes of an event does not depend on how far this stage had come when an operator changed them.

/// An event as this stage takes it in.
mod taken;
/// What a batch comes to.
mod batch;
/// Who belongs to which audience, where no event says so.
mod reckoning;
/// What is left out, because somebody asked to be forgotten.
pub(super) mod forgotten;
/// Reading again what was read before.
mod replay;
/// What is done to profiles besides what events do.
pub mod interventions;
/// What profiles forget when the log does.
pub mod forgetting;
/// Traits that models predict.
pub mod predictions;
/// Profiles as they are shown.
pub mod read;
/// Who may ask the Profile API.
pub mod access;

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    domain::{
        identity::{
            graph::{Graph, ProfileId},
            rules::Rules,
        },
        profile::Definitions,
        time::Timestamp,
    },
    events::topic::{self, Topic},
    log::{Claim, LogError},
    storage::{
        StorageError,
        consumers::{self, Place, Replay},
        definitions, identities,
        profile_states::{self, Stored},
    },
    world::{Progress, StageError, World, profiles::KnownProfiles},
};
use batch::Batch;
use replay::{Before, UnderWay};
use taken::Taken;

/// Who reads, as its cursor names it.
pub const CONSUMER: &str = "profiles";
/// What one batch reads: its transaction holds up other writers for some milliseconds.
const READ_BYTES_MAX: usize = 1 << 20;
/// Stretches of the log that one step takes in.
const STRETCHES_MAX: usize = 32;

/// Takes in the next events, and looks after a share of what changes without any: however many events come, that goes on.
pub async fn step(world: &World, now: Timestamp) -> Result<Progress, StageError> {
    let Some(events) = topic::events(world, now).await? else { return Ok(Progress::Idle) };
    let claims = events.claims(CONSUMER).await?;
    // Where there is none, another node has it, and looks after it.
    let Some(first) = claims.first() else { return Ok(Progress::Idle) };
    let mut taken_in = Progress::Idle;
    for claim in &claims {
        taken_in = advance(world, &events, claim, now).await?;
        if taken_in != Progress::Idle {
            break;
        }
    }
    match reckoning::look_after(world, first, now).await? {
        Progress::Idle => Ok(taken_in),
        progress => Ok(progress),
    }
}

/// Takes in some stretches of the log; while one is worked out and written, the next is read.
async fn advance(world: &World, events: &Topic, claim: &Claim, now: Timestamp) -> Result<Progress, StageError> {
    let input = claim.input.clone();
    let ask = world.storage.read(move |tx| Box::pin(async move { consumers::place(tx, CONSUMER, &input).await }));
    let place: Place = ask.await?;
    let replay = match replay::under_way(world, &claim.input, place).await? {
        UnderWay::Nothing => None,
        UnderWay::Replay(replay) => Some(replay),
        UnderWay::Ended => return Ok(Progress::Advanced),
    };
    let Some(mut stretch) = Stretch::read(world, events, claim, place.next, replay).await? else { return Ok(Progress::Idle) };
    for _ in 0..STRETCHES_MAX {
        if let Some((cause, asked)) = stretch.taken.first().and_then(|first| Some((&first.cause, first.intervention?))) {
            interventions::carry_out(world, claim, stretch.from, cause, asked, now).await?;
            return Ok(Progress::Advanced);
        }
        if replay.is_some_and(|replay| stretch.next >= replay.until) {
            take_in(world, claim, stretch, now).await?;
            return Ok(Progress::Advanced);
        }
        if stretch.is_last {
            take_in(world, claim, stretch, now).await?;
            return Ok(Progress::CaughtUp);
        }
        let next = stretch.next;
        let (taken_in, following) =
            tokio::join!(take_in(world, claim, stretch, now), Stretch::read(world, events, claim, next, replay));
        taken_in?;
        match following? {
            Some(following) => stretch = following,
            None => return Ok(Progress::CaughtUp),
        }
    }
    Ok(Progress::Advanced)
}

/// Works out what a stretch of the log comes to, and writes it with the cursor.
async fn take_in(world: &World, claim: &Claim, stretch: Stretch, now: Timestamp) -> Result<(), StageError> {
    let Stretch { from, next, replay, taken, rules, definitions, .. } = stretch;
    // What is taken out comes back only after the commit: whatever goes wrong leaves nothing that could be wrong.
    let mut place = world.profiles.lock().await;
    let known = std::mem::take(&mut *place);
    let known = if world.storage.is_exclusive() { known } else { KnownProfiles::default() };
    let graph = load_ids(world, known.graph, &taken).await?;
    let before = match replay {
        Some(_) => replay::before(world, &graph, &taken, claim.partition).await?,
        None => Before::default(),
    };
    let not_begun = definitions.not_begun();
    let mut batch = Batch::new(graph, known.states, claim.partition, definitions, now);
    let (mut batch, taken) = aside(move || {
        batch.resolve(&taken, &rules, &before);
        (batch, taken)
    })
    .await?;
    batch.take_states(load_states(world, batch.missing_states()).await?);
    let mut batch = aside(move || {
        batch.apply(&taken);
        batch
    })
    .await?;
    reckoning::reckon(world, &mut batch).await?;

    let (written, known) = batch.finish(world);
    let input = claim.input.clone();
    let is_ours = world
        .storage
        .write(move |tx| {
            Box::pin(async move {
                if !consumers::advance(tx, CONSUMER, &input, from, next).await? {
                    return Ok::<_, StorageError>(false);
                }
                definitions::begin_counting(tx, &not_begun, from).await?;
                written.write(tx).await?;
                Ok(true)
            })
        })
        .await?;
    if !is_ours {
        return Err(LogError::Fenced.into());
    }
    *place = known.bounded();
    Ok(())
}

/// A stretch of the log, read, without what is to be left out.
struct Stretch {
    from: u64,
    next: u64,
    /// Nothing came after it when it was read.
    is_last: bool,
    /// What it is part of, if it is read again.
    replay: Option<Replay>,
    taken: Vec<Taken>,
    /// As they are at its beginning, and to its end: where they change, it ends.
    rules: Arc<Rules>,
    definitions: Arc<Definitions>,
}

impl Stretch {
    /// The stretch that begins at an offset; `None` if there is nothing yet.
    async fn read(
        world: &World,
        events: &Topic,
        claim: &Claim,
        from: u64,
        replay: Option<Replay>,
    ) -> Result<Option<Stretch>, StageError> {
        let Some(read) = events.read_on(claim, from, READ_BYTES_MAX).await? else { return Ok(None) };
        let topic::Stretch { batch: read, end } = read;
        let ask = world.storage.read(|tx| {
            Box::pin(async move { Ok::<_, StorageError>((definitions::rules(tx).await?, definitions::all(tx).await?)) })
        });
        let (rules, definitions) = ask.await?;
        let (rules, definitions) = (Arc::new(rules), Arc::new(replay::in_force(replay, definitions)));
        let is_last = read.next >= end;
        let by = (Arc::clone(&rules), Arc::clone(&definitions));
        let (taken, next) = aside(move || {
            let taken = read.entries.iter().filter_map(|entry| Taken::of(entry, &by.0, &by.1)).collect();
            let (taken, next) = before_intervention(taken, read.next);
            replay::within(replay, taken, next)
        })
        .await?;
        let is_last = is_last && next == read.next;
        let mut stretch = Stretch { from, next, is_last, replay, taken, rules, definitions };
        forgotten::leave_out(world, &mut stretch.taken).await?;
        Ok(Some(stretch))
    }
}

/// Work of milliseconds: never on a thread that serves requests.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, LogError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| LogError::Unavailable(error.to_string()))
}

/// An intervention is a step of its own, which finds all before it done: the events up to it, and where they end.
fn before_intervention(mut taken: Vec<Taken>, next: u64) -> (Vec<Taken>, u64) {
    match taken.iter().position(|event| event.intervention.is_some()) {
        None | Some(0) => (taken, next),
        Some(place) => {
            let next = taken[place].cause.offset;
            taken.truncate(place);
            (taken, next)
        }
    }
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

async fn load_states(world: &World, profiles: BTreeSet<ProfileId>) -> Result<Vec<Stored>, StorageError> {
    if profiles.is_empty() {
        return Ok(Vec::new());
    }
    world.storage.read(move |tx| Box::pin(async move { profile_states::load(tx, &profiles).await })).await
}
