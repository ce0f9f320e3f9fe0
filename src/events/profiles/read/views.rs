//! What a profile is made of, as the Profile API tells it.

use serde::Serialize;
use serde_json::Value;

use super::{Part, Profile};
use crate::{
    domain::{
        identity::{
            external_id::ExternalId,
            graph::{Graph, ProfileId},
        },
        profile::{Collection, Seen},
        time::Timestamp,
    },
    storage::{
        StorageError, identities,
        profile_records::{self, ExternalIdRecord},
        profile_states,
    },
    world::World,
};

/// Links that are told at most, and that are looked at for them: several may lead to the parts of one profile.
const LINKS_MAX: usize = 20;
const LINKS_READ_MAX: usize = 100;

/// Where a trait comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// An event said it.
    Written,
    ComputedTrait,
    Audience,
}

/// A trait with its last writer.
#[derive(Debug, Clone)]
pub struct TraitView {
    pub name: String,
    pub class: Class,
    pub value: Value,
    /// The source that wrote it, or the definition that it is computed by.
    pub source: String,
    pub updated_at: Option<Timestamp>,
    /// How sure a model is of what it predicted, from 0 to 1.
    pub confidence: Option<f64>,
}

/// An external id with where it was first seen.
#[derive(Debug, Clone, Serialize)]
pub struct ExternalIdView {
    source_id: String,
    collection: Collection,
    id: String,
    #[serde(rename = "type")]
    id_type: String,
    created_at: String,
    encoding: &'static str,
    first_message_id: String,
}

/// When a profile was first and last heard of.
#[derive(Debug, Clone, Serialize)]
pub struct Metadata {
    created_at: Option<String>,
    updated_at: Option<String>,
    /// Profiles do not expire.
    expires_at: Option<String>,
    first_message_id: Option<String>,
    last_message_id: Option<String>,
    first_source_id: Option<String>,
    last_source_id: Option<String>,
}

/// Another profile that this one has to do with.
#[derive(Debug, Clone, Serialize)]
pub struct LinkView {
    to_collection: Collection,
    external_ids: Vec<LinkedId>,
}

#[derive(Debug, Clone, Serialize)]
struct LinkedId {
    #[serde(rename = "type")]
    id_type: String,
    id: String,
    collection: Collection,
    encoding: &'static str,
}

impl Profile {
    /// Everything that stands under a name at `now`, in the order of the names. What was written comes before what is computed.
    pub fn traits(&self, now: Timestamp) -> Vec<TraitView> {
        let written = self.state.traits.iter().filter(|(_, written)| !written.value.is_null()).map(|(name, written)| TraitView {
            name: name.clone(),
            class: Class::Written,
            value: written.value.clone(),
            source: written.source.clone(),
            updated_at: Some(written.at),
            confidence: written.confidence,
        });
        let last = self.state.last.as_ref().map(|seen| seen.at);
        let computed = self.definitions.computed_traits.iter().filter_map(|definition| {
            let value = definition.value(self.state.computed.get(&definition.id)?, now)?;
            let (name, class, source) = (definition.key.clone(), Class::ComputedTrait, definition.id.to_string());
            Some(TraitView { name, class, value, source, updated_at: last, confidence: None })
        });
        let audiences = self.definitions.audiences.iter().filter_map(|audience| {
            let since = self.memberships.get(&audience.id)?;
            let (name, class, source) = (audience.key.clone(), Class::Audience, audience.id.to_string());
            Some(TraitView { name, class, value: true.into(), source, updated_at: Some(*since), confidence: None })
        });
        let mut all: Vec<TraitView> = written.chain(computed).chain(audiences).collect();
        // Stable: of one name the written one stays.
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all.dedup_by(|second, first| second.name == first.name);
        all
    }

    pub fn metadata(&self) -> Metadata {
        let (first, last) = (self.state.first.as_ref(), self.state.last.as_ref());
        let at = |seen: Option<&Seen>| seen.map(|seen| seen.at.to_iso_8601());
        Metadata {
            created_at: at(first),
            updated_at: at(last),
            expires_at: None,
            first_message_id: first.map(|seen| seen.message_id.clone()),
            last_message_id: last.map(|seen| seen.message_id.clone()),
            first_source_id: first.map(|seen| seen.source.clone()),
            last_source_id: last.map(|seen| seen.source.clone()),
        }
    }

    /// The external ids after one, as `type:value`.
    pub async fn external_ids(&self, world: &World, after: &str, limit: usize) -> Result<Part<ExternalIdView>, StorageError> {
        let members = self.members.clone();
        let all = world.storage.read(move |tx| Box::pin(async move { profile_records::external_ids(tx, &members).await })).await?;
        let name = |record: &ExternalIdRecord| format!("{}:{}", record.id_type, record.value);
        let start = if after.is_empty() { 0 } else { all.iter().position(|record| name(record) == after).map_or(0, |at| at + 1) };
        let rest = all.get(start..).unwrap_or_default();
        let next = rest.get(limit.saturating_sub(1)).filter(|_| rest.len() > limit).map(name);
        let items = rest.iter().take(limit).map(|record| ExternalIdView {
            source_id: record.source.clone(),
            collection: record.collection,
            id: record.value.clone(),
            id_type: record.id_type.to_string(),
            created_at: record.at.to_iso_8601(),
            encoding: "none",
            first_message_id: record.message_id.clone(),
        });
        Ok(Part { items: items.collect(), next })
    }

    /// With whom it has to do: an agent's people, a person's agents and accounts. The latest first.
    pub async fn links(&self, world: &World) -> Result<Vec<LinkView>, StorageError> {
        let members = self.members.clone();
        let load = world.storage.read(move |tx| {
            Box::pin(async move {
                let links = profile_states::links(tx, &members, LINKS_READ_MAX).await?;
                let (mut graph, mut others) = (Graph::default(), Vec::new());
                for link in links {
                    if identities::load_profile(tx, &mut graph, link.other).await?.is_none() {
                        continue;
                    }
                    let other = graph.canonical(link.other);
                    if !others.contains(&other) {
                        others.push(other);
                    }
                    if others.len() == LINKS_MAX {
                        break;
                    }
                }
                Ok::<_, StorageError>((graph, others))
            })
        });
        let (graph, others): (Graph, Vec<ProfileId>) = load.await?;
        let view = |other| {
            let component = graph.component(other);
            let ids = component.mappings.iter().map(|mapping| LinkedId::of(&mapping.id));
            LinkView { to_collection: component.collection, external_ids: ids.collect() }
        };
        Ok(others.into_iter().map(view).collect())
    }
}

impl LinkedId {
    fn of(id: &ExternalId) -> LinkedId {
        let (id_type, collection) = (id.id_type().to_string(), id.collection());
        LinkedId { id_type, id: id.value().to_owned(), collection, encoding: "none" }
    }
}
