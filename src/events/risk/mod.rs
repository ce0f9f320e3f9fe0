//! Risk: what the events say against each agent and person, and the rule that acts on it.
//!
//! One consumer reads the topic `events`. What a batch adds to the scores, the measures that follow and their facts are one
//! transaction with the consumer's cursor: after a crash either all of it has happened or none. Nothing new is looked at where tokens
//! are issued: a suspension is what an operator's would be, a client that is switched off, which an operator switches on again; grants
//! end as a person ends them; and a doubt stands at the consent, which every refresh reads, until the person consents again.
//!
//! Not seen yet, for there are no facts of them: the depth of a delegation, approvals that failed, and the volume of texts.

mod clue;
mod measures;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use self::clue::{Clue, Seen};
use crate::{
    domain::{
        client::ClientId,
        event::{Actor, Event, Fact},
        id::{Id, PersonKind},
        risk::{AgentRisk, PersonRisk, RiskRule, SignalKind},
        time::Timestamp,
    },
    events::topic::{self, Stretch, Topic},
    log::{Batch, Claim, LogError},
    storage::{StorageError, Tx, clients, consumers, outbox, risk},
    world::{Progress, StageError, World, entropy::Entropy},
};

/// Who reads, as its cursor names it.
pub const CONSUMER: &str = "risk";
/// What one batch reads: its transaction holds up other writers for some milliseconds.
const READ_BYTES_MAX: usize = 1 << 20;

/// Takes in the next events.
pub async fn step(world: &World, now: Timestamp) -> Result<Progress, StageError> {
    let Some(events) = topic::events(world, now).await? else { return Ok(Progress::Idle) };
    for claim in events.claims(CONSUMER).await? {
        match advance(world, &events, &claim, now).await? {
            Progress::Idle => {}
            progress => return Ok(progress),
        }
    }
    Ok(Progress::Idle)
}

async fn advance(world: &World, events: &Topic, claim: &Claim, now: Timestamp) -> Result<Progress, StageError> {
    let input = claim.input.clone();
    let ask = world.storage.read(move |tx| Box::pin(async move { consumers::next(tx, CONSUMER, &input).await }));
    let from: u64 = ask.await?;
    let Some(Stretch { batch, end }) = events.read_on(claim, from, READ_BYTES_MAX).await? else { return Ok(Progress::Idle) };
    let Batch { entries, next } = batch;
    // Reading so many events takes milliseconds: not on a thread that serves requests.
    let looking = tokio::task::spawn_blocking(move || entries.iter().filter_map(Clue::of).collect::<Vec<_>>());
    let clues = looking.await.map_err(|error| LogError::Unavailable(error.to_string()))?;
    let judge = Judge { entropy: Arc::clone(&world.entropy), now };
    let input = claim.input.clone();
    let is_ours = world
        .storage
        .write(move |tx| {
            Box::pin(async move {
                if !consumers::advance(tx, CONSUMER, &input, from, next).await? {
                    return Ok::<_, StorageError>(false);
                }
                judge.take_in(tx, clues).await?;
                Ok(true)
            })
        })
        .await?;
    if !is_ours {
        return Err(LogError::Fenced.into());
    }
    Ok(if next < end { Progress::Advanced } else { Progress::CaughtUp })
}

/// What one transaction decides with.
struct Judge {
    entropy: Arc<dyn Entropy>,
    now: Timestamp,
}

impl Judge {
    async fn take_in(&self, tx: &mut Tx, clues: Vec<Clue>) -> Result<(), StorageError> {
        if clues.is_empty() {
            return Ok(());
        }
        let rule = risk::rule(tx).await?;
        let mut states = States::load(tx, &clues).await?;
        for clue in &clues {
            self.see(tx, rule, &mut states, clue).await?;
        }
        states.put(tx).await
    }

    async fn see(&self, tx: &mut Tx, rule: RiskRule, states: &mut States, clue: &Clue) -> Result<(), StorageError> {
        let Clue { event, at, agent, person, seen } = clue;
        match (seen, agent, person) {
            (Seen::Signalled(kind), ..) => return self.signalled(tx, rule, states, clue, *kind).await,
            (Seen::Issued(network), Some(agent), None) => {
                for signal in states.agent(tx, agent).await?.issued(*event, *at, network.as_ref()) {
                    self.act_on_agent(tx, rule, states, agent, signal).await?;
                }
            }
            (Seen::Issued(network), Some(agent), Some(person)) => {
                for signal in states.person(*person).issued(*event, *at, agent, network.as_ref()) {
                    let kind = signal.kind;
                    self.act_on_grants(tx, rule, states, *person, signal).await?;
                    if let Some(signal) = states.agent(tx, agent).await?.signalled(*event, *at, kind, Some(*person)) {
                        self.act_on_agent(tx, rule, states, agent, signal).await?;
                    }
                }
            }
            (Seen::SignedIn(network) | Seen::Consented(network), agent, Some(person)) => {
                let state = states.person(*person);
                if let Some(agent) = agent {
                    state.approve(agent, *at);
                }
                if let Some(signal) = network.as_ref().and_then(|network| state.came(*event, *at, network)) {
                    self.act_on_grants(tx, rule, states, *person, signal).await?;
                }
            }
            (Seen::AgentCleared, Some(agent), _) => states.agent(tx, agent).await?.clear(*at),
            (Seen::PersonCleared, _, Some(person)) => states.person(*person).clear(*at),
            _ => {}
        }
        Ok(())
    }

    /// Takes in what an event signals by itself, on both sides.
    async fn signalled(
        &self,
        tx: &mut Tx,
        rule: RiskRule,
        states: &mut States,
        clue: &Clue,
        kind: SignalKind,
    ) -> Result<(), StorageError> {
        let Clue { event, at, agent, person, .. } = clue;
        // That a person refused speaks against who asked, and not against them.
        if let Some(person) = person.filter(|_| kind != SignalKind::ConsentRefused)
            && let Some(signal) = states.person(person).signalled(*event, *at, kind, agent.as_ref())
            && kind.is_proven()
        {
            self.act_on_grants(tx, rule, states, person, signal).await?;
        }
        let Some(agent) = agent else { return Ok(()) };
        // Names that somebody made up are not kept.
        let is_known = clue.is_proven() || states.agents.contains_key(agent);
        if !is_known && clients::find(tx, agent).await?.is_none() {
            return Ok(());
        }
        if let Some(signal) = states.agent(tx, agent).await?.signalled(*event, *at, kind, *person)
            && kind.is_proven()
        {
            self.act_on_agent(tx, rule, states, agent, signal).await?;
        }
        Ok(())
    }

    async fn record(&self, tx: &mut Tx, fact: Fact) -> Result<(), StorageError> {
        let event = Event { id: Id::new(self.now, self.entropy.bytes()), at: self.now, actor: Actor::Deputy, fact };
        outbox::put(tx, &event).await
    }
}

/// The states that a batch is about.
struct States {
    agents: BTreeMap<ClientId, AgentRisk>,
    people: BTreeMap<Id<PersonKind>, PersonRisk>,
}

impl States {
    async fn load(tx: &mut Tx, clues: &[Clue]) -> Result<States, StorageError> {
        // What an agent gets for a person is unusual by the person's state alone.
        let is_by_person = |clue: &&Clue| matches!(clue.seen, Seen::Issued(_)) && clue.person.is_some();
        let of_agents = clues.iter().filter(|clue| !is_by_person(clue));
        let agents: BTreeSet<_> = of_agents.filter_map(|clue| clue.agent.clone()).collect();
        let people: BTreeSet<_> = clues.iter().filter_map(|clue| clue.person).collect();
        Ok(States { agents: risk::load_agents(tx, &agents).await?, people: risk::load_people(tx, &people).await? })
    }

    /// The state of an agent. Most signals name one that was loaded with the batch.
    async fn agent(&mut self, tx: &mut Tx, agent: &ClientId) -> Result<&mut AgentRisk, StorageError> {
        if !self.agents.contains_key(agent) {
            let mut found = risk::load_agents(tx, &BTreeSet::from([agent.clone()])).await?;
            self.agents.insert(agent.clone(), found.remove(agent).unwrap_or_default());
        }
        Ok(self.agents.get_mut(agent).expect("it was put there if it was not"))
    }

    fn person(&mut self, person: Id<PersonKind>) -> &mut PersonRisk {
        self.people.entry(person).or_default()
    }

    async fn put(&self, tx: &mut Tx) -> Result<(), StorageError> {
        risk::put_agents(tx, &self.agents).await?;
        risk::put_people(tx, &self.people).await
    }
}
