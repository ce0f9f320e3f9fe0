//! Risk: how dangerous an agent looks by what it was seen to do, which events say so, and what is done about it.
//!
//! The score is nothing but the sum of the signals that are shown, each worth half as much after a day; so what an operator reads is
//! what was decided by. It follows from the events alone: whoever reads the same ones finds the same score.
//!
//! Anybody may send a request in anybody's name. What nobody proved counts in what operators see, and never in what is acted upon:
//! otherwise a stranger could have an agent suspended by asking badly in its name.

use serde::{Deserialize, Serialize};

use super::{
    id::{EventKind, Id},
    time::Timestamp,
};

/// After this long a signal is worth half.
const HALF_LIFE_MS: f64 = 86_400_000.0;
/// Signals of each kind that are kept. Kinds do not displace each other: who makes much noise hides nothing by it.
const SIGNALS_OF_KIND_MAX: usize = 20;
/// How long an agent's rate is learned before it can be unusual.
const HOURS_LEARNED_MIN: i64 = 24;
/// Tokens in one hour that are never too many.
const ISSUED_MIN: u32 = 50;
/// How many times the usual is unusual.
const JUMP: u32 = 10;
/// The share of the last hour in what is usual, as a divisor.
const USUAL_SHARE: u32 = 8;
/// Hours after which nothing is left of what was usual.
const USUAL_HOURS_MAX: i64 = 200;

/// Something that an agent was seen to do, or was said to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SignalKind {
    /// It used a refresh token that it had exchanged long ago: two parties hold the same family.
    RefreshReplayed,
    /// It got many times as many tokens in an hour as it usually does.
    RateJumped,
    /// A person was asked in its name, and said no.
    ConsentRefused,
    /// A request in its name was refused.
    RequestRefused,
}

impl SignalKind {
    /// What it is worth when it happens.
    pub const fn points(self) -> u32 {
        match self {
            SignalKind::RefreshReplayed => 50,
            SignalKind::RateJumped => 20,
            SignalKind::ConsentRefused => 5,
            SignalKind::RequestRefused => 2,
        }
    }

    /// Whether the agent itself did it, or somebody who holds what was given to it alone.
    pub const fn is_proven(self) -> bool {
        match self {
            SignalKind::RefreshReplayed | SignalKind::RateJumped => true,
            SignalKind::ConsentRefused | SignalKind::RequestRefused => false,
        }
    }

    /// The word in facts and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            SignalKind::RefreshReplayed => "refresh_replayed",
            SignalKind::RateJumped => "rate_jumped",
            SignalKind::ConsentRefused => "consent_refused",
            SignalKind::RequestRefused => "request_refused",
        }
    }
}

/// A signal, and the event that led to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    pub kind: SignalKind,
    pub event: Id<EventKind>,
    pub at: Timestamp,
}

impl Signal {
    fn worth(&self, now: Timestamp) -> f64 {
        let age_ms = now.since(self.at).as_millis() as f64;
        f64::from(self.kind.points()) * (-age_ms / HALF_LIFE_MS).exp2()
    }
}

/// What an event says of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observed {
    Signalled(SignalKind),
    /// It got a token.
    Issued,
    /// An operator has looked at it, or it is gone: what was before does not count any longer.
    Cleared,
}

impl Observed {
    /// Whether the agent exists: somebody proved to be it, or an operator named it.
    pub const fn is_proven(self) -> bool {
        match self {
            Observed::Signalled(kind) => kind.is_proven(),
            Observed::Issued | Observed::Cleared => true,
        }
    }
}

/// What is known of the risk of one agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentRisk {
    /// The oldest first.
    signals: Vec<Signal>,
    rate: Rate,
}

impl AgentRisk {
    pub fn signals(&self) -> &[Signal] {
        &self.signals
    }

    /// Takes in what an event says; answers the signal that it is, if it is one that was not there.
    pub fn observe(&mut self, event: Id<EventKind>, at: Timestamp, observed: Observed) -> Option<Signal> {
        let kind = match observed {
            Observed::Signalled(kind) => kind,
            Observed::Issued if self.rate.note(at) => SignalKind::RateJumped,
            Observed::Issued => return None,
            Observed::Cleared => {
                self.signals.clear();
                return None;
            }
        };
        if self.signals.iter().any(|signal| signal.event == event) {
            return None;
        }
        let signal = Signal { kind, event, at };
        self.signals.push(signal);
        let is_same = |signal: &Signal| signal.kind == kind;
        if self.signals.iter().filter(|signal| is_same(signal)).count() > SIGNALS_OF_KIND_MAX
            && let Some(oldest) = self.signals.iter().position(is_same)
        {
            self.signals.remove(oldest);
        }
        Some(signal)
    }

    /// Everything that speaks against it, in whole points.
    pub fn score(&self, now: Timestamp) -> u32 {
        sum(self.signals.iter(), now)
    }

    /// As `score`, of what is proven: this alone is acted upon.
    pub fn proven_score(&self, now: Timestamp) -> u32 {
        sum(self.proven(), now)
    }

    /// The events that `proven_score` is made of, the oldest first.
    pub fn proven_events(&self) -> Vec<Id<EventKind>> {
        self.proven().map(|signal| signal.event).collect()
    }

    fn proven(&self) -> impl Iterator<Item = &Signal> {
        self.signals.iter().filter(|signal| signal.kind.is_proven())
    }
}

fn sum<'s>(signals: impl Iterator<Item = &'s Signal>, now: Timestamp) -> u32 {
    // At most some thousand points: the cast loses nothing but the fraction.
    signals.map(|signal| signal.worth(now)).sum::<f64>().round() as u32
}

/// How many tokens an agent gets in an hour, and how many it usually does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Rate {
    /// The hour since the epoch in which it was first seen.
    since_hour: Option<i64>,
    hour: i64,
    issued: u32,
    /// Thousandths of a token in an hour.
    usual_thousandths: u32,
}

impl Rate {
    /// Counts a token; whether it is the one that is too many for its hour.
    fn note(&mut self, at: Timestamp) -> bool {
        let hour = at.seconds().div_euclid(3600);
        let since_hour = *self.since_hour.get_or_insert(hour);
        if hour > self.hour {
            self.finish_hours(hour);
        }
        self.issued = self.issued.saturating_add(1);
        // Stands as long as the hour does, so it is met once.
        let bound = ISSUED_MIN.max(self.usual_thousandths.saturating_mul(JUMP) / 1000);
        hour - since_hour >= HOURS_LEARNED_MIN && self.issued == bound
    }

    fn finish_hours(&mut self, hour: i64) {
        for _ in 0..(hour - self.hour).min(USUAL_HOURS_MAX) {
            let issued = std::mem::take(&mut self.issued).saturating_mul(1000);
            self.usual_thousandths = self.usual_thousandths - self.usual_thousandths / USUAL_SHARE + issued / USUAL_SHARE;
        }
        self.hour = hour;
    }
}

/// What is done about a risk. The default is to do nothing: to record it, and to show it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RiskRule {
    /// The proven score from which on an agent is suspended; `null`: never. A replayed refresh token is worth 50 when it happens, a
    /// sudden change of rate 20. Whoever has an account can replay what a public agent holds for them, so one event should not do.
    pub suspend_at: Option<u32>,
}

/// The highest score that a rule may name.
pub const SUSPEND_AT_MAX: u32 = 1000;

impl RiskRule {
    /// The threshold that this agent has reached, if there is one.
    pub fn reached(self, risk: &AgentRisk, now: Timestamp) -> Option<u32> {
        self.suspend_at.filter(|threshold| risk.proven_score(now) >= *threshold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    fn event(number: u32) -> Id<EventKind> {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        Id::from_bytes(bytes)
    }

    #[test]
    fn a_signal_is_worth_half_after_a_day() {
        let mut risk = AgentRisk::default();
        risk.observe(event(1), Timestamp(0), Observed::Signalled(SignalKind::RefreshReplayed));
        for (hours, score) in [(0, 50), (12, 35), (24, 25), (48, 13), (24 * 30, 0)] {
            assert_eq!(risk.score(Timestamp(hours * HOUR_MS)), score, "after {hours} hours");
        }
        assert_eq!(risk.score(Timestamp(-HOUR_MS)), 50, "a clock that went back makes it no worse");
    }

    #[test]
    fn what_nobody_proved_is_seen_and_not_acted_upon() {
        let mut risk = AgentRisk::default();
        risk.observe(event(0), Timestamp(0), Observed::Signalled(SignalKind::RefreshReplayed));
        for number in 1..=1000 {
            let kind = if number % 2 == 0 { SignalKind::RequestRefused } else { SignalKind::ConsentRefused };
            risk.observe(event(number), Timestamp(0), Observed::Signalled(kind));
        }
        assert_eq!((risk.score(Timestamp(0)), risk.proven_score(Timestamp(0))), (50 + 20 * 5 + 20 * 2, 50));
        assert_eq!(risk.proven_events(), [event(0)], "noise displaces only noise");
        for (suspend_at, reached) in [(None, None), (Some(50), Some(50)), (Some(51), None)] {
            assert_eq!(RiskRule { suspend_at }.reached(&risk, Timestamp(0)), reached);
        }
        risk.observe(event(1001), Timestamp(0), Observed::Cleared);
        assert_eq!(risk.score(Timestamp(0)), 0);
    }

    #[test]
    fn the_same_event_counts_once() {
        let mut risk = AgentRisk::default();
        let signalled = Observed::Signalled(SignalKind::RefreshReplayed);
        assert!(risk.observe(event(1), Timestamp(0), signalled).is_some());
        assert!(risk.observe(event(1), Timestamp(5), signalled).is_none());
        assert_eq!(risk.signals().len(), 1);
    }

    #[test]
    fn a_rate_jumps_once_an_hour_and_only_when_the_usual_is_known() {
        // Tokens an hour for some hours, then so many in one hour: which of those is the signal, if one is.
        for (usual, hours, burst, jumped_at) in
            [(1, 2, 500, None), (1, 48, 49, None), (1, 48, 500, Some(50)), (20, 72, 190, None), (20, 72, 500, Some(199))]
        {
            let mut risk = AgentRisk::default();
            let mut number = 0;
            let mut issue = |hour: i64| {
                number += 1;
                risk.observe(event(number), Timestamp(hour * HOUR_MS), Observed::Issued)
            };
            for hour in 0..hours {
                assert!((0..usual).all(|_| issue(hour).is_none()), "the usual is no signal");
            }
            let signals: Vec<usize> = (1..=burst).filter(|_| issue(hours).is_some()).collect();
            assert_eq!(signals.first().copied(), jumped_at, "{usual} for {hours} hours");
            assert!(signals.len() <= 1);
        }
    }
}
