//! Risk: how dangerous an agent or a person's account looks by what was seen to be done, which events say so, and what is done about it.
//!
//! A score is nothing but the sum of the signals that are shown, each worth half as much after a day; so what an operator reads is
//! what was decided by. It follows from the events alone: whoever reads the same ones finds the same score.
//!
//! Anybody may send a request in anybody's name. What nobody proved counts in what operators see, and never in what is acted upon:
//! otherwise a stranger could have an agent suspended by asking badly in its name.

mod habits;
mod agent;
mod person;
mod rule;

use serde::{Deserialize, Serialize};

pub use self::{
    agent::AgentRisk,
    habits::Habits,
    person::PersonRisk,
    rule::{Doubt, Measure, RiskRule, THRESHOLD_MAX},
};
use super::{
    id::{EventKind, Id},
    time::Timestamp,
};

/// After this long a signal is worth half.
const HALF_LIFE_MS: f64 = 86_400_000.0;
/// Signals of each kind that are kept. Kinds do not displace each other: who makes much noise hides nothing by it.
const SIGNALS_OF_KIND_MAX: usize = 20;

/// Something that was seen to be done, or was said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SignalKind {
    /// A refresh token was used that had been exchanged long ago: two parties hold the same family.
    RefreshReplayed,
    /// Many times as many tokens came in an hour as usually do.
    RateJumped,
    /// Somebody came from a network that they were not seen in before.
    NewNetwork,
    /// A token came at an hour of the day at which hardly any did before.
    OffHours,
    /// A person was asked in an agent's name, and said no.
    ConsentRefused,
    /// A request in an agent's name was refused.
    RequestRefused,
    /// Somebody could not sign in as this person.
    SignInRefused,
}

impl SignalKind {
    /// What it is worth when it happens.
    pub const fn points(self) -> u32 {
        match self {
            SignalKind::RefreshReplayed => 50,
            SignalKind::RateJumped => 20,
            SignalKind::NewNetwork => 10,
            SignalKind::OffHours | SignalKind::ConsentRefused => 5,
            SignalKind::RequestRefused | SignalKind::SignInRefused => 2,
        }
    }

    /// Whether they themselves did it, or somebody who holds what was given to them alone.
    pub const fn is_proven(self) -> bool {
        match self {
            SignalKind::RefreshReplayed | SignalKind::RateJumped | SignalKind::NewNetwork | SignalKind::OffHours => true,
            SignalKind::ConsentRefused | SignalKind::RequestRefused | SignalKind::SignInRefused => false,
        }
    }

    /// The word in facts and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            SignalKind::RefreshReplayed => "refresh_replayed",
            SignalKind::RateJumped => "rate_jumped",
            SignalKind::NewNetwork => "new_network",
            SignalKind::OffHours => "off_hours",
            SignalKind::ConsentRefused => "consent_refused",
            SignalKind::RequestRefused => "request_refused",
            SignalKind::SignInRefused => "sign_in_refused",
        }
    }
}

/// A signal, and the event that led to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal<P> {
    pub kind: SignalKind,
    pub event: Id<EventKind>,
    pub at: Timestamp,
    /// The other party: for an agent, the person it acted for; for a person, the agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub with: Option<P>,
}

impl<P> Signal<P> {
    fn worth(&self, now: Timestamp) -> f64 {
        let age_ms = now.since(self.at).as_millis() as f64;
        f64::from(self.kind.points()) * (-age_ms / HALF_LIFE_MS).exp2()
    }
}

/// What a decision is made by: a score, and what it is the sum of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Risk {
    /// In whole points.
    pub score: u32,
    /// With the events that led to them, the oldest first.
    pub signals: Vec<(SignalKind, Id<EventKind>)>,
}

impl Risk {
    fn of<'s, P: 's>(signals: impl IntoIterator<Item = &'s Signal<P>>, now: Timestamp) -> Risk {
        let (mut points, mut found) = (0.0, Vec::new());
        for signal in signals {
            points += signal.worth(now);
            found.push((signal.kind, signal.event));
        }
        // At most some thousand points: the cast loses nothing but the fraction.
        Risk { score: points.round() as u32, signals: found }
    }
}

/// The signals that are kept, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
struct Signals<P>(Vec<Signal<P>>);

impl<P> Default for Signals<P> {
    fn default() -> Signals<P> {
        Signals(Vec::new())
    }
}

impl<P: Clone + PartialEq> Signals<P> {
    fn all(&self) -> &[Signal<P>] {
        &self.0
    }

    fn proven(&self) -> impl Iterator<Item = &Signal<P>> {
        self.0.iter().filter(|signal| signal.kind.is_proven())
    }

    /// Keeps a signal; answers it, unless it was there.
    fn add(&mut self, signal: Signal<P>) -> Option<Signal<P>> {
        if self.0.iter().any(|known| known.event == signal.event && known.kind == signal.kind) {
            return None;
        }
        self.0.push(signal.clone());
        let of_kind: Vec<usize> = (0..self.0.len()).filter(|place| self.0[*place].kind == signal.kind).collect();
        if of_kind.len() > SIGNALS_OF_KIND_MAX {
            // The oldest of whoever has the most: nobody's noise hides what somebody else did.
            let share = |place: &usize| of_kind.iter().filter(|other| self.0[**other].with == self.0[*place].with).count();
            let displaced = of_kind.iter().rev().max_by_key(|place| share(place)).copied();
            displaced.map(|place| self.0.remove(place));
        }
        Some(signal)
    }

    fn forget(&mut self, is_forgotten: impl Fn(&Signal<P>) -> bool) {
        self.0.retain(|signal| !is_forgotten(signal));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    pub(super) fn event(number: u32) -> Id<EventKind> {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        Id::from_bytes(bytes)
    }

    fn signal(number: u32, kind: SignalKind, with: Option<u8>) -> Signal<u8> {
        Signal { kind, event: event(number), at: Timestamp(0), with }
    }

    #[test]
    fn a_signal_is_worth_half_after_a_day() {
        let mut signals = Signals::default();
        signals.add(signal(1, SignalKind::RefreshReplayed, None));
        for (hours, score) in [(0, 50), (12, 35), (24, 25), (48, 13), (24 * 30, 0)] {
            assert_eq!(Risk::of(signals.all(), Timestamp(hours * HOUR_MS)).score, score, "after {hours} hours");
        }
        assert_eq!(Risk::of(signals.all(), Timestamp(-HOUR_MS)).score, 50, "a clock that went back makes it no worse");
    }

    #[test]
    fn what_nobody_proved_is_seen_and_not_acted_upon() {
        let mut signals = Signals::default();
        signals.add(signal(0, SignalKind::RefreshReplayed, None));
        for number in 1..=1000 {
            let kind = if number % 2 == 0 { SignalKind::RequestRefused } else { SignalKind::ConsentRefused };
            signals.add(signal(number, kind, None));
        }
        let (all, proven) = (Risk::of(signals.all(), Timestamp(0)), Risk::of(signals.proven(), Timestamp(0)));
        assert_eq!((all.score, proven.score), (50 + 20 * 5 + 20 * 2, 50));
        assert_eq!(proven.signals, [(SignalKind::RefreshReplayed, event(0))], "noise displaces only noise");
    }

    #[test]
    fn the_same_event_counts_once_for_each_thing_that_it_says() {
        let mut signals = Signals::default();
        let add = |signals: &mut Signals<u8>, kind| signals.add(signal(1, kind, None)).is_some();
        assert!(add(&mut signals, SignalKind::NewNetwork) && add(&mut signals, SignalKind::OffHours));
        assert!(!add(&mut signals, SignalKind::NewNetwork));
        assert_eq!(signals.all().len(), 2);
    }

    #[test]
    fn whoever_is_loud_displaces_themselves() {
        let mut signals = Signals::default();
        signals.add(signal(0, SignalKind::RefreshReplayed, Some(1)));
        for number in 1..=100 {
            signals.add(signal(number, SignalKind::RefreshReplayed, Some(2)));
        }
        assert_eq!(signals.all().len(), SIGNALS_OF_KIND_MAX);
        let events: Vec<_> = signals.all().iter().map(|signal| signal.event).collect();
        assert_eq!((events[0], events[1], events[19]), (event(0), event(82), event(100)));
    }
}
