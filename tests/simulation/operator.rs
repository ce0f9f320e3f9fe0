//! What an operator does: switches clients and people off and on, ends grants, rotates keys.

use serde_json::{Value, json};

use super::{
    course::Simulation,
    model::{Allowed, Checked, ensure},
    plan::{Meanwhile, Outcome},
    request::Request,
};

#[derive(Debug, Clone, Copy)]
pub enum Operation {
    Disable(usize),
    Enable(usize),
    Lock(usize),
    Unlock(usize),
    EndGrant(usize),
    /// Refused if the next key is too young.
    RotateKeys,
}

impl Operation {
    pub fn choose(simulation: &mut Simulation) -> Option<Operation> {
        let model = &simulation.model;
        // What is off does not stay off for long, or nothing would be left to do.
        if let Some(off) = model.clients.iter().position(|client| !client.standing.is_on()) {
            return Some(Operation::Enable(off));
        }
        if let Some(off) = model.people.iter().position(|person| !person.standing.is_on()) {
            return Some(Operation::Unlock(off));
        }
        Some(match simulation.random.within(0..10) {
            0..3 => Operation::Disable(simulation.random.index(model.clients.len())?),
            3..6 => Operation::Lock(simulation.random.index(model.people.len())?),
            6..8 => Operation::EndGrant(simulation.random.index(model.grants.len())?),
            _ => Operation::RotateKeys,
        })
    }

    pub fn request(&self, simulation: &Simulation) -> Request {
        let model = &simulation.model;
        match *self {
            Operation::Disable(client) => {
                simulation.by_operator("PATCH", &path(&model.clients[client].id), &json!({"disabled": true}))
            }
            Operation::Enable(client) => {
                simulation.by_operator("PATCH", &path(&model.clients[client].id), &json!({"disabled": false}))
            }
            Operation::Lock(person) => {
                simulation.by_operator("PATCH", &format!("/people/{}", model.people[person].id), &json!({"locked": true}))
            }
            Operation::Unlock(person) => {
                simulation.by_operator("PATCH", &format!("/people/{}", model.people[person].id), &json!({"locked": false}))
            }
            Operation::EndGrant(grant) => {
                simulation.by_operator("DELETE", &format!("/grants/{}", model.grants[grant].id), &Value::Null)
            }
            Operation::RotateKeys => simulation.by_operator("POST", "/keys/rotate", &Value::Null),
        }
    }

    pub fn allow(&self, allowed: &mut Allowed) {
        if let Operation::EndGrant(grant) = self {
            allowed.ends.push(*grant);
        }
    }

    pub fn disturb(&self, meanwhile: &mut Meanwhile) {
        match *self {
            Operation::Disable(client) | Operation::Enable(client) => {
                meanwhile.clients.insert(client);
            }
            Operation::Lock(person) | Operation::Unlock(person) => {
                meanwhile.people.insert(person);
            }
            Operation::EndGrant(grant) => {
                meanwhile.grants.insert(grant);
            }
            Operation::RotateKeys => {}
        }
    }

    pub async fn judge(&self, simulation: &mut Simulation, outcome: &Outcome<'_>) -> Checked {
        let mut definite = outcome.definite(simulation)?.first().map(|answer| (answer.status.as_u16(), answer.body.clone()));
        if definite.is_none() {
            let answer = simulation.machine.call(&self.request(simulation)).await;
            simulation.is_trouble(&answer, None)?;
            let mut allowed = Allowed::default();
            self.allow(&mut allowed);
            simulation.absorb(allowed).await?;
            definite = Some((answer.status.as_u16(), answer.body));
        }
        let is_done = definite.as_ref().is_some_and(|(status, _)| (200..300).contains(status));
        let may_be_early = matches!(self, Operation::RotateKeys) && matches!(definite, Some((409, _)));
        ensure(is_done || may_be_early, || format!("{self:?} is answered {definite:?}"))?;
        let now = simulation.machine.now();
        match *self {
            Operation::Disable(client) => simulation.model.switch_off(Some(client), None, now),
            Operation::Enable(client) => simulation.model.switch_on(Some(client), None, now),
            Operation::Lock(person) => simulation.model.switch_off(None, Some(person), now),
            Operation::Unlock(person) => simulation.model.switch_on(None, Some(person), now),
            Operation::EndGrant(grant) => {
                ensure(simulation.model.grants[grant].has_ended, || format!("an ended grant lives on: {self:?}"))?;
            }
            Operation::RotateKeys => {}
        }
        Ok(())
    }
}

fn path(client_id: &str) -> String {
    format!("/clients/{client_id}")
}
