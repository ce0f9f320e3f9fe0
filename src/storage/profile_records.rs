//! What is on record about profiles, as it is shown; and how all of it is erased.

use std::{collections::BTreeSet, sync::LazyLock};

use super::{
    Row, StorageError, Tx,
    batch::Batch,
    columns::{texts, unreadable, values},
};
use crate::domain::{
    identity::{external_id::ExternalIdType, graph::ProfileId},
    profile::Collection,
    time::Timestamp,
};

/// An external id with where it was first seen.
#[derive(Debug, Clone)]
pub struct ExternalIdRecord {
    pub home: ProfileId,
    pub collection: Collection,
    pub id_type: ExternalIdType,
    pub value: String,
    /// Where in the log the event is that mapped it.
    pub offset: u64,
    pub at: Timestamp,
    pub source: String,
    pub message_id: String,
}

/// The external ids of these profiles, by type and value.
pub async fn external_ids(tx: &mut Tx, profiles: &BTreeSet<ProfileId>) -> Result<Vec<ExternalIdRecord>, StorageError> {
    static IDS: LazyLock<Batch> = LazyLock::new(|| {
        Batch::new(
            "SELECT home, collection, type, value, mapped_offset, mapped_at, source, message_id FROM external_ids WHERE home IN (VALUES ",
            1,
            ")",
        )
    });
    let keys = texts(profiles);
    let mut found = tx.rows_batch(&IDS, &values(&keys), read_id).await?;
    found.sort_by(|one, other| (&one.id_type, &one.value).cmp(&(&other.id_type, &other.value)));
    Ok(found)
}

/// Removes everything that is known of these profiles: what remains of them is in the log, until its retention ends.
pub async fn erase(tx: &mut Tx, profiles: &BTreeSet<ProfileId>) -> Result<(), StorageError> {
    static STATEMENTS: LazyLock<[Batch; 12]> = LazyLock::new(|| {
        // An edge that added an id is found by the id; one that merged, by its homes, also where it was taken back.
        [
            "DELETE FROM identity_edges WHERE home <> with_home AND home IN (VALUES ",
            "DELETE FROM identity_bars WHERE profile IN (VALUES ",
            "DELETE FROM external_ids WHERE home IN (VALUES ",
            "DELETE FROM profiles WHERE id IN (VALUES ",
            "DELETE FROM profile_states WHERE profile IN (VALUES ",
            "DELETE FROM profile_events WHERE profile IN (VALUES ",
            "DELETE FROM profile_audiences WHERE profile IN (VALUES ",
            "DELETE FROM profile_links WHERE profile IN (VALUES ",
            "DELETE FROM predictions_due WHERE profile IN (VALUES ",
            "DELETE FROM interventions WHERE kind = 'correction' AND profile IN (VALUES ",
            "SELECT other FROM profile_links WHERE profile IN (VALUES ",
            "SELECT profile, other FROM identity_bars WHERE profile IN (VALUES ",
        ]
        .map(|before| Batch::new(before, 1, ")"))
    });
    let keys = texts(profiles);
    let keys = values(&keys);
    let [edges, bars, ids, members, states, events, audiences, links, predictions, corrections, linked, barred] = &*STATEMENTS;
    for known in external_ids(tx, profiles).await? {
        let sql = "DELETE FROM identity_edges WHERE event_offset = $1 AND collection = $2 AND type = $3 AND value = $4";
        let (collection, id_type) = (known.collection.as_str(), known.id_type.as_str());
        tx.exec(sql, &[known.offset.cast_signed().into(), collection.into(), id_type.into(), (&known.value).into()]).await?;
    }
    let both = tx.rows_batch(barred, &keys, |row| Ok((row.text(0)?, row.text(1)?))).await?;
    for (profile, other) in both {
        if other.contains(':') {
            // An id that was taken away is mapped nowhere, so nothing leads to its edge; there are few such.
            let sql = "DELETE FROM identity_edges WHERE home = $1 AND ended_offset IS NOT NULL";
            tx.exec(sql, &[(&profile).into()]).await?;
            continue;
        }
        let sql = "DELETE FROM identity_edges WHERE home <> with_home AND home = $1 AND with_home = $2";
        tx.exec(sql, &[(&other).into(), (&profile).into()]).await?;
        tx.exec("DELETE FROM identity_bars WHERE profile = $1 AND other = $2", &[(&other).into(), (&profile).into()]).await?;
    }
    let others = tx.rows_batch(linked, &keys, |row| row.text(0)).await?;
    let mine = texts(profiles);
    for other in &others {
        for profile in &mine {
            tx.exec("DELETE FROM profile_links WHERE profile = $1 AND other = $2", &[other.into(), profile.into()]).await?;
        }
    }
    for statement in [edges, bars, ids, members, states, events, audiences, links, predictions, corrections] {
        tx.exec_batch(statement, &keys).await?;
    }
    Ok(())
}

fn read_id(row: &Row<'_>) -> Result<ExternalIdRecord, StorageError> {
    let (collection, id_type) = (row.text(1)?, row.text(2)?);
    Ok(ExternalIdRecord {
        home: row.id(0)?,
        collection: Collection::parse(&collection).ok_or_else(|| unreadable(&collection))?,
        id_type: ExternalIdType::parse(&id_type).ok_or_else(|| unreadable(&id_type))?,
        value: row.text(3)?,
        offset: row.int(4)?.cast_unsigned(),
        at: row.timestamp(5)?,
        source: row.text(6)?,
        message_id: row.text(7)?,
    })
}
