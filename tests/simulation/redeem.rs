//! Codes, redeemed once, twice, in parallel, wrongly and late.

use std::time::Duration;

use deputy::{keys::secrets::Purpose, protocol::authorize::Code as StoredCode, storage::one_time, world::World};

use super::{
    course::Simulation,
    model::{Allowed, Begins, Checked, ensure},
    plan::Outcome,
    request::Request,
};
use crate::support::{CALLBACK, agent::VERIFIER};

/// For so long after it expired, a used code is still told from one that never was.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);
const WRONG_VERIFIER: &str = "another.verifier~of-the_unreserved.alphabet~9876543210";

#[derive(Debug)]
pub struct Redeem {
    pub code: usize,
    attempts: Vec<Attempt>,
    /// A client that the code was not made for.
    stranger: Option<usize>,
    was: Was,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    Right,
    WrongVerifier,
    NoVerifier,
    OtherClient,
    /// Does not use the code up.
    OtherResource,
}

/// What the code was good for before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Was {
    Fresh,
    Expired,
    Spent,
    /// Its person is locked, or no longer lets the client act.
    Barred,
    /// Its client is disabled.
    Disabled,
}

impl Redeem {
    pub fn choose(simulation: &mut Simulation) -> Option<Redeem> {
        // Mostly one of the last: the others have expired.
        let count = simulation.model.codes.len();
        let oldest = if simulation.random.chance(80) { count.saturating_sub(3) } else { 0 };
        let code = oldest + simulation.random.index(count - oldest)?;
        let attempts = match simulation.random.within(0..10) {
            0..5 => vec![Attempt::Right],
            5 | 6 => vec![Attempt::Right; simulation.random.within(2..9) as usize],
            _ => {
                let kinds =
                    [Attempt::Right, Attempt::WrongVerifier, Attempt::NoVerifier, Attempt::OtherClient, Attempt::OtherResource];
                let count = simulation.random.within(1..4);
                (0..count).filter_map(|_| simulation.random.pick(&kinds).copied()).collect()
            }
        };
        let (model, now) = (&simulation.model, simulation.machine.now());
        let known = &model.codes[code];
        let was = match () {
            () if !model.clients[known.client].standing.is_on() => Was::Disabled,
            () if known.is_spent => Was::Spent,
            () if known.expires_at <= now => Was::Expired,
            () if !model.people[known.person].standing.is_on() => Was::Barred,
            () if !model.consents.contains_key(&(known.client, known.person, known.resource)) => Was::Barred,
            () => Was::Fresh,
        };
        let is_stranger =
            |at: &usize| *at != known.client && model.clients[*at].acts_for_people() && model.clients[*at].standing.is_on();
        let strangers: Vec<usize> = (0..model.clients.len()).filter(is_stranger).collect();
        let stranger = simulation.random.pick(&strangers).copied();
        Some(Redeem { code, attempts, stranger, was })
    }

    /// A race for a code that is good.
    pub fn race(code: usize, racers: usize) -> Redeem {
        Redeem { code, attempts: vec![Attempt::Right; racers], stranger: None, was: Was::Fresh }
    }

    pub fn requests(&self, simulation: &Simulation) -> Vec<Request> {
        self.attempts.iter().map(|attempt| self.request(simulation, *attempt)).collect()
    }

    fn request(&self, simulation: &Simulation, attempt: Attempt) -> Request {
        let (model, code) = (&simulation.model, &simulation.model.codes[self.code]);
        let client = if attempt == Attempt::OtherClient { self.stranger.unwrap_or(code.client) } else { code.client };
        let resource = if attempt == Attempt::OtherResource { (code.resource + 1) % model.resources.len() } else { code.resource };
        let mut fields = vec![
            ("grant_type", "authorization_code"),
            ("code", code.text.as_str()),
            ("redirect_uri", CALLBACK),
            ("resource", model.resources[resource].identifier),
        ];
        match attempt {
            Attempt::NoVerifier => {}
            Attempt::WrongVerifier => fields.push(("code_verifier", WRONG_VERIFIER)),
            _ => fields.push(("code_verifier", VERIFIER)),
        }
        Request::form("/token", model.clients[client].caller(), &fields)
    }

    /// Whether this attempt is as good as it can be; one by another client where there is none is the client's own.
    fn is_right(&self, attempt: Attempt) -> bool {
        attempt == Attempt::Right || (attempt == Attempt::OtherClient && self.stranger.is_none())
    }

    pub fn allow(&self, simulation: &Simulation, allowed: &mut Allowed) {
        let code = &simulation.model.codes[self.code];
        if self.was == Was::Fresh || self.was == Was::Barred || self.was == Was::Disabled {
            let (client, person, resource) = (code.client, Some(code.person), code.resource);
            let scopes = simulation.model.redeemable(self.code);
            allowed.begins.push(Begins { client, person, resource, scopes, count_max: 1, code: Some(self.code) });
        }
        allowed.ends.extend(code.grant);
    }

    pub async fn judge(&self, simulation: &mut Simulation, outcome: &Outcome<'_>) -> Checked {
        let definite = outcome.definite(simulation)?;
        let (client, person) = (simulation.model.codes[self.code].client, simulation.model.codes[self.code].person);
        let is_disturbed = outcome.meanwhile.clients.contains(&client) || outcome.meanwhile.people.contains(&person);
        let (mut successes, mut refusals) = (0, 0);
        for (attempt, answer) in self.attempts.iter().zip(outcome.answers) {
            let Some(answer) = answer.as_ref().filter(|answer| definite.iter().any(|known| std::ptr::eq(*known, *answer))) else {
                continue;
            };
            let error = answer.json()["error"].as_str().unwrap_or_default().to_owned();
            let tell = || format!("{:?} {attempt:?} of {self:?} is answered {} {}", self.was, answer.status, answer.body);
            match (answer.status.as_u16(), error.as_str()) {
                (200, _) => {
                    ensure(self.is_right(*attempt) && (self.was == Was::Fresh || is_disturbed), tell)?;
                    successes += 1;
                }
                (400, "invalid_grant") => refusals += 1,
                (400, "invalid_target") => ensure(*attempt == Attempt::OtherResource, tell)?,
                (400, "unauthorized_client") => {
                    let is_strangers =
                        *attempt == Attempt::OtherClient && self.stranger.is_some_and(|at| outcome.meanwhile.clients.contains(&at));
                    ensure(self.was == Was::Disabled || is_disturbed || is_strangers, tell)?;
                }
                _ => return Err(tell()),
            }
        }
        ensure(successes <= 1, || format!("a code yields {successes} times: {self:?}"))?;
        let burns = self.attempts.iter().any(|attempt| !self.is_right(*attempt) && *attempt != Attempt::OtherResource);
        let has_right = self.attempts.iter().any(|attempt| self.is_right(*attempt));
        let is_sure = self.was == Was::Fresh && has_right && !burns && !is_disturbed;
        if is_sure {
            ensure(successes == 1 || definite.len() < self.attempts.len(), || format!("a good code is refused: {self:?}"))?;
            let is_refused_first = successes == 0 && refusals > 0 && !outcome.may_hide_success();
            ensure(!is_refused_first, || format!("a good code is refused in trouble: {self:?}"))?;
        }
        self.conclude(simulation, outcome, successes, refusals).await?;
        let code = &simulation.model.codes[self.code];
        if self.was == Was::Fresh && outcome.fault.is_some() && !code.is_spent && !is_disturbed {
            return self.again(simulation).await;
        }
        Ok(())
    }

    /// What the code and its grant are now.
    async fn conclude(&self, simulation: &mut Simulation, outcome: &Outcome<'_>, successes: usize, refusals: usize) -> Checked {
        let known = &simulation.model.codes[self.code];
        let (client, scopes, now) = (known.client, simulation.model.redeemable(self.code), simulation.machine.now());
        let (is_unexpired, is_remembered) = (known.expires_at > now, known.expires_at.plus(REMEMBERED) > now);
        if let Some(answer) = outcome.answers.iter().flatten().find(|answer| answer.status.as_u16() == 200) {
            let grant = simulation.learn(answer, client, &scopes, None)?;
            ensure(simulation.model.codes[self.code].grant == Some(grant), || {
                format!("a code yields under another's grant: {self:?}")
            })?;
        }
        let is_fresh = self.is_fresh(simulation).await?;
        let code = &mut simulation.model.codes[self.code];
        ensure(!is_fresh || (successes + refusals == 0 && !code.is_spent), || format!("a used code can be used again: {self:?}"))?;
        let is_lost = !is_fresh && is_unexpired && self.was == Was::Fresh && successes + refusals == 0;
        ensure(!is_lost || outcome.may_hide_success(), || format!("trouble cost a client its code: {self:?}"))?;
        // One that has expired unused is good again if the clock is taken back.
        code.is_spent |= !is_fresh && is_unexpired;
        let is_replay = (self.was == Was::Spent && refusals > 0 && is_remembered) || (successes == 1 && refusals > 0);
        if let Some(grant) = code.grant.filter(|_| is_replay) {
            ensure(simulation.model.grants[grant].has_ended, || format!("a replayed code's grant lives on: {self:?}"))?;
        }
        Ok(())
    }

    /// The machine has healed, and the code is as good as before.
    async fn again(&self, simulation: &mut Simulation) -> Checked {
        let answer = simulation.machine.call(&self.request(simulation, Attempt::Right)).await;
        ensure(answer.status.as_u16() == 200, || {
            format!("after trouble a good code is refused: {} {}", answer.status, answer.body)
        })?;
        let mut allowed = Allowed::default();
        self.allow(simulation, &mut allowed);
        simulation.absorb(allowed).await?;
        let (client, scopes) = (simulation.model.codes[self.code].client, simulation.model.redeemable(self.code));
        simulation.model.codes[self.code].is_spent = true;
        simulation.learn(&answer, client, &scopes, None).map(|_| ())
    }

    async fn is_fresh(&self, simulation: &Simulation) -> Checked<bool> {
        let (machine, text) = (&simulation.machine, &simulation.model.codes[self.code].text);
        let (digest, now) = (machine.world().secrets.digest(Purpose::AuthorizationCode, text), machine.now());
        let peek = async |world: &World| {
            world.storage.read(move |tx| Box::pin(async move { one_time::peek::<StoredCode>(tx, &digest, now).await })).await
        };
        Ok(machine.look(peek).await?.is_some())
    }
}
