//! Whom an event speaks of: a customer's message says so itself, of our own facts we say it here.

use super::{
    external_id::{ExternalId, ExternalIdType},
    message::Message,
    resolve::{Subject, Weight},
    rules::Rules,
};
use crate::domain::{
    client::{ClientId, KeyThumbprint},
    event::{Event, Fact},
    id::{Id, PersonKind},
    profile::Collection,
};

/// Everybody whom the event names: the person first, then the account or the agent. The place in the list is the subject's ordinal.
pub fn subjects(event: &Event, rules: &Rules) -> Vec<Subject> {
    match &event.fact {
        Fact::EventReceived { message, .. } => Message::of(message.as_str()).subjects(rules, event.actor.client()),
        Fact::TokenIssued { client, person, .. }
        | Fact::TokenUsed { client, person, .. }
        | Fact::GrantStarted { client, person, .. } => named(Weight::Binding, *person, Some(client)),
        Fact::ClientKeyUsed { client, jkt } => vec![with_key(client, jkt)],
        Fact::ConsentGiven { client, person, .. } | Fact::ConsentRefused { client, person } => {
            named(Weight::Binding, Some(*person), Some(client))
        }
        Fact::TokenRevoked { client, .. }
        | Fact::GrantEnded { client, .. }
        | Fact::ClientRegistered { client, .. }
        | Fact::ClientChanged { client, .. } => named(Weight::Binding, None, Some(client)),
        Fact::RiskSignalled { agent, .. } | Fact::AgentSuspended { agent, .. } => named(Weight::Binding, None, Some(agent)),
        Fact::PersonCreated { person }
        | Fact::PersonLocked { person }
        | Fact::PersonUnlocked { person }
        | Fact::PersonPasswordChanged { person }
        | Fact::PersonPasswordResetIssued { person, .. }
        | Fact::SessionStarted { person, .. }
        | Fact::SessionEnded { person, .. }
        | Fact::PersonRiskSignalled { person, .. }
        | Fact::MeasureTaken { person, .. } => named(Weight::Binding, Some(*person), None),
        Fact::ActorKindChanged { actor, .. } | Fact::ActorKindSet { actor, .. } | Fact::ActorKindLifted { actor, .. } => {
            vec![Subject { ids: vec![actor.external_id().clone()], weight: Weight::Hint }]
        }
        // Whoever asks may name anybody; a profile must not come into being by it.
        Fact::RequestRefused { client, .. } => named(Weight::Hint, None, client.as_ref()),
        Fact::SignInRefused { person, .. } => named(Weight::Hint, *person, None),
        Fact::ClientDeleted { client } => named(Weight::Hint, None, Some(client)),
        Fact::RefusalsLeftOut { .. }
        | Fact::ResourceRegistered { .. }
        | Fact::ResourceChanged { .. }
        | Fact::ResourceDeleted { .. }
        | Fact::PersonInvited { .. }
        | Fact::KeyRotated { .. }
        | Fact::InitialAccessTokenIssued { .. }
        | Fact::OperatorCreated { .. }
        | Fact::OperatorRemoved { .. }
        | Fact::RiskRuleChanged { .. }
        | Fact::ConsumerPaused { .. }
        | Fact::ConsumerResumed { .. }
        | Fact::ConsumerReplayed { .. }
        | Fact::SourceCreated { .. }
        | Fact::SourceChanged { .. }
        | Fact::SourceDeleted { .. }
        // A profile is in an audience by what happened, and that alone is its history.
        | Fact::ComputedTraitCreated { .. }
        | Fact::ComputedTraitDeleted { .. }
        | Fact::AudienceCreated { .. }
        | Fact::AudienceDeleted { .. }
        | Fact::IdentityRulesChanged { .. }
        | Fact::ProfileTokenIssued { .. }
        | Fact::ProfileTokenRemoved { .. }
        | Fact::InterventionRequested { .. }
        | Fact::PredictedTraitCreated { .. }
        | Fact::PredictedTraitDeleted { .. }
        // It names a profile itself.
        | Fact::TraitPredicted { .. }
        | Fact::AudienceEntered { .. }
        | Fact::AudienceLeft { .. }
        | Fact::TransformationCreated { .. }
        | Fact::TransformationChanged { .. }
        | Fact::TransformationDeleted { .. }
        | Fact::TrackingPlanCreated { .. }
        | Fact::TrackingPlanChanged { .. }
        | Fact::TrackingPlanDeleted { .. }
        | Fact::EventKeptAside { .. } => Vec::new(),
    }
}

/// A person is known by our own identifier of them, an agent by its client's.
fn named(weight: Weight, person: Option<Id<PersonKind>>, client: Option<&ClientId>) -> Vec<Subject> {
    let person = person.and_then(|id| ExternalId::new(Collection::Users, ExternalIdType::USER_ID, &id.to_string()));
    let agent = client.and_then(|id| ExternalId::new(Collection::Agents, ExternalIdType::CLIENT_ID, id.as_str()));
    person.into_iter().chain(agent).map(|id| Subject { ids: vec![id], weight }).collect()
}

/// An agent that showed its key. Two agents with one key stay two: no profile has a second client unless an operator says so.
fn with_key(client: &ClientId, KeyThumbprint(jkt): &KeyThumbprint) -> Subject {
    let ids = [(ExternalIdType::CLIENT_ID, client.as_str()), (ExternalIdType::JKT, jkt)];
    let ids = ids.into_iter().filter_map(|(id_type, value)| ExternalId::new(Collection::Agents, id_type, value)).collect();
    Subject { ids, weight: Weight::Binding }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{event::Actor, json::Json, time::Timestamp};

    fn named_by(fact: Fact) -> Vec<(String, Weight)> {
        let event = Event { id: Id::from_bytes([1; 16]), at: Timestamp(0), actor: Actor::Anonymous, fact };
        let subjects = subjects(&event, &Rules::default());
        let words = |subject: &Subject| format!("{}/{}", subject.ids[0].collection().as_str(), subject.ids[0]);
        subjects.iter().map(|subject| (words(subject), subject.weight)).collect()
    }

    #[test]
    fn a_person_and_an_agent_are_two() {
        let client = ClientId::parse("https://agent.example/client.json").expect("a client");
        let fact = Fact::ConsentRefused { client, person: Id::from_bytes([7; 16]) };
        let person = format!("users/user_id:{}", Id::<PersonKind>::from_bytes([7; 16]));
        let agent = "agents/client_id:https://agent.example/client.json".to_owned();
        assert_eq!(named_by(fact), [(person, Weight::Binding), (agent, Weight::Binding)]);
    }

    #[test]
    fn what_nobody_proved_is_a_hint() {
        let client = ClientId::parse("made-up");
        let fact = Fact::RequestRefused { route: "/token".to_owned(), client, code: String::new(), reason: String::new() };
        assert_eq!(named_by(fact), [("agents/client_id:made-up".to_owned(), Weight::Hint)]);
    }

    #[test]
    fn a_customers_message_says_itself_whom_it_speaks_of() {
        let message = Json::parse(r#"{"type":"track","userId":"u"}"#.to_owned()).expect("it is JSON");
        let fact = Fact::EventReceived { source: Id::from_bytes([1; 16]), message_id: "m".to_owned(), message };
        assert_eq!(named_by(fact), [("users/user_id:u".to_owned(), Weight::Binding)]);
    }
}
