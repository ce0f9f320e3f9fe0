//! Questions about interventions, and about what is left out of profiles for good.

use std::sync::LazyLock;

use super::{
    Row, StorageError, Tx, Value,
    batch::Batch,
    columns::{to_json, unreadable},
};
use crate::domain::{
    id::{Id, InterventionKind},
    identity::graph::ProfileId,
    intervention::{Intervention, Status},
    secret::Digest,
    time::Timestamp,
};

/// The end of a span that has none: what a column can hold at most.
const NEVER: i64 = i64::MAX;

/// An intervention and how far it has come.
#[derive(Debug, Clone)]
pub struct Asked {
    pub id: Id<InterventionKind>,
    pub intervention: Intervention,
    /// The profile that it is about, if it is one.
    pub profile: Option<ProfileId>,
    pub status: Status,
    /// How many of those whom it names are done with.
    pub done: usize,
    /// Why it failed.
    pub error: Option<String>,
    pub created_at: Timestamp,
    pub ended_at: Option<Timestamp>,
}

impl Asked {
    /// An intervention that is asked for now.
    pub fn new(id: Id<InterventionKind>, intervention: Intervention, profile: Option<ProfileId>, now: Timestamp) -> Asked {
        Asked { id, intervention, profile, status: Status::Initialized, done: 0, error: None, created_at: now, ended_at: None }
    }
}

/// Notes that an intervention was asked for.
pub async fn insert(tx: &mut Tx, asked: &Asked) -> Result<(), StorageError> {
    let kind = match asked.intervention {
        Intervention::Regulate { .. } | Intervention::Forgotten { .. } => "regulation",
        Intervention::Unmerge { .. } | Intervention::TakeAway(_) => "correction",
        Intervention::SetRules(_) => "rules",
    };
    let sql = "INSERT INTO interventions (id, kind, detail, profile, status, done, created_at) VALUES ($1, $2, $3, $4, $5, 0, $6)";
    let (id, detail) = (asked.id.to_string(), to_json(&asked.intervention));
    let profile = asked.profile.map(|profile| profile.to_string());
    let values =
        [(&id).into(), kind.into(), (&detail).into(), (&profile).into(), asked.status.as_str().into(), asked.created_at.0.into()];
    tx.exec(sql, &values).await?;
    Ok(())
}

/// The intervention of this identifier.
pub async fn find(tx: &mut Tx, id: Id<InterventionKind>) -> Result<Option<Asked>, StorageError> {
    let sql = "SELECT id, detail, profile, status, done, error, created_at, ended_at FROM interventions WHERE id = $1";
    tx.row(sql, &[(&id.to_string()).into()], read).await
}

/// A page of regulations, the oldest first, after `after`.
pub async fn regulations(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<Asked>, StorageError> {
    let sql = "SELECT id, detail, profile, status, done, error, created_at, ended_at FROM interventions \
               WHERE kind = 'regulation' AND id > $1 ORDER BY id LIMIT $2";
    tx.rows(sql, &[after.into(), limit.into()], read).await
}

/// Whether a regulation was asked for and is not carried out yet.
pub async fn is_any_under_way(tx: &mut Tx) -> Result<bool, StorageError> {
    let sql = "SELECT 1 FROM interventions WHERE kind = 'regulation' AND ended_at IS NULL LIMIT 1";
    Ok(tx.row(sql, &[], |row| row.int(0)).await?.is_some())
}

/// What was asked for and is not carried out yet, in the order in which it was asked.
pub async fn under_way(tx: &mut Tx) -> Result<Vec<Id<InterventionKind>>, StorageError> {
    tx.rows("SELECT id FROM interventions WHERE ended_at IS NULL ORDER BY id", &[], |row| row.id(0)).await
}

/// Notes how far it has come.
pub async fn update(tx: &mut Tx, asked: &Asked) -> Result<(), StorageError> {
    let sql = "UPDATE interventions SET detail = $2, status = $3, done = $4, error = $5, ended_at = $6 WHERE id = $1";
    let (id, detail) = (asked.id.to_string(), to_json(&asked.intervention));
    let values = [
        (&id).into(),
        (&detail).into(),
        asked.status.as_str().into(),
        i64::try_from(asked.done).unwrap_or(i64::MAX).into(),
        (&asked.error).into(),
        asked.ended_at.map(|at| at.0).into(),
    ];
    tx.exec(sql, &values).await?;
    Ok(())
}

/// Events with an id, in a part of the log; and those after it that came in before it was asked for to end there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub digest: Digest,
    pub since: Place,
    /// The first place that is taken in again.
    pub until: Option<Place>,
}

/// Where in the log something stands, and when it came in: what comes in first may be published last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub offset: u64,
    pub at: Timestamp,
}

impl Span {
    /// Whether what stands there is left out.
    pub fn covers(&self, place: Place) -> bool {
        let Some(until) = self.until else { return self.since.offset <= place.offset };
        let is_late = until.offset <= place.offset && self.since.at <= place.at && place.at < until.at;
        (self.since.offset..until.offset).contains(&place.offset) || is_late
    }
}

/// Leaves out what has come with the ids before a place.
pub async fn leave_out_before(tx: &mut Tx, ids: &[Digest], place: Place) -> Result<(), StorageError> {
    static LEAVE_OUT: LazyLock<Batch> = LazyLock::new(|| {
        Batch::new(
            "INSERT INTO left_out (digest, since_offset, until_offset, until_at) VALUES ",
            4,
            " ON CONFLICT (digest, since_offset) DO UPDATE SET until_offset = excluded.until_offset, until_at = excluded.until_at \
              WHERE left_out.until_offset < excluded.until_offset",
        )
    });
    let values: Vec<Value<'_>> = ids
        .iter()
        .flat_map(|id| [(&id.0[..]).into(), 0_i64.into(), place.offset.cast_signed().into(), place.at.0.into()])
        .collect();
    tx.exec_batch(&LEAVE_OUT, &values).await?;
    Ok(())
}

/// Leaves out what comes with the id from a place on, until it is taken in again.
pub async fn leave_out_from(tx: &mut Tx, id: &Digest, place: Place) -> Result<(), StorageError> {
    let sql = "INSERT INTO left_out (digest, since_offset, until_offset, since_at) SELECT $1, $2, $3, $4 \
               WHERE NOT EXISTS (SELECT 1 FROM left_out WHERE digest = $1 AND until_offset = $3) \
               ON CONFLICT (digest, since_offset) DO UPDATE SET until_offset = excluded.until_offset, until_at = NULL";
    tx.exec(sql, &[(&id.0[..]).into(), place.offset.cast_signed().into(), NEVER.into(), place.at.0.into()]).await?;
    Ok(())
}

/// Takes in again what comes with the id from a place on.
pub async fn take_in_from(tx: &mut Tx, id: &Digest, place: Place) -> Result<(), StorageError> {
    let sql = "UPDATE left_out SET until_offset = $2, until_at = $4 WHERE digest = $1 AND until_offset = $3";
    tx.exec(sql, &[(&id.0[..]).into(), place.offset.cast_signed().into(), NEVER.into(), place.at.0.into()]).await?;
    Ok(())
}

/// Forgets the spans that end at or before an offset, and ended before a time: nothing in them is there to be left out, and nothing that
/// came in so long ago is still to be published.
pub async fn forget_spans(tx: &mut Tx, offset: u64, ended_before: Timestamp) -> Result<u64, StorageError> {
    let sql = "DELETE FROM left_out WHERE until_offset <= $1 AND (until_at IS NULL OR until_at < $2)";
    tx.exec(sql, &[offset.cast_signed().into(), ended_before.0.into()]).await
}

/// Whether anything is left out at all. Most installations never ask for it.
pub async fn is_any_left_out(tx: &mut Tx) -> Result<bool, StorageError> {
    Ok(tx.row("SELECT 1 FROM left_out LIMIT 1", &[], |row| row.int(0)).await?.is_some())
}

/// What is left out of these ids' events.
pub async fn left_out(tx: &mut Tx, ids: &[Digest]) -> Result<Vec<Span>, StorageError> {
    static SPANS: LazyLock<Batch> = LazyLock::new(|| {
        let sql = "SELECT digest, since_offset, until_offset, since_at, until_at FROM left_out WHERE digest IN (VALUES ";
        Batch::new(sql, 1, ")")
    });
    let values: Vec<Value<'_>> = ids.iter().map(|id| (&id.0[..]).into()).collect();
    tx.rows_batch(&SPANS, &values, |row| {
        let since = Place { offset: row.int(1)?.cast_unsigned(), at: row.timestamp(3)? };
        let until = match row.int(2)? {
            NEVER => None,
            // One of before times were kept holds for nothing that comes late.
            offset => Some(Place { offset: offset.cast_unsigned(), at: row.timestamp_or_null(4)?.unwrap_or(Timestamp(0)) }),
        };
        Ok(Span { digest: row.digest(0)?, since, until })
    })
    .await
}

fn read(row: &Row<'_>) -> Result<Asked, StorageError> {
    let status = row.text(3)?;
    Ok(Asked {
        id: row.id(0)?,
        intervention: row.json(1)?,
        profile: row.id_or_null(2)?,
        status: Status::parse(&status).ok_or_else(|| unreadable(&status))?,
        done: usize::try_from(row.int(4)?).map_err(|_| unreadable("a count"))?,
        error: row.text_or_null(5)?,
        created_at: row.timestamp(6)?,
        ended_at: row.timestamp_or_null(7)?,
    })
}
