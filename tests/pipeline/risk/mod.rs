//! Risk: what was done is a score, with the events that led to it; and where an operator says so, something is done about it.

/// What speaks against agents, and suspends them.
mod agents;
/// What speaks against what is done in a person's name.
mod people;
/// What becomes of what a person granted.
mod measures;
/// From a signal to a refused token.
mod reaction;

use serde_json::Value;

use crate::support::{Agent, Installation, Person};

async fn set_rule(deputy: &Installation, rule: Value) {
    deputy.operate("PUT", "/risk/rule", rule).await.ok();
}

/// What speaks against agents, once every stage rests.
async fn agents_at_risk(deputy: &Installation) -> Value {
    deputy.settle().await;
    deputy.operate("GET", "/risk", Value::Null).await.ok().json()["items"].clone()
}

/// What is held against people's accounts and what acts for them, once every stage rests.
async fn people_at_risk(deputy: &Installation) -> Value {
    deputy.settle().await;
    deputy.operate("GET", "/risk/people", Value::Null).await.ok().json()["items"].clone()
}

/// An agent uses a refresh token that it was given for this person and exchanged long ago.
async fn replay_by(deputy: &Installation, agent: &Agent<'_>, person: &Person<'_>) {
    let first = agent.authorize(person, "notes:read").await;
    agent.refresh(first.refresh_token()).await.ok();
    deputy.later(61);
    agent.refresh(first.refresh_token()).await.refused(400, "invalid_grant");
}

/// The ids of the facts of this type.
async fn ids_of(deputy: &Installation, name: &str) -> Vec<Value> {
    deputy.facts().await.iter().filter(|fact| fact["type"] == name).map(|fact| fact["id"].clone()).collect()
}
