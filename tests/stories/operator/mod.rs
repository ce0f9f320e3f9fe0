//! An operator: the first start, the API's document, and each noun of `/admin/v1` with what is refused there.

/// The first start makes an operator; operators make others.
mod operators;
/// Clients: registered, changed, disabled, deleted.
mod clients;
/// People: accounts, invitations, locks.
mod people;
/// Resources and their secrets.
mod resources;
/// Sources of customer events.
mod sources;
/// Grants, keys, tokens and the facts.
mod records;
/// What is forgotten, and what never.
mod upkeep;

use deputy::domain::refusal::OAuthError;
use serde_json::Value;

use crate::support::{Answer, Installation};

/// Fails unless this is a refusal of this status and code that says this.
#[track_caller]
fn refused(answer: Answer, status: u16, refusal: &OAuthError, told: &str) {
    let answer = answer.refused(status, refusal.code.as_str());
    let description = answer.text("error_description");
    assert!(description.contains(told), "{told:?} is not in {description:?}");
}

/// The last fact of this type: who did it, and its data.
async fn last_fact(deputy: &Installation, name: &str) -> (Value, Value) {
    let last = deputy.facts().await.into_iter().rfind(|fact| fact["type"] == name);
    let last = last.unwrap_or_else(|| panic!("no {name} on record"));
    (last["actor"].clone(), last["data"].clone())
}
