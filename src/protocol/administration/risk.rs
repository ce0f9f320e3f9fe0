//! Risk as operators see it: what speaks against each agent, by which events, and the rule that acts on it.

use serde::Serialize;

use super::paging::{Page, PageRequest, Window};
use crate::{
    domain::{
        client::ClientId,
        event::{Actor, Fact},
        id::{EventKind, Id, OperatorKind},
        refusal::{ADMIN_VALUE, OAuthError},
        risk::{AgentRisk, RiskRule, SUSPEND_AT_MAX, SignalKind},
        time::Timestamp,
    },
    protocol::witness::Witness,
    storage::risk,
    world::World,
};

/// What speaks against an agent.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct RiskRecord {
    #[schema(value_type = String)]
    client_id: ClientId,
    /// Everything that speaks against it now: the sum of the signals, each worth half as much after a day.
    score: u32,
    /// The part of it that somebody proved to be the agent's doing: what the rule looks at.
    proven_score: u32,
    /// The oldest first.
    signals: Vec<SignalRecord>,
}

/// A signal, and the event that led to it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct SignalRecord {
    signal: SignalKind,
    is_proven: bool,
    /// What it was worth when it happened.
    points: u32,
    #[schema(value_type = String)]
    event_id: Id<EventKind>,
    /// RFC 3339.
    at: String,
}

/// A page of the agents that a signal speaks against.
pub async fn list(world: &World, request: PageRequest, now: Timestamp) -> Result<Page<RiskRecord>, OAuthError> {
    let window = Window::read(world, "risk".to_owned(), &request, now)?;
    let (after, rows_max) = (window.after.clone(), window.rows_max());
    let rows = world.storage.read(move |tx| Box::pin(async move { risk::list(tx, &after, rows_max).await })).await?;
    Ok(window.page(world, rows, |(agent, _)| agent.to_string(), |(agent, state)| record(agent, &state, now), now))
}

/// The rule that is in force.
pub async fn rule(world: &World) -> Result<RiskRule, OAuthError> {
    Ok(world.storage.read(|tx| Box::pin(async move { risk::rule(tx).await })).await?)
}

/// Puts a rule in force for the signals that come from now on: it suspends nobody for what was before.
pub async fn set_rule(world: &World, operator: Id<OperatorKind>, rule: RiskRule, now: Timestamp) -> Result<RiskRule, OAuthError> {
    if rule.suspend_at.is_some_and(|threshold| !(1..=SUSPEND_AT_MAX).contains(&threshold)) {
        return Err(ADMIN_VALUE.because(format!("suspend_at must be 1 to {SUSPEND_AT_MAX}, or null.")));
    }
    let witness = Witness::new(world, Actor::Operator(operator), now);
    let write = world.storage.write(move |tx| {
        Box::pin(async move {
            risk::set_rule(tx, rule).await?;
            witness.record(tx, Fact::RiskRuleChanged { suspend_at: rule.suspend_at }).await
        })
    });
    write.await?;
    Ok(rule)
}

fn record(client_id: ClientId, state: &AgentRisk, now: Timestamp) -> RiskRecord {
    let signals = state.signals().iter().map(|signal| SignalRecord {
        signal: signal.kind,
        is_proven: signal.kind.is_proven(),
        points: signal.kind.points(),
        event_id: signal.event,
        at: signal.at.to_rfc3339(),
    });
    RiskRecord { client_id, score: state.score(now), proven_score: state.proven_score(now), signals: signals.collect() }
}
