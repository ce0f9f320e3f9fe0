//! What the simulator knows of what was promised to whom: plain values, no storage.
//!
//! It learns from answers only. Where an answer was lost it looks at what is stored, and accepts what the lost request may have
//! done, and nothing else.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use deputy::domain::{
    grant::Grant as StoredGrant,
    id::{GrantKind, Id},
    scope::Scopes,
    time::Timestamp,
};

use super::{browser::Browser, request::Caller};

/// For so long after a refresh, repeating it gets the same successor; as the simulation's configuration has it.
pub const GRACE: Duration = Duration::from_secs(30);

/// A broken promise, in a sentence.
pub type Checked<T = ()> = Result<T, String>;

/// Fails with the sentence unless the claim holds.
pub fn ensure(claim: bool, sentence: impl FnOnce() -> String) -> Checked {
    if claim { Ok(()) } else { Err(sentence()) }
}

#[derive(Default)]
pub struct Model {
    pub resources: Vec<Resource>,
    pub clients: Vec<Client>,
    pub people: Vec<Person>,
    pub codes: Vec<Code>,
    pub grants: Vec<Grant>,
    pub tokens: Vec<Token>,
    pub assertions: Vec<Assertion>,
    /// By client, person and resource: what the person allows now.
    pub consents: HashMap<(usize, usize, usize), Scopes>,
}

pub struct Resource {
    pub identifier: &'static str,
    pub id: String,
    pub secret: String,
    pub token_ttl_s: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Registered itself, has no secret, acts for people.
    Public,
    /// Has a secret, acts for people.
    Web,
    /// Has a secret, acts for itself.
    Service,
    /// Signs assertions, acts for itself.
    Signing,
}

pub struct Client {
    pub id: String,
    pub kind: Kind,
    pub secret: Option<String>,
    /// PKCS#8.
    pub key: Option<Vec<u8>>,
    pub standing: Standing,
}

impl Client {
    pub fn caller(&self) -> Caller<'_> {
        match &self.secret {
            Some(secret) => Caller::Confidential { id: &self.id, secret },
            None => Caller::Public { id: &self.id },
        }
    }

    pub fn acts_for_people(&self) -> bool {
        matches!(self.kind, Kind::Public | Kind::Web)
    }
}

/// Whether a client or a person may act.
#[derive(Default)]
pub struct Standing {
    /// Since when not.
    pub off_since: Option<Timestamp>,
    /// What was issued until then may be dead even if it was issued after it was let act again: tokens tell whole seconds.
    pub doubtful_until: Option<Timestamp>,
}

impl Standing {
    pub fn is_on(&self) -> bool {
        self.off_since.is_none()
    }
}

pub struct Person {
    pub id: String,
    pub login: String,
    pub password: String,
    pub browser: Browser,
    pub standing: Standing,
}

pub struct Code {
    pub text: String,
    pub client: usize,
    pub person: usize,
    pub resource: usize,
    pub scopes: Scopes,
    pub expires_at: Timestamp,
    pub is_spent: bool,
    /// What it began.
    pub grant: Option<usize>,
}

pub struct Grant {
    pub id: Id<GrantKind>,
    pub client: usize,
    pub person: Option<usize>,
    pub resource: usize,
    pub scopes: Scopes,
    pub expires_at: Timestamp,
    pub has_ended: bool,
    pub family: Option<Family>,
}

pub struct Family {
    pub live: u32,
    pub rotated_at: Timestamp,
    /// When the rotation before that one was, if there was one.
    pub rotated_before_at: Option<Timestamp>,
    pub expires_at: Timestamp,
    /// By generation; those whose answers were lost are missing.
    pub tokens: BTreeMap<u32, String>,
}

pub struct Token {
    pub text: String,
    pub jti: String,
    pub grant: usize,
    pub scopes: Scopes,
    /// Seconds since the epoch, as in the token.
    pub issued_at_s: i64,
    pub expires_at_s: i64,
    pub is_revoked: bool,
    /// Whether its client or person was switched off since it was issued.
    pub was_switched_off: bool,
    /// Issued while the clock was ahead of where it was when its client or person was switched off.
    pub is_from_the_future: bool,
}

pub struct Assertion {
    pub text: String,
    pub client: usize,
}

/// What a token is good for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    Alive,
    Dead,
    /// Either is right.
    Doubtful,
}

/// What a batch of requests may have changed.
#[derive(Default)]
pub struct Allowed {
    pub begins: Vec<Begins>,
    pub rotates: Vec<usize>,
    pub ends: Vec<usize>,
}

/// Grants that may have begun.
pub struct Begins {
    pub client: usize,
    pub person: Option<usize>,
    pub resource: usize,
    pub scopes: Scopes,
    pub count_max: usize,
    pub code: Option<usize>,
}

impl Model {
    /// Compares what is stored with what was known, and learns what the batch may have changed.
    pub fn absorb(&mut self, stored: Vec<StoredGrant>, mut allowed: Allowed) -> Checked {
        ensure(stored.len() >= self.grants.len(), || "grants were lost".to_owned())?;
        for grant in stored {
            match self.grants.iter().position(|known| known.id == grant.id) {
                Some(known) => self.compare(known, &grant, &allowed)?,
                None => self.adopt(grant, &mut allowed)?,
            }
        }
        Ok(())
    }

    fn compare(&mut self, index: usize, stored: &StoredGrant, allowed: &Allowed) -> Checked {
        let known = &mut self.grants[index];
        ensure(stored.scopes == known.scopes && stored.expires_at == known.expires_at, || {
            format!("the grant {} was {:?} and is {stored:?}", known.id, known.scopes)
        })?;
        ensure(stored.ended.is_some() || !known.has_ended, || format!("the grant {} has ended and lives again", known.id))?;
        ensure(stored.ended.is_none() || known.has_ended || allowed.ends.contains(&index), || {
            format!("the grant {} ended without a reason: {:?}", known.id, stored.ended)
        })?;
        known.has_ended = stored.ended.is_some();
        let (Some(family), Some(stored)) = (&mut known.family, stored.refresh) else { return Ok(()) };
        let may_rotate = allowed.rotates.contains(&index);
        ensure(stored.generation == family.live || (may_rotate && stored.generation == family.live + 1), || {
            format!("the family of {} went from generation {} to {}", known.id, family.live, stored.generation)
        })?;
        if stored.generation != family.live {
            family.rotated_before_at = Some(family.rotated_at);
        }
        (family.live, family.rotated_at, family.expires_at) = (stored.generation, stored.rotated_at, stored.expires_at);
        Ok(())
    }

    fn adopt(&mut self, stored: StoredGrant, allowed: &mut Allowed) -> Checked {
        let client = self.clients.iter().position(|client| client.id == stored.client.as_str());
        let person = stored.person.map(|id| self.people.iter().position(|person| person.id == id.to_string()));
        let resource =
            self.resources.iter().position(|known| stored.resource.as_ref().is_some_and(|r| r.as_str() == known.identifier));
        let begins = allowed.begins.iter_mut().find(|begins| {
            begins.count_max > 0
                && Some(begins.client) == client
                && Some(begins.person) == Some(person.flatten())
                && Some(begins.resource) == resource
                && begins.scopes == stored.scopes
        });
        let Some(begins) = begins else { return Err(format!("a grant began that nobody asked for, or twice: {stored:?}")) };
        begins.count_max -= 1;
        if let Some(code) = begins.code {
            ensure(self.codes[code].grant.is_none(), || format!("a code began two grants, the second is {}", stored.id))?;
            self.codes[code].grant = Some(self.grants.len());
        }
        let family = stored.refresh.map(|family| Family {
            live: family.generation,
            rotated_at: family.rotated_at,
            rotated_before_at: None,
            expires_at: family.expires_at,
            tokens: BTreeMap::new(),
        });
        self.grants.push(Grant {
            id: stored.id,
            client: begins.client,
            person: begins.person,
            resource: begins.resource,
            scopes: stored.scopes,
            expires_at: stored.expires_at,
            has_ended: stored.ended.is_some(),
            family,
        });
        Ok(())
    }

    /// A person's new decision: what was offered is decided anew, what was not offered stays as it was.
    pub fn consent(&mut self, client: usize, person: usize, resource: usize, offered: &Scopes, allowed: &Scopes) {
        let consent = self.consents.entry((client, person, resource)).or_default();
        *consent = consent.difference(offered).union(allowed);
    }

    /// The live grants of the app that this grant is of: of its client, for its person, at its resource.
    pub fn app_of(&self, grant: usize, now: Timestamp) -> Vec<usize> {
        let of = |grant: &Grant| (grant.client, grant.person, grant.resource);
        let app = of(&self.grants[grant]);
        let is_live = |other: &Grant| !other.has_ended && other.expires_at > now;
        (0..self.grants.len()).filter(|at| of(&self.grants[*at]) == app && is_live(&self.grants[*at])).collect()
    }

    /// After its person ended the app that this grant is of: the client has to ask again.
    pub fn forget_consent(&mut self, grant: usize) {
        let Grant { client, person, resource, .. } = self.grants[grant];
        if let Some(person) = person {
            self.consents.remove(&(client, person, resource));
        }
    }

    /// The scopes that a code yields: those it was made for, as far as its person still allows them.
    pub fn redeemable(&self, code: usize) -> Scopes {
        let code = &self.codes[code];
        let consent = self.consents.get(&(code.client, code.person, code.resource));
        consent.map_or_else(Scopes::default, |consent| code.scopes.intersection(consent))
    }

    /// The scopes that a refresh yields: the grant's, as far as its person still allows them.
    pub fn renewable(&self, grant: usize) -> Scopes {
        let grant = &self.grants[grant];
        let consent = grant.person.and_then(|person| self.consents.get(&(grant.client, person, grant.resource)));
        consent.map_or_else(Scopes::default, |consent| grant.scopes.intersection(consent))
    }

    /// The moments to come at which something expires.
    pub fn edges(&self, now: Timestamp) -> Vec<Timestamp> {
        let codes = self.codes.iter().filter(|code| !code.is_spent).map(|code| code.expires_at);
        let grants = self.grants.iter().filter(|grant| !grant.has_ended);
        let families = grants.clone().filter_map(|grant| grant.family.as_ref());
        let rotations = |family: &Family| [Some(family.rotated_at), family.rotated_before_at].into_iter().flatten();
        let edges = families.flat_map(|family| rotations(family).map(|at| at.plus(GRACE)).chain([family.expires_at]));
        codes.chain(edges).chain(grants.map(|grant| grant.expires_at)).filter(|edge| *edge > now).collect()
    }

    /// What a token is good for at `now`.
    pub fn life(&self, token: &Token, now: Timestamp) -> Life {
        let grant = &self.grants[token.grant];
        let standings = [Some(&self.clients[grant.client].standing), grant.person.map(|person| &self.people[person].standing)];
        let is_off = standings.iter().flatten().any(|standing| !standing.is_on());
        if token.expires_at_s <= now.seconds() || grant.has_ended || token.is_revoked || is_off {
            return Life::Dead;
        }
        if token.was_switched_off {
            return if token.is_from_the_future { Life::Doubtful } else { Life::Dead };
        }
        let issued_at = Timestamp::from_seconds(token.issued_at_s);
        let is_doubtful =
            standings.iter().flatten().any(|standing| standing.doubtful_until.is_some_and(|until| issued_at <= until));
        if is_doubtful { Life::Doubtful } else { Life::Alive }
    }

    /// Notes that a client, a person, or both are switched off.
    pub fn switch_off(&mut self, client: Option<usize>, person: Option<usize>, now: Timestamp) {
        let standings = client.map(|client| &mut self.clients[client].standing).into_iter();
        for standing in standings.chain(person.map(|person| &mut self.people[person].standing)) {
            standing.off_since.get_or_insert(now);
        }
        for token in &mut self.tokens {
            let grant = &self.grants[token.grant];
            if Some(grant.client) == client || (person.is_some() && grant.person == person) {
                token.was_switched_off = true;
                token.is_from_the_future |= Timestamp::from_seconds(token.issued_at_s) > now;
            }
        }
    }

    /// Notes that a client or a person may act again.
    pub fn switch_on(&mut self, client: Option<usize>, person: Option<usize>, now: Timestamp) {
        let standings = client.map(|client| &mut self.clients[client].standing).into_iter();
        for standing in standings.chain(person.map(|person| &mut self.people[person].standing)) {
            if let Some(since) = standing.off_since.take() {
                standing.doubtful_until = standing.doubtful_until.max(Some(since.max(now)));
            }
        }
    }
}
