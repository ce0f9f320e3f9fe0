//! What is done about a risk, where an operator says so: an agent is suspended; what a person granted rests, or ends.
//!
//! Rows are taken in the order in which a person's own end takes them, consents before grants, so that neither waits for the other.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::Duration,
};

use super::{Judge, States};
use crate::{
    domain::{
        client::ClientId,
        event::Fact,
        grant::{EndCause, Grant},
        id::{Id, PersonKind},
        policy,
        risk::{Doubt, Measure, RiskRule, Signal},
        time::Timestamp,
    },
    storage::{StorageError, Tx, clients, grants, revocations},
};

/// How many grants are looked at in one go.
const GRANTS_AT_ONCE: usize = 500;
/// So often at most: a person would have to be sent through an app a million times within a grant's time.
const LOOKS_MAX: usize = 2_000;

/// A token that was asked for before the doubt, and committed before it, may tell a moment so much later than the batch's.
const UNDER_WAY: Duration = Duration::from_secs(1);

impl Judge {
    /// Tells of what speaks against an agent, and does what the rule says.
    pub(super) async fn act_on_agent(
        &self,
        tx: &mut Tx,
        rule: RiskRule,
        states: &mut States,
        agent: &ClientId,
        signal: Signal<Id<PersonKind>>,
    ) -> Result<(), StorageError> {
        let Signal { kind, event, at, with: person } = signal;
        let state = states.agent(tx, agent).await?;
        let (score, of_all) = (state.proven(at).score, state.suspension(at, None));
        self.record(tx, Fact::RiskSignalled { agent: agent.clone(), person, signal: kind, event, score }).await?;
        if policy::suspends(&rule, &of_all).is_none() || clients::hold(tx, agent).await?.is_none_or(|client| client.is_disabled()) {
            return Ok(());
        }
        let let_act_at = clients::enabled_at(tx, agent).await?;
        let risk = states.agent(tx, agent).await?.suspension(at, let_act_at);
        let Some(threshold) = policy::suspends(&rule, &risk) else { return Ok(()) };
        clients::disable(tx, agent, self.now).await?;
        revocations::switch_off(tx, agent.as_str()).await?;
        let (signals, events) = risk.signals.into_iter().unzip();
        let suspended = Fact::AgentSuspended { agent: agent.clone(), score: risk.score, threshold, events, signals };
        self.record(tx, suspended).await?;
        self.record(tx, Fact::ClientChanged { client: agent.clone(), change: "disabled".to_owned() }).await
    }

    /// Tells of what speaks against an agent as it acts for a person, or against their account, and does what the rule says with
    /// what they granted.
    pub(super) async fn act_on_grants(
        &self,
        tx: &mut Tx,
        rule: RiskRule,
        states: &mut States,
        person: Id<PersonKind>,
        signal: Signal<ClientId>,
    ) -> Result<(), StorageError> {
        let Signal { kind, event, at, with: agent } = signal;
        let risk = states.person(person).proven_of(agent.as_ref(), at);
        let score = risk.score;
        self.record(tx, Fact::PersonRiskSignalled { person, agent: agent.clone(), signal: kind, event, score }).await?;
        let Some((measure, threshold)) = policy::measure(&rule, &risk) else { return Ok(()) };
        let (signals, events): (Vec<_>, Vec<_>) = risk.signals.into_iter().unzip();
        let ended = match measure {
            Measure::RequireApproval => {
                let doubt = Doubt { since: self.now, score, signals: signals.clone() };
                self.rest(tx, person, agent.as_ref(), at, &doubt).await?
            }
            Measure::RevokeGrants => self.end(tx, person, agent.as_ref(), at).await?,
        };
        let Some(ended) = ended else { return Ok(()) };
        self.record(tx, Fact::MeasureTaken { measure, person, agent, score, threshold, events, signals }).await?;
        for grant in ended {
            let (grant, client) = (grant.id, grant.client);
            self.record(tx, Fact::GrantEnded { grant, client, person: Some(person), cause: EndCause::Risk }).await?;
        }
        Ok(())
    }

    /// Lets what was granted before `before` rest until the person consents again. Answers that it ended nothing; `None` if all of it
    /// rested already.
    async fn rest(
        &self,
        tx: &mut Tx,
        person: Id<PersonKind>,
        agent: Option<&ClientId>,
        before: Timestamp,
        doubt: &Doubt,
    ) -> Result<Option<Vec<Grant>>, StorageError> {
        // First, so that a grant which begins meanwhile is seen.
        let consents = grants::doubt_consents(tx, person, agent, before, doubt).await?;
        for grant in self.meant(tx, person, agent, before).await? {
            revocations::revoke(tx, &grant.id.to_string(), self.now.plus(UNDER_WAY), self.now).await?;
        }
        Ok((consents > 0).then(Vec::new))
    }

    /// Ends what was granted until `until`, with its consent. Answers which grants; `None` if nothing was left to end.
    async fn end(
        &self,
        tx: &mut Tx,
        person: Id<PersonKind>,
        agent: Option<&ClientId>,
        until: Timestamp,
    ) -> Result<Option<Vec<Grant>>, StorageError> {
        // First, so that a grant which begins meanwhile is seen.
        let consents = grants::delete_consents(tx, person, agent, until).await?;
        let mut ended = Vec::new();
        for grant in self.meant(tx, person, agent, until).await? {
            ended.extend(grants::end(tx, grant.id, EndCause::Risk, self.now).await?.map(|_| grant));
        }
        Ok((consents > 0 || !ended.is_empty()).then_some(ended))
    }

    /// The live grants of the person, to this agent or to any, but those that they consented to after `at`: what they allowed since,
    /// they allowed knowing no less than we do.
    async fn meant(
        &self,
        tx: &mut Tx,
        person: Id<PersonKind>,
        agent: Option<&ClientId>,
        at: Timestamp,
    ) -> Result<Vec<Grant>, StorageError> {
        let (mut meant, mut is_meant, mut after) = (Vec::new(), BTreeMap::new(), String::new());
        for _ in 0..LOOKS_MAX {
            let live = grants::live_of_person(tx, person, agent, &after, self.now, GRANTS_AT_ONCE).await?;
            let Some(last) = live.last() else { break };
            after = last.id.to_string();
            for grant in live {
                let is_meant = match is_meant.entry((grant.client.clone(), grant.resource.clone())) {
                    Entry::Occupied(known) => *known.get(),
                    Entry::Vacant(new) => {
                        let consent = grants::find_consent(tx, person, &grant.client, grant.resource.as_ref()).await?;
                        *new.insert(consent.is_none_or(|consent| consent.given_at <= at))
                    }
                };
                if is_meant {
                    meant.push(grant);
                }
            }
        }
        Ok(meant)
    }
}
