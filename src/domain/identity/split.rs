//! Taking apart what was joined by mistake: a merge is undone, or an external id is taken from its profile.
//!
//! What happened since is kept where its own evidence leads: each id and each count stayed with its home, so a split is exact. What was
//! decided while the two were one, such as an id that was dropped for their common limit, is not decided again.

use super::{
    external_id::{ExternalId, ExternalIdType},
    graph::{Change, Edge, Graph, ProfileId},
};

/// An edge that merged two profiles, as it is on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merge {
    /// Of the event that caused it. Together with `edge.id` the name of the edge.
    pub offset: u64,
    pub edge: Edge,
}

/// Why something cannot be taken apart. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    #[error("no such merge is in force")]
    NoSuchMerge,
    #[error("this id is mapped to no profile")]
    NotMapped,
    #[error("a profile keeps one user id, and at least one id")]
    LastOne,
}

/// Undoes the merge that the edge made, found among those in force in its component.
pub fn unmerge(graph: &Graph, in_force: &[Merge], offset: u64, id: &ExternalId) -> Result<Change, SplitError> {
    let cut = in_force.iter().find(|merge| merge.offset == offset && merge.edge.id == *id).ok_or(SplitError::NoSuchMerge)?;
    let component = graph.component(cut.edge.home);
    let one_side = reached(in_force, cut);
    let winner = component.canonical().id;
    let is_restored = |profile: &ProfileId| one_side.contains(profile) != one_side.contains(&winner);
    // Members are sorted, so the first of a part is the one that stands for it.
    let members: Vec<ProfileId> = component.members.iter().map(|member| member.id).filter(is_restored).collect();
    let restored = *members.first().expect("an edge has a profile on either side");
    Ok(Change::Unmerged { winner, restored, members, edge_offset: offset, edge: cut.edge.clone() })
}

/// Takes an id from the profile that it is mapped to.
pub fn take_away(graph: &Graph, id: &ExternalId) -> Result<Change, SplitError> {
    let home = graph.home(id).ok_or(SplitError::NotMapped)?;
    let mappings = &graph.component(home).mappings;
    let user_ids = mappings.iter().filter(|mapping| *mapping.id.id_type() == ExternalIdType::USER_ID).count();
    let is_last_user_id = *id.id_type() == ExternalIdType::USER_ID && user_ids == 1;
    if is_last_user_id || mappings.len() == 1 {
        return Err(SplitError::LastOne);
    }
    Ok(Change::TakenAway { id: id.clone(), home })
}

/// The profiles on the side of the edge's id, once the edge is gone.
fn reached(in_force: &[Merge], cut: &Merge) -> Vec<ProfileId> {
    let mut reached = vec![cut.edge.home];
    let mut next = 0;
    while let Some(&profile) = reached.get(next) {
        next += 1;
        for merge in in_force.iter().filter(|merge| *merge != cut) {
            let other = match (merge.edge.home, merge.edge.with_home) {
                (one, other) if one == profile => other,
                (other, one) if one == profile => other,
                _ => continue,
            };
            if !reached.contains(&other) {
                reached.push(other);
            }
        }
    }
    reached
}
