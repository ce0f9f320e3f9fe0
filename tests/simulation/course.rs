//! A simulation: one machine, what it promised, and the moves so far.

use std::collections::{HashMap, HashSet};

use deputy::{
    domain::{
        id::{GrantKind, Id},
        scope::Scopes,
    },
    storage::grants,
    world::World,
};
use serde_json::{Value, json};

use super::{
    faults::Fault,
    lines,
    machine::{Engine, Machine},
    model::{Allowed, Checked, Client, Kind, Model, Person, Resource, Standing, Token, ensure},
    pipeline::Pipeline,
    random::Random,
    request::Request,
};
use crate::support::{Answer, agent::VERIFIER, agent::claims};

/// The resources, and how long their tokens live, in seconds.
const RESOURCES: [(&str, i64); 2] = [("https://notes.example/mcp", 300), ("https://files.example/mcp", 60)];
/// More grants than a simulation makes.
const GRANTS_MAX: i64 = 10_000;

pub struct Simulation {
    pub machine: Machine,
    pub model: Model,
    pub random: Random,
    /// What was done, for whoever has to understand it.
    pub moves: Vec<String>,
    pub pipeline: Pipeline,
    operator_token: String,
    /// What nobody else may see, with what it is.
    secrets: Vec<(&'static str, String)>,
    lines_read: usize,
    /// The identifiers of all facts read.
    facts_known: HashSet<String>,
    /// The data of `token.issued` by `jti`.
    issued: HashMap<String, Value>,
}

impl Simulation {
    pub async fn start(engine: Engine, seed: u64) -> Checked<Simulation> {
        let lines_read = lines::capture();
        let machine = Machine::start(engine, seed).await;
        let operator_token = machine.operator_token();
        let mut simulation = Simulation {
            machine,
            model: Model::default(),
            random: Random::new(seed),
            moves: Vec::new(),
            pipeline: Pipeline::new(seed),
            secrets: vec![("operator token", operator_token.clone()), ("code verifier", VERIFIER.to_owned())],
            operator_token,
            lines_read,
            facts_known: HashSet::new(),
            issued: HashMap::new(),
        };
        for (identifier, token_ttl_s) in RESOURCES {
            simulation.add_resource(identifier, token_ttl_s).await?;
        }
        for number in 0..2 {
            simulation.add_person(&format!("person-{number}-{seed}@people.example")).await?;
        }
        for kind in [Kind::Public, Kind::Web, Kind::Service, Kind::Signing] {
            simulation.add_client(kind).await?;
        }
        simulation.add_sources().await?;
        Ok(simulation)
    }

    /// A request of the operator.
    pub fn by_operator(&self, method: &str, path: &str, body: &Value) -> Request {
        let method = method.parse().expect("a method");
        Request::json(method, &format!("/admin/v1{path}"), body).with("authorization", format!("Bearer {}", self.operator_token))
    }

    /// A request of the operator on a healthy machine, which must succeed.
    pub async fn operate(&self, method: &str, path: &str, body: &Value) -> Checked<Value> {
        let answer = self.machine.call(&self.by_operator(method, path, body)).await;
        ensure(answer.status.is_success(), || format!("{method} {path} on a healthy machine: {} {}", answer.status, answer.body))?;
        Ok(if answer.body.is_empty() { Value::Null } else { answer.json() })
    }

    /// Something that must not be seen again.
    pub fn keep_secret(&mut self, what: &'static str, text: &str) {
        self.secrets.push((what, text.to_owned()));
    }

    /// Whether an answer tells of trouble that passes. On a healthy machine there is none, and it is always told as what it is.
    pub fn is_trouble(&self, answer: &Answer, fault: Option<&Fault>) -> Checked<bool> {
        let status = answer.status.as_u16();
        let may_be = fault.is_some() || self.machine.may_be_crowded();
        // What befalls a person on their way back is told to the client that sent them.
        if answer.header("location").is_some_and(|location| location.contains("?error=temporarily_unavailable&")) {
            return ensure(may_be, || format!("trouble on a healthy machine: {:?}", answer.headers)).map(|()| true);
        }
        if status < 400 {
            return Ok(false);
        }
        if answer.header("content-type").is_some_and(|media_type| media_type.contains("json")) {
            self.check_text(&answer.body, "an error's body")?;
        }
        if !matches!(status, 429 | 503) {
            return ensure(status < 500, || format!("a server's error: {status} {}", answer.body)).map(|()| false);
        }
        ensure(may_be, || format!("trouble on a healthy machine: {status} {}", answer.body))?;
        ensure(answer.header("retry-after").is_some(), || format!("trouble without Retry-After: {status} {}", answer.body))?;
        let is_page = answer.body.starts_with("<!");
        // Producers are told in other words.
        let named = |member: &str| answer.json()[member] == "temporarily_unavailable";
        ensure(is_page || named("error") || named("code"), || format!("trouble under another name: {status} {}", answer.body))?;
        Ok(true)
    }

    /// Compares what is stored with what the requests since may have changed.
    pub async fn absorb(&mut self, allowed: Allowed) -> Checked {
        let list = async |world: &World| {
            world.storage.read(|tx| Box::pin(async move { grants::list(tx, "", "", "", GRANTS_MAX).await })).await
        };
        let stored = self.machine.look(list).await?;
        self.model.absorb(stored, allowed)
    }

    /// Learns the tokens of a token response, and holds them against what was granted. `scopes` are those that the token must have.
    pub fn learn(&mut self, answer: &Answer, client: usize, scopes: &Scopes, presented: Option<u32>) -> Checked<usize> {
        let body = answer.json();
        let text = answer.text("access_token");
        self.keep_secret("access token", text.rsplit('.').next().expect("a JWT has parts"));
        if let Some(id_token) = body["id_token"].as_str() {
            self.keep_secret("ID token", id_token.rsplit('.').next().expect("a JWT has parts"));
        }
        let claims = claims(&text);
        let id: Id<GrantKind> = claims["gid"].as_str().and_then(|id| id.parse().ok()).ok_or("a token without its grant")?;
        let index = self.model.grants.iter().position(|grant| grant.id == id).ok_or("a token of a grant that is not stored")?;
        let (now, grant) = (self.machine.now(), &self.model.grants[index]);
        let resource = &self.model.resources[grant.resource];
        let (issued_at_s, expires_at_s) = (claims["iat"].as_i64().unwrap_or(0), claims["exp"].as_i64().unwrap_or(i64::MAX));
        let subject = grant.person.map_or(&self.model.clients[client].id, |person| &self.model.people[person].id);
        for (claim, holds) in [
            ("iss", claims["iss"] == "https://deputy.example"),
            ("client_id", claims["client_id"] == self.model.clients[client].id.as_str() && grant.client == client),
            ("aud", claims["aud"] == resource.identifier),
            ("sub", claims["sub"] == subject.as_str()),
            ("scope", claims["scope"] == scopes.to_string() && scopes.is_subset(&grant.scopes)),
            ("iat", issued_at_s == now.seconds()),
            ("exp", expires_at_s <= grant.expires_at.seconds() && expires_at_s - issued_at_s <= resource.token_ttl_s),
            ("expires_in", body["expires_in"] == expires_at_s - issued_at_s && expires_at_s > issued_at_s),
        ] {
            ensure(holds, || format!("a token exceeds its grant or misstates it, by {claim}: {claims}"))?;
        }
        self.model.tokens.push(Token {
            jti: claims["jti"].as_str().unwrap_or_default().to_owned(),
            text,
            grant: index,
            scopes: scopes.clone(),
            issued_at_s,
            expires_at_s,
            is_revoked: false,
            was_switched_off: false,
            is_from_the_future: false,
        });
        self.learn_refresh_token(index, &body, presented)?;
        Ok(index)
    }

    /// A family has one token of each generation, and whatever may be presented is answered with the live one.
    fn learn_refresh_token(&mut self, grant: usize, body: &Value, presented: Option<u32>) -> Checked {
        let text = body["refresh_token"].as_str();
        let id = self.model.grants[grant].id;
        let Some(family) = &mut self.model.grants[grant].family else {
            return ensure(text.is_none(), || format!("the grant {id} has no family, and got a refresh token"));
        };
        let text = text.ok_or_else(|| format!("no refresh token for the family of {id}"))?;
        let generation = presented.map_or(0, |_| family.live);
        let is_next = presented.is_none_or(|presented| (presented + 1..=presented + 2).contains(&family.live));
        ensure(is_next, || format!("the family of {id} is at {}, and {presented:?} was presented", family.live))?;
        let known = family.tokens.entry(generation).or_insert_with(|| text.to_owned());
        ensure(known == text, || format!("the family of {id} has two tokens of generation {generation}"))?;
        let is_elsewhere = family.tokens.iter().any(|(other, known)| *other != generation && known == text);
        ensure(!is_elsewhere, || format!("the family of {id} has one token for two generations, one is {generation}"))?;
        ensure(generation <= family.live, || format!("the family of {id} is at {}, and gave {generation}", family.live))?;
        self.keep_secret("refresh token", text);
        Ok(())
    }

    /// Takes note of a fact. It comes once and says of a token what the token says.
    pub fn note_fact(&mut self, fact: &Value) -> Checked {
        self.check_text(&fact.to_string(), "a fact")?;
        let id = fact["id"].as_str().ok_or("a fact without its id")?.to_owned();
        ensure(self.facts_known.insert(id), || format!("a fact came twice: {fact}"))?;
        if fact["type"] == "token.issued.v1" {
            let data = fact["data"].clone();
            self.issued.insert(data["jti"].as_str().unwrap_or_default().to_owned(), data);
        }
        Ok(())
    }

    /// Every token that left is on record, as what it is.
    pub fn check_records(&self) -> Checked {
        for token in &self.model.tokens {
            let Some(fact) = self.issued.get(&token.jti) else {
                return Err(format!("the token {} left and its event is lost", token.jti));
            };
            let grant = &self.model.grants[token.grant];
            let fits = fact["grant"] == grant.id.to_string()
                && fact["client"] == self.model.clients[grant.client].id.as_str()
                && fact["scope"] == token.scopes.to_string()
                && fact["expires_at"] == token.expires_at_s * 1000;
            ensure(fits, || format!("the event of {} says something else: {fact}", token.jti))?;
        }
        Ok(())
    }

    /// What was logged since the last look holds no secret.
    pub fn check_lines(&mut self) -> Checked {
        let (lines, end) = lines::since(self.lines_read);
        self.lines_read = end;
        self.check_text(&lines, "a line of the log")
    }

    fn check_text(&self, text: &str, place: &str) -> Checked {
        match self.secrets.iter().find(|(_, secret)| text.contains(secret)) {
            Some((what, secret)) => {
                let line = text.lines().find(|line| line.contains(secret)).unwrap_or_default();
                Err(format!("{place} holds a secret ({what}): {line}"))
            }
            None => Ok(()),
        }
    }

    async fn add_resource(&mut self, identifier: &'static str, token_ttl_s: i64) -> Checked {
        let scopes = json!([
            {"name": "notes:read", "description": "Read your notes"},
            {"name": "notes:write", "description": "Write and change your notes"},
        ]);
        let body = json!({"identifier": identifier, "name": "Notes", "scopes": scopes, "access_token_ttl_s": token_ttl_s});
        let made = self.operate("POST", "/resources", &body).await?;
        let text = |member: &str| made[member].as_str().unwrap_or_default().to_owned();
        let (id, secret) = (text("resource_id"), text("secret"));
        self.keep_secret("resource secret", &secret);
        self.model.resources.push(Resource { identifier, id, secret, token_ttl_s });
        Ok(())
    }

    async fn add_person(&mut self, login: &str) -> Checked {
        let password = format!("a long password of {login}");
        let made = self.operate("POST", "/people", &json!({"login": login, "password": password})).await?;
        self.keep_secret("password", &password);
        self.keep_secret("login", login);
        self.model.people.push(Person {
            id: made["person_id"].as_str().unwrap_or_default().to_owned(),
            login: login.to_owned(),
            password,
            browser: super::browser::Browser::default(),
            standing: Standing::default(),
        });
        Ok(())
    }

    /// Adds what was registered.
    pub fn keep_client(&mut self, kind: Kind, registered: &Value, key: Option<Vec<u8>>) {
        let id = registered["client_id"].as_str().unwrap_or_default().to_owned();
        let secret = registered["client_secret"].as_str().map(str::to_owned);
        if let Some(secret) = &secret {
            self.keep_secret("client secret", secret);
        }
        self.model.clients.push(Client { id, kind, secret, key, standing: Standing::default() });
    }
}
