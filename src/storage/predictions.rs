//! Questions about predictions: which profiles a model is to be asked about, and how the asking goes.

use std::sync::LazyLock;

use super::{StorageError, Tx, Value, batch::Batch, columns::unreadable};
use crate::domain::{
    id::{Id, PredictedTraitKind},
    identity::graph::ProfileId,
    time::Timestamp,
};

/// How the asking of a model goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelStatus {
    /// Profiles that it was asked about, and of how many it said something.
    pub asked: u64,
    pub answered: u64,
    pub asked_at: Option<Timestamp>,
    /// How often in a row it went wrong.
    pub failures: u32,
    pub failing_since: Option<Timestamp>,
    /// What went wrong last, for operators.
    pub failure: Option<String>,
    /// Profiles that it is still to be asked about, or that were lately.
    pub waiting: u64,
    /// Counts the turns of asking.
    pub turn: i64,
}

/// A profile that a model is to be asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    pub profile: ProfileId,
    /// How often it had changed when this was read: what a turn says of it holds for this change, and not for later ones.
    pub changes: i64,
    /// It has changed since it was asked about last.
    pub is_changed: bool,
}

/// What came of a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// What it said of some of them is durable. These profiles wait until then, should they change again or have changed meanwhile.
    Asked { profiles: Vec<Due>, answered: u32, again_at: Timestamp },
    /// There was nobody to ask about.
    Nobody,
    /// It went wrong. These profiles come again then, behind others; as the model does.
    Failed { profiles: Vec<Due>, failure: String, again_at: Timestamp },
}

/// Has a model of this trait asked from now on.
pub async fn begin(tx: &mut Tx, id: Id<PredictedTraitKind>, now: Timestamp) -> Result<(), StorageError> {
    let sql =
        "INSERT INTO prediction_models (predicted_trait, asked, answered, next_at, failures, turn) VALUES ($1, 0, 0, $2, 0, 0)";
    tx.exec(sql, &[(&id.to_string()).into(), now.0.into()]).await?;
    Ok(())
}

/// How the asking goes.
pub async fn status(tx: &mut Tx, id: Id<PredictedTraitKind>) -> Result<ModelStatus, StorageError> {
    let sql = "SELECT asked, answered, asked_at, failures, failing_since, failure, turn, \
               (SELECT count(*) FROM predictions_due AS d WHERE d.predicted_trait = m.predicted_trait) \
               FROM prediction_models AS m WHERE predicted_trait = $1";
    let count = |value: i64| u64::try_from(value).map_err(|_| unreadable("a count"));
    let key = id.to_string();
    let values = [(&key).into()];
    let found = tx.row(sql, &values, |row| {
        Ok(ModelStatus {
            asked: count(row.int(0)?)?,
            answered: count(row.int(1)?)?,
            asked_at: row.timestamp_or_null(2)?,
            failures: row.u32_or_null(3)?.unwrap_or(0),
            failing_since: row.timestamp_or_null(4)?,
            failure: row.text_or_null(5)?,
            turn: row.int(6)?,
            waiting: count(row.int(7)?)?,
        })
    });
    let found = found.await?;
    Ok(found.unwrap_or_default())
}

/// Notes that profiles have changed. One that waits already keeps its place.
pub async fn note_changed(
    tx: &mut Tx,
    changed: &[(Id<PredictedTraitKind>, ProfileId)],
    now: Timestamp,
) -> Result<(), StorageError> {
    static NOTE: LazyLock<Batch> = LazyLock::new(|| {
        Batch::new(
            "INSERT INTO predictions_due (predicted_trait, profile, changed_at, due_at) VALUES ",
            4,
            " ON CONFLICT (predicted_trait, profile) DO UPDATE SET changed_at = excluded.changed_at, \
               changes = predictions_due.changes + 1",
        )
    });
    let keys: Vec<[String; 2]> = changed.iter().map(|(id, profile)| [id.to_string(), profile.to_string()]).collect();
    let mut values: Vec<Value<'_>> = Vec::with_capacity(keys.len() * 4);
    for [id, profile] in &keys {
        values.extend_from_slice(&[id.into(), profile.into(), now.0.into(), now.0.into()]);
    }
    tx.exec_batch(&NOTE, &values).await?;
    Ok(())
}

/// The profiles that are due for this model, those that wait longest first; none while it rests.
pub async fn due(tx: &mut Tx, id: Id<PredictedTraitKind>, now: Timestamp, count_max: u32) -> Result<Vec<Due>, StorageError> {
    let sql = "SELECT d.profile, d.changes, CASE WHEN d.asked_changes IS NULL OR d.changes > d.asked_changes THEN 1 ELSE 0 END \
               FROM predictions_due AS d JOIN prediction_models AS m ON m.predicted_trait = d.predicted_trait \
               WHERE d.predicted_trait = $1 AND d.due_at <= $2 AND m.next_at <= $2 ORDER BY d.due_at, d.profile LIMIT $3";
    tx.rows(sql, &[(&id.to_string()).into(), now.0.into(), count_max.into()], |row| {
        Ok(Due { profile: row.id(0)?, changes: row.int(1)?, is_changed: row.int(2)? != 0 })
    })
    .await
}

/// Takes the model's next turn, for this node alone until `until`; its number, and how often it failed before. `None` if it is another's.
pub async fn claim(
    tx: &mut Tx,
    id: Id<PredictedTraitKind>,
    node: &str,
    now: Timestamp,
    until: Timestamp,
) -> Result<Option<(i64, u32)>, StorageError> {
    let sql = "UPDATE prediction_models SET turn = turn + 1, claimed_by = $2, claimed_until = $3 WHERE predicted_trait = $1 \
               AND next_at <= $4 AND (claimed_until IS NULL OR claimed_until <= $4 OR claimed_by = $2) RETURNING turn, failures";
    let key = id.to_string();
    let values = [(&key).into(), node.into(), until.0.into(), now.0.into()];
    tx.row(sql, &values, |row| Ok((row.int(0)?, row.u32_or_null(1)?.unwrap_or(0)))).await
}

/// Forgets these profiles: they have not changed since they were asked about, or nobody may be told of them. One that has changed
/// meanwhile stays.
pub async fn forget(tx: &mut Tx, id: Id<PredictedTraitKind>, profiles: &[Due]) -> Result<(), StorageError> {
    for Due { profile, changes, .. } in profiles {
        let sql = "DELETE FROM predictions_due WHERE predicted_trait = $1 AND profile = $2 AND changes = $3";
        tx.exec(sql, &[(&id.to_string()).into(), (&profile.to_string()).into(), (*changes).into()]).await?;
    }
    Ok(())
}

/// Ends a turn. `false` if it was over: another's has begun.
pub async fn end_turn(
    tx: &mut Tx,
    id: Id<PredictedTraitKind>,
    number: i64,
    turn: &Turn,
    now: Timestamp,
) -> Result<bool, StorageError> {
    let key = id.to_string();
    let ended = match turn {
        Turn::Asked { profiles, answered, .. } => {
            let sql = "UPDATE prediction_models SET asked = asked + $3, answered = answered + $4, asked_at = $5, next_at = $5, \
                       failures = 0, failing_since = NULL, failure = NULL, claimed_by = NULL, claimed_until = NULL \
                       WHERE predicted_trait = $1 AND turn = $2";
            let asked = i64::try_from(profiles.len()).unwrap_or(i64::MAX);
            tx.exec(sql, &[(&key).into(), number.into(), asked.into(), (*answered).into(), now.0.into()]).await?
        }
        Turn::Failed { failure, again_at, .. } => {
            let sql = "UPDATE prediction_models SET asked_at = $3, next_at = $4, failures = failures + 1, \
                       failing_since = coalesce(failing_since, $3), failure = $5, claimed_by = NULL, claimed_until = NULL \
                       WHERE predicted_trait = $1 AND turn = $2";
            tx.exec(sql, &[(&key).into(), number.into(), now.0.into(), again_at.0.into(), failure.into()]).await?
        }
        Turn::Nobody => {
            let sql =
                "UPDATE prediction_models SET claimed_by = NULL, claimed_until = NULL WHERE predicted_trait = $1 AND turn = $2";
            tx.exec(sql, &[(&key).into(), number.into()]).await?
        }
    };
    if ended == 0 {
        return Ok(false);
    }
    match turn {
        Turn::Asked { profiles, again_at, .. } => {
            let sql = "UPDATE predictions_due SET due_at = $3, asked_at = $4, asked_changes = $5 WHERE predicted_trait = $1 AND profile = $2";
            for Due { profile, changes, .. } in profiles {
                let profile = profile.to_string();
                let values = [(&key).into(), (&profile).into(), again_at.0.into(), now.0.into(), (*changes).into()];
                tx.exec(sql, &values).await?;
            }
        }
        Turn::Failed { profiles, again_at, .. } => {
            let sql = "UPDATE predictions_due SET due_at = $3 WHERE predicted_trait = $1 AND profile = $2";
            for Due { profile, .. } in profiles {
                tx.exec(sql, &[(&key).into(), (&profile.to_string()).into(), again_at.0.into()]).await?;
            }
        }
        Turn::Nobody => {}
    }
    Ok(true)
}
