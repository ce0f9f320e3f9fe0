//! Who belongs to which audience, where no event says so: a day leaves a window, or what is defined changes.
//!
//! Whoever takes in events does this too, between them: the two write the same rows, and who enters or leaves an audience is told of once.
//! After an audience was made, a computed trait deleted, or what came before was read again, all profiles are looked at once, a share at
//! a time. How far that has come is in storage, so a restart goes on with it.

use std::{collections::BTreeSet, sync::Arc};

use super::{CONSUMER, batch::Batch, load_states};
use crate::{
    domain::{
        identity::graph::{Graph, ProfileId},
        profile::Definitions,
        time::Timestamp,
    },
    log::{Claim, LogError},
    storage::{
        StorageError, Tx,
        audience_walk::{self, Walk},
        consumers, definitions, identities, profile_states,
    },
    world::{Progress, StageError, World},
};

/// Profiles that are looked at together.
const PROFILES_MAX: i64 = 200;

/// What is looked at in one transaction, and what has to be known for it.
struct Share {
    /// Where the consumer stands.
    from: u64,
    /// A day has passed for these.
    due: BTreeSet<ProfileId>,
    /// These are next in the walk that is under way.
    walk: Option<(Walk, Vec<ProfileId>)>,
    graph: Graph,
    definitions: Definitions,
}

/// Brings the audiences of the next profiles up to date: of those for which a day has passed, else of those that are next in a walk.
pub(super) async fn look_after(world: &World, claim: &Claim, now: Timestamp) -> Result<Progress, StageError> {
    // While a batch is under way, this waits: the two would write the same rows.
    let _place = world.profiles.lock().await;
    let input = claim.input.clone();
    let ask = world.storage.read(move |tx| Box::pin(async move { Share::next(tx, &input, now).await }));
    let Some(Share { from, due, walk, graph, definitions }) = ask.await? else { return Ok(Progress::Idle) };
    let mut batch = Batch::new(graph, Default::default(), 0, Arc::new(definitions), now);
    batch.touch_all();
    reckon(world, &mut batch).await?;
    let (written, _) = batch.finish(world);
    let input = claim.input.clone();
    let write = world.storage.write(move |tx| {
        Box::pin(async move {
            // The same value: rivals wait for their turn, and then find nobody due any longer, and the walk further on.
            let is_ours = consumers::advance(tx, CONSUMER, &input, from, from).await?;
            if !is_ours || profile_states::due(tx, now, PROFILES_MAX).await? != due {
                return Ok::<_, StorageError>(false);
            }
            if let Some((walk, _)) = &walk
                && audience_walk::under_way(tx).await?.as_ref() != Some(walk)
            {
                return Ok(false);
            }
            // Whatever is found of them, they are not due any longer: else they would be for ever.
            profile_states::look_no_more(tx, &due).await?;
            written.write(tx).await?;
            match walk.map(|(walk, profiles)| (walk.number, profiles.last().copied())) {
                Some((number, Some(last))) => audience_walk::go_on(tx, number, last).await?,
                Some((number, None)) => audience_walk::end(tx, number).await?,
                None => {}
            }
            Ok(true)
        })
    });
    if write.await? { Ok(Progress::Advanced) } else { Err(LogError::Fenced.into()) }
}

/// Works out who enters and who leaves audiences, for the whole profiles that the batch has touched.
pub(super) async fn reckon(world: &World, batch: &mut Batch) -> Result<(), StageError> {
    if batch.definitions.audiences.is_empty() {
        return Ok(());
    }
    batch.take_states(load_states(world, batch.missing_parts()).await?);
    let members = batch.touched_members();
    let ask = world.storage.read(move |tx| Box::pin(async move { profile_states::load_memberships(tx, &members).await }));
    batch.reckon(ask.await?);
    Ok(())
}

impl Share {
    /// The next share; `None` if there is nothing to look at.
    async fn next(tx: &mut Tx, input: &str, now: Timestamp) -> Result<Option<Share>, StorageError> {
        // First: whatever is written after it makes the commit void.
        let from = consumers::next(tx, CONSUMER, input).await?;
        let due = profile_states::due(tx, now, PROFILES_MAX).await?;
        let walk = if due.is_empty() { audience_walk::under_way(tx).await? } else { None };
        if due.is_empty() && walk.is_none() {
            return Ok(None);
        }
        // After the walk: what is defined later begins another.
        let definitions = definitions::all(tx).await?;
        let walk = match walk {
            None => None,
            // Nobody can enter or leave.
            Some(walk) if definitions.audiences.is_empty() => Some((walk, Vec::new())),
            Some(walk) => {
                let profiles = profile_states::profiles_after(tx, walk.after, PROFILES_MAX).await?;
                Some((walk, profiles))
            }
        };
        let mut graph = Graph::default();
        for profile in due.iter().chain(walk.iter().flat_map(|(_, profiles)| profiles)) {
            identities::load_profile(tx, &mut graph, *profile).await?;
        }
        Ok(Some(Share { from, due, walk, graph, definitions }))
    }
}
