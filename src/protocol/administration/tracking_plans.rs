//! Tracking plans as operators save and change them. A plan by which nothing could be judged is never saved.

use serde::{Deserialize, Serialize};

use super::{
    paging::{Page, PageRequest, Window},
    plain_text,
    sources::{check_attachments, conflict},
};
use crate::{
    domain::{
        event::{Actor, Fact},
        id::{Id, OperatorKind, SourceKind, TrackingPlanKind},
        refusal::{ADMIN_NOT_FOUND, ADMIN_VALUE, OAuthError},
        time::Timestamp,
        tracking_plan::{CompiledPlan, OnUnplanned, OnViolation, RULES_BYTES_MAX, Rule, TrackingPlan},
    },
    protocol::witness::Witness,
    storage::{leases, tracking_plans},
    world::World,
};

/// All plans are kept in memory, ready to judge.
const PLANS_MAX: usize = 100;
const ALREADY: &str = "One of these sources has a tracking plan already; a source has at most one.";

/// A tracking plan to be made.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTrackingPlan {
    /// Says in lists what it is for.
    name: String,
    rules: Vec<Rule>,
    /// What becomes of an event that violates its rule; `allow` if absent.
    on_violation: Option<OnViolation>,
    /// What becomes of a `track` whose event no rule names; `allow` if absent.
    on_unplanned: Option<OnUnplanned>,
    /// The sources by whose events it is followed.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    sources: Vec<Id<SourceKind>>,
}

/// What is to become different. What is absent stays.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TrackingPlanChange {
    name: Option<String>,
    /// All rules: those that are not here are gone.
    rules: Option<Vec<Rule>>,
    on_violation: Option<OnViolation>,
    on_unplanned: Option<OnUnplanned>,
    #[schema(value_type = Option<Vec<String>>)]
    sources: Option<Vec<Id<SourceKind>>>,
}

/// A tracking plan as operators see it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct TrackingPlanRecord {
    #[schema(value_type = String)]
    tracking_plan_id: Id<TrackingPlanKind>,
    name: String,
    rules: Vec<Rule>,
    on_violation: OnViolation,
    on_unplanned: OnUnplanned,
    #[schema(value_type = Vec<String>)]
    sources: Vec<Id<SourceKind>>,
    /// Counts its changes.
    version: u32,
    /// RFC 3339.
    created_at: String,
    /// RFC 3339.
    changed_at: String,
}

/// A page of all plans.
pub async fn list(world: &World, request: PageRequest, now: Timestamp) -> Result<Page<TrackingPlanRecord>, OAuthError> {
    let window = Window::read(world, "tracking_plans".to_owned(), &request, now)?;
    let all = world.storage.read(|tx| Box::pin(async move { tracking_plans::list(tx).await })).await?;
    let rows = all.into_iter().filter(|plan| plan.id.to_string() > window.after).collect();
    Ok(window.page(world, rows, |plan: &TrackingPlan| plan.id.to_string(), record, now))
}

/// All that is known of a plan.
pub async fn show(world: &World, id: Id<TrackingPlanKind>) -> Result<TrackingPlanRecord, OAuthError> {
    let found = world.storage.read(move |tx| Box::pin(async move { tracking_plans::find(tx, id).await })).await?;
    found.map(record).ok_or(ADMIN_NOT_FOUND)
}

/// Makes a plan.
pub async fn create(
    world: &World,
    operator: Id<OperatorKind>,
    new: NewTrackingPlan,
    now: Timestamp,
) -> Result<TrackingPlanRecord, OAuthError> {
    let plan = TrackingPlan {
        id: world.id(now),
        name: plain_text("name", new.name)?,
        rules: new.rules,
        on_violation: new.on_violation.unwrap_or(OnViolation::Allow),
        on_unplanned: new.on_unplanned.unwrap_or(OnUnplanned::Allow),
        sources: new.sources,
        version: 1,
        created_at: now,
        changed_at: now,
    };
    check(&plan.rules)?;
    let fact = Fact::TrackingPlanCreated { tracking_plan: plan.id, name: plan.name.clone() };
    let (witness, written) = (Witness::new(world, Actor::Operator(operator), now), plan.clone());
    let write = world.storage.write(move |tx| {
        Box::pin(async move {
            leases::take_turn(tx, "new tracking plan").await?;
            if tracking_plans::list(tx).await?.len() >= PLANS_MAX {
                return Err(ADMIN_VALUE.because(format!("There are {PLANS_MAX} tracking plans; delete one first.")));
            }
            check_attachments(tx, &written.sources).await?;
            tracking_plans::insert(tx, &written).await.map_err(|error| conflict(error, ALREADY))?;
            Ok::<_, OAuthError>(witness.record(tx, fact).await?)
        })
    });
    write.await?;
    world.forget_shapes();
    Ok(record(plan))
}

/// Changes name, rules, sources, or what becomes of events.
pub async fn change(
    world: &World,
    operator: Id<OperatorKind>,
    id: Id<TrackingPlanKind>,
    change: TrackingPlanChange,
    now: Timestamp,
) -> Result<TrackingPlanRecord, OAuthError> {
    // Rules are judged by themselves, before anybody waits for it: some hundred schemas take a while.
    change.rules.as_deref().map_or(Ok(()), check)?;
    let witness = Witness::new(world, Actor::Operator(operator), now);
    let write = world.storage.write(move |tx| {
        Box::pin(async move {
            let mut plan = tracking_plans::hold(tx, id).await?.ok_or(ADMIN_NOT_FOUND)?;
            if let Some(name) = change.name {
                plan.name = plain_text("name", name)?;
            }
            plan.rules = change.rules.unwrap_or(plan.rules);
            plan.on_violation = change.on_violation.unwrap_or(plan.on_violation);
            plan.on_unplanned = change.on_unplanned.unwrap_or(plan.on_unplanned);
            plan.sources = change.sources.unwrap_or(plan.sources);
            plan.version += 1;
            plan.changed_at = now;
            check_attachments(tx, &plan.sources).await?;
            tracking_plans::update(tx, &plan).await.map_err(|error| conflict(error, ALREADY))?;
            let fact = Fact::TrackingPlanChanged { tracking_plan: id, version: plan.version };
            witness.record(tx, fact).await?;
            Ok::<_, OAuthError>(plan)
        })
    });
    let changed = write.await?;
    world.forget_shapes();
    Ok(record(changed))
}

/// Forgets a plan: the events of its sources go on as they are.
pub async fn delete(world: &World, operator: Id<OperatorKind>, id: Id<TrackingPlanKind>, now: Timestamp) -> Result<(), OAuthError> {
    let witness = Witness::new(world, Actor::Operator(operator), now);
    let write = world.storage.write(move |tx| {
        Box::pin(async move {
            if !tracking_plans::delete(tx, id).await? {
                return Err(ADMIN_NOT_FOUND);
            }
            Ok::<_, OAuthError>(witness.record(tx, Fact::TrackingPlanDeleted { tracking_plan: id }).await?)
        })
    });
    write.await?;
    world.forget_shapes();
    Ok(())
}

fn check(rules: &[Rule]) -> Result<(), OAuthError> {
    let bytes = serde_json::to_vec(rules).map_or(0, |text| text.len());
    if bytes > RULES_BYTES_MAX {
        return Err(ADMIN_VALUE.because(format!("rules must have at most {RULES_BYTES_MAX} bytes as JSON.")));
    }
    CompiledPlan::check(rules).map_err(|wrong| ADMIN_VALUE.because(wrong))
}

fn record(plan: TrackingPlan) -> TrackingPlanRecord {
    TrackingPlanRecord {
        tracking_plan_id: plan.id,
        name: plan.name,
        rules: plan.rules,
        on_violation: plan.on_violation,
        on_unplanned: plan.on_unplanned,
        sources: plan.sources,
        version: plan.version,
        created_at: plan.created_at.to_rfc3339(),
        changed_at: plan.changed_at.to_rfc3339(),
    }
}
