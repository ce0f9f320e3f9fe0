//! The risk of a person: what happens with their account, and what each agent does that acts for them.
//!
//! The two are kept apart. What an agent does is held against what it was granted; what happens with the account, against all that
//! the account granted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Habits, Risk, Signal, SignalKind, Signals, habits::Networks};
use crate::domain::{
    client::ClientId,
    id::{EventKind, Id},
    network::Network,
    time::Timestamp,
};

/// Agents whose habits are known; the one that was idle for longest is learned anew when it comes back.
const AGENTS_MAX: usize = 32;

/// What is known of the risk of one person. A signal's other party is the agent that acted for them; none if it was the account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonRisk {
    signals: Signals<ClientId>,
    /// From where they sign in and consent.
    networks: Networks,
    /// How each agent gets tokens for them.
    agents: BTreeMap<ClientId, Habits>,
}

impl PersonRisk {
    /// The oldest first.
    pub fn signals(&self) -> &[Signal<ClientId>] {
        self.signals.all()
    }

    /// Takes in what an agent did for them, or what was done to their account; answers the signal, if it was not there.
    pub fn signalled(
        &mut self,
        event: Id<EventKind>,
        at: Timestamp,
        kind: SignalKind,
        agent: Option<&ClientId>,
    ) -> Option<Signal<ClientId>> {
        self.signals.add(Signal { kind, event, at, with: agent.cloned() })
    }

    /// Takes in that an agent got a token for them; answers what is unusual about that.
    pub fn issued(
        &mut self,
        event: Id<EventKind>,
        at: Timestamp,
        agent: &ClientId,
        network: Option<&Network>,
    ) -> Vec<Signal<ClientId>> {
        if self.agents.len() >= AGENTS_MAX && !self.agents.contains_key(agent) {
            let idle = self.agents.iter().min_by_key(|(_, habits)| habits.last_hour()).map(|(idle, _)| idle.clone());
            idle.and_then(|idle| self.agents.remove(&idle));
        }
        let kinds = self.agents.entry(agent.clone()).or_default().note(at, network);
        kinds.filter_map(|kind| self.signals.add(Signal { kind, event, at, with: Some(agent.clone()) })).collect()
    }

    /// Takes in from where they came in person; answers the signal, if that is unusual.
    pub fn came(&mut self, event: Id<EventKind>, at: Timestamp, network: &Network) -> Option<Signal<ClientId>> {
        let is_new = self.networks.note(at, network);
        is_new.then(|| self.signalled(event, at, SignalKind::NewNetwork, None)).flatten()
    }

    /// They have looked at what this agent may do and allowed it: what it did before does not count any longer. What it did since may be
    /// read first.
    pub fn approve(&mut self, agent: &ClientId, at: Timestamp) {
        self.signals.forget(|signal| signal.with.as_ref() == Some(agent) && signal.at <= at);
    }

    /// An operator has looked at the account: what was before does not count any longer.
    pub fn clear(&mut self, at: Timestamp) {
        self.signals.forget(|signal| signal.at <= at);
    }

    /// Everything that is held against the account and whatever acts for it, in whole points.
    pub fn score(&self, now: Timestamp) -> u32 {
        Risk::of(self.signals.all(), now).score
    }

    /// What is proven, all together.
    pub fn proven(&self, now: Timestamp) -> Risk {
        Risk::of(self.signals.proven(), now)
    }

    /// What is proven of this agent as it acts for them, or, without one, of the account itself.
    pub fn proven_of(&self, agent: Option<&ClientId>, now: Timestamp) -> Risk {
        Risk::of(self.signals.proven().filter(|signal| signal.with.as_ref() == agent), now)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::event, *};

    fn agent(name: &str) -> ClientId {
        ClientId::parse(name).expect("a client")
    }

    #[test]
    fn an_agents_deeds_and_the_accounts_are_held_apart() {
        let (mut risk, now) = (PersonRisk::default(), Timestamp(0));
        let network = |name: &str| Network(name.to_owned());
        risk.signalled(event(1), now, SignalKind::RefreshReplayed, Some(&agent("one")));
        risk.signalled(event(2), now, SignalKind::RefreshReplayed, Some(&agent("other")));
        risk.signalled(event(3), now, SignalKind::SignInRefused, None);
        assert_eq!(risk.came(event(4), now, &network("home")), None);
        let later = Timestamp(86_400_000);
        assert!(risk.came(event(5), later, &network("abroad")).is_some());
        let of = |risk: &PersonRisk, agent: Option<&ClientId>| risk.proven_of(agent, later).score;
        assert_eq!((of(&risk, Some(&agent("one"))), of(&risk, Some(&agent("other"))), of(&risk, None)), (25, 25, 10));
        assert_eq!((risk.proven(later).score, risk.score(later)), (60, 61));
        risk.approve(&agent("one"), Timestamp(-1));
        assert_eq!(of(&risk, Some(&agent("one"))), 25, "what it did since stays");
        risk.approve(&agent("one"), now);
        assert_eq!((of(&risk, Some(&agent("one"))), of(&risk, Some(&agent("other"))), of(&risk, None)), (0, 25, 10));
        risk.clear(now);
        assert_eq!(of(&risk, None), 10, "what came since stays");
        risk.clear(later);
        assert_eq!(risk.score(later), 0);
    }

    #[test]
    fn so_many_agents_are_known_and_no_more() {
        let mut risk = PersonRisk::default();
        for number in 0..100 {
            let at = Timestamp::from_seconds(3600 * (1 + i64::from(number)));
            risk.issued(event(number), at, &agent(&format!("agent-{number}")), None);
        }
        assert_eq!(risk.agents.len(), AGENTS_MAX);
        assert!(risk.agents.contains_key(&agent("agent-99")) && !risk.agents.contains_key(&agent("agent-0")));
    }
}
