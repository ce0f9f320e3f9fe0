//! Requests that are sent side by side, and what their answers may be.
//!
//! A batch is one plan or a few, each about something else of one server. All answers of a plan are judged together, because a
//! race has many right outcomes; what was lost in a fault is asked again when the machine has healed.

use std::collections::HashSet;

use super::{
    course::Simulation,
    faults::Fault,
    model::{Allowed, Checked},
    operator::Operation,
    own::{Assert, Own},
    redeem::Redeem,
    refresh::Refresh,
    request::Request,
    revoke::{Probe, Revoke},
};
use crate::support::Answer;

pub enum Plan {
    Redeem(Redeem),
    Refresh(Refresh),
    Own(Own),
    Assert(Assert),
    Revoke(Revoke),
    Probe(Probe),
    Operate(Operation),
}

/// What else happens at the same time, so that more than one outcome is right.
#[derive(Default)]
pub struct Meanwhile {
    pub clients: HashSet<usize>,
    pub people: HashSet<usize>,
    pub grants: HashSet<usize>,
    pub tokens: HashSet<usize>,
}

/// The answers of one plan, and what befell the machine meanwhile.
pub struct Outcome<'o> {
    pub answers: &'o [Option<Answer>],
    pub fault: Option<&'o Fault>,
    pub meanwhile: &'o Meanwhile,
}

impl Outcome<'_> {
    /// The answers that are not trouble.
    pub fn definite(&self, simulation: &Simulation) -> Checked<Vec<&Answer>> {
        let mut definite = Vec::new();
        for answer in self.answers.iter().flatten() {
            if !simulation.is_trouble(answer, self.fault)? {
                definite.push(answer);
            }
        }
        Ok(definite)
    }

    /// Whether an answer that is missing, or that tells of trouble, may hide a success.
    pub fn may_hide_success(&self) -> bool {
        self.fault.is_some_and(Fault::may_hide_success)
    }
}

impl Plan {
    fn choose(simulation: &mut Simulation) -> Option<Plan> {
        match simulation.random.weighted(&[(25, 0), (30, 1), (10, 2), (8, 3), (9, 4), (8, 5), (10, 6)]) {
            0 => Redeem::choose(simulation).map(Plan::Redeem),
            1 => Refresh::choose(simulation).map(Plan::Refresh),
            2 => Own::choose(simulation).map(Plan::Own),
            3 => Assert::choose(simulation).map(Plan::Assert),
            4 => Revoke::choose(simulation).map(Plan::Revoke),
            5 => Probe::choose(simulation).map(Plan::Probe),
            _ => Operation::choose(simulation).map(Plan::Operate),
        }
    }

    fn requests(&self, simulation: &Simulation) -> Vec<Request> {
        match self {
            Plan::Redeem(plan) => plan.requests(simulation),
            Plan::Refresh(plan) => plan.requests(simulation),
            Plan::Own(plan) => plan.requests(simulation),
            Plan::Assert(plan) => plan.requests(simulation),
            Plan::Revoke(plan) => vec![plan.request(simulation)],
            Plan::Probe(plan) => vec![plan.request(simulation)],
            Plan::Operate(plan) => vec![plan.request(simulation)],
        }
    }

    fn allow(&self, simulation: &Simulation, allowed: &mut Allowed) {
        match self {
            Plan::Redeem(plan) => plan.allow(simulation, allowed),
            Plan::Refresh(plan) => plan.allow(allowed),
            Plan::Own(plan) => plan.allow(allowed),
            Plan::Assert(plan) => plan.allow(allowed),
            Plan::Revoke(plan) => plan.allow(allowed),
            Plan::Operate(plan) => plan.allow(allowed),
            Plan::Probe(_) => {}
        }
    }

    async fn judge(&self, simulation: &mut Simulation, outcome: &Outcome<'_>) -> Checked {
        match self {
            Plan::Redeem(plan) => plan.judge(simulation, outcome).await,
            Plan::Refresh(plan) => plan.judge(simulation, outcome).await,
            Plan::Own(plan) => plan.judge(simulation, outcome).await,
            Plan::Assert(plan) => plan.judge(simulation, outcome).await,
            Plan::Revoke(plan) => plan.judge(simulation, outcome).await,
            Plan::Probe(plan) => plan.judge(simulation, outcome),
            Plan::Operate(plan) => plan.judge(simulation, outcome).await,
        }
    }

    fn describe(&self) -> String {
        match self {
            Plan::Redeem(plan) => format!("{plan:?}"),
            Plan::Refresh(plan) => format!("{plan:?}"),
            Plan::Own(plan) => format!("{plan:?}"),
            Plan::Assert(plan) => plan.describe(),
            Plan::Revoke(plan) => format!("{plan:?}"),
            Plan::Probe(plan) => format!("{plan:?}"),
            Plan::Operate(plan) => format!("{plan:?}"),
        }
    }

    /// What it is about; no two plans of a batch are about the same, but for what `Meanwhile` knows.
    fn subject(&self, simulation: &Simulation) -> String {
        match self {
            Plan::Redeem(plan) => {
                // Two codes for the same are not told apart by what they begin.
                let code = &simulation.model.codes[plan.code];
                format!("codes of {} for {} at {}", code.person, code.client, code.resource)
            }
            Plan::Refresh(plan) => format!("refresh {}", plan.grant),
            Plan::Own(plan) => format!("own {}", plan.client),
            Plan::Assert(plan) => format!("own {}", plan.client),
            Plan::Revoke(plan) => format!("revoke {plan:?}"),
            Plan::Probe(plan) => format!("probe {plan:?}"),
            Plan::Operate(_) => "operate".to_owned(),
        }
    }

    fn disturb(&self, simulation: &Simulation, meanwhile: &mut Meanwhile) {
        match self {
            Plan::Operate(plan) => plan.disturb(meanwhile),
            Plan::Revoke(plan) => plan.disturb(simulation, meanwhile),
            // A replay ends the grant under whatever else is done with it.
            Plan::Redeem(plan) => meanwhile.grants.extend(simulation.model.codes[plan.code].grant),
            Plan::Refresh(plan) => {
                meanwhile.grants.insert(plan.grant);
            }
            Plan::Own(_) | Plan::Assert(_) | Plan::Probe(_) => {}
        }
    }
}

impl Simulation {
    /// Sends a batch, judges its answers, and lets the power fail right after them now and then.
    pub async fn serve_batch(&mut self) -> Checked {
        let count = self.random.weighted(&[(65, 1), (20, 2), (10, 3), (5, 4)]);
        let mut plans: Vec<Plan> = Vec::new();
        for _ in 0..count {
            let Some(plan) = Plan::choose(self) else { continue };
            if plans.iter().all(|known| known.subject(self) != plan.subject(self)) {
                plans.push(plan);
            }
        }
        let fault = self.machine.fault(&mut self.random);
        self.serve_plans(&plans, fault).await
    }

    /// The same for these plans and this fault.
    pub async fn serve_plans(&mut self, plans: &[Plan], fault: Option<Fault>) -> Checked {
        for plan in plans {
            self.moves.push(format!("{}, {fault:?}", plan.describe()));
        }
        let groups: Vec<Vec<Request>> = plans.iter().map(|plan| plan.requests(self)).collect();
        let (order, requests) = self.interleave(groups);
        let answers = self.machine.serve(&requests, fault.as_ref()).await;
        if self.random.chance(15) {
            self.moves.push("the power fails right after the answers".to_owned());
            self.machine.crash().await;
        }

        let mut allowed = Allowed::default();
        for plan in plans {
            plan.allow(self, &mut allowed);
        }
        self.absorb(allowed).await?;
        // Operators last: what was issued beside them counts as issued before.
        let (operations, others): (Vec<_>, Vec<_>) =
            plans.iter().enumerate().partition(|(_, plan)| matches!(plan, Plan::Operate(_)));
        for (index, plan) in others.into_iter().chain(operations) {
            let mut meanwhile = Meanwhile::default();
            for (_, other) in plans.iter().enumerate().filter(|(other, _)| *other != index) {
                other.disturb(self, &mut meanwhile);
            }
            let theirs: Vec<_> =
                order.iter().zip(&answers).filter(|(group, _)| **group == index).map(|(_, answer)| answer.clone()).collect();
            plan.judge(self, &Outcome { answers: &theirs, fault: fault.as_ref(), meanwhile: &meanwhile }).await?;
        }
        Ok(())
    }

    /// All requests in an order of this seed, and to which group each belongs. Within a group the order stays.
    fn interleave(&mut self, groups: Vec<Vec<Request>>) -> (Vec<usize>, Vec<Request>) {
        let mut rests: Vec<_> = groups.into_iter().map(|group| group.into_iter().peekable()).collect();
        let (mut order, mut requests) = (Vec::new(), Vec::new());
        loop {
            let waiting: Vec<usize> = (0..rests.len()).filter(|group| rests[*group].peek().is_some()).collect();
            let Some(group) = self.random.pick(&waiting).copied() else { return (order, requests) };
            order.push(group);
            requests.extend(rests[group].next());
        }
    }
}
