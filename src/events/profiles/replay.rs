//! Reading again what was read before, so that nothing has its effect twice.
//!
//! Storage knows which events each profile has taken in. What one has stays as it is: its ids are not resolved anew and its traits are
//! not written again; only a computed trait that was made later counts it. What no profile has is taken in like any event. An
//! intervention that has come to its end is not carried out again. So a replay that is done twice is as if it had been done once.
//!
//! A computed trait knows the offset from which on it counts everything: the first batch that it was held against. One that is made
//! during a replay waits for its end.

use std::collections::{BTreeSet, HashMap};

use super::{CONSUMER, taken::Taken};
use crate::{
    domain::{
        identity::{
            graph::{Graph, ProfileId},
            resolve::{Weight, created_by},
        },
        profile::Definitions,
    },
    storage::{
        StorageError, audience_walk,
        consumers::{self, Place, Replay},
        definitions, identities,
        profile_states::{self, EventPlace},
    },
    world::World,
};

/// What became of the events of a batch when they were read before, by their place in it and the subject's.
#[derive(Default)]
pub(super) struct Before(HashMap<(usize, u8), Fate>);

#[derive(Debug, Clone, Copy)]
pub(super) enum Fate {
    /// A profile has taken it in.
    TakenInBy(ProfileId),
    /// A profile has it that no longer has its id; or nothing proves whose it is, and nobody had it.
    LeftAsItIs,
}

impl Before {
    /// The fate of an event for one of its subjects; none if it is new for it.
    pub(super) fn of(&self, index: usize, ordinal: u8) -> Option<Fate> {
        self.0.get(&(index, ordinal)).copied()
    }
}

/// What the next batch is part of.
pub(super) enum UnderWay {
    /// It is read for the first time.
    Nothing,
    Replay(Replay),
    /// A replay had come to its end, and is ended now: there is nothing else to do.
    Ended,
}

/// What the next batch is part of. A replay that has come to its end is ended here.
pub(super) async fn under_way(world: &World, input: &str, place: Place) -> Result<UnderWay, StorageError> {
    let replay = match place.replay {
        None => return Ok(UnderWay::Nothing),
        Some(replay) if place.next < replay.until => return Ok(UnderWay::Replay(replay)),
        Some(replay) => replay,
    };
    let input = input.to_owned();
    let write = world.storage.write(move |tx| {
        Box::pin(async move {
            if consumers::end_replay(tx, CONSUMER, &input).await? {
                definitions::count_from(tx, replay.from).await?;
                audience_walk::begin(tx).await?;
            }
            Ok::<_, StorageError>(UnderWay::Ended)
        })
    });
    write.await
}

/// A batch of a replay goes up to where the replay ends: the events up to there, and where to go on.
pub(super) fn within(replay: Option<Replay>, mut taken: Vec<Taken>, next: u64) -> (Vec<Taken>, u64) {
    let Some(Replay { until, .. }) = replay else { return (taken, next) };
    taken.retain(|event| event.cause.offset < until);
    (taken, next.min(until))
}

/// The definitions that a batch is held against.
pub(super) fn in_force(replay: Option<Replay>, mut definitions: Definitions) -> Definitions {
    if replay.is_some() {
        let Definitions { computed_traits, counted_from, .. } = &mut definitions;
        computed_traits.retain(|definition| counted_from.contains_key(&definition.id));
    }
    definitions
}

/// What became of these events when they were read before. The graph knows their ids.
pub(super) async fn before(world: &World, graph: &Graph, taken: &[Taken], partition: u16) -> Result<Before, StorageError> {
    let ids = taken.iter().flat_map(|event| &event.subjects).flat_map(|subject| &subject.ids);
    let ids: BTreeSet<String> = ids.map(ToString::to_string).collect();
    let ask = world.storage.read(move |tx| Box::pin(async move { identities::taken_from(tx, &ids).await }));
    let taken_away: HashMap<String, Vec<ProfileId>> = ask.await?;

    // Whoever took the event in then is the home of one of its ids still, or had one taken away, or came into being with it.
    let mut candidates = Vec::new();
    for (index, event) in taken.iter().enumerate() {
        for (ordinal, subject) in (0_u8..).zip(&event.subjects) {
            let homes = subject.ids.iter().filter_map(|id| graph.home(id)).map(|home| (home, Fate::TakenInBy(home)));
            let former = subject.ids.iter().filter_map(|id| taken_away.get(&id.to_string())).flatten().copied();
            let others = former.chain([created_by(&event.cause, ordinal)]).map(|profile| (profile, Fate::LeftAsItIs));
            let place = EventPlace { offset: event.cause.offset, partition };
            let all = homes.chain(others).map(|(profile, fate)| ((index, ordinal), (profile, place), fate));
            candidates.extend(all);
        }
    }
    let asked: Vec<(ProfileId, EventPlace)> = candidates.iter().map(|(_, asked, _)| *asked).collect();
    let ask = world.storage.read(move |tx| Box::pin(async move { profile_states::noted(tx, &asked).await }));
    let noted: BTreeSet<(ProfileId, EventPlace)> = ask.await?;

    let mut before = Before::default();
    for (subject, asked, fate) in candidates {
        if noted.contains(&asked) {
            before.0.entry(subject).or_insert(fate);
        }
    }
    for (index, event) in taken.iter().enumerate() {
        for (ordinal, subject) in (0_u8..).zip(&event.subjects) {
            if subject.weight == Weight::Hint {
                before.0.entry((index, ordinal)).or_insert(Fate::LeftAsItIs);
            }
        }
    }
    Ok(before)
}
