//! Evidence: what was seen of an actor, kept with the event that showed it, and the kind that follows from all of it.
//!
//! The kind is a function of what is kept, so an operator reads why somebody is what they are. It depends on the order of the log and on
//! nothing else: however the log is cut into batches, and however often a part is read again, the same is found.
//!
//! Anybody may ask in anybody's name, and anybody who has a page's write key may send messages about anybody. So nothing makes an agent
//! a rogue that others could have caused, and no message makes a bot of somebody who signed in here.

use serde::{Deserialize, Serialize};

use super::ActorKind;
use crate::domain::{
    client::{AuthMethod, Origin},
    id::{EventKind, Id, OperatorKind, PersonKind},
    profile::Collection,
    time::Timestamp,
};

/// People whose consent speaks for an agent.
const PEOPLE_OF_TRUST: usize = 3;
/// Replays within a day that make a rogue of an agent that proves who it is; a program that is merely written badly has fewer.
const REPLAYS_OF_ROGUE: usize = 5;
const DAY_MS: i64 = 86_400_000;
/// Between signing in and consenting a person reads what they consent to.
const CONSENT_READ_MIN_MS: i64 = 500;
/// Consents of a person that were given unread: three are no accident.
const UNREAD_OF_BOT: usize = 3;

/// What an operator takes back by enabling an agent.
const SPEAKS_AGAINST: [Evidence; 3] = [Evidence::Suspended, Evidence::Replayed, Evidence::ReplayedOften];

/// What was seen. The words are a promise to whoever reads them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// An operator registered the agent.
    MadeByOperator,
    /// The host of its `client_id` says what the agent is.
    VouchedByHost,
    /// The agent registered itself.
    RegisteredItself,
    /// It got a token.
    GotToken,
    /// It used a token, at a resource that asked about it or at userinfo; the last time.
    UsedToken,
    /// It got a token for which it signed with a key of its own.
    ProvedOwnKey,
    /// It sent events, with an access token of its own.
    SentEvents,
    /// One more person consented to it.
    Consented,
    /// A person was asked in its name and said no.
    ConsentRefused,
    /// A request in its name was refused.
    RequestRefused,
    /// A code or a refresh token that was given to it was used a second time.
    Replayed,
    /// And that again and again within a day, where nobody else can have done it.
    ReplayedOften,
    /// The rule about risk suspended it.
    Suspended,
    /// An operator enabled it again: what led to a suspension does not count any longer.
    Enabled,
    /// The person signed in here.
    SignedIn,
    /// Somebody failed to sign in as this person.
    SignInRefused,
    /// An agent got a token to act for this person.
    ActedFor,
    /// An agent used a token to act for this person; the last time.
    UsedFor,
    /// The person consented faster than anybody reads.
    ConsentedUnread,
    /// A source names the person by a user id.
    Named,
    /// A source saw the device.
    Visited,
    /// The device says that a program drives it.
    AutomatedDevice,
    /// The device passes for a browser, and is none.
    ScriptedDevice,
    /// The device tells of more in one second than anybody does.
    ImpossiblePace,
    /// An operator said what the actor is.
    OperatorSaid,
    /// An operator took their word back.
    OperatorLifted,
}

/// Which findings of one sort are kept when there are many.
enum Kept {
    First(usize),
    Last(usize),
}

impl Evidence {
    fn kept(self) -> Kept {
        match self {
            Evidence::Consented => Kept::First(PEOPLE_OF_TRUST),
            Evidence::ConsentedUnread => Kept::First(UNREAD_OF_BOT),
            // Anybody can cause them, so more of them say nothing more.
            Evidence::ConsentRefused | Evidence::RequestRefused | Evidence::SignInRefused => Kept::First(5),
            Evidence::UsedToken | Evidence::UsedFor => Kept::Last(1),
            Evidence::Replayed => Kept::Last(REPLAYS_OF_ROGUE),
            Evidence::Suspended | Evidence::Enabled => Kept::Last(5),
            Evidence::OperatorSaid | Evidence::OperatorLifted => Kept::Last(20),
            _ => Kept::First(1),
        }
    }

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Evidence::MadeByOperator => "made_by_operator",
            Evidence::VouchedByHost => "vouched_by_host",
            Evidence::RegisteredItself => "registered_itself",
            Evidence::GotToken => "got_token",
            Evidence::UsedToken => "used_token",
            Evidence::ProvedOwnKey => "proved_own_key",
            Evidence::SentEvents => "sent_events",
            Evidence::Consented => "consented",
            Evidence::ConsentRefused => "consent_refused",
            Evidence::RequestRefused => "request_refused",
            Evidence::Replayed => "replayed",
            Evidence::ReplayedOften => "replayed_often",
            Evidence::Suspended => "suspended",
            Evidence::Enabled => "enabled",
            Evidence::SignedIn => "signed_in",
            Evidence::SignInRefused => "sign_in_refused",
            Evidence::ActedFor => "acted_for",
            Evidence::UsedFor => "used_for",
            Evidence::ConsentedUnread => "consented_unread",
            Evidence::Named => "named",
            Evidence::Visited => "visited",
            Evidence::AutomatedDevice => "automated_device",
            Evidence::ScriptedDevice => "scripted_device",
            Evidence::ImpossiblePace => "impossible_pace",
            Evidence::OperatorSaid => "operator_said",
            Evidence::OperatorLifted => "operator_lifted",
        }
    }
}

/// What an event says of an actor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observed {
    /// It is a client now.
    Registered {
        origin: Origin,
        /// Unknown for events of earlier versions.
        auth_method: Option<AuthMethod>,
    },
    /// It got a token.
    TokenIssued,
    /// This person consented to it.
    ConsentedTo { person: Id<PersonKind> },
    /// The person gave a consent.
    GaveConsent,
    /// It is as the evidence says, and that is all.
    Shown(Evidence),
    /// An operator says who it is.
    Said { kind: ActorKind, note: String, operator: Id<OperatorKind> },
    /// The evidence counts again.
    Lifted,
}

impl Observed {
    /// The evidence that this is, if it is the same however often it is seen: after the first time it brings nothing.
    pub fn lasting(&self) -> Option<Evidence> {
        match self {
            Observed::TokenIssued => Some(Evidence::GotToken),
            Observed::Shown(
                evidence @ (Evidence::SentEvents
                | Evidence::ActedFor
                | Evidence::Named
                | Evidence::Visited
                | Evidence::AutomatedDevice
                | Evidence::ScriptedDevice
                | Evidence::ImpossiblePace),
            ) => Some(*evidence),
            _ => None,
        }
    }

    /// Whether it shows that the actor exists: nobody comes into being by a name that somebody made up.
    pub fn is_proof_of_existence(&self) -> bool {
        !matches!(self, Observed::Shown(Evidence::RequestRefused | Evidence::SignInRefused))
    }
}

/// An event that says something of an actor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub event: Id<EventKind>,
    pub at: Timestamp,
    pub observed: Observed,
}

/// A piece of evidence, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub evidence: Evidence,
    pub event: Id<EventKind>,
    pub at: Timestamp,
    /// Who the actor was taken for from then on.
    pub kind: ActorKind,
}

/// What an operator says of an actor: it beats all evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
    pub kind: ActorKind,
    /// Why, for whoever reads it later.
    pub note: String,
    pub operator: Id<OperatorKind>,
    pub at: Timestamp,
}

/// All that is known of one actor.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActorState {
    /// In the order of the log.
    history: Vec<Finding>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    word: Option<Word>,
    /// How an agent proves that it is itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    auth_method: Option<AuthMethod>,
    /// Of each person who consented, enough to tell them apart and too little to know them by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    people: Vec<u32>,
    /// When a person last signed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signed_in_at: Option<Timestamp>,
    /// When an operator last enabled an agent against which something spoke.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    enabled_at: Option<Timestamp>,
}

impl ActorState {
    /// What was seen, in the order of the log.
    pub fn history(&self) -> &[Finding] {
        &self.history
    }

    /// What an operator says, if one does.
    pub fn word(&self) -> Option<&Word> {
        self.word.as_ref()
    }

    /// Who it is, by an operator's word or else by the evidence.
    pub fn kind(&self, collection: Collection) -> ActorKind {
        match &self.word {
            Some(word) => word.kind,
            None if collection == Collection::Agents => self.kind_of_agent(),
            None => self.kind_of_person(),
        }
    }

    /// Whether there is something to remember of an agent that is gone, because it may come back.
    pub fn outlives_its_client(&self) -> bool {
        self.word.is_some() || self.kind_of_agent() == ActorKind::Rogue
    }

    /// Takes in what an event says of a member of the collection; whether that brought anything new.
    pub fn observe(&mut self, collection: Collection, seen: &Seen) -> bool {
        match &seen.observed {
            Observed::Registered { origin, auth_method } => {
                self.auth_method = auth_method.or(self.auth_method);
                let evidence = match origin {
                    Origin::Operator => Evidence::MadeByOperator,
                    Origin::MetadataDocument => Evidence::VouchedByHost,
                    Origin::Dynamic => Evidence::RegisteredItself,
                };
                self.find(collection, evidence, seen);
                // A token may be on record before the registration that it followed.
                if self.has(Evidence::GotToken) {
                    self.find_own_key(collection, seen);
                }
                // It may be a client that was gone, and it is to be told what it is.
                true
            }
            Observed::TokenIssued => {
                let is_first = self.find(collection, Evidence::GotToken, seen);
                self.find_own_key(collection, seen) || is_first
            }
            Observed::ConsentedTo { person } => {
                let person = fragment(*person);
                if self.people.contains(&person) || self.people.len() >= PEOPLE_OF_TRUST {
                    return false;
                }
                self.people.push(person);
                self.find(collection, Evidence::Consented, seen)
            }
            Observed::GaveConsent => match self.signed_in_at {
                Some(signed_in_at) if (0..CONSENT_READ_MIN_MS).contains(&(seen.at.0 - signed_in_at.0)) => {
                    self.find(collection, Evidence::ConsentedUnread, seen)
                }
                _ => false,
            },
            Observed::Shown(Evidence::SignedIn) => {
                let is_later = self.signed_in_at.is_none_or(|earlier| earlier < seen.at);
                self.signed_in_at = self.signed_in_at.max(Some(seen.at));
                self.find(collection, Evidence::SignedIn, seen) || is_later
            }
            Observed::Shown(Evidence::Enabled) => {
                let known = self.history.len();
                self.history.retain(|finding| !SPEAKS_AGAINST.contains(&finding.evidence) || finding.at > seen.at);
                if self.history.len() == known {
                    return false;
                }
                self.enabled_at = self.enabled_at.max(Some(seen.at));
                self.find(collection, Evidence::Enabled, seen);
                true
            }
            // Read again, what an operator has dealt with does not come back.
            Observed::Shown(evidence) if SPEAKS_AGAINST.contains(evidence) && self.enabled_at >= Some(seen.at) => false,
            Observed::Shown(Evidence::Replayed) => self.find_replay(collection, seen),
            Observed::Shown(evidence) => self.find(collection, *evidence, seen),
            Observed::Said { kind, note, operator } => {
                if self.knows(Evidence::OperatorSaid, seen.event) || !kind.is_of(collection) {
                    return false;
                }
                self.word = Some(Word { kind: *kind, note: note.clone(), operator: *operator, at: seen.at });
                self.find(collection, Evidence::OperatorSaid, seen)
            }
            Observed::Lifted => {
                if self.knows(Evidence::OperatorLifted, seen.event) {
                    return false;
                }
                self.word = None;
                self.find(collection, Evidence::OperatorLifted, seen)
            }
        }
    }

    fn kind_of_agent(&self) -> ActorKind {
        let is_vouched = self.has(Evidence::VouchedByHost) || self.has(Evidence::ProvedOwnKey);
        let is_used = self.people.len() >= PEOPLE_OF_TRUST && !self.has(Evidence::Replayed);
        if self.has(Evidence::Suspended) || self.has(Evidence::ReplayedOften) {
            ActorKind::Rogue
        } else if self.has(Evidence::MadeByOperator) || (is_vouched && is_used) {
            ActorKind::TrustedAgent
        } else {
            ActorKind::UnknownAgent
        }
    }

    fn kind_of_person(&self) -> ActorKind {
        let is_program = [Evidence::AutomatedDevice, Evidence::ScriptedDevice, Evidence::ImpossiblePace]
            .into_iter()
            .any(|evidence| self.has(evidence));
        if self.count(Evidence::ConsentedUnread) >= UNREAD_OF_BOT || (is_program && !self.has(Evidence::SignedIn)) {
            ActorKind::BotPosingAsPerson
        } else {
            ActorKind::Person
        }
    }

    fn has(&self, evidence: Evidence) -> bool {
        self.count(evidence) > 0
    }

    fn count(&self, evidence: Evidence) -> usize {
        self.history.iter().filter(|finding| finding.evidence == evidence).count()
    }

    fn knows(&self, evidence: Evidence, event: Id<EventKind>) -> bool {
        self.history.iter().any(|finding| finding.evidence == evidence && finding.event == event)
    }

    /// Keeps a finding, if it is new and there is room for one of its sort; whether it is kept.
    fn find(&mut self, collection: Collection, evidence: Evidence, seen: &Seen) -> bool {
        if self.knows(evidence, seen.event) {
            return false;
        }
        match evidence.kept() {
            Kept::First(most) if self.count(evidence) >= most => return false,
            Kept::Last(most) if self.count(evidence) >= most => {
                let Some(oldest) = self.history.iter().position(|finding| finding.evidence == evidence) else { return false };
                // Read again, what was dropped for its age stays dropped.
                if self.history[oldest].at > seen.at {
                    return false;
                }
                self.history.remove(oldest);
            }
            Kept::First(_) | Kept::Last(_) => {}
        }
        // Its kind is known only with it.
        self.history.push(Finding { evidence, event: seen.event, at: seen.at, kind: ActorKind::Person });
        let kind = self.kind(collection);
        if let Some(last) = self.history.last_mut() {
            last.kind = kind;
        }
        true
    }

    fn find_own_key(&mut self, collection: Collection, seen: &Seen) -> bool {
        self.auth_method == Some(AuthMethod::PrivateKeyJwt) && self.find(collection, Evidence::ProvedOwnKey, seen)
    }

    fn find_replay(&mut self, collection: Collection, seen: &Seen) -> bool {
        if !self.find(collection, Evidence::Replayed, seen) {
            return false;
        }
        let mut times = self.history.iter().filter(|finding| finding.evidence == Evidence::Replayed).map(|finding| finding.at.0);
        let is_often =
            self.count(Evidence::Replayed) >= REPLAYS_OF_ROGUE && times.next().is_some_and(|oldest| seen.at.0 - oldest <= DAY_MS);
        // A public client's tokens are in the hands of whoever runs it.
        let proves_itself = self.auth_method.is_some_and(|method| method != AuthMethod::None);
        if is_often && proves_itself {
            self.find(collection, Evidence::ReplayedOften, seen);
        }
        true
    }
}

/// Some of an identifier's random bits.
fn fragment(person: Id<PersonKind>) -> u32 {
    let [.., a, b, c, d] = person.to_bytes();
    u32::from_be_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests;
