//! Questions about risk: the states of agents and of people, and the rule.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use super::{StorageError, Tx, Value, batch::Batch, columns::to_json};
use crate::domain::{
    client::ClientId,
    id::{Id, PersonKind},
    risk::{AgentRisk, PersonRisk, RiskRule, Signal},
    time::Timestamp,
};

/// The states of these agents; one that has none yet is left out.
pub async fn load_agents(tx: &mut Tx, agents: &BTreeSet<ClientId>) -> Result<BTreeMap<ClientId, AgentRisk>, StorageError> {
    static LOAD: LazyLock<Batch> =
        LazyLock::new(|| Batch::new("SELECT agent, state FROM risk_states WHERE agent IN (VALUES ", 1, ")"));
    let values: Vec<Value<'_>> = agents.iter().map(|agent| agent.as_str().into()).collect();
    Ok(tx.rows_batch(&LOAD, &values, |row| Ok((row.client_id(0)?, row.json(1)?))).await?.into_iter().collect())
}

/// The states of these people; whoever has none yet is left out.
pub async fn load_people(
    tx: &mut Tx,
    people: &BTreeSet<Id<PersonKind>>,
) -> Result<BTreeMap<Id<PersonKind>, PersonRisk>, StorageError> {
    static LOAD: LazyLock<Batch> =
        LazyLock::new(|| Batch::new("SELECT person, state FROM risk_people WHERE person IN (VALUES ", 1, ")"));
    let people: Vec<String> = people.iter().map(Id::to_string).collect();
    let values: Vec<Value<'_>> = people.iter().map(Value::from).collect();
    Ok(tx.rows_batch(&LOAD, &values, |row| Ok((row.id(0)?, row.json(1)?))).await?.into_iter().collect())
}

/// Puts states of agents in place of what was there.
pub async fn put_agents(tx: &mut Tx, states: &BTreeMap<ClientId, AgentRisk>) -> Result<(), StorageError> {
    static PUT: LazyLock<Batch> = LazyLock::new(|| {
        Batch::new(
            "INSERT INTO risk_states (agent, state, signalled_at) VALUES ",
            3,
            " ON CONFLICT (agent) DO UPDATE SET state = excluded.state, signalled_at = excluded.signalled_at",
        )
    });
    let rows = states.iter().map(|(agent, risk)| (agent.to_string(), to_json(risk), last(risk.signals())));
    put(tx, &PUT, rows.collect()).await
}

/// Puts states of people in place of what was there.
pub async fn put_people(tx: &mut Tx, states: &BTreeMap<Id<PersonKind>, PersonRisk>) -> Result<(), StorageError> {
    static PUT: LazyLock<Batch> = LazyLock::new(|| {
        Batch::new(
            "INSERT INTO risk_people (person, state, signalled_at) VALUES ",
            3,
            " ON CONFLICT (person) DO UPDATE SET state = excluded.state, signalled_at = excluded.signalled_at",
        )
    });
    let rows = states.iter().map(|(person, risk)| (person.to_string(), to_json(risk), last(risk.signals())));
    put(tx, &PUT, rows.collect()).await
}

/// A page of the agents that a signal speaks against, in the order of their identifiers, after `after`.
pub async fn list_agents(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<(ClientId, AgentRisk)>, StorageError> {
    let sql = "SELECT agent, state FROM risk_states WHERE agent > $1 AND signalled_at IS NOT NULL ORDER BY agent LIMIT $2";
    tx.rows(sql, &[after.into(), limit.into()], |row| Ok((row.client_id(0)?, row.json(1)?))).await
}

/// A page of the people whom a signal is about, in the order of their identifiers, after `after`.
pub async fn list_people(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<(Id<PersonKind>, PersonRisk)>, StorageError> {
    let sql = "SELECT person, state FROM risk_people WHERE person > $1 AND signalled_at IS NOT NULL ORDER BY person LIMIT $2";
    tx.rows(sql, &[after.into(), limit.into()], |row| Ok((row.id(0)?, row.json(1)?))).await
}

/// The rule that is in force.
pub async fn rule(tx: &mut Tx) -> Result<RiskRule, StorageError> {
    let rule = tx.row("SELECT settings FROM risk_rules WHERE id = 1", &[], |row| row.json(0)).await?;
    Ok(rule.unwrap_or_default())
}

/// Puts a rule in force for the signals that come from now on.
pub async fn set_rule(tx: &mut Tx, rule: RiskRule) -> Result<(), StorageError> {
    let sql = "INSERT INTO risk_rules (id, settings) VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET settings = excluded.settings";
    tx.exec(sql, &[(&to_json(&rule)).into()]).await?;
    Ok(())
}

fn last<P>(signals: &[Signal<P>]) -> Option<Timestamp> {
    signals.iter().map(|signal| signal.at).max()
}

async fn put(tx: &mut Tx, batch: &'static Batch, rows: Vec<(String, String, Option<Timestamp>)>) -> Result<(), StorageError> {
    let values: Vec<Value<'_>> =
        rows.iter().flat_map(|(key, state, last)| [key.into(), state.into(), last.map(|at| at.0).into()]).collect();
    tx.exec_batch(batch, &values).await?;
    Ok(())
}
