//! Interventions: asked for by an operator, carried out by the stage where they stand in the log.
//!
//! Nobody but the stage writes profiles, and it carries an intervention out after all events before it and before all after it. So
//! there is one order, nothing is lost between two writers, and a replay of the log comes to the same profiles again.

use std::sync::Arc;

use super::CONSUMER;
use crate::{
    domain::{
        event::{Actor, Fact},
        id::{Id, InterventionKind},
        identity::{
            external_id::{ExternalId, ExternalIdType},
            graph::{Cause, Change, Graph, ProfileId},
            rules::Rules,
            split::{self, Merge, SplitError},
        },
        intervention::{Intervention, NamedId, Regulation, Status, USER_IDS_MAX},
        profile::Collection,
        refusal::{ADMIN_VALUE, OAuthError},
        time::Timestamp,
    },
    keys::secrets::Secrets,
    log::{Claim, LogError},
    storage::{
        StorageError, Tx, consumers, definitions, identities,
        interventions::{self, Asked, Place},
        outbox, profile_records, profile_states,
    },
    world::{StageError, World, profiles::KnownProfiles},
};

/// People who are dealt with in one transaction: others wait for as long.
const SHARE: usize = 50;

/// Why an intervention is not taken.
#[derive(Debug, thiserror::Error)]
pub enum InterventionError {
    #[error("there is no such profile")]
    NoProfile,
    #[error(transparent)]
    Split(#[from] SplitError),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// By what an edge is known: where the event stands that made it, and the id that it joined.
#[derive(Debug, Clone)]
pub struct EdgeName {
    pub offset: u64,
    pub id: ExternalId,
}

/// Asks that the merge be taken back that this edge made.
pub async fn unmerge(
    world: &World,
    actor: Actor,
    profile: ProfileId,
    edge: EdgeName,
    now: Timestamp,
) -> Result<Asked, InterventionError> {
    let EdgeName { offset: edge_offset, id } = edge;
    let (graph, in_force) = component(world, profile).await?.ok_or(InterventionError::NoProfile)?;
    split::unmerge(&graph, &in_force, edge_offset, &id)?;
    let intervention = Intervention::Unmerge { edge_offset, id: NamedId::of(&id) };
    Ok(request(world, actor, intervention, Some(profile), now).await?)
}

/// Asks that an id be taken from the profile that it leads to, which has to be this one.
pub async fn take_away(
    world: &World,
    actor: Actor,
    profile: ProfileId,
    id: ExternalId,
    now: Timestamp,
) -> Result<Asked, InterventionError> {
    let (graph, _) = component(world, profile).await?.ok_or(InterventionError::NoProfile)?;
    if !graph.component(profile).maps(&id) {
        return Err(SplitError::NotMapped.into());
    }
    split::take_away(&graph, &id)?;
    Ok(request(world, actor, Intervention::TakeAway(NamedId::of(&id)), Some(profile), now).await?)
}

/// Asks what people, or the law for them, demand.
///
/// # Errors
/// `admin.value` if nobody is named, too many are, or one by what can be nobody's id.
pub async fn regulate(
    world: &World,
    actor: Actor,
    regulation: Regulation,
    user_ids: &[String],
    now: Timestamp,
) -> Result<Asked, OAuthError> {
    if user_ids.is_empty() || user_ids.len() > USER_IDS_MAX {
        return Err(ADMIN_VALUE.because(format!("user_ids must name 1 to {USER_IDS_MAX} people.")));
    }
    let normal = |text: &String| Some(person(text)?.value().to_owned());
    let user_ids: Option<Vec<String>> = user_ids.iter().map(normal).collect();
    let user_ids = user_ids.ok_or_else(|| ADMIN_VALUE.because("user_ids has one that can be nobody's."))?;
    Ok(request(world, actor, Intervention::Regulate { regulation, user_ids }, None, now).await?)
}

/// An intervention, and how far it has come.
pub async fn find(world: &World, id: Id<InterventionKind>) -> Result<Option<Asked>, StorageError> {
    world.storage.read(move |tx| Box::pin(async move { interventions::find(tx, id).await })).await
}

/// The regulations after one, the oldest first.
pub async fn regulations(world: &World, after: Option<Id<InterventionKind>>, limit: i64) -> Result<Vec<Asked>, StorageError> {
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    world.storage.read(move |tx| Box::pin(async move { interventions::regulations(tx, &after, limit).await })).await
}

fn person(user_id: &str) -> Option<ExternalId> {
    ExternalId::new(Collection::Users, ExternalIdType::USER_ID, user_id)
}

async fn component(world: &World, profile: ProfileId) -> Result<Option<(Graph, Vec<Merge>)>, StorageError> {
    let load = world.storage.read(move |tx| {
        Box::pin(async move {
            let mut graph = Graph::default();
            let merges = identities::load_profile(tx, &mut graph, profile).await?;
            Ok::<_, StorageError>(merges.map(|merges| (graph, merges)))
        })
    });
    load.await
}

async fn request(
    world: &World,
    actor: Actor,
    intervention: Intervention,
    profile: Option<ProfileId>,
    now: Timestamp,
) -> Result<Asked, StorageError> {
    let id: Id<InterventionKind> = world.id(now);
    let asked = Asked::new(id, intervention, profile, now);
    let (event, written) = (world.event(now, actor, Fact::InterventionRequested { intervention: id }), asked.clone());
    let write = world.storage.write(move |tx| {
        Box::pin(async move {
            interventions::insert(tx, &written).await?;
            outbox::put(tx, &event).await
        })
    });
    write.await?;
    Ok(asked)
}

/// Does what is asked for at this place in the log, or a share of it; the cursor goes on when all of it is done.
pub(super) async fn carry_out(
    world: &World,
    claim: &Claim,
    from: u64,
    cause: &Cause,
    id: Id<InterventionKind>,
    now: Timestamp,
) -> Result<(), StageError> {
    // Whatever was known of profiles may be different afterwards.
    let mut known = world.profiles.lock().await;
    *known = KnownProfiles::default();
    let input = claim.input.clone();
    let work = Work { secrets: Arc::clone(&world.secrets), cause: cause.clone(), now };
    let write = world.storage.write(move |tx| {
        Box::pin(async move {
            // The same value: rivals wait for their turn.
            if !consumers::advance(tx, CONSUMER, &input, from, from).await? {
                return Ok::<_, StorageError>(false);
            }
            // In a replay it has come to its end before.
            if let Some(mut asked) = interventions::find(tx, id).await?.filter(|asked| asked.ended_at.is_none()) {
                work.go_on(tx, &mut asked).await?;
                interventions::update(tx, &asked).await?;
                if asked.status == Status::Running {
                    return Ok(true);
                }
            }
            consumers::advance(tx, CONSUMER, &input, from, work.cause.offset + 1).await
        })
    });
    if write.await? { Ok(()) } else { Err(LogError::Fenced.into()) }
}

/// As the operator reads it.
fn told(done: Result<(), SplitError>) -> Result<(), String> {
    done.map_err(|error| error.to_string())
}

/// What carrying out needs to know.
struct Work {
    secrets: Arc<Secrets>,
    cause: Cause,
    now: Timestamp,
}

impl Work {
    async fn go_on(&self, tx: &mut Tx, asked: &mut Asked) -> Result<(), StorageError> {
        let done = match asked.intervention.clone() {
            Intervention::Unmerge { edge_offset, id } => {
                told(self.unmerge(tx, asked.profile, edge_offset, &id.external_id()).await?)
            }
            Intervention::TakeAway(id) => told(self.take_away(tx, &id.external_id()).await?),
            Intervention::SetRules(settings) => match Rules::new(settings) {
                Ok(rules) => Ok(definitions::put_rules_in_force(tx, &rules).await?),
                Err(error) => Err(error.to_string()),
            },
            Intervention::Regulate { regulation, user_ids } => {
                for user_id in user_ids.iter().skip(asked.done).take(SHARE) {
                    self.regulate(tx, regulation, user_id).await?;
                }
                asked.done = (asked.done + SHARE).min(user_ids.len());
                if asked.done < user_ids.len() {
                    asked.status = Status::Running;
                    return Ok(());
                }
                asked.intervention = Intervention::Forgotten { regulation };
                Ok(())
            }
            // In a replay: what it leaves out is on record in offsets, and so is still left out.
            Intervention::Forgotten { .. } => Ok(()),
        };
        asked.status = if done.is_ok() { Status::Finished } else { Status::Failed };
        asked.error = done.err();
        asked.ended_at = Some(self.now);
        Ok(())
    }

    async fn unmerge(
        &self,
        tx: &mut Tx,
        profile: Option<ProfileId>,
        edge_offset: u64,
        id: &ExternalId,
    ) -> Result<Result<(), SplitError>, StorageError> {
        let mut graph = Graph::default();
        let in_force = match profile {
            Some(profile) => identities::load_profile(tx, &mut graph, profile).await?,
            None => None,
        };
        let Some(in_force) = in_force else { return Ok(Err(SplitError::NoSuchMerge)) };
        self.write(tx, split::unmerge(&graph, &in_force, edge_offset, id)).await
    }

    async fn take_away(&self, tx: &mut Tx, id: &ExternalId) -> Result<Result<(), SplitError>, StorageError> {
        let mut graph = Graph::default();
        identities::load(tx, &mut graph, [id]).await?;
        self.write(tx, split::take_away(&graph, id)).await
    }

    async fn write(&self, tx: &mut Tx, decided: Result<Change, SplitError>) -> Result<Result<(), SplitError>, StorageError> {
        let change = match decided {
            Ok(change) => change,
            Err(error) => return Ok(Err(error)),
        };
        if let Change::Unmerged { winner, restored, .. } = &change {
            for profile in [winner, restored] {
                profile_states::look_again(tx, *profile, self.now).await?;
            }
        }
        identities::write_changes(tx, &[(self.cause.clone(), vec![change])]).await?;
        Ok(Ok(()))
    }

    async fn regulate(&self, tx: &mut Tx, regulation: Regulation, user_id: &str) -> Result<(), StorageError> {
        let Some(id) = person(user_id) else { return Ok(()) };
        let digest = self.secrets.digest_of_id(&id);
        let here = Place { offset: self.cause.offset, at: self.cause.at };
        if regulation == Regulation::Unsuppress {
            interventions::take_in_from(tx, &digest, here).await?;
        }
        if regulation.suppresses() {
            interventions::leave_out_from(tx, &digest, here).await?;
        }
        if !regulation.deletes() {
            return Ok(());
        }
        let mut graph = Graph::default();
        identities::load(tx, &mut graph, [&id]).await?;
        let Some(home) = graph.home(&id) else { return interventions::leave_out_before(tx, &[digest], here).await };
        let component = graph.component(home);
        let members = component.members.iter().map(|member| member.id).collect();
        let digests: Vec<_> = component.mappings.iter().map(|mapping| self.secrets.digest_of_id(&mapping.id)).collect();
        interventions::leave_out_before(tx, &digests, here).await?;
        // An id that was taken away may be another's since; what it brought until then is of whoever is deleted.
        for (id, offset) in identities::taken_away(tx, &members).await? {
            let there = Place { offset, at: Timestamp(0) };
            interventions::leave_out_before(tx, &[self.secrets.digest_of_id(&id)], there).await?;
        }
        profile_records::erase(tx, &members).await
    }
}
