//! Clients that revoke tokens, their own and other people's; resource servers that ask about them.

use super::{
    course::Simulation,
    model::{Allowed, Checked, Life, ensure},
    plan::{Meanwhile, Outcome},
    request::{Caller, Request},
};

#[derive(Debug)]
pub struct Revoke {
    what: What,
    client: usize,
    is_theirs: bool,
    is_on: bool,
}

#[derive(Debug)]
enum What {
    AccessToken(usize),
    /// The refresh token of a grant, of this generation.
    RefreshToken {
        grant: usize,
        generation: u32,
    },
}

impl Revoke {
    pub fn choose(simulation: &mut Simulation) -> Option<Revoke> {
        let wants_access_token = simulation.random.chance(50);
        let model = &simulation.model;
        let what = if wants_access_token {
            // The signing client would need an assertion for each try; its tokens are revoked by nobody.
            let revocable = |at: &usize| model.clients[model.grants[model.tokens[*at].grant].client].key.is_none();
            let last: Vec<usize> = (0..model.tokens.len()).rev().take(10).filter(revocable).collect();
            What::AccessToken(*simulation.random.pick(&last)?)
        } else {
            let has_tokens = |at: &usize| model.grants[*at].family.as_ref().is_some_and(|family| !family.tokens.is_empty());
            let grants: Vec<usize> = (0..model.grants.len()).filter(has_tokens).collect();
            let grant = *simulation.random.pick(&grants)?;
            let generations: Vec<u32> = model.grants[grant].family.as_ref()?.tokens.keys().copied().collect();
            What::RefreshToken { grant, generation: *simulation.random.pick(&generations)? }
        };
        let owner = match what {
            What::AccessToken(token) => model.grants[model.tokens[token].grant].client,
            What::RefreshToken { grant, .. } => model.grants[grant].client,
        };
        let strangers: Vec<usize> =
            (0..model.clients.len()).filter(|at| *at != owner && model.clients[*at].key.is_none()).collect();
        let stranger = if simulation.random.chance(20) { simulation.random.pick(&strangers).copied() } else { None };
        let client = stranger.unwrap_or(owner);
        Some(Revoke { what, client, is_theirs: client == owner, is_on: model.clients[client].standing.is_on() })
    }

    pub fn request(&self, simulation: &Simulation) -> Request {
        let model = &simulation.model;
        let text = match self.what {
            What::AccessToken(token) => &model.tokens[token].text,
            What::RefreshToken { grant, generation } => {
                let family = model.grants[grant].family.as_ref().expect("it was chosen for its family");
                &family.tokens[&generation]
            }
        };
        Request::form("/revoke", model.clients[self.client].caller(), &[("token", text)])
    }

    pub fn allow(&self, allowed: &mut Allowed) {
        if let (What::RefreshToken { grant, .. }, true) = (&self.what, self.is_theirs) {
            allowed.ends.push(*grant);
        }
    }

    pub fn disturb(&self, simulation: &Simulation, meanwhile: &mut Meanwhile) {
        if !self.is_theirs {
            return;
        }
        match self.what {
            What::AccessToken(token) => {
                meanwhile.tokens.insert(token);
            }
            What::RefreshToken { grant, .. } => {
                meanwhile.grants.insert(grant);
                let tokens = (0..simulation.model.tokens.len()).filter(|at| simulation.model.tokens[*at].grant == grant);
                meanwhile.tokens.extend(tokens);
            }
        }
    }

    pub async fn judge(&self, simulation: &mut Simulation, outcome: &Outcome<'_>) -> Checked {
        let is_disturbed = outcome.meanwhile.clients.contains(&self.client);
        let mut definite = outcome.definite(simulation)?.first().map(|answer| answer.status.as_u16());
        if definite.is_none() {
            let answer = simulation.machine.call(&self.request(simulation)).await;
            simulation.is_trouble(&answer, None)?;
            let mut allowed = Allowed::default();
            self.allow(&mut allowed);
            simulation.absorb(allowed).await?;
            definite = Some(answer.status.as_u16());
        }
        let tell = || format!("{self:?} is answered {definite:?}");
        match definite {
            Some(200) => ensure(self.is_on || is_disturbed, tell)?,
            Some(400) => return ensure(!self.is_on || is_disturbed, tell),
            _ => return Err(tell()),
        }
        match self.what {
            What::AccessToken(token) => simulation.model.tokens[token].is_revoked |= self.is_theirs,
            What::RefreshToken { grant, .. } => {
                let has_ended = simulation.model.grants[grant].has_ended;
                ensure(has_ended || !self.is_theirs, || format!("a revoked grant lives on: {self:?}"))?;
            }
        }
        Ok(())
    }
}

/// A resource server asks about a token.
#[derive(Debug)]
pub struct Probe {
    token: usize,
    resource: usize,
    was: Life,
}

impl Probe {
    pub fn choose(simulation: &mut Simulation) -> Option<Probe> {
        let token = simulation.random.index(simulation.model.tokens.len())?;
        let known = &simulation.model.tokens[token];
        let own = simulation.model.grants[known.grant].resource;
        let was = simulation.model.life(known, simulation.machine.now());
        let other = (own + 1) % simulation.model.resources.len();
        Some(Probe { token, resource: if simulation.random.chance(85) { own } else { other }, was })
    }

    pub fn request(&self, simulation: &Simulation) -> Request {
        let (resource, token) = (&simulation.model.resources[self.resource], &simulation.model.tokens[self.token]);
        let caller = Caller::Confidential { id: &resource.id, secret: &resource.secret };
        Request::form("/introspect", caller, &[("token", &token.text)])
    }

    pub fn judge(&self, simulation: &Simulation, outcome: &Outcome<'_>) -> Checked {
        let grant = simulation.model.tokens[self.token].grant;
        let known = &simulation.model.grants[grant];
        let is_disturbed = outcome.meanwhile.tokens.contains(&self.token)
            || outcome.meanwhile.grants.contains(&grant)
            || outcome.meanwhile.clients.contains(&known.client)
            || known.person.is_some_and(|person| outcome.meanwhile.people.contains(&person));
        let due = if self.resource == known.resource { self.was } else { Life::Dead };
        for answer in outcome.definite(simulation)? {
            let is_active = answer.status.is_success().then(|| answer.json()["active"] == true);
            let fits = match due {
                Life::Alive => is_active == Some(true),
                Life::Dead => is_active == Some(false) && answer.body == r#"{"active":false}"#,
                Life::Doubtful => is_active.is_some(),
            };
            ensure(fits || is_disturbed, || format!("{self:?}, now {due:?}, is answered {} {}", answer.status, answer.body))?;
        }
        Ok(())
    }
}
