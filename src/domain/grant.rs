//! Authorizations, grants and consents: who may do what, for whom, until when.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    client::{ClientId, GrantType},
    id::{GrantKind, Id, PersonKind},
    resource::ResourceIdentifier,
    risk::Doubt,
    scope::Scopes,
    time::Timestamp,
};

/// What every grant type yields, and all that issuing tokens needs to know: the first waist of the house.
#[derive(Debug, Clone)]
pub struct Authorization {
    pub grant: Id<GrantKind>,
    pub grant_type: GrantType,
    pub client: ClientId,
    /// For whom the client acts; `None` if it acts for itself.
    pub person: Option<Id<PersonKind>>,
    /// The audience, spelled as the resource spells it; `None` for tokens that are good at our own userinfo endpoint only.
    pub resource: Option<ResourceIdentifier>,
    pub scopes: Scopes,
    /// When it ends whatever happens; no token outlives it.
    pub expires_at: Timestamp,
    pub access_token_ttl_s: u32,
    /// The refresh token that leaves with it, if one does: the family is the grant, the generation counts its rotations.
    pub refresh_generation: Option<u32>,
    /// What an ID token says, if one was asked for.
    pub identity: Option<Identity>,
}

/// What is known of the person's sign-in, for an ID token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Identity {
    pub nonce: Option<String>,
    pub authenticated_at: Timestamp,
}

/// A grant as storage knows it.
#[derive(Debug, Clone)]
pub struct Grant {
    pub id: Id<GrantKind>,
    pub client: ClientId,
    pub person: Option<Id<PersonKind>>,
    pub resource: Option<ResourceIdentifier>,
    pub scopes: Scopes,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub used_at: Timestamp,
    pub ended: Option<Ended>,
    /// When the person signed in for it.
    pub authenticated_at: Option<Timestamp>,
    /// The refresh family, if the grant has one.
    pub refresh: Option<RefreshFamily>,
}

/// One live refresh token: generation counts rotations, and the token is derived from grant and generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefreshFamily {
    pub generation: u32,
    pub rotated_at: Timestamp,
    /// When the rotation before that one was, if there was one on record.
    pub rotated_before_at: Option<Timestamp>,
    pub expires_at: Timestamp,
}

impl RefreshFamily {
    /// Whether the token of this generation was the live one until lately. Each has a grace of its own, from when it was rotated
    /// away: of two requests at once the slower may come when the other's successor has been rotated too.
    pub fn is_in_grace(&self, generation: u32, now: Timestamp, grace: Duration) -> bool {
        let rotated_away_at = match self.generation.checked_sub(generation) {
            Some(1) => Some(self.rotated_at),
            Some(2) => self.rotated_before_at,
            _ => None,
        };
        rotated_away_at.is_some_and(|at| now.since(at) <= grace)
    }
}

/// That a grant was ended, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    pub at: Timestamp,
    pub cause: EndCause,
}

/// Why a grant was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndCause {
    /// The client called the revocation endpoint.
    Revoked,
    /// The person ended it on their page.
    Person,
    Operator,
    CodeReplayed,
    RefreshReplayed,
    /// The client was deleted.
    ClientDeleted,
    /// What was done under it, or with the person's account, was too dangerous.
    Risk,
}

impl EndCause {
    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            EndCause::Revoked => "revoked",
            EndCause::Person => "person",
            EndCause::Operator => "operator",
            EndCause::CodeReplayed => "code_replayed",
            EndCause::RefreshReplayed => "refresh_replayed",
            EndCause::ClientDeleted => "client_deleted",
            EndCause::Risk => "risk",
        }
    }

    pub fn parse(word: &str) -> Option<EndCause> {
        [
            EndCause::Revoked,
            EndCause::Person,
            EndCause::Operator,
            EndCause::CodeReplayed,
            EndCause::RefreshReplayed,
            EndCause::ClientDeleted,
            EndCause::Risk,
        ]
        .into_iter()
        .find(|cause| cause.as_str() == word)
    }
}

/// What a person allowed a client at a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent {
    pub scopes: Scopes,
    pub given_at: Timestamp,
    /// Hash of what the client said of itself then; when it says something else, consent is asked for again.
    pub client_hash: String,
    /// Why it counts for nothing until the person consents again.
    pub doubt: Option<Doubt>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_token_of_a_family_has_its_own_grace() {
        let family = |rotated_before_at: Option<i64>| RefreshFamily {
            generation: 3,
            rotated_at: Timestamp(50_000),
            rotated_before_at: rotated_before_at.map(Timestamp),
            expires_at: Timestamp(i64::MAX),
        };
        for (rotated_before_at, generation, now, expected) in [
            (Some(20_000), 2, 80_000, true),
            (Some(20_000), 2, 80_001, false),
            (Some(20_000), 1, 50_000, true),
            (Some(20_000), 1, 50_001, false),
            (None, 1, 50_000, false),
            (Some(50_000), 0, 50_000, false),
            (Some(50_000), 3, 50_000, false),
            (Some(50_000), 4, 50_000, false),
        ] {
            let is_in_grace = family(rotated_before_at).is_in_grace(generation, Timestamp(now), Duration::from_secs(30));
            assert_eq!(is_in_grace, expected, "{rotated_before_at:?} {generation} {now}");
        }
    }
}
