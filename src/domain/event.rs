//! Events: past-tense facts with an id, a time, an actor and a version. They carry ids, never secrets (promise 11).

use serde::{Deserialize, Serialize};

use super::{
    client::{ClientId, GrantType, Origin},
    grant::EndCause,
    id::{EventKind, GrantKind, Id, KeyKind, OperatorKind, PersonKind, ResourceKind, SessionKind, TokenKind},
    resource::ResourceIdentifier,
    scope::Scopes,
    time::Timestamp,
};

/// What leaves the process as news: the third waist of the house.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub id: Id<EventKind>,
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
    /// Somebody who did not say who they are.
    Anonymous,
    /// The server itself, on schedule.
    Deputy,
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
    },
    #[serde(rename = "token.revoked.v1")]
    TokenRevoked { jti: Id<TokenKind>, grant: Id<GrantKind>, client: ClientId },
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
    #[serde(rename = "consent.given.v1")]
    ConsentGiven {
        client: ClientId,
        person: Id<PersonKind>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resource: Option<ResourceIdentifier>,
        scope: Scopes,
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
    GrantEnded { grant: Id<GrantKind>, client: ClientId, cause: EndCause },
    #[serde(rename = "client.registered.v1")]
    ClientRegistered { client: ClientId, origin: Origin, name: String },
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
    SessionStarted { session: Id<SessionKind>, person: Id<PersonKind> },
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
}

impl Fact {
    /// What the fact is about: its events keep their order. The facts of one subject take one way into the log: those that some
    /// request appends directly are never about what the facts of a transaction are about.
    pub fn subject(&self) -> String {
        match self {
            // A token leaves when its issuance is in the log, so whatever ends it comes after.
            Fact::TokenIssued { jti, .. } | Fact::TokenRevoked { jti, .. } => jti.to_string(),
            Fact::GrantStarted { grant, .. } | Fact::GrantEnded { grant, .. } => grant.to_string(),
            // Nothing proves which client it was.
            Fact::RequestRefused { route, .. } => route.clone(),
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
            Fact::PersonInvited { .. } | Fact::InitialAccessTokenIssued { .. } => String::new(),
        }
    }
}
