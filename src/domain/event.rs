//! Events: past-tense facts with an id, a time, an actor and a version. They carry ids, never secrets (promise 11).

/// Events looked at in passing.
mod head;

use std::collections::BTreeMap;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeSeed, Error as _, IntoDeserializer as _, MapAccess, value::MapAccessDeserializer},
};
use serde_json::value::RawValue;

use super::{
    actor::{ActorId, ActorKind, evidence::Evidence},
    client::{AuthMethod, ClientId, GrantType, KeyThumbprint, Origin},
    grant::EndCause,
    id::{
        AudienceKind, ComputedTraitKind, EventKind, GrantKind, Id, InterventionKind, KeyKind, OperatorKind, PersonKind,
        PredictedTraitKind, ProfileKind, ProfileTokenKind, ResourceKind, SessionKind, SourceKind, TokenKind, TrackingPlanKind,
        TransformationKind,
    },
    json::Json,
    network::Network,
    predicted_trait::Confidence,
    resource::ResourceIdentifier,
    risk::{Measure, SignalKind},
    scope::Scopes,
    source::Producer,
    time::Timestamp,
};
pub use head::{Head, Received};

/// What leaves the process as news: the third waist of the house.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    pub id: Id<EventKind>,
    /// When it happened; a customer event, when we received it.
    pub at: Timestamp,
    pub actor: Actor,
    #[serde(flatten)]
    pub fact: Fact,
}

/// Who made it happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    Person(Id<PersonKind>),
    Client(ClientId),
    Operator(Id<OperatorKind>),
    /// Whoever holds the source's write key.
    Source(Id<SourceKind>),
    /// Somebody who did not say who they are.
    Anonymous,
    /// The server itself, on schedule.
    Deputy,
}

impl Actor {
    /// The client that it is, if it is one.
    pub fn client(&self) -> Option<&ClientId> {
        if let Actor::Client(client) = self { Some(client) } else { None }
    }

    /// As `client`, of an actor as it is written: most are none, and are not read.
    pub fn client_in(written: &RawValue) -> Option<ClientId> {
        if !written.get().starts_with("{\"client\"") {
            return None;
        }
        serde_json::from_str::<Actor>(written.get()).ok()?.client().cloned()
    }
}

/// What happened. The names are a promise to whoever reads them: a changed meaning is a new version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum Fact {
    #[serde(rename = "token.issued.v1")]
    TokenIssued {
        grant: Id<GrantKind>,
        grant_type: GrantType,
        client: ClientId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        person: Option<Id<PersonKind>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resource: Option<ResourceIdentifier>,
        scope: Scopes,
        jti: Id<TokenKind>,
        expires_at: Timestamp,
        /// From where it was asked for; absent if that says nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        network: Option<Network>,
    },
    #[serde(rename = "token.revoked.v1")]
    TokenRevoked { jti: Id<TokenKind>, grant: Id<GrantKind>, client: ClientId },
    /// A live access token was used: a remark, made at the first use of each place.
    #[serde(rename = "token.used.v1")]
    TokenUsed {
        jti: Id<TokenKind>,
        grant: Id<GrantKind>,
        client: ClientId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        person: Option<Id<PersonKind>>,
        /// The resource that asked about it; absent if it was used at our own userinfo endpoint.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resource: Option<ResourceIdentifier>,
    },
    /// A request was refused, at whichever endpoint.
    #[serde(rename = "request.refused.v1")]
    RequestRefused {
        /// The pattern of the path, such as `/token`.
        route: String,
        /// Who the request says it is from; nothing proves it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client: Option<ClientId>,
        code: String,
        reason: String,
    },
    /// So many requests were refused, by reason, whose refusals are not on record one by one.
    #[serde(rename = "refusals.left_out.v1")]
    RefusalsLeftOut { reasons: BTreeMap<String, u64> },
    #[serde(rename = "consent.given.v1")]
    ConsentGiven {
        client: ClientId,
        person: Id<PersonKind>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resource: Option<ResourceIdentifier>,
        scope: Scopes,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        network: Option<Network>,
    },
    #[serde(rename = "consent.refused.v1")]
    ConsentRefused { client: ClientId, person: Id<PersonKind> },
    #[serde(rename = "grant.started.v1")]
    GrantStarted {
        grant: Id<GrantKind>,
        client: ClientId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        person: Option<Id<PersonKind>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resource: Option<ResourceIdentifier>,
        scope: Scopes,
        expires_at: Timestamp,
    },
    #[serde(rename = "grant.ended.v1")]
    GrantEnded {
        grant: Id<GrantKind>,
        client: ClientId,
        /// Absent if the client acted for itself, or the fact is of an early release.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        person: Option<Id<PersonKind>>,
        cause: EndCause,
    },
    #[serde(rename = "client.registered.v1")]
    ClientRegistered {
        client: ClientId,
        origin: Origin,
        name: String,
        /// How it is going to prove that it is itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        auth_method: Option<AuthMethod>,
    },
    /// A client proved to be itself with this key: a remark.
    #[serde(rename = "client.key_used.v1")]
    ClientKeyUsed { client: ClientId, jkt: KeyThumbprint },
    #[serde(rename = "client.changed.v1")]
    ClientChanged { client: ClientId, change: String },
    #[serde(rename = "client.deleted.v1")]
    ClientDeleted { client: ClientId },
    #[serde(rename = "resource.registered.v1")]
    ResourceRegistered { resource: Id<ResourceKind>, identifier: ResourceIdentifier },
    #[serde(rename = "resource.changed.v1")]
    ResourceChanged { resource: Id<ResourceKind> },
    #[serde(rename = "resource.deleted.v1")]
    ResourceDeleted { resource: Id<ResourceKind>, identifier: ResourceIdentifier },
    #[serde(rename = "person.invited.v1")]
    PersonInvited { expires_at: Timestamp },
    #[serde(rename = "person.created.v1")]
    PersonCreated { person: Id<PersonKind> },
    #[serde(rename = "person.locked.v1")]
    PersonLocked { person: Id<PersonKind> },
    #[serde(rename = "person.unlocked.v1")]
    PersonUnlocked { person: Id<PersonKind> },
    #[serde(rename = "person.password_changed.v1")]
    PersonPasswordChanged { person: Id<PersonKind> },
    /// An operator made a link with which the person chooses a new password.
    #[serde(rename = "person.password_reset_issued.v1")]
    PersonPasswordResetIssued { person: Id<PersonKind>, expires_at: Timestamp },
    #[serde(rename = "session.started.v1")]
    SessionStarted {
        session: Id<SessionKind>,
        person: Id<PersonKind>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        network: Option<Network>,
    },
    #[serde(rename = "session.ended.v1")]
    SessionEnded { session: Id<SessionKind>, person: Id<PersonKind> },
    #[serde(rename = "sign_in.refused.v1")]
    SignInRefused {
        /// Absent if nobody has this login.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        person: Option<Id<PersonKind>>,
        reason: String,
    },
    #[serde(rename = "key.rotated.v1")]
    KeyRotated { active: Id<KeyKind>, next: Id<KeyKind> },
    #[serde(rename = "initial_access_token.issued.v1")]
    InitialAccessTokenIssued { expires_at: Timestamp },
    #[serde(rename = "operator.created.v1")]
    OperatorCreated { operator: Id<OperatorKind>, name: String },
    #[serde(rename = "operator.removed.v1")]
    OperatorRemoved { operator: Id<OperatorKind> },
    #[serde(rename = "source.created.v1")]
    SourceCreated { source: Id<SourceKind>, name: String, kind: Producer },
    #[serde(rename = "source.changed.v1")]
    SourceChanged { source: Id<SourceKind>, change: String },
    #[serde(rename = "source.deleted.v1")]
    SourceDeleted { source: Id<SourceKind> },
    #[serde(rename = "transformation.created.v1")]
    TransformationCreated { transformation: Id<TransformationKind>, name: String },
    /// Its program, name, sources, or whether it is applied. The version counts its programs.
    #[serde(rename = "transformation.changed.v1")]
    TransformationChanged { transformation: Id<TransformationKind>, version: u32 },
    #[serde(rename = "transformation.deleted.v1")]
    TransformationDeleted { transformation: Id<TransformationKind> },
    #[serde(rename = "tracking_plan.created.v1")]
    TrackingPlanCreated { tracking_plan: Id<TrackingPlanKind>, name: String },
    #[serde(rename = "tracking_plan.changed.v1")]
    TrackingPlanChanged { tracking_plan: Id<TrackingPlanKind>, version: u32 },
    #[serde(rename = "tracking_plan.deleted.v1")]
    TrackingPlanDeleted { tracking_plan: Id<TrackingPlanKind> },
    /// A customer event came in. Its way begins here, and nothing has looked at it but the ingest.
    #[serde(rename = "event.received.v1")]
    EventReceived {
        source: Id<SourceKind>,
        /// The source's own name for it: one that comes again is the same event.
        message_id: String,
        /// What the source sent, in the source's words, with times and ids in one form: see `events::ingest`.
        message: Json,
    },
    #[serde(rename = "computed_trait.created.v1")]
    ComputedTraitCreated { computed_trait: Id<ComputedTraitKind>, key: String },
    #[serde(rename = "computed_trait.deleted.v1")]
    ComputedTraitDeleted { computed_trait: Id<ComputedTraitKind> },
    #[serde(rename = "audience.created.v1")]
    AudienceCreated { audience: Id<AudienceKind>, key: String },
    #[serde(rename = "audience.deleted.v1")]
    AudienceDeleted { audience: Id<AudienceKind> },
    #[serde(rename = "identity_rules.changed.v1")]
    IdentityRulesChanged {
        /// By which they are in force from where this stands among the events. Absent in facts of early versions.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        intervention: Option<Id<InterventionKind>>,
    },
    #[serde(rename = "profile_token.issued.v1")]
    ProfileTokenIssued { profile_token: Id<ProfileTokenKind>, name: String },
    #[serde(rename = "profile_token.removed.v1")]
    ProfileTokenRemoved { profile_token: Id<ProfileTokenKind> },
    /// Something is to be done to profiles. It is, where this stands among the events; what it is, storage knows.
    #[serde(rename = "intervention.requested.v1")]
    InterventionRequested { intervention: Id<InterventionKind> },
    /// An event that speaks against an agent, and that nobody else could have caused.
    #[serde(rename = "risk.signalled.v1")]
    RiskSignalled {
        agent: ClientId,
        /// For whom it acted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        person: Option<Id<PersonKind>>,
        signal: SignalKind,
        event: Id<EventKind>,
        /// All that is proven against it, with this.
        score: u32,
    },
    /// An event that speaks against what is done in a person's name, and that nobody could have caused who holds nothing of theirs.
    #[serde(rename = "risk.person_signalled.v1")]
    PersonRiskSignalled {
        person: Id<PersonKind>,
        /// What acted for them; absent if it is about the account.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent: Option<ClientId>,
        signal: SignalKind,
        event: Id<EventKind>,
        /// All that is proven of this agent, or of the account, with this.
        score: u32,
    },
    /// The risk of an agent reached what an operator has set: it is refused everything until an operator enables it.
    #[serde(rename = "risk.agent_suspended.v1")]
    AgentSuspended {
        agent: ClientId,
        score: u32,
        threshold: u32,
        events: Vec<Id<EventKind>>,
        /// What each of the events signalled.
        #[serde(default)]
        signals: Vec<SignalKind>,
    },
    /// The risk of what a person granted reached what an operator has set.
    #[serde(rename = "risk.measure_taken.v1")]
    MeasureTaken {
        measure: Measure,
        person: Id<PersonKind>,
        /// Whose grants; absent if all of the person's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent: Option<ClientId>,
        score: u32,
        threshold: u32,
        events: Vec<Id<EventKind>>,
        /// What each of the events signalled.
        signals: Vec<SignalKind>,
    },
    #[serde(rename = "risk.rule_changed.v1")]
    RiskRuleChanged {
        /// From which score on agents are suspended; absent if none is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        suspend_at: Option<u32>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        revoke_at: Option<u32>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        require_approval_at: Option<u32>,
        /// What is done by kind, whatever the score: the names of the rule's switches that are on.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        by_kind: Vec<String>,
    },
    /// What was seen of an actor makes it something else.
    #[serde(rename = "actor.kind_changed.v1")]
    ActorKindChanged {
        actor: ActorId,
        kind: ActorKind,
        /// Absent if it was not known before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        was: Option<ActorKind>,
        evidence: Evidence,
        event: Id<EventKind>,
    },
    /// An operator said what an actor is, whatever was seen of it.
    #[serde(rename = "actor.kind_set.v1")]
    ActorKindSet { actor: ActorId, kind: ActorKind, note: String },
    /// An operator took that back: what was seen counts again.
    #[serde(rename = "actor.kind_lifted.v1")]
    ActorKindLifted { actor: ActorId, kind: ActorKind },
    /// An operator has a consumer of the log stand still, on all nodes.
    #[serde(rename = "consumer.paused.v1")]
    ConsumerPaused { consumer: String },
    #[serde(rename = "consumer.resumed.v1")]
    ConsumerResumed { consumer: String },
    /// An operator has a consumer read a part of its input again: from the first offset up to but without the second.
    #[serde(rename = "consumer.replayed.v1")]
    ConsumerReplayed { consumer: String, input: String, from: u64, until: u64 },
    /// A model said something of a profile.
    #[serde(rename = "trait.predicted.v1")]
    TraitPredicted {
        predicted_trait: Id<PredictedTraitKind>,
        profile: Id<ProfileKind>,
        /// The name of the trait, and what a model says of it.
        key: String,
        value: Json,
        /// In millionths.
        confidence: Confidence,
        /// When the profile was as the model was told.
        asked_at: Timestamp,
    },
    #[serde(rename = "predicted_trait.created.v1")]
    PredictedTraitCreated { predicted_trait: Id<PredictedTraitKind>, key: String },
    #[serde(rename = "predicted_trait.deleted.v1")]
    PredictedTraitDeleted { predicted_trait: Id<PredictedTraitKind> },
    #[serde(rename = "audience.entered.v1")]
    AudienceEntered { audience: Id<AudienceKind>, profile: Id<ProfileKind> },
    #[serde(rename = "audience.left.v1")]
    AudienceLeft { audience: Id<AudienceKind>, profile: Id<ProfileKind> },
    /// A customer event that does not count, and is not lost: it came under the id of an earlier one and says something else, or what
    /// its source has been given to shape it let it not pass.
    #[serde(rename = "event.kept_aside.v1")]
    EventKeptAside {
        source: Id<SourceKind>,
        message_id: String,
        reason: String,
        /// What an operator may want to know; it may quote the message.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
        /// A keyed hash of what it says, in hexadecimal, where another message of its id came first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        print: Option<String>,
        /// The same of that first one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        first_print: Option<String>,
        message: Json,
    },
}

impl Fact {
    /// The name of a customer's event among the facts.
    pub const EVENT_RECEIVED: &'static str = "event.received.v1";

    /// What the fact is about: its events keep their order. The facts of one subject take one way into the log: those that some
    /// request appends directly are never about what the facts of a transaction are about.
    pub fn subject(&self) -> String {
        match self {
            // A token leaves when its issuance is in the log, so whatever ends it comes after.
            Fact::TokenIssued { jti, .. } | Fact::TokenRevoked { jti, .. } => jti.to_string(),
            // What is remarked takes a way of its own.
            Fact::TokenUsed { jti, .. } => format!("{jti}/use"),
            Fact::ClientKeyUsed { client, .. } => format!("{client}/key"),
            Fact::GrantStarted { grant, .. } | Fact::GrantEnded { grant, .. } => grant.to_string(),
            // Nothing proves which client it was.
            Fact::RequestRefused { route, .. } => route.clone(),
            Fact::RefusalsLeftOut { .. } => "refusals".to_owned(),
            Fact::ConsentGiven { client, .. }
            | Fact::ConsentRefused { client, .. }
            | Fact::ClientRegistered { client, .. }
            | Fact::ClientChanged { client, .. }
            | Fact::ClientDeleted { client } => client.to_string(),
            Fact::ResourceRegistered { resource, .. }
            | Fact::ResourceChanged { resource }
            | Fact::ResourceDeleted { resource, .. } => resource.to_string(),
            Fact::PersonCreated { person }
            | Fact::PersonLocked { person }
            | Fact::PersonUnlocked { person }
            | Fact::PersonPasswordChanged { person }
            | Fact::PersonPasswordResetIssued { person, .. }
            | Fact::SessionStarted { person, .. }
            | Fact::SessionEnded { person, .. } => person.to_string(),
            Fact::SignInRefused { person, .. } => person.map_or_else(String::new, |person| person.to_string()),
            Fact::KeyRotated { active, .. } => active.to_string(),
            Fact::OperatorCreated { operator, .. } | Fact::OperatorRemoved { operator } => operator.to_string(),
            Fact::SourceCreated { source, .. } | Fact::SourceChanged { source, .. } | Fact::SourceDeleted { source } => {
                source.to_string()
            }
            Fact::TransformationCreated { transformation, .. }
            | Fact::TransformationChanged { transformation, .. }
            | Fact::TransformationDeleted { transformation } => transformation.to_string(),
            Fact::TrackingPlanCreated { tracking_plan, .. }
            | Fact::TrackingPlanChanged { tracking_plan, .. }
            | Fact::TrackingPlanDeleted { tracking_plan } => tracking_plan.to_string(),
            Fact::EventReceived { source, message_id, .. } | Fact::EventKeptAside { source, message_id, .. } => {
                received_subject(*source, message_id)
            }
            Fact::ComputedTraitCreated { computed_trait, .. } | Fact::ComputedTraitDeleted { computed_trait } => {
                computed_trait.to_string()
            }
            Fact::PredictedTraitCreated { predicted_trait, .. } | Fact::PredictedTraitDeleted { predicted_trait } => {
                predicted_trait.to_string()
            }
            Fact::TraitPredicted { predicted_trait, profile, .. } => format!("{predicted_trait}/{profile}"),
            Fact::AudienceCreated { audience, .. } | Fact::AudienceDeleted { audience } => audience.to_string(),
            Fact::ProfileTokenIssued { profile_token, .. } | Fact::ProfileTokenRemoved { profile_token } => {
                profile_token.to_string()
            }
            // Of one subject, so that they keep the order in which they were asked for.
            Fact::InterventionRequested { .. } | Fact::IdentityRulesChanged { .. } => "interventions".to_owned(),
            Fact::AudienceEntered { profile, .. } | Fact::AudienceLeft { profile, .. } => profile.to_string(),
            Fact::RiskSignalled { agent, .. } | Fact::AgentSuspended { agent, .. } => agent.to_string(),
            Fact::PersonRiskSignalled { person, .. } | Fact::MeasureTaken { person, .. } => person.to_string(),
            Fact::ActorKindChanged { actor, .. } | Fact::ActorKindSet { actor, .. } | Fact::ActorKindLifted { actor, .. } => {
                actor.to_string()
            }
            Fact::ConsumerPaused { consumer } | Fact::ConsumerResumed { consumer } | Fact::ConsumerReplayed { consumer, .. } => {
                consumer.clone()
            }
            Fact::RiskRuleChanged { .. } | Fact::PersonInvited { .. } | Fact::InitialAccessTokenIssued { .. } => String::new(),
        }
    }
}

/// The subject of a customer event: a message that comes again meets its first copy.
pub fn received_subject(source: Id<SourceKind>, message_id: &str) -> String {
    format!("{source}/{message_id}")
}

/// By hand, because the derived form of `flatten` reads everything into a tree first, and a message must keep its bytes.
impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Event, D::Error> {
        #[derive(Deserialize)]
        struct Parts {
            id: Id<EventKind>,
            at: Timestamp,
            actor: Actor,
            r#type: String,
            data: Box<RawValue>,
        }
        let Parts { id, at, actor, r#type, data } = Parts::deserialize(deserializer)?;
        let fact = Fact::deserialize(MapAccessDeserializer::new(TypeAndData { next: None, r#type: &r#type, data: &data }));
        Ok(Event { id, at, actor, fact: fact.map_err(D::Error::custom)? })
    }
}

/// The two members that make a fact, in the order in which its derived form reads them without a tree.
struct TypeAndData<'p> {
    /// Whose value is read next.
    next: Option<Member>,
    r#type: &'p str,
    data: &'p RawValue,
}

#[derive(Clone, Copy)]
enum Member {
    Type,
    Data,
}

impl<'p> MapAccess<'p> for TypeAndData<'p> {
    type Error = serde_json::Error;

    fn next_key_seed<K: DeserializeSeed<'p>>(&mut self, seed: K) -> Result<Option<K::Value>, serde_json::Error> {
        let (member, name) = match self.next {
            None => (Member::Type, "type"),
            Some(Member::Type) => (Member::Data, "data"),
            Some(Member::Data) => return Ok(None),
        };
        self.next = Some(member);
        seed.deserialize(name.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'p>>(&mut self, seed: V) -> Result<V::Value, serde_json::Error> {
        match self.next {
            Some(Member::Data) => seed.deserialize(self.data),
            None | Some(Member::Type) => seed.deserialize(self.r#type.into_deserializer()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received() -> Event {
        let message = Json::parse("{\"n\": 1.0,  \"n\":\"\\u0041\"}".to_owned()).expect("it is JSON");
        let fact = Fact::EventReceived { source: Id::from_bytes([1; 16]), message_id: "m".to_owned(), message };
        Event { id: Id::from_bytes([2; 16]), at: Timestamp(7), actor: Actor::Source(Id::from_bytes([1; 16])), fact }
    }

    #[test]
    fn a_message_keeps_its_bytes() {
        let text = serde_json::to_string(&received()).expect("events serialise");
        assert!(text.contains("{\"n\": 1.0,  \"n\":\"\\u0041\"}"), "{text}");
        assert_eq!(serde_json::from_str::<Event>(&text).expect("it is an event"), received());
    }

    #[test]
    fn an_event_is_read_in_whatever_order_its_members_stand() {
        let fact = Fact::SourceDeleted { source: Id::from_bytes([1; 16]) };
        let event = Event { id: Id::from_bytes([2; 16]), at: Timestamp(7), actor: Actor::Deputy, fact };
        // A tree has its members in the order of the alphabet: data before type.
        let tree = serde_json::to_value(&event).expect("events serialise");
        assert_eq!(serde_json::from_value::<Event>(tree.clone()).expect("it is an event"), event);
        assert_eq!(serde_json::from_str::<Event>(&tree.to_string()).expect("it is an event"), event);
    }

    #[test]
    fn what_is_no_fact_of_ours_is_an_error() {
        for (name, data) in [("moon.risen.v1", "{}"), ("source.deleted.v1", "{}"), ("source.deleted.v1", "{\"source\":\"src_x\"}")]
        {
            let text = format!(
                "{{\"id\":\"{}\",\"at\":1,\"actor\":\"deputy\",\"type\":\"{name}\",\"data\":{data}}}",
                Id::<EventKind>::from_bytes([2; 16])
            );
            serde_json::from_str::<Event>(&text).expect_err(name);
        }
    }
}
