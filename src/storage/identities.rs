//! External ids, profiles and what joins them: loaded into a [`Graph`] as far as a batch of events touches it, written as the changes
//! that were decided there.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::LazyLock;

use super::{
    Row, StorageError, Tx, Value,
    batch::Batch,
    columns::{texts, unreadable, values},
};
use crate::domain::{
    identity::{
        external_id::{ExternalId, ExternalIdType},
        graph::{Bar, Cause, Change, Component, Edge, Graph, Mapping, Member, ProfileId},
        split::Merge,
    },
    profile::Collection,
};

/// What stands for all of a component: one row for each id of each member, and one for a member without ids.
const MEMBERS: &str = "SELECT m.canonical, m.id, m.created_offset, m.collection, x.type, x.value, x.mapped_at";

/// Loads all that the graph must know to resolve events of these ids. What it knows already is not read again, so a graph may be
/// kept from one batch to the next where this process is the only one that writes, and every change that was committed was applied to
/// it; after a transaction that failed it is dropped.
pub async fn load<'i>(
    tx: &mut Tx,
    graph: &mut Graph,
    ids: impl IntoIterator<Item = &'i ExternalId> + Send,
) -> Result<(), StorageError> {
    // Joined crosswise, because SQLite keeps the order of such a join: from what is asked to the index, never the other way.
    static BY_ID: LazyLock<Batch> = LazyLock::new(|| {
        let after = format!(
            ") {MEMBERS} FROM asked a CROSS JOIN external_ids e JOIN profiles p ON p.id = e.home \
               JOIN profiles m ON m.canonical = p.canonical LEFT JOIN external_ids x ON x.home = m.id \
               WHERE e.collection = a.collection AND e.type = a.type AND e.value = a.value"
        );
        Batch::new("WITH asked (collection, type, value) AS (VALUES ", 3, &after)
    });
    // In the order of the index, so that neighbours are read together.
    let unknown: BTreeSet<&ExternalId> = ids.into_iter().filter(|id| !graph.knows(id)).collect();
    let keys: Vec<Value<'_>> = unknown.iter().flat_map(|id| key(id)).collect();
    let rows = tx.rows_batch(&BY_ID, &keys, read_member).await?;
    insert_components(tx, graph, rows).await?;
    for id in unknown {
        if !graph.knows(id) {
            graph.note_unmapped(id.clone());
        }
    }
    Ok(())
}

/// Loads the component of a profile, and tells the merges that are in force in it. `None` if there is no such profile.
pub async fn load_profile(tx: &mut Tx, graph: &mut Graph, profile: ProfileId) -> Result<Option<Vec<Merge>>, StorageError> {
    static BY_PROFILE: LazyLock<Batch> = LazyLock::new(|| {
        let after = format!(
            ") {MEMBERS} FROM asked a CROSS JOIN profiles p JOIN profiles m ON m.canonical = p.canonical \
               LEFT JOIN external_ids x ON x.home = m.id WHERE p.id = a.id"
        );
        Batch::new("WITH asked (id) AS (VALUES ", 1, &after)
    });
    static MERGES: LazyLock<Batch> = LazyLock::new(|| {
        Batch::new(
            "SELECT event_offset, collection, type, value, home, with_type, with_value, with_home FROM identity_edges \
             WHERE home <> with_home AND ended_offset IS NULL AND home IN (VALUES ",
            1,
            ")",
        )
    });
    if !graph.has(profile) {
        let rows = tx.rows_batch(&BY_PROFILE, &[(&profile.to_string()).into()], read_member).await?;
        insert_components(tx, graph, rows).await?;
    }
    if !graph.has(profile) {
        return Ok(None);
    }
    let members: Vec<String> = graph.component(profile).members.iter().map(|member| member.id.to_string()).collect();
    let mut merges = tx.rows_batch(&MERGES, &values(&members), read_merge).await?;
    merges.sort_by(|one, other| (one.offset, &one.edge.id).cmp(&(other.offset, &other.edge.id)));
    Ok(Some(merges))
}

/// The profiles from which these ids, as `type:value`, were taken away, by id. Most installations never see any.
pub async fn taken_from(tx: &mut Tx, ids: &BTreeSet<String>) -> Result<HashMap<String, Vec<ProfileId>>, StorageError> {
    static TAKEN: LazyLock<Batch> =
        LazyLock::new(|| Batch::new("SELECT other, profile FROM identity_bars WHERE other IN (VALUES ", 1, ")"));
    let mut taken: HashMap<String, Vec<ProfileId>> = HashMap::new();
    if tx.row("SELECT 1 FROM identity_bars LIMIT 1", &[], |row| row.int(0)).await?.is_some() {
        let values: Vec<Value<'_>> = ids.iter().map(Value::from).collect();
        for (id, profile) in tx.rows_batch(&TAKEN, &values, |row| Ok((row.text(0)?, row.id(1)?))).await? {
            taken.entry(id).or_default().push(profile);
        }
    }
    Ok(taken)
}

/// The ids that were taken away from these profiles, with where in the log that was.
pub async fn taken_away(tx: &mut Tx, profiles: &BTreeSet<ProfileId>) -> Result<Vec<(ExternalId, u64)>, StorageError> {
    static TAKEN: LazyLock<Batch> = LazyLock::new(|| {
        Batch::new(
            "SELECT b.profile, b.profile, b.other, p.collection, b.since_offset \
             FROM identity_bars b JOIN profiles p ON p.id = b.profile WHERE b.profile IN (VALUES ",
            1,
            ")",
        )
    });
    let keys = texts(profiles);
    let read = |row: &Row<'_>| Ok((read_bar(row)?, row.int(4)?.cast_unsigned()));
    let bars = tx.rows_batch(&TAKEN, &values(&keys), read).await?;
    let ids = bars.into_iter().filter_map(|((_, (_, bar)), since)| match bar {
        Bar::ExternalId(id) => Some((id, since)),
        Bar::Profile(_) => None,
    });
    Ok(ids.collect())
}

/// Writes what was decided, in the order in which it was.
pub async fn write_changes(tx: &mut Tx, decided: &[(Cause, Vec<Change>)]) -> Result<(), StorageError> {
    let mut waiting = Waiting::default();
    for (cause, changes) in decided {
        for change in changes {
            match change {
                Change::Created { profile, collection } => waiting.profiles.push((profile.to_string(), *collection, cause)),
                Change::Mapped { id, home, with } => {
                    let home = home.to_string();
                    if let Some(with) = with {
                        waiting.edges.push(JoinedRow { id, with, home: home.clone(), with_home: home.clone(), cause });
                    }
                    waiting.ids.push((id, home, cause));
                }
                Change::Merged { winner, loser, edge } => {
                    let Edge { id, home, with, with_home } = edge;
                    waiting.edges.push(JoinedRow { id, with, home: home.to_string(), with_home: with_home.to_string(), cause });
                    waiting.labels.push((winner.to_string(), loser.to_string()));
                }
                Change::Unmerged { restored, members, edge_offset, edge, .. } => {
                    waiting.write(tx).await?;
                    take_apart(tx, cause, *restored, members, *edge_offset, edge).await?;
                }
                Change::TakenAway { id, home } => {
                    waiting.write(tx).await?;
                    take_away(tx, cause, id, *home).await?;
                }
            }
        }
    }
    waiting.write(tx).await
}

/// A row of a component.
struct MemberRow {
    canonical: ProfileId,
    collection: Collection,
    member: Member,
    mapping: Option<Mapping>,
}

/// Puts whole components together. A component that several ids lead to is read as often.
async fn insert_components(tx: &mut Tx, graph: &mut Graph, rows: Vec<MemberRow>) -> Result<(), StorageError> {
    let mut components: BTreeMap<ProfileId, Component> = BTreeMap::new();
    for MemberRow { canonical, collection, member, mapping } in rows {
        let empty = || Component { collection, members: Vec::new(), mappings: Vec::new(), bars: Vec::new() };
        let component = components.entry(canonical).or_insert_with(empty);
        component.members.push(member);
        component.mappings.extend(mapping);
    }
    for component in components.values_mut() {
        component.members.sort_unstable();
        component.members.dedup();
        component.mappings.sort_unstable();
        component.mappings.dedup();
    }
    for (canonical, bar) in bars(tx, components.keys()).await? {
        components.get_mut(&canonical).ok_or_else(|| unreadable("a bar of no profile"))?.bars.push(bar);
    }
    components.into_values().for_each(|component| graph.insert(component));
    Ok(())
}

/// What was taken from profiles by hand, with the canonical profile of each. Most installations never see any.
async fn bars(
    tx: &mut Tx,
    canonical: impl Iterator<Item = &ProfileId>,
) -> Result<Vec<(ProfileId, (ProfileId, Bar))>, StorageError> {
    static BARS: LazyLock<Batch> = LazyLock::new(|| {
        Batch::new(
            "SELECT p.canonical, b.profile, b.other, p.collection \
             FROM profiles p JOIN identity_bars b ON b.profile = p.id WHERE p.canonical IN (VALUES ",
            1,
            ")",
        )
    });
    if tx.row("SELECT 1 FROM identity_bars LIMIT 1", &[], |row| row.int(0)).await?.is_none() {
        return Ok(Vec::new());
    }
    let canonical: Vec<String> = canonical.map(ToString::to_string).collect();
    tx.rows_batch(&BARS, &values(&canonical), read_bar).await
}

/// Rows that wait to be written together, in the order of the tables' needs: labels change once their profiles are there.
#[derive(Default)]
struct Waiting<'c> {
    profiles: Vec<(String, Collection, &'c Cause)>,
    ids: Vec<(&'c ExternalId, String, &'c Cause)>,
    edges: Vec<JoinedRow<'c>>,
    /// Winner and loser.
    labels: Vec<(String, String)>,
}

struct JoinedRow<'c> {
    id: &'c ExternalId,
    home: String,
    with: &'c ExternalId,
    with_home: String,
    cause: &'c Cause,
}

impl Waiting<'_> {
    async fn write(&mut self, tx: &mut Tx) -> Result<(), StorageError> {
        static PROFILES: LazyLock<Batch> = LazyLock::new(|| {
            Batch::new("INSERT INTO profiles (id, canonical, collection, created_offset, created_at) VALUES ", 5, "")
        });
        static IDS: LazyLock<Batch> = LazyLock::new(|| {
            Batch::new(
                "INSERT INTO external_ids (collection, type, value, home, mapped_offset, mapped_at, source, message_id) VALUES ",
                8,
                "",
            )
        });
        static EDGES: LazyLock<Batch> = LazyLock::new(|| {
            Batch::new(
                "INSERT INTO identity_edges (event_offset, collection, type, value, home, with_type, with_value, with_home, \
                                             source, event_at) VALUES ",
                10,
                "",
            )
        });
        let mut values: Vec<Value<'_>> = Vec::with_capacity(self.profiles.len() * 5);
        for (id, collection, cause) in &self.profiles {
            values.extend_from_slice(&[id.into(), id.into(), collection.as_str().into(), offset(cause), cause.at.0.into()]);
        }
        tx.exec_batch(&PROFILES, &values).await?;

        let mut values: Vec<Value<'_>> = Vec::with_capacity(self.ids.len() * 8);
        for (id, home, cause) in &self.ids {
            values.extend_from_slice(&key(id));
            values.extend_from_slice(&[
                home.into(),
                offset(cause),
                cause.at.0.into(),
                (&cause.source).into(),
                (&cause.message_id).into(),
            ]);
        }
        tx.exec_batch(&IDS, &values).await?;

        let mut values: Vec<Value<'_>> = Vec::with_capacity(self.edges.len() * 10);
        for JoinedRow { id, home, with, with_home, cause } in &self.edges {
            values.push(offset(cause));
            values.extend_from_slice(&key(id));
            values.extend_from_slice(&[home.into(), with.id_type().as_str().into(), with.value().into(), with_home.into()]);
            values.extend_from_slice(&[(&cause.source).into(), cause.at.0.into()]);
        }
        tx.exec_batch(&EDGES, &values).await?;

        for (winner, loser) in &self.labels {
            let sql = "UPDATE profiles SET canonical = $1 WHERE canonical = $2";
            tx.exec(sql, &[winner.into(), loser.into()]).await?;
        }
        *self = Waiting::default();
        Ok(())
    }
}

async fn take_apart(
    tx: &mut Tx,
    cause: &Cause,
    restored: ProfileId,
    members: &[ProfileId],
    edge_offset: u64,
    edge: &Edge,
) -> Result<(), StorageError> {
    let restored = restored.to_string();
    for member in members {
        let sql = "UPDATE profiles SET canonical = $1 WHERE id = $2";
        tx.exec(sql, &[(&restored).into(), (&member.to_string()).into()]).await?;
    }
    end_edge(tx, cause, edge_offset, &edge.id).await?;
    let (one, other) = (edge.home.to_string(), edge.with_home.to_string());
    bar(tx, cause, &one, &other).await?;
    bar(tx, cause, &other, &one).await
}

async fn take_away(tx: &mut Tx, cause: &Cause, id: &ExternalId, home: ProfileId) -> Result<(), StorageError> {
    let sql = "DELETE FROM external_ids WHERE collection = $1 AND type = $2 AND value = $3 RETURNING mapped_offset";
    if let Some(mapped) = tx.row(sql, &key(id), |row| row.int(0)).await? {
        end_edge(tx, cause, mapped.cast_unsigned(), id).await?;
    }
    bar(tx, cause, &home.to_string(), &id.to_string()).await
}

/// The first id of a profile has no edge to end.
async fn end_edge(tx: &mut Tx, cause: &Cause, edge_offset: u64, id: &ExternalId) -> Result<(), StorageError> {
    let sql = "UPDATE identity_edges SET ended_offset = $5 \
               WHERE event_offset = $4 AND collection = $1 AND type = $2 AND value = $3 AND ended_offset IS NULL";
    let [collection, id_type, value] = key(id);
    tx.exec(sql, &[collection, id_type, value, edge_offset.cast_signed().into(), offset(cause)]).await?;
    Ok(())
}

async fn bar(tx: &mut Tx, cause: &Cause, profile: &str, other: &str) -> Result<(), StorageError> {
    let sql =
        "INSERT INTO identity_bars (profile, other, since_offset) VALUES ($1, $2, $3) ON CONFLICT (profile, other) DO NOTHING";
    tx.exec(sql, &[profile.into(), other.into(), offset(cause)]).await?;
    Ok(())
}

fn read_member(row: &Row<'_>) -> Result<MemberRow, StorageError> {
    let member = Member { id: row.id(1)?, created: row.int(2)?.cast_unsigned() };
    let collection = collection(row, 3)?;
    let mapping = match row.timestamp_or_null(6)? {
        Some(at) => Some(Mapping { id: external_id(row, collection, 4)?, home: member.id, at }),
        None => None,
    };
    Ok(MemberRow { canonical: row.id(0)?, collection, member, mapping })
}

/// Profiles' ids have no colon, external ids have one.
fn read_bar(row: &Row<'_>) -> Result<(ProfileId, (ProfileId, Bar)), StorageError> {
    let other = row.text(2)?;
    let bar = match other.split_once(':') {
        Some((id_type, value)) => Bar::ExternalId(ExternalId::stored(collection(row, 3)?, type_of(id_type)?, value.to_owned())),
        None => Bar::Profile(row.id(2)?),
    };
    Ok((row.id(0)?, (row.id(1)?, bar)))
}

fn read_merge(row: &Row<'_>) -> Result<Merge, StorageError> {
    let collection = collection(row, 1)?;
    let (id, with) = (external_id(row, collection, 2)?, external_id(row, collection, 5)?);
    let edge = Edge { id, home: row.id(4)?, with, with_home: row.id(7)? };
    Ok(Merge { offset: row.int(0)?.cast_unsigned(), edge })
}

/// From two columns, type and value.
fn external_id(row: &Row<'_>, collection: Collection, column: usize) -> Result<ExternalId, StorageError> {
    Ok(ExternalId::stored(collection, type_of(&row.text(column)?)?, row.text(column + 1)?))
}

fn collection(row: &Row<'_>, column: usize) -> Result<Collection, StorageError> {
    let word = row.text(column)?;
    Collection::parse(&word).ok_or_else(|| unreadable(&word))
}

fn type_of(name: &str) -> Result<ExternalIdType, StorageError> {
    ExternalIdType::parse(name).ok_or_else(|| unreadable(name))
}

fn key(id: &ExternalId) -> [Value<'_>; 3] {
    [id.collection().as_str().into(), id.id_type().as_str().into(), id.value().into()]
}

fn offset(cause: &Cause) -> Value<'static> {
    Value::Int(cause.offset.cast_signed())
}
