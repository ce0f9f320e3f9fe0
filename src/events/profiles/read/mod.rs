//! Profiles as they are shown: the parts that belong together, added up when somebody asks.
//!
//! Everything is found by key, and what is read is committed.

/// Traits, external ids, links and dates.
mod views;
/// The events of a profile, from the log.
pub mod events;

use std::collections::BTreeSet;

use crate::{
    domain::{
        audience::Memberships,
        identity::{
            external_id::ExternalId,
            graph::{Component, Graph, ProfileId},
            split::Merge,
        },
        profile::{Collection, Definitions, ProfileState},
    },
    storage::{StorageError, Tx, definitions, identities, profile_states},
    world::World,
};
pub use views::{Class, ExternalIdView, LinkView, Metadata, TraitView};

/// A profile, whole.
#[derive(Debug, Clone)]
pub struct Profile {
    pub component: Component,
    /// All its parts, itself included.
    pub members: BTreeSet<ProfileId>,
    pub state: ProfileState,
    pub memberships: Memberships,
    /// The merges that made it one.
    pub merges: Vec<Merge>,
    definitions: Definitions,
}

/// A part of a list, and where the next one begins.
#[derive(Debug, Clone)]
pub struct Part<T> {
    pub items: Vec<T>,
    pub next: Option<String>,
}

/// The profile that `type:value` leads to.
///
/// The Profile API is asked in small letters; what was stored in others is found by its own spelling first.
pub async fn find(world: &World, collection: Collection, text: &str) -> Result<Option<Profile>, StorageError> {
    let lowered = text.to_lowercase();
    let spellings = [text, lowered.as_str()].map(|text| ExternalId::parse(collection, text));
    let ids: BTreeSet<ExternalId> = spellings.iter().flatten().cloned().collect();
    let find = world.storage.read(move |tx| {
        Box::pin(async move {
            let mut graph = Graph::default();
            identities::load(tx, &mut graph, &ids).await?;
            let home = spellings.iter().flatten().find_map(|id| graph.home(id));
            match home {
                Some(home) => put_together(tx, graph, home).await,
                None => Ok(None),
            }
        })
    });
    find.await
}

/// The profile of this id, or the one that it was merged into.
pub async fn show(world: &World, profile: ProfileId) -> Result<Option<Profile>, StorageError> {
    world.storage.read(move |tx| Box::pin(async move { put_together(tx, Graph::default(), profile).await })).await
}

async fn put_together(tx: &mut Tx, mut graph: Graph, profile: ProfileId) -> Result<Option<Profile>, StorageError> {
    let Some(merges) = identities::load_profile(tx, &mut graph, profile).await? else { return Ok(None) };
    let component = graph.component(profile).clone();
    let members: BTreeSet<ProfileId> = component.members.iter().map(|member| member.id).collect();
    let definitions = definitions::all(tx).await?;
    let mut state = ProfileState::default();
    for part in profile_states::load(tx, &members).await? {
        state.add(&part.state, &definitions);
    }
    let mut memberships = Memberships::new();
    for (_, held) in profile_states::load_memberships(tx, &members).await? {
        for (audience, since) in held {
            memberships.entry(audience).and_modify(|known| *known = (*known).min(since)).or_insert(since);
        }
    }
    Ok(Some(Profile { component, members, state, memberships, merges, definitions }))
}
