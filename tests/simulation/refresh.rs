//! Refresh tokens: the live one, the one before, inside and outside the grace window, older ones, in parallel, by strangers.

use std::time::Duration;

use deputy::domain::scope::Scopes;

use super::{
    course::Simulation,
    model::{Allowed, Checked, GRACE, ensure},
    plan::Outcome,
    request::Request,
};

/// As long as a token may live.
const SOON: Duration = Duration::from_secs(300);

#[derive(Debug)]
pub struct Refresh {
    pub grant: usize,
    client: usize,
    generation: u32,
    count: usize,
    /// Fewer scopes than the grant has.
    narrowed: Option<Scopes>,
    due: Due,
    /// Whether it would end the family if nothing else refused it.
    is_replay: bool,
}

/// What is right to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Successor,
    /// The family ends.
    Replay,
    /// `invalid_grant`, and nothing changes but that a replay may end the family.
    Refused,
    /// `unauthorized_client`.
    Disabled,
}

impl Refresh {
    pub fn choose(simulation: &mut Simulation) -> Option<Refresh> {
        let model = &simulation.model;
        let has_tokens = |at: &usize| model.grants[*at].family.as_ref().is_some_and(|family| !family.tokens.is_empty());
        let lives = |at: &usize| has_tokens(at) && !model.grants[*at].has_ended;
        let wants_live = simulation.random.chance(85);
        let grants: Vec<usize> = (0..model.grants.len()).filter(|at| if wants_live { lives(at) } else { has_tokens(at) }).collect();
        // Those that end soon are asked for what is left of them.
        let (now, model) = (simulation.machine.now(), &simulation.model);
        let soon = now.plus(SOON);
        let ending: Vec<usize> = grants.iter().copied().filter(|at| (now..soon).contains(&model.grants[*at].expires_at)).collect();
        let choices = if simulation.random.chance(40) && !ending.is_empty() { ending } else { grants };
        let grant = *simulation.random.pick(&choices)?;
        let model = &simulation.model;
        let family = model.grants[grant].family.as_ref()?;
        let known: Vec<u32> = family.tokens.keys().rev().copied().collect();
        let generation = match simulation.random.within(0..10) {
            0..7 => known[0],
            7 | 8 => known[known.len().min(2) - 1],
            _ => *simulation.random.pick(&known)?,
        };
        let own = model.grants[grant].client;
        let is_stranger = |at: &usize| *at != own && model.clients[*at].acts_for_people() && model.clients[*at].standing.is_on();
        let strangers: Vec<usize> = (0..model.clients.len()).filter(is_stranger).collect();
        let stranger = if simulation.random.chance(8) { simulation.random.pick(&strangers).copied() } else { None };
        let count = if simulation.random.chance(30) { simulation.random.within(2..12) as usize } else { 1 };
        let narrowed = simulation.random.chance(15).then(|| Scopes::of(["notes:read"]));
        let due = Refresh::due(simulation, grant, stranger.unwrap_or(own), generation);
        let is_replay = stranger.is_none() && Refresh::is_replay(simulation, grant, generation);
        Some(Refresh { grant, client: stranger.unwrap_or(own), generation, count, narrowed, due, is_replay })
    }

    /// A race with a family's live token.
    pub fn race(simulation: &Simulation, grant: usize, count: usize) -> Option<Refresh> {
        let known = &simulation.model.grants[grant];
        let generation = known.family.as_ref()?.live;
        Some(Refresh { grant, client: known.client, generation, count, narrowed: None, due: Due::Successor, is_replay: false })
    }

    fn due(simulation: &Simulation, grant: usize, client: usize, generation: u32) -> Due {
        let (model, now, known) = (&simulation.model, simulation.machine.now(), &simulation.model.grants[grant]);
        let Some(family) = &known.family else { return Due::Refused };
        let is_barred = known.person.is_some_and(|person| !model.people[person].standing.is_on());
        let has_expired = known.expires_at.seconds() <= now.seconds() || family.expires_at <= now;
        match () {
            () if !model.clients[client].standing.is_on() => Due::Disabled,
            () if client != known.client || known.has_ended || is_barred || has_expired => Due::Refused,
            () if Refresh::is_replay(simulation, grant, generation) => Due::Replay,
            () => Due::Successor,
        }
    }

    fn is_replay(simulation: &Simulation, grant: usize, generation: u32) -> bool {
        let now = simulation.machine.now();
        simulation.model.grants[grant].family.as_ref().is_some_and(|family| {
            let rotated_away_at = match family.live - generation {
                1 => Some(family.rotated_at),
                2 => family.rotated_before_at,
                _ => None,
            };
            generation != family.live && rotated_away_at.is_none_or(|at| now.since(at) > GRACE)
        })
    }

    pub fn requests(&self, simulation: &Simulation) -> Vec<Request> {
        vec![self.request(simulation); self.count]
    }

    fn request(&self, simulation: &Simulation) -> Request {
        let (model, grant) = (&simulation.model, &simulation.model.grants[self.grant]);
        let token = grant.family.as_ref().and_then(|family| family.tokens.get(&self.generation)).map_or("", String::as_str);
        let narrowed = self.narrowed.as_ref().map(ToString::to_string).unwrap_or_default();
        let resource = model.resources[grant.resource].identifier;
        let fields = [("grant_type", "refresh_token"), ("refresh_token", token), ("resource", resource), ("scope", &narrowed)];
        Request::form("/token", model.clients[self.client].caller(), &fields)
    }

    pub fn allow(&self, allowed: &mut Allowed) {
        allowed.rotates.push(self.grant);
        if self.is_replay {
            allowed.ends.push(self.grant);
        }
    }

    pub async fn judge(&self, simulation: &mut Simulation, outcome: &Outcome<'_>) -> Checked {
        let (owner, person) = (simulation.model.grants[self.grant].client, simulation.model.grants[self.grant].person);
        let is_disturbed = outcome.meanwhile.grants.contains(&self.grant)
            || outcome.meanwhile.clients.contains(&owner)
            || outcome.meanwhile.clients.contains(&self.client)
            || person.is_some_and(|person| outcome.meanwhile.people.contains(&person));
        let definite = outcome.definite(simulation)?;
        let is_missing_one = definite.len() < self.count;
        let (mut successes, mut refusals) = (0, 0);
        for answer in definite {
            let error = answer.json()["error"].as_str().unwrap_or_default().to_owned();
            let tell = || format!("{self:?} is answered {} {}", answer.status, answer.body);
            match (answer.status.as_u16(), error.as_str()) {
                (200, _) => {
                    ensure(self.due == Due::Successor || is_disturbed, tell)?;
                    ensure(self.client == owner, tell)?;
                    self.learn(simulation, answer)?;
                    successes += 1;
                }
                (400, "invalid_grant") => {
                    ensure(self.due == Due::Replay || self.due == Due::Refused || is_disturbed, tell)?;
                    refusals += 1;
                }
                (400, "unauthorized_client") => ensure(self.due == Due::Disabled || is_disturbed, tell)?,
                _ => return Err(tell()),
            }
        }
        if self.due == Due::Replay && refusals > 0 && !is_disturbed {
            ensure(simulation.model.grants[self.grant].has_ended, || format!("a replay leaves the family alive: {self:?}"))?;
        }
        if self.due != Due::Successor || is_disturbed {
            return Ok(());
        }
        ensure(is_missing_one || successes == self.count, || format!("a good refresh is refused: {self:?}"))?;
        // The clock stands still, so the grace window is open as it was.
        if successes == 0 { self.again(simulation).await } else { Ok(()) }
    }

    fn learn(&self, simulation: &mut Simulation, answer: &crate::support::Answer) -> Checked {
        let scopes = self.narrowed.clone().unwrap_or_else(|| simulation.model.renewable(self.grant));
        let grant = simulation.learn(answer, self.client, &scopes, Some(self.generation))?;
        ensure(grant == self.grant, || format!("a refresh yields under another grant: {self:?}"))
    }

    /// The machine has healed, and the token is as good as before.
    async fn again(&self, simulation: &mut Simulation) -> Checked {
        let answer = simulation.machine.call(&self.request(simulation)).await;
        ensure(answer.status.as_u16() == 200, || {
            format!("after trouble a good refresh token is refused: {self:?} {} {}", answer.status, answer.body)
        })?;
        simulation.absorb(Allowed { rotates: vec![self.grant], ..Allowed::default() }).await?;
        self.learn(simulation, &answer)
    }
}
