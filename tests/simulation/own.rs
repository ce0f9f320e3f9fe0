//! Clients that act for themselves, by secret and by signed assertion.

use deputy::domain::scope::Scopes;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

use super::{
    course::Simulation,
    model::{Allowed, Assertion, Begins, Checked, Kind, ensure},
    plan::Outcome,
    request::{Caller, Request},
};

/// How long an assertion is valid, in seconds.
const ASSERTION_TTL_S: i64 = 60;
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Requests with the client's secret.
#[derive(Debug)]
pub struct Own {
    pub client: usize,
    resource: usize,
    count: usize,
    secret: Secret,
    is_on: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Secret {
    Right,
    Wrong,
}

impl Own {
    pub fn choose(simulation: &mut Simulation) -> Option<Own> {
        let client = any(simulation, Kind::Service)?;
        let count = simulation.random.weighted(&[(60, 1), (20, 2), (20, 5)]);
        let secret = if simulation.random.chance(85) { Secret::Right } else { Secret::Wrong };
        let is_on = simulation.model.clients[client].standing.is_on();
        let resource = simulation.random.within(0..simulation.model.resources.len() as u64) as usize;
        Some(Own { client, resource, count, secret, is_on })
    }

    pub fn requests(&self, simulation: &Simulation) -> Vec<Request> {
        let client = &simulation.model.clients[self.client];
        let caller = match self.secret {
            Secret::Right => client.caller(),
            Secret::Wrong => Caller::Confidential { id: &client.id, secret: "not the secret" },
        };
        let resource = simulation.model.resources[self.resource].identifier;
        let fields = [("grant_type", "client_credentials"), ("resource", resource), ("scope", "notes:write")];
        vec![Request::form("/token", caller, &fields); self.count]
    }

    pub fn allow(&self, allowed: &mut Allowed) {
        allow_own(self.client, self.resource, "notes:read notes:write", self.count, allowed);
    }

    pub async fn judge(&self, simulation: &mut Simulation, outcome: &Outcome<'_>) -> Checked {
        let is_disturbed = outcome.meanwhile.clients.contains(&self.client);
        let mut successes = 0;
        for answer in outcome.definite(simulation)? {
            let tell = || format!("{self:?} is answered {} {}", answer.status, answer.body);
            match answer.status.as_u16() {
                200 => {
                    ensure(self.secret == Secret::Right && (self.is_on || is_disturbed), tell)?;
                    let grant = simulation.learn(answer, self.client, &Scopes::of(["notes:write"]), None)?;
                    let may_end = outcome.meanwhile.grants.contains(&grant);
                    ensure(may_end || !simulation.model.grants[grant].has_ended, || format!("{self:?} yields a dead token"))?;
                    successes += 1;
                }
                401 => ensure(self.secret == Secret::Wrong, tell)?,
                400 if answer.json()["error"] == "unauthorized_client" => ensure(!self.is_on || is_disturbed, tell)?,
                _ => return Err(tell()),
            }
        }
        if successes > 0 || self.secret == Secret::Wrong || !self.is_on || is_disturbed {
            return Ok(());
        }
        let answer = simulation.machine.call(&self.requests(simulation)[0]).await;
        ensure(answer.status.as_u16() == 200, || format!("after trouble {self:?} is answered {} {}", answer.status, answer.body))?;
        let mut allowed = Allowed::default();
        self.allow(&mut allowed);
        simulation.absorb(allowed).await?;
        simulation.learn(&answer, self.client, &Scopes::of(["notes:write"]), None).map(|_| ())
    }
}

/// Requests with one and the same assertion.
pub struct Assert {
    pub client: usize,
    assertion: String,
    count: usize,
    was: Was,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Was {
    Fresh,
    Used,
    /// Its client is disabled.
    Disabled,
}

impl Assert {
    pub fn choose(simulation: &mut Simulation) -> Option<Assert> {
        let client = any(simulation, Kind::Signing)?;
        let theirs: Vec<usize> =
            (0..simulation.model.assertions.len()).filter(|at| simulation.model.assertions[*at].client == client).collect();
        let is_on = simulation.model.clients[client].standing.is_on();
        let count = if simulation.random.chance(40) { simulation.random.within(2..9) as usize } else { 1 };
        if simulation.random.chance(30)
            && let Some(used) = simulation.random.pick(&theirs).copied()
        {
            let assertion = simulation.model.assertions[used].text.clone();
            return Some(Assert { client, assertion, count, was: if is_on { Was::Used } else { Was::Disabled } });
        }
        let assertion = sign(simulation, client);
        Some(Assert { client, assertion, count, was: if is_on { Was::Fresh } else { Was::Disabled } })
    }

    /// A race for a new assertion.
    pub fn race(simulation: &mut Simulation, count: usize) -> Option<Assert> {
        let client = any(simulation, Kind::Signing)?;
        Some(Assert { client, assertion: sign(simulation, client), count, was: Was::Fresh })
    }

    pub fn describe(&self) -> String {
        format!("Assert {{ client: {}, count: {}, was: {:?} }}", self.client, self.count, self.was)
    }

    pub fn requests(&self, simulation: &Simulation) -> Vec<Request> {
        vec![request(simulation, &self.assertion); self.count]
    }

    pub fn allow(&self, allowed: &mut Allowed) {
        allow_own(self.client, 0, "notes:read", self.count, allowed);
    }

    pub async fn judge(&self, simulation: &mut Simulation, outcome: &Outcome<'_>) -> Checked {
        let is_disturbed = outcome.meanwhile.clients.contains(&self.client);
        let definite = outcome.definite(simulation)?;
        let is_missing_one = definite.len() < self.count;
        let (mut successes, mut refusals) = (0, 0);
        for answer in definite {
            let tell = || format!("{} is answered {} {}", self.describe(), answer.status, answer.body);
            match answer.status.as_u16() {
                200 => {
                    ensure(self.was == Was::Fresh || is_disturbed, tell)?;
                    simulation.learn(answer, self.client, &Scopes::of(["notes:read"]), None)?;
                    successes += 1;
                }
                401 => refusals += 1,
                400 if answer.json()["error"] == "unauthorized_client" => {
                    // It commits nothing, so it leaves the assertion unused.
                    ensure(self.was == Was::Disabled || is_disturbed, tell)?;
                }
                _ => return Err(tell()),
            }
        }
        ensure(successes <= 1, || format!("an assertion is good {successes} times: {}", self.describe()))?;
        let is_sure = self.was == Was::Fresh && !is_disturbed;
        ensure(!is_sure || is_missing_one || successes == 1, || format!("a good assertion is refused: {}", self.describe()))?;
        // Alone it can be refused by nothing; in trouble, that it was used may be all that is known of it.
        let is_wrong = is_sure && self.count == 1 && refusals > 0;
        ensure(!is_wrong, || format!("trouble makes a good assertion a bad one: {}", self.describe()))?;
        simulation.keep_secret("client assertion", self.assertion.rsplit('.').next().expect("a JWT has parts"));
        if self.was != Was::Used && successes + refusals > 0 {
            simulation.model.assertions.push(Assertion { text: self.assertion.clone(), client: self.client });
        }
        if is_sure && successes == 0 { self.again(simulation).await } else { Ok(()) }
    }

    /// With a new assertion, as every client does.
    async fn again(&self, simulation: &mut Simulation) -> Checked {
        let assertion = sign(simulation, self.client);
        let answer = simulation.machine.call(&request(simulation, &assertion)).await;
        ensure(answer.status.as_u16() == 200, || {
            format!("after trouble {} is answered {} {}", self.describe(), answer.status, answer.body)
        })?;
        let mut allowed = Allowed::default();
        self.allow(&mut allowed);
        simulation.absorb(allowed).await?;
        simulation.model.assertions.push(Assertion { text: assertion, client: self.client });
        simulation.learn(&answer, self.client, &Scopes::of(["notes:read"]), None).map(|_| ())
    }
}

fn any(simulation: &mut Simulation, kind: Kind) -> Option<usize> {
    let model = &simulation.model;
    let clients: Vec<usize> = (0..model.clients.len()).filter(|at| model.clients[*at].kind == kind).collect();
    simulation.random.pick(&clients).copied()
}

fn allow_own(client: usize, resource: usize, scopes: &str, count_max: usize, allowed: &mut Allowed) {
    let scopes = Scopes::of(scopes.split(' '));
    allowed.begins.push(Begins { client, person: None, resource, scopes, count_max, code: None });
}

fn request(simulation: &Simulation, assertion: &str) -> Request {
    let resource = simulation.model.resources[0].identifier;
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", assertion),
        ("resource", resource),
    ];
    Request::form("/token", Caller::InForm, &fields)
}

fn sign(simulation: &mut Simulation, client: usize) -> String {
    let jti = format!("{:016x}", simulation.random.number());
    let now_s = simulation.machine.now().seconds();
    let known = &simulation.model.clients[client];
    let claims = json!({
        "iss": known.id, "sub": known.id, "aud": "https://deputy.example", "iat": now_s, "exp": now_s + ASSERTION_TTL_S, "jti": jti,
    });
    let key = EncodingKey::from_ec_der(known.key.as_deref().unwrap_or_default());
    jsonwebtoken::encode(&Header::new(Algorithm::ES256), &claims, &key).expect("a good key signs")
}
