//! Risk: what the events say against each agent, and the rule that acts on it.
//!
//! One consumer reads the topic `events`. What a batch adds to the scores, the suspensions that follow and their facts are one
//! transaction with the consumer's cursor: after a crash either all of it has happened or none. A suspension is what an operator's
//! would be, a client that is switched off, so every endpoint refuses it at the next check; an operator switches it on again.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    domain::{
        client::ClientId,
        event::{Actor, Event, Fact, Head},
        grant::EndCause,
        id::{EventKind, Id},
        risk::{AgentRisk, Observed, RiskRule, Signal, SignalKind},
        time::Timestamp,
    },
    log::{Claim, Entry, LogError},
    storage::{StorageError, Tx, clients, consumers, outbox, revocations, risk},
    world::{EVENTS, Progress, StageError, World, entropy::Entropy},
};

/// Who reads, as its cursor names it.
pub const CONSUMER: &str = "risk";
/// What one batch reads: its transaction holds up other writers for some milliseconds.
const READ_BYTES_MAX: usize = 1 << 20;

/// Takes in the next events.
pub async fn step(world: &World, now: Timestamp) -> Result<Progress, StageError> {
    for claim in world.log.claims(CONSUMER, EVENTS).await? {
        match advance(world, &claim, now).await? {
            Progress::Idle => {}
            progress => return Ok(progress),
        }
    }
    Ok(Progress::Idle)
}

async fn advance(world: &World, claim: &Claim, now: Timestamp) -> Result<Progress, StageError> {
    let input = claim.input.clone();
    let ask = world.storage.read(move |tx| Box::pin(async move { consumers::next(tx, CONSUMER, &input).await }));
    let from: u64 = ask.await?;
    let (start, end) = world.log.bounds(EVENTS, claim.partition).await?;
    if from.max(start) >= end {
        return Ok(Progress::Idle);
    }
    let read = world.log.read(EVENTS, claim.partition, from.max(start), READ_BYTES_MAX).await?;
    let (entries, next) = (read.entries, read.next);
    // Reading so many events takes milliseconds: not on a thread that serves requests.
    let looking = tokio::task::spawn_blocking(move || entries.iter().filter_map(Sighting::of).collect::<Vec<_>>());
    let sightings = looking.await.map_err(|error| LogError::Unavailable(error.to_string()))?;
    let judge = Judge { entropy: Arc::clone(&world.entropy), now };
    let input = claim.input.clone();
    let is_ours = world
        .storage
        .write(move |tx| {
            Box::pin(async move {
                if !consumers::advance(tx, CONSUMER, &input, from, next).await? {
                    return Ok::<_, StorageError>(false);
                }
                judge.take_in(tx, sightings).await?;
                Ok(true)
            })
        })
        .await?;
    if !is_ours {
        return Err(LogError::Fenced.into());
    }
    Ok(if next < end { Progress::Advanced } else { Progress::CaughtUp })
}

/// An event that says something of an agent.
struct Sighting {
    agent: ClientId,
    event: Id<EventKind>,
    at: Timestamp,
    observed: Observed,
}

impl Sighting {
    /// What the entry says; `None` if it is about no agent, or was written by a later version.
    fn of(entry: &Entry) -> Option<Sighting> {
        // Most of all events are customers', and are not read at all.
        if Head::is_received(&entry.payload) {
            return None;
        }
        let event: Event = serde_json::from_slice(&entry.payload).ok()?;
        let (agent, observed) = match event.fact {
            Fact::GrantEnded { client, cause: EndCause::RefreshReplayed, .. } => {
                (client, Observed::Signalled(SignalKind::RefreshReplayed))
            }
            Fact::ConsentRefused { client, .. } => (client, Observed::Signalled(SignalKind::ConsentRefused)),
            Fact::RequestRefused { client: Some(client), .. } => (client, Observed::Signalled(SignalKind::RequestRefused)),
            Fact::TokenIssued { client, .. } => (client, Observed::Issued),
            Fact::ClientChanged { client, change } if change == "enabled" => (client, Observed::Cleared),
            Fact::ClientDeleted { client } => (client, Observed::Cleared),
            _ => return None,
        };
        Some(Sighting { agent, event: event.id, at: event.at, observed })
    }
}

/// What one transaction decides with.
struct Judge {
    entropy: Arc<dyn Entropy>,
    now: Timestamp,
}

impl Judge {
    async fn take_in(&self, tx: &mut Tx, sightings: Vec<Sighting>) -> Result<(), StorageError> {
        if sightings.is_empty() {
            return Ok(());
        }
        let rule = risk::rule(tx).await?;
        let agents: BTreeSet<String> = sightings.iter().map(|sighting| sighting.agent.to_string()).collect();
        let mut states = risk::load(tx, &agents).await?;
        for sighting in sightings {
            let agent = sighting.agent.as_str();
            // Names that somebody made up are not kept.
            let is_known = states.contains_key(agent) || sighting.observed.is_proven();
            if !is_known && clients::find(tx, &sighting.agent).await?.is_none() {
                continue;
            }
            let state = states.entry(agent.to_owned()).or_default();
            let signal = state.observe(sighting.event, sighting.at, sighting.observed);
            if let Some(signal) = signal.filter(|signal| signal.kind.is_proven()) {
                self.act(tx, rule, &sighting.agent, state, signal).await?;
            }
        }
        risk::put(tx, &states).await
    }

    /// Tells of a signal, and does what the rule says.
    async fn act(
        &self,
        tx: &mut Tx,
        rule: RiskRule,
        agent: &ClientId,
        state: &AgentRisk,
        signal: Signal,
    ) -> Result<(), StorageError> {
        let score = state.proven_score(signal.at);
        let signalled = Fact::RiskSignalled { agent: agent.clone(), signal: signal.kind, event: signal.event, score };
        self.record(tx, signalled).await?;
        let Some(threshold) = rule.reached(state, signal.at) else { return Ok(()) };
        if clients::hold(tx, agent).await?.is_none_or(|client| client.is_disabled()) {
            return Ok(());
        }
        clients::set_disabled(tx, agent, Some(self.now)).await?;
        revocations::switch_off(tx, agent.as_str()).await?;
        self.record(tx, Fact::AgentSuspended { agent: agent.clone(), score, threshold, events: state.proven_events() }).await?;
        self.record(tx, Fact::ClientChanged { client: agent.clone(), change: "disabled".to_owned() }).await
    }

    async fn record(&self, tx: &mut Tx, fact: Fact) -> Result<(), StorageError> {
        let event = Event { id: Id::new(self.now, self.entropy.bytes()), at: self.now, actor: Actor::Deputy, fact };
        outbox::put(tx, &event).await
    }
}
