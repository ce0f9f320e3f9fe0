//! Questions about tracking plans.

use super::{Row, StorageError, Tx, columns::to_json, columns::unreadable, shapes};
use crate::domain::{
    id::{Id, TrackingPlanKind},
    tracking_plan::{OnUnplanned, OnViolation, TrackingPlan},
};

/// All plans, in the order in which they were made. An installation has at most some hundred.
pub async fn list(tx: &mut Tx) -> Result<Vec<TrackingPlan>, StorageError> {
    let sql = "SELECT id, name, rules, on_violation, on_unplanned, version, created_at, changed_at FROM tracking_plans ORDER BY id";
    let mut all = tx.rows(sql, &[], read).await?;
    let mut sources = shapes::sources_of(tx, "SELECT plan, source FROM tracking_plan_sources ORDER BY source").await?;
    for plan in &mut all {
        plan.sources = sources.remove(&plan.id).unwrap_or_default();
    }
    Ok(all)
}

/// The plan of this identifier.
pub async fn find(tx: &mut Tx, id: Id<TrackingPlanKind>) -> Result<Option<TrackingPlan>, StorageError> {
    let sql =
        "SELECT id, name, rules, on_violation, on_unplanned, version, created_at, changed_at FROM tracking_plans WHERE id = $1";
    let Some(mut found) = tx.row(sql, &[(&id.to_string()).into()], read).await? else { return Ok(None) };
    let sql = "SELECT source FROM tracking_plan_sources WHERE plan = $1 ORDER BY source";
    found.sources = tx.rows(sql, &[(&id.to_string()).into()], |row| row.id(0)).await?;
    Ok(Some(found))
}

/// As `find`, and until the transaction ends nobody else changes it: what is decided here stays true.
pub async fn hold(tx: &mut Tx, id: Id<TrackingPlanKind>) -> Result<Option<TrackingPlan>, StorageError> {
    tx.exec("UPDATE tracking_plans SET id = id WHERE id = $1", &[(&id.to_string()).into()]).await?;
    find(tx, id).await
}

/// Adds a plan. Refused as `Unique` if one of its sources has another.
pub async fn insert(tx: &mut Tx, plan: &TrackingPlan) -> Result<(), StorageError> {
    let sql = "INSERT INTO tracking_plans (id, name, rules, on_violation, on_unplanned, version, created_at, changed_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    tx.exec(
        sql,
        &[
            (&plan.id.to_string()).into(),
            (&plan.name).into(),
            (&to_json(&plan.rules)).into(),
            plan.on_violation.as_str().into(),
            plan.on_unplanned.as_str().into(),
            plan.version.into(),
            plan.created_at.0.into(),
            plan.changed_at.0.into(),
        ],
    )
    .await?;
    attach(tx, plan).await
}

/// Replaces all that can change. Refused as `Unique` if one of its sources has another plan.
pub async fn update(tx: &mut Tx, plan: &TrackingPlan) -> Result<(), StorageError> {
    let sql = "UPDATE tracking_plans SET name = $2, rules = $3, on_violation = $4, on_unplanned = $5, version = $6, \
               changed_at = $7 WHERE id = $1";
    let id = plan.id.to_string();
    tx.exec(
        sql,
        &[
            (&id).into(),
            (&plan.name).into(),
            (&to_json(&plan.rules)).into(),
            plan.on_violation.as_str().into(),
            plan.on_unplanned.as_str().into(),
            plan.version.into(),
            plan.changed_at.0.into(),
        ],
    )
    .await?;
    tx.exec("DELETE FROM tracking_plan_sources WHERE plan = $1", &[(&id).into()]).await?;
    attach(tx, plan).await
}

/// Removes a plan from wherever it is applied. `false` if there is no such plan.
pub async fn delete(tx: &mut Tx, id: Id<TrackingPlanKind>) -> Result<bool, StorageError> {
    let removed = tx.exec("DELETE FROM tracking_plans WHERE id = $1", &[(&id.to_string()).into()]).await?;
    shapes::note_change(tx).await?;
    Ok(removed == 1)
}

async fn attach(tx: &mut Tx, plan: &TrackingPlan) -> Result<(), StorageError> {
    let id = plan.id.to_string();
    for source in &plan.sources {
        let sql = "INSERT INTO tracking_plan_sources (source, plan) VALUES ($1, $2)";
        tx.exec(sql, &[(&source.to_string()).into(), (&id).into()]).await?;
    }
    shapes::note_change(tx).await
}

fn read(row: &Row<'_>) -> Result<TrackingPlan, StorageError> {
    let (on_violation, on_unplanned) = (row.text(3)?, row.text(4)?);
    Ok(TrackingPlan {
        id: row.id(0)?,
        name: row.text(1)?,
        rules: row.json(2)?,
        on_violation: OnViolation::parse(&on_violation).ok_or_else(|| unreadable(&on_violation))?,
        on_unplanned: OnUnplanned::parse(&on_unplanned).ok_or_else(|| unreadable(&on_unplanned))?,
        sources: Vec::new(),
        version: row.u32_or_null(5)?.unwrap_or_default(),
        created_at: row.timestamp(6)?,
        changed_at: row.timestamp(7)?,
    })
}
