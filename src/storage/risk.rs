//! Questions about risk: the state of each agent, and the rule.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use super::{StorageError, Tx, Value, batch::Batch, columns::to_json};
use crate::domain::{
    client::ClientId,
    risk::{AgentRisk, RiskRule},
};

/// The states of these agents; one that has none yet is left out.
pub async fn load(tx: &mut Tx, agents: &BTreeSet<String>) -> Result<BTreeMap<String, AgentRisk>, StorageError> {
    static LOAD: LazyLock<Batch> =
        LazyLock::new(|| Batch::new("SELECT agent, state FROM risk_states WHERE agent IN (VALUES ", 1, ")"));
    let values: Vec<Value<'_>> = agents.iter().map(Value::from).collect();
    Ok(tx.rows_batch(&LOAD, &values, |row| Ok((row.text(0)?, row.json(1)?))).await?.into_iter().collect())
}

/// Puts states in place of what was there.
pub async fn put(tx: &mut Tx, states: &BTreeMap<String, AgentRisk>) -> Result<(), StorageError> {
    static PUT: LazyLock<Batch> = LazyLock::new(|| {
        Batch::new(
            "INSERT INTO risk_states (agent, state, signalled_at) VALUES ",
            3,
            " ON CONFLICT (agent) DO UPDATE SET state = excluded.state, signalled_at = excluded.signalled_at",
        )
    });
    let texts: Vec<String> = states.values().map(to_json).collect();
    let mut values: Vec<Value<'_>> = Vec::with_capacity(texts.len() * 3);
    for ((agent, risk), text) in states.iter().zip(&texts) {
        let signalled_at = risk.signals().iter().map(|signal| signal.at.0).max();
        values.extend_from_slice(&[agent.into(), text.into(), signalled_at.into()]);
    }
    tx.exec_batch(&PUT, &values).await?;
    Ok(())
}

/// A page of the agents that a signal speaks against, in the order of their identifiers, after `after`.
pub async fn list(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<(ClientId, AgentRisk)>, StorageError> {
    let sql = "SELECT agent, state FROM risk_states WHERE agent > $1 AND signalled_at IS NOT NULL ORDER BY agent LIMIT $2";
    tx.rows(sql, &[after.into(), limit.into()], |row| Ok((row.client_id(0)?, row.json(1)?))).await
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
