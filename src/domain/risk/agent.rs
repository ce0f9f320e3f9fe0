//! The risk of an agent: what it did for everybody it acts for, and for itself.
//!
//! Many people share one agent, and each of them can make it look bad: whoever has an account holds what a public client holds for
//! them, and may replay it. So what two accounts can do, however loud, suspends nobody (2026-11-23): the two that weigh the most are
//! left out of what a suspension is decided by. What one account does costs that account's own grants.

use serde::{Deserialize, Serialize};

use super::{Habits, Risk, Signal, SignalKind, Signals};
use crate::domain::{
    id::{EventKind, Id, PersonKind},
    network::Network,
    time::Timestamp,
};

/// The accounts whose signals do not count towards a suspension: those that weigh the most.
const LOUDEST_LEFT_OUT: usize = 2;

/// What is known of the risk of one agent. A signal's other party is the person it acted for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentRisk {
    signals: Signals<Id<PersonKind>>,
    /// How it gets tokens for itself. How it gets them for a person is that person's to know.
    #[serde(flatten)]
    own: Habits,
}

impl AgentRisk {
    /// The oldest first.
    pub fn signals(&self) -> &[Signal<Id<PersonKind>>] {
        self.signals.all()
    }

    /// Takes in what it did, or was said to have done; answers the signal, if it was not there.
    pub fn signalled(
        &mut self,
        event: Id<EventKind>,
        at: Timestamp,
        kind: SignalKind,
        person: Option<Id<PersonKind>>,
    ) -> Option<Signal<Id<PersonKind>>> {
        self.signals.add(Signal { kind, event, at, with: person })
    }

    /// Takes in that it got a token for itself; answers what is unusual about that.
    pub fn issued(&mut self, event: Id<EventKind>, at: Timestamp, network: Option<&Network>) -> Vec<Signal<Id<PersonKind>>> {
        let kinds = self.own.note(at, network);
        kinds.filter_map(|kind| self.signals.add(Signal { kind, event, at, with: None })).collect()
    }

    /// An operator has looked at it, or it is gone: what was before does not count any longer. What came since may be read first.
    pub fn clear(&mut self, at: Timestamp) {
        self.signals.forget(|signal| signal.at <= at);
    }

    /// Everything that speaks against it, in whole points.
    pub fn score(&self, now: Timestamp) -> u32 {
        Risk::of(self.signals.all(), now).score
    }

    /// What is proven.
    pub fn proven(&self, now: Timestamp) -> Risk {
        Risk::of(self.signals.proven(), now)
    }

    /// What a suspension is decided by: what it did for itself, and for people but the two that weigh the most. Where an operator has let
    /// it act, only what it did since: they have looked at all that was before, also if some of that is read only now.
    pub fn suspension(&self, now: Timestamp, let_act_at: Option<Timestamp>) -> Risk {
        // A replay is always somebody's, also where an early fact does not tell whose.
        let is_own = |signal: &&Signal<_>| signal.with.is_none() && signal.kind != SignalKind::RefreshReplayed;
        let counting = || self.signals.proven().filter(|signal| Some(signal.at) > let_act_at);
        let mut accounts: Vec<(Option<Id<PersonKind>>, f64)> = Vec::new();
        for signal in counting().filter(|signal| !is_own(signal)) {
            match accounts.iter_mut().find(|(person, _)| *person == signal.with) {
                Some((_, weight)) => *weight += signal.worth(now),
                None => accounts.push((signal.with, signal.worth(now))),
            }
        }
        accounts.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        let counted: Vec<_> = accounts.into_iter().skip(LOUDEST_LEFT_OUT).map(|(person, _)| person).collect();
        Risk::of(counting().filter(|signal| is_own(signal) || counted.contains(&signal.with)), now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::tests::event, *};

    fn person(number: u8) -> Id<PersonKind> {
        Id::from_bytes([number; 16])
    }

    fn replayed(people: impl IntoIterator<Item = u8>) -> AgentRisk {
        let mut risk = AgentRisk::default();
        for (number, who) in (0..).zip(people) {
            risk.signalled(event(number), Timestamp(0), SignalKind::RefreshReplayed, Some(person(who)));
        }
        risk
    }

    #[test]
    fn it_takes_more_than_two_people_to_suspend() {
        for (people, proven, suspension) in [
            (vec![1], 50, 0),
            (vec![1, 2], 100, 0),
            (vec![1, 2, 3], 150, 50),
            (vec![1, 1, 2, 2, 3], 250, 50),
            (vec![1, 2, 3, 4], 200, 100),
        ] {
            let risk = replayed(people.clone());
            let found = (risk.proven(Timestamp(0)).score, risk.suspension(Timestamp(0), None).score);
            assert_eq!(found, (proven, suspension), "{people:?}");
        }
    }

    #[test]
    fn what_it_does_for_itself_is_its_own() {
        let mut risk = replayed([1, 2]);
        risk.signalled(event(100), Timestamp(0), SignalKind::RateJumped, None);
        let suspension = risk.suspension(Timestamp(0), None);
        assert_eq!((suspension.score, suspension.signals), (20, vec![(SignalKind::RateJumped, event(100))]));
        // A fact of an earlier release does not tell whose replay it was.
        risk.signalled(event(101), Timestamp(0), SignalKind::RefreshReplayed, None);
        assert_eq!(risk.suspension(Timestamp(0), None).score, 20 + 50);
        assert_eq!(AgentRisk::default().suspension(Timestamp(0), None).score, 0);
    }

    #[test]
    fn a_state_of_an_earlier_release_is_read() {
        let event = event(1);
        let text = format!(
            r#"{{"signals":[{{"kind":"refresh_replayed","event":"{event}","at":0}}],
                "rate":{{"since_hour":5,"hour":6,"issued":7,"usual_thousandths":8}}}}"#
        );
        let mut risk: AgentRisk = serde_json::from_str(&text).expect("it is a state");
        assert_eq!((risk.signals().len(), risk.proven(Timestamp(0)).score, risk.suspension(Timestamp(0), None).score), (1, 50, 0));
        let again = serde_json::to_string(&risk).expect("states serialise");
        assert!(again.contains(r#""rate":{"since_hour":5,"hour":6,"issued":7,"usual_thousandths":8}"#), "{again}");
        risk.clear(Timestamp(0));
        assert_eq!(risk.score(Timestamp(0)), 0);
    }

    #[test]
    fn what_was_before_an_operators_word_does_not_count_and_what_came_since_does() {
        let mut risk = replayed([1, 2, 3, 4]);
        let later = Timestamp(1_000);
        for (number, who) in [(10, 1), (11, 2), (12, 3)] {
            risk.signalled(event(number), later, SignalKind::RefreshReplayed, Some(person(who)));
        }
        let score = |risk: &AgentRisk, let_act_at| risk.suspension(later, let_act_at).score;
        assert_eq!((score(&risk, None), score(&risk, Some(Timestamp(0))), score(&risk, Some(later))), (150, 50, 0));
        risk.clear(Timestamp(0));
        assert_eq!((risk.signals().len(), score(&risk, None)), (3, 50));
    }

    proptest! {
        #[test]
        fn two_accounts_suspend_nobody(
            deeds in prop::collection::vec((1..=2u8, 0..4usize, 0..1_000_000_000_i64), 0..200),
            bystanders in prop::collection::vec((3..=100u8, 0..4usize), 0..10),
        ) {
            const KINDS: [SignalKind; 4] =
                [SignalKind::RefreshReplayed, SignalKind::RateJumped, SignalKind::NewNetwork, SignalKind::OffHours];
            let (mut alone, mut risk) = (AgentRisk::default(), AgentRisk::default());
            for (number, (who, kind)) in (0..).zip(&bystanders) {
                alone.signalled(event(number), Timestamp(0), KINDS[*kind], Some(person(*who)));
                risk.signalled(event(number), Timestamp(0), KINDS[*kind], Some(person(*who)));
            }
            for (number, (who, kind, at)) in (1000..).zip(&deeds) {
                risk.signalled(event(number), Timestamp(*at), KINDS[*kind], Some(person(*who)));
            }
            // The two add nothing: without them what others did is worth at least as much.
            let of_others = alone.proven(Timestamp(0)).score;
            prop_assert!(risk.suspension(Timestamp(0), None).score <= of_others);
            if bystanders.is_empty() {
                prop_assert_eq!(risk.suspension(Timestamp(0), None).score, 0);
            }
        }
    }
}
