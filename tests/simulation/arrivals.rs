//! Clients that come, and people who send them codes.

use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use deputy::domain::scope::Scopes;
use serde_json::{Value, json};

use super::{
    course::Simulation,
    faults::Fault,
    model::{Allowed, Checked, Code, Kind, ensure},
    request::Request,
};
use crate::support::{Answer, CALLBACK, agent::VERIFIER, person::field};

/// How long a code lives, in milliseconds.
const CODE_TTL_MS: i64 = 60_000;
/// Steps that a person takes at most between an app's request and its answer.
const STEPS_MAX: usize = 6;

impl Simulation {
    /// A client comes, by itself or by an operator.
    pub async fn add_client(&mut self, kind: Kind) -> Checked {
        let name = format!("Client {}", self.model.clients.len());
        let key = (kind == Kind::Signing).then(new_key);
        let registration = match kind {
            Kind::Public => Request::json(axum::http::Method::POST, "/register", &public_client(&name)),
            Kind::Web => self.by_operator(
                "POST",
                "/clients",
                &json!({
                    "client_name": name, "redirect_uris": [CALLBACK], "grant_types": ["authorization_code", "refresh_token"],
                    "token_endpoint_auth_method": "client_secret_basic",
                }),
            ),
            Kind::Service => self.by_operator(
                "POST",
                "/clients",
                &json!({
                    "client_name": name, "grant_types": ["client_credentials"], "scope": "notes:read notes:write",
                    "token_endpoint_auth_method": "client_secret_basic",
                }),
            ),
            Kind::Signing => self.by_operator(
                "POST",
                "/clients",
                &json!({
                    "client_name": name, "grant_types": ["client_credentials"], "scope": "notes:read",
                    "token_endpoint_auth_method": "private_key_jwt", "jwks": jwks(key.as_deref().unwrap_or_default()),
                }),
            ),
        };
        let fault = self.machine.fault(&mut self.random);
        self.moves.push(format!("register a {kind:?} client, {fault:?}"));
        let answers = self.machine.serve(std::slice::from_ref(&registration), fault.as_ref()).await;
        let answer = self.or_again(answers.into_iter().next().flatten(), &registration, fault.as_ref()).await?;
        ensure(answer.status.as_u16() == 201, || format!("a good registration is refused: {} {}", answer.status, answer.body))?;
        if kind == Kind::Public {
            let again = self.machine.call(&registration).await.json();
            ensure(again["client_id"] == answer.json()["client_id"], || format!("one registration made two clients: {again}"))?;
        }
        self.keep_client(kind, &answer.json(), key);
        if kind == Kind::Web { self.excuse().await } else { Ok(()) }
    }

    /// Here apps replay what they can. One with secrets of its own is soon taken for a rogue by that, unless an operator says otherwise.
    async fn excuse(&mut self) -> Checked {
        self.machine.settle().await?;
        let client = self.model.clients.last().map_or("", |client| &client.id);
        let word = json!({"kind": "unknown_agent", "note": "It is meant to do this."});
        self.operate("PUT", &format!("/actors/client_id:{client}/kind"), &word).await.map(|_| ())
    }

    /// A person signs in where it is needed and lets a client act for them.
    pub async fn authorize(&mut self) -> Checked {
        let clients: Vec<usize> = (0..self.model.clients.len()).filter(|at| self.model.clients[*at].acts_for_people()).collect();
        let (Some(client), Some(person)) = (self.random.pick(&clients).copied(), self.random.index(self.model.people.len())) else {
            return Ok(());
        };
        if !self.model.people[person].standing.is_on() {
            return Ok(());
        }
        let resource = self.random.within(0..self.model.resources.len() as u64) as usize;
        let asked = self.some_scopes(&["notes:read", "notes:write", "openid"]);
        let chosen = self.some_scopes(&["notes:read", "notes:write", "openid"]);
        let fault = self.machine.fault(&mut self.random);
        self.moves.push(format!("person {person} lets client {client} have {chosen} of {asked} at {resource}, {fault:?}"));
        let query = self.authorization_query(client, resource, &asked);
        let mut answer = self.visit(person, &format!("/authorize?{query}")).await?;
        if !self.model.clients[client].standing.is_on() {
            return ensure(answer.status.as_u16() == 400 && answer.header("location").is_none(), || {
                format!("a disabled client's request is answered {} {:?}", answer.status, answer.headers)
            });
        }
        let mut granted = asked.clone();
        for _ in 0..STEPS_MAX {
            if let Some(location) = answer.header("location").map(str::to_owned) {
                if location.starts_with(CALLBACK) {
                    return self.keep_code(&location, client, person, resource, granted);
                }
                answer = self.visit(person, &location).await?;
            } else if answer.body.contains("name=\"password\"") {
                answer = self.sign_in(person, &answer).await?;
            } else if answer.body.contains("name=\"decision\"") {
                granted = asked.intersection(&chosen.union(&Scopes::of(["openid"])));
                answer = self.allow(person, &answer, &granted, fault.as_ref()).await?;
                self.model.consent(client, person, resource, &asked, &granted);
            } else {
                return Err(format!("neither sign-in nor consent: {} {}", answer.status, answer.body));
            }
        }
        Err("a person never arrives".to_owned())
    }

    /// A person ends an app, which one of its grants names, on their own page.
    pub async fn end_app(&mut self) -> Checked {
        let model = &self.model;
        let theirs: Vec<usize> = (0..model.grants.len()).filter(|at| model.grants[*at].person.is_some()).collect();
        let Some(grant) = self.random.pick(&theirs).copied() else { return Ok(()) };
        let Some(person) = self.model.grants[grant].person.filter(|person| self.model.people[*person].standing.is_on()) else {
            return Ok(());
        };
        let fault = self.machine.fault(&mut self.random);
        self.moves.push(format!("person {person} ends grant {grant}, {fault:?}"));
        let mut page = self.visit(person, "/account").await?;
        for _ in 0..STEPS_MAX {
            if let Some(location) = page.header("location").map(str::to_owned) {
                page = self.visit(person, &location).await?;
            } else if page.body.contains("name=\"password\"") {
                page = self.sign_in(person, &page).await?;
            }
        }
        let ended = &self.model.grants[grant];
        let (client, resource) = (&self.model.clients[ended.client].id, self.model.resources[ended.resource].identifier);
        let form = [("seal", field(&page, "seal")), ("client", client.clone()), ("resource", resource.to_owned())];
        let form = form.each_ref().map(|(name, value)| (*name, value.as_str()));
        let request = self.model.people[person].browser.form("/account/apps/end", &form);
        let answers = self.machine.serve(std::slice::from_ref(&request), fault.as_ref()).await;
        let answer = self.or_again(answers.into_iter().next().flatten(), &request, fault.as_ref()).await?;
        ensure(answer.status.as_u16() == 303, || format!("a person cannot end an app: {} {}", answer.status, answer.body))?;
        let app = self.model.app_of(grant, self.machine.now());
        self.absorb(Allowed { ends: app.clone(), ..Allowed::default() }).await?;
        let survivor = app.into_iter().find(|grant| !self.model.grants[*grant].has_ended);
        ensure(survivor.is_none(), || format!("grant {survivor:?} lives on though its person ended the app of {grant}"))?;
        self.model.forget_consent(grant);
        Ok(())
    }

    fn some_scopes(&mut self, words: &[&'static str]) -> Scopes {
        let chosen: Vec<_> = words.iter().copied().filter(|_| self.random.chance(60)).collect();
        // Something of the resource is always among them.
        Scopes::of(chosen.into_iter().chain(["notes:read"]))
    }

    fn authorization_query(&self, client: usize, resource: usize, scopes: &Scopes) -> String {
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, VERIFIER.as_bytes()));
        form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("response_type", "code"),
                ("client_id", &self.model.clients[client].id),
                ("redirect_uri", CALLBACK),
                ("scope", &scopes.to_string()),
                ("resource", self.model.resources[resource].identifier),
                ("code_challenge", &challenge),
                ("code_challenge_method", "S256"),
            ])
            .finish()
    }

    async fn visit(&mut self, person: usize, path: &str) -> Checked<Answer> {
        let request = self.model.people[person].browser.get(path);
        let answer = self.machine.call(&request).await;
        self.arrive(person, &answer, None)?;
        Ok(answer)
    }

    async fn sign_in(&mut self, person: usize, page: &Answer) -> Checked<Answer> {
        let (seal, known) = (field(page, "seal"), &self.model.people[person]);
        let request = known.browser.form("/sign-in", &[("seal", &seal), ("login", &known.login), ("password", &known.password)]);
        let answer = self.machine.call(&request).await;
        self.arrive(person, &answer, None)?;
        ensure(answer.status.as_u16() == 303, || format!("a right password is refused: {} {}", answer.status, answer.body))?;
        Ok(answer)
    }

    async fn allow(&mut self, person: usize, page: &Answer, granted: &Scopes, fault: Option<&Fault>) -> Checked<Answer> {
        let seal = field(page, "seal");
        let mut form = vec![("seal", seal.as_str()), ("decision", "allow")];
        form.extend(granted.iter().map(|scope| ("scope", scope)));
        let request = self.model.people[person].browser.form("/consent", &form);
        let answers = self.machine.serve(std::slice::from_ref(&request), fault).await;
        let answer = self.or_again(answers.into_iter().next().flatten(), &request, fault).await?;
        self.arrive(person, &answer, None)?;
        Ok(answer)
    }

    fn arrive(&mut self, person: usize, answer: &Answer, fault: Option<&Fault>) -> Checked {
        self.is_trouble(answer, fault)?;
        for secret in self.model.people[person].browser.keep(answer) {
            self.keep_secret("cookie", &secret);
        }
        Ok(())
    }

    /// The answer, or that of a second try on the healed machine if the first told of trouble or was lost.
    pub async fn or_again(&self, answer: Option<Answer>, request: &Request, fault: Option<&Fault>) -> Checked<Answer> {
        if let Some(answer) = answer
            && !self.is_trouble(&answer, fault)?
        {
            return Ok(answer);
        }
        let answer = self.machine.call(request).await;
        self.is_trouble(&answer, None)?;
        Ok(answer)
    }

    fn keep_code(&mut self, location: &str, client: usize, person: usize, resource: usize, scopes: Scopes) -> Checked {
        let query = location.split_once('?').map(|(_, query)| query).unwrap_or_default();
        let code = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "code").map(|(_, code)| code.into_owned());
        let text = code.ok_or_else(|| format!("no code in {location}"))?;
        self.keep_secret("code", &text);
        let expires_at = deputy::domain::time::Timestamp(self.machine.now().0 + CODE_TTL_MS);
        self.model.codes.push(Code { text, client, person, resource, scopes, expires_at, is_spent: false, grant: None });
        Ok(())
    }
}

fn public_client(name: &str) -> Value {
    json!({"client_name": name, "redirect_uris": [CALLBACK], "grant_types": ["authorization_code", "refresh_token"]})
}

pub fn new_key() -> Vec<u8> {
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).expect("a key is made");
    document.as_ref().to_vec()
}

pub fn jwks(pkcs8: &[u8]) -> Value {
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).expect("it was made just now");
    // An uncompressed point: 4, then x and y of 32 bytes each.
    let point = pair.public_key().as_ref();
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    json!({"keys": [{"kty": "EC", "crv": "P-256", "alg": "ES256", "x": encode(&point[1..33]), "y": encode(&point[33..65])}]})
}
