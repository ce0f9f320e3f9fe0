//! Risk as operators see it: what speaks against each agent and person, by which events, and the rule that acts on it.

use serde::Serialize;

use super::paging::{Page, PageRequest, Window};
use crate::{
    domain::{
        client::ClientId,
        event::{Actor, Fact},
        id::{EventKind, Id, OperatorKind, PersonKind},
        refusal::{ADMIN_VALUE, OAuthError},
        risk::{AgentRisk, PersonRisk, RiskRule, Signal, SignalKind, THRESHOLD_MAX},
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
    /// The part of it that somebody proved to be the agent's doing.
    proven_score: u32,
    /// The part of that without the two people who weigh the most in it: what a suspension is decided by.
    suspension_score: u32,
    /// The oldest first.
    signals: Vec<SignalRecord>,
}

/// What speaks against a person's account and what acts for it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct PersonRiskRecord {
    #[schema(value_type = String)]
    person_id: Id<PersonKind>,
    /// Everything that is held against it now: the sum of the signals, each worth half as much after a day.
    score: u32,
    /// The part of it that took something of the person's to do. The rule looks at the part of that which names one agent, or none.
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
    /// For whom the agent acted, if it did for somebody.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    person_id: Option<Id<PersonKind>>,
    /// What acted for the person, if something did.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    client_id: Option<ClientId>,
}

/// A page of the agents that a signal speaks against.
pub async fn list(world: &World, request: PageRequest, now: Timestamp) -> Result<Page<RiskRecord>, OAuthError> {
    let window = Window::read(world, "risk".to_owned(), &request, now)?;
    let (after, rows_max) = (window.after.clone(), window.rows_max());
    let rows = world.storage.read(move |tx| Box::pin(async move { risk::list_agents(tx, &after, rows_max).await })).await?;
    Ok(window.page(world, rows, |(agent, _)| agent.to_string(), |(agent, state)| record(agent, &state, now), now))
}

/// A page of the people about whom there is a signal.
pub async fn list_people(world: &World, request: PageRequest, now: Timestamp) -> Result<Page<PersonRiskRecord>, OAuthError> {
    let window = Window::read(world, "risk people".to_owned(), &request, now)?;
    let (after, rows_max) = (window.after.clone(), window.rows_max());
    let rows = world.storage.read(move |tx| Box::pin(async move { risk::list_people(tx, &after, rows_max).await })).await?;
    Ok(window.page(world, rows, |(person, _)| person.to_string(), |(person, state)| person_record(person, &state, now), now))
}

/// The rule that is in force.
pub async fn rule(world: &World) -> Result<RiskRule, OAuthError> {
    Ok(world.storage.read(|tx| Box::pin(async move { risk::rule(tx).await })).await?)
}

/// Puts a rule in force for the signals that come from now on: nothing is done about what was before.
pub async fn set_rule(world: &World, operator: Id<OperatorKind>, rule: RiskRule, now: Timestamp) -> Result<RiskRule, OAuthError> {
    if !rule.is_sound() {
        return Err(ADMIN_VALUE.because(format!("Each threshold must be 1 to {THRESHOLD_MAX}, or null.")));
    }
    let RiskRule { suspend_at, revoke_at, require_approval_at, ask_for_unknown_agents, refuse_bots } = rule;
    let switches = [("ask_for_unknown_agents", ask_for_unknown_agents), ("refuse_bots", refuse_bots)];
    let by_kind = switches.into_iter().filter(|(_, is_on)| *is_on).map(|(name, _)| name.to_owned()).collect();
    let witness = Witness::new(world, Actor::Operator(operator), now);
    let write = world.storage.write(move |tx| {
        Box::pin(async move {
            risk::set_rule(tx, rule).await?;
            witness.record(tx, Fact::RiskRuleChanged { suspend_at, revoke_at, require_approval_at, by_kind }).await
        })
    });
    write.await?;
    Ok(rule)
}

fn record(client_id: ClientId, state: &AgentRisk, now: Timestamp) -> RiskRecord {
    let signals = state.signals().iter().map(|signal| SignalRecord { person_id: signal.with, ..told(signal) });
    RiskRecord {
        client_id,
        score: state.score(now),
        proven_score: state.proven(now).score,
        suspension_score: state.suspension(now, None).score,
        signals: signals.collect(),
    }
}

fn person_record(person_id: Id<PersonKind>, state: &PersonRisk, now: Timestamp) -> PersonRiskRecord {
    let signals = state.signals().iter().map(|signal| SignalRecord { client_id: signal.with.clone(), ..told(signal) });
    PersonRiskRecord { person_id, score: state.score(now), proven_score: state.proven(now).score, signals: signals.collect() }
}

/// A signal without its other party.
fn told<P>(signal: &Signal<P>) -> SignalRecord {
    SignalRecord {
        signal: signal.kind,
        is_proven: signal.kind.is_proven(),
        points: signal.kind.points(),
        event_id: signal.event,
        at: signal.at.to_rfc3339(),
        person_id: None,
        client_id: None,
    }
}
