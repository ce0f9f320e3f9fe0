//! Refusals on record, and no more of them than the disk bears: what exceeds the bound is counted by reason.
//!
//! Whoever is refused has proven nothing, so nothing of their choosing is kept: a client is named only if there is one of that name.

use std::net::IpAddr;

use crate::{
    domain::{
        client::ClientId,
        event::{Actor, Fact},
        refusal::Code,
        time::Timestamp,
    },
    log::LogError,
    storage::clients,
    world::World,
};

/// A request that was refused.
#[derive(Debug)]
pub struct RefusedRequest {
    pub code: Code,
    pub reason: &'static str,
    /// The pattern of the path, such as `/token`.
    pub route: String,
    /// Who the request says it is from.
    pub client: Option<ClientId>,
    pub address: IpAddr,
}

/// Counts the refusal of a request, and puts it on record, straight in the log: it changes nothing else.
pub async fn record(world: &World, refused: RefusedRequest, now: Timestamp) {
    let RefusedRequest { code, reason, route, client, address } = refused;
    if !count(code, reason) || !world.memory.refusals.admit_request(address, reason) {
        return;
    }
    let client = match client {
        Some(id) => known(world, id).await,
        None => None,
    };
    let fact = Fact::RequestRefused { route, client, code: code.as_str().to_owned(), reason: reason.to_owned() };
    if let Err(error) = world.record(&world.event(now, Actor::Anonymous, fact)).await {
        tracing::warn!(%error, reason, "a refusal could not be put on record");
    }
}

/// Counts a wrong password, and tells whether it is to be put on record.
pub(super) fn count_password(world: &World, code: Code, reason: &'static str) -> bool {
    count(code, reason) && world.memory.refusals.admit_password(reason)
}

/// Puts on record how many were left out, if any were.
///
/// # Errors
/// Those of the log; then they are told the next time.
pub async fn tell_left_out(world: &World, now: Timestamp) -> Result<(), LogError> {
    let counts = world.memory.refusals.take_left_out();
    if counts.is_empty() {
        return Ok(());
    }
    let reasons = counts.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect();
    let told = world.record(&world.event(now, Actor::Deputy, Fact::RefusalsLeftOut { reasons })).await;
    if told.is_err() {
        world.memory.refusals.put_back(counts);
    }
    told
}

/// Whether it is one for the record: trouble of our own is not, it passes.
fn count(code: Code, reason: &'static str) -> bool {
    metrics::counter!("deputy_refusals_total", "reason" => reason).increment(1);
    !matches!(code, Code::TemporarilyUnavailable | Code::TooManyRequests | Code::ServerError)
}

async fn known(world: &World, id: ClientId) -> Option<ClientId> {
    let found = world.storage.read(move |tx| Box::pin(async move { clients::find(tx, &id).await })).await;
    found.ok().flatten().map(|client| client.id)
}
