//! A fact as a line for people: when, what, who, and the rest in words.
//!
//! Identifiers are shortened to their last characters, which are random; `deputy events show` takes them in this form. Everything
//! that a stranger chose is printed without control characters.

use deputy::domain::client::{ClientId, Origin};
use deputy::domain::event::{Actor, Event, Fact};
use deputy::domain::grant::EndCause;
use deputy::domain::id::{Id, PersonKind};
use deputy::domain::resource::ResourceIdentifier;
use deputy::domain::scope::Scopes;
use deputy::domain::time::Timestamp;
use serde_json::Value;

use super::super::output::plain;
use super::super::terminal::{Terminal, Tone};
use super::facts::Recorded;

/// How many characters of an identifier are shown.
const TAIL_CHARS: usize = 6;
/// The columns before the words: the moment, the type, who did it.
const TIME_WIDTH: usize = 8;
const TYPE_WIDTH: usize = 19;
const ACTOR_WIDTH: usize = 11;
const WORDS_AT: usize = TIME_WIDTH + 2 + TYPE_WIDTH + 2 + ACTOR_WIDTH + 2;

/// The line of a fact, beginning after `indent` spaces; what does not fit goes on below its words.
pub(crate) fn line(fact: &Recorded, indent: usize, terminal: Terminal) -> String {
    let (name, actor, words) = tell(&fact.payload);
    let tone = if name.contains("refused") { Tone::Bad } else { Tone::Strong };
    let margin = " ".repeat(indent);
    let mut words = terminal.wrap(&plain(&words), indent + WORDS_AT).into_iter();
    let mut text = format!(
        "{margin}{}  {}  {:ACTOR_WIDTH$}  {}",
        terminal.paint(Tone::Faint, &time_of_day(fact.at)),
        terminal.paint(tone, &format!("{:TYPE_WIDTH$}", plain(&name))),
        plain(&actor),
        words.next().unwrap_or_default(),
    );
    for rest in words {
        text += &format!("\n{margin}{:WORDS_AT$}{rest}", "");
    }
    text + "\n"
}

/// The date of a moment, for the line above the first fact of a day.
pub(crate) fn date(at: Timestamp) -> String {
    at.to_rfc3339().split('T').next().unwrap_or_default().to_owned()
}

/// `gra_…4e6g8h` for an identifier of ours, everything else as it is.
pub(crate) fn short(id: &str) -> String {
    match id.split_once('_') {
        Some((prefix, digits)) if prefix.len() == 3 && digits.len() == 26 && digits.is_ascii() => {
            format!("{prefix}_…{}", &digits[digits.len() - TAIL_CHARS..])
        }
        _ => id.to_owned(),
    }
}

fn time_of_day(at: Timestamp) -> String {
    at.to_rfc3339().split('T').nth(1).unwrap_or_default().trim_end_matches('Z').to_owned()
}

/// The type without its version, the actor, the words. A fact that a later release invented is told as its JSON.
fn tell(payload: &[u8]) -> (String, String, String) {
    let value: Value = serde_json::from_slice(payload).unwrap_or_default();
    let name = value["type"].as_str().unwrap_or("unknown");
    let unversioned = name.rsplit_once(".v").map_or(name, |(name, _)| name).to_owned();
    match serde_json::from_value::<Event>(value.clone()) {
        Ok(event) => (unversioned, by_whom(&event.actor), in_words(&event.fact)),
        Err(_) => (unversioned, String::new(), value["data"].to_string()),
    }
}

fn by_whom(actor: &Actor) -> String {
    match actor {
        Actor::Person(id) => short(&id.to_string()),
        Actor::Client(id) => short(id.as_str()),
        Actor::Operator(id) => short(&id.to_string()),
        Actor::Source(id) => short(&id.to_string()),
        Actor::Anonymous => "somebody".to_owned(),
        Actor::Deputy => "deputy".to_owned(),
    }
}

#[expect(clippy::too_many_lines, reason = "the catalogue of facts in words, a line for each, which is read by searching it")]
fn in_words(fact: &Fact) -> String {
    let short = |id: &dyn std::fmt::Display| short(&id.to_string());
    match fact {
        Fact::TokenIssued { grant, scope, .. } => format!("{scope}, under {}", short(grant)),
        Fact::TokenUsed { jti, resource: Some(resource), .. } => format!("{} at {}", short(jti), resource.as_str()),
        Fact::TokenUsed { jti, resource: None, .. } => format!("{} at userinfo", short(jti)),
        Fact::TokenRevoked { jti, grant, .. } => format!("{} of {}", short(jti), short(grant)),
        Fact::RequestRefused { route, client: Some(client), reason, .. } => format!("{reason} at {route}, as {}", short(client)),
        Fact::RequestRefused { route, client: None, reason, .. } => format!("{reason} at {route}"),
        Fact::RefusalsLeftOut { reasons } => {
            let counts: Vec<_> = reasons.iter().map(|(reason, count)| format!("{count} of {reason}")).collect();
            counts.join(", ")
        }
        Fact::ConsentGiven { client, scope, resource, .. } => format!("{} may {}", short(client), reach(scope, resource.as_ref())),
        Fact::ConsentRefused { client, .. } => format!("{} may not", short(client)),
        Fact::GrantStarted { grant, person: Some(person), scope, .. } => format!("{} for {}: {scope}", short(grant), short(person)),
        Fact::GrantStarted { grant, person: None, scope, .. } => format!("{} for itself: {scope}", short(grant)),
        Fact::GrantEnded { grant, cause, .. } => format!("{}: {}", short(grant), why(*cause)),
        Fact::ClientRegistered { client, origin, name, .. } => format!("{} “{name}”, {}", short(client), whence(*origin)),
        Fact::ClientKeyUsed { client, jkt } => format!("{} with key {}", short(client), short(&jkt.0)),
        Fact::ClientChanged { client, change } => format!("{}: {change}", short(client)),
        Fact::ClientDeleted { client } => short(client),
        Fact::ResourceRegistered { resource, identifier } | Fact::ResourceDeleted { resource, identifier } => {
            format!("{} {}", short(resource), identifier.as_str())
        }
        Fact::ResourceChanged { resource } => short(resource),
        Fact::PersonPasswordResetIssued { person, expires_at } => {
            format!("{}, good until {}", short(person), expires_at.to_rfc3339())
        }
        Fact::PersonInvited { expires_at } | Fact::InitialAccessTokenIssued { expires_at } => {
            format!("good until {}", expires_at.to_rfc3339())
        }
        Fact::PersonCreated { person }
        | Fact::PersonLocked { person }
        | Fact::PersonUnlocked { person }
        | Fact::PersonPasswordChanged { person } => short(person),
        Fact::SessionStarted { session, person, .. } | Fact::SessionEnded { session, person } => {
            format!("{} of {}", short(session), short(person))
        }
        Fact::SignInRefused { person: Some(person), reason } => format!("{}: {reason}", short(person)),
        Fact::SignInRefused { person: None, reason } => format!("nobody we know: {reason}"),
        Fact::KeyRotated { active, next } => format!("{} signs, {} is next", short(active), short(next)),
        Fact::SourceCreated { source, name, kind } => format!("{} “{name}”, a {}", short(source), kind.as_str()),
        Fact::SourceChanged { source, change } => format!("{}: {change}", short(source)),
        Fact::SourceDeleted { source } => short(source),
        Fact::TransformationCreated { transformation, name } => format!("{} “{name}”", short(&transformation.to_string())),
        Fact::TransformationChanged { transformation, version } => {
            format!("{}, program {version}", short(&transformation.to_string()))
        }
        Fact::TransformationDeleted { transformation } => short(&transformation.to_string()),
        Fact::TrackingPlanCreated { tracking_plan, name } => format!("{} “{name}”", short(&tracking_plan.to_string())),
        Fact::TrackingPlanChanged { tracking_plan, version } => format!("{}, version {version}", short(&tracking_plan.to_string())),
        Fact::TrackingPlanDeleted { tracking_plan } => short(&tracking_plan.to_string()),
        Fact::EventReceived { source, message_id, message } | Fact::EventKeptAside { source, message_id, message, .. } => {
            format!("{} from {}, {}", call(message.as_str()), short(source), short(message_id))
        }
        Fact::AudienceEntered { audience, profile } | Fact::AudienceLeft { audience, profile } => {
            format!("{}, audience {}", short(&profile.to_string()), short(&audience.to_string()))
        }
        Fact::TraitPredicted { profile, key, confidence, .. } => {
            format!("{}, “{key}”, confidence {}", short(&profile.to_string()), confidence.share())
        }
        Fact::PredictedTraitCreated { predicted_trait, key } => format!("{} “{key}”", short(&predicted_trait.to_string())),
        Fact::PredictedTraitDeleted { predicted_trait } => short(&predicted_trait.to_string()),
        Fact::ComputedTraitCreated { computed_trait, key } => format!("{} “{key}”", short(&computed_trait.to_string())),
        Fact::ComputedTraitDeleted { computed_trait } => short(&computed_trait.to_string()),
        Fact::AudienceCreated { audience, key } => format!("{} “{key}”", short(&audience.to_string())),
        Fact::AudienceDeleted { audience } => short(&audience.to_string()),
        Fact::IdentityRulesChanged { intervention } => intervention.as_ref().map(|id| short(id)).unwrap_or_default(),
        Fact::ProfileTokenIssued { profile_token, name } => format!("{} “{name}”", short(&profile_token.to_string())),
        Fact::ProfileTokenRemoved { profile_token } => short(&profile_token.to_string()),
        Fact::InterventionRequested { intervention } => short(&intervention.to_string()),
        Fact::RiskSignalled { agent, signal, event, score, .. } => {
            format!("{}: {} by {}, {score} points", short(agent), signal.as_str(), short(event))
        }
        Fact::AgentSuspended { agent, score, threshold, .. } => format!("{}: {score} points of {threshold}", short(agent)),
        Fact::PersonRiskSignalled { person, agent, signal, event, score } => {
            format!("{}: {} by {}, {score} points", held_against(*person, agent.as_ref()), signal.as_str(), short(event))
        }
        Fact::MeasureTaken { measure, person, agent, score, threshold, .. } => {
            format!("{}: {}, {score} points of {threshold}", held_against(*person, agent.as_ref()), measure.as_str())
        }
        Fact::RiskRuleChanged { suspend_at, revoke_at, require_approval_at, by_kind } => {
            rule([*suspend_at, *revoke_at, *require_approval_at], by_kind)
        }
        Fact::ActorKindChanged { actor, kind, evidence, event, .. } => {
            format!("{} is {} by {} in {}", short(actor), spaced(kind.as_str()), spaced(evidence.as_str()), short(event))
        }
        Fact::ActorKindSet { actor, kind, note } => format!("{} is {}: {note}", short(actor), spaced(kind.as_str())),
        Fact::ActorKindLifted { actor, kind } => format!("{} is {} again", short(actor), spaced(kind.as_str())),
        Fact::ConsumerPaused { consumer } | Fact::ConsumerResumed { consumer } => consumer.clone(),
        Fact::ConsumerReplayed { consumer, input, from, until } => {
            format!("{consumer} reads {input} again, from {from} to {until}")
        }
        Fact::OperatorCreated { operator, name } => format!("{} “{name}”", short(operator)),
        Fact::OperatorRemoved { operator } => short(operator),
    }
}

/// Whose risk it is: an agent's as it acts for a person, or the person's account.
fn held_against(person: Id<PersonKind>, agent: Option<&ClientId>) -> String {
    match agent {
        Some(agent) => format!("{} for {}", short(agent.as_str()), short(&person.to_string())),
        None => short(&person.to_string()),
    }
}

/// What is done about risk, from how many points on.
fn rule(thresholds: [Option<u32>; 3], by_kind: &[String]) -> String {
    let measures = ["suspend agents", "revoke grants", "require approval"].into_iter().zip(thresholds);
    let measures = measures.filter_map(|(what, at)| Some(format!("{what} at {} points", at?)));
    let told: Vec<_> = measures.chain(by_kind.iter().map(|name| spaced(name))).collect();
    if told.is_empty() { "nothing is done".to_owned() } else { told.join(", ") }
}

/// A word of ours as people write it.
fn spaced(word: &str) -> String {
    word.replace('_', " ")
}

/// What a message is: its type, and the name of what was tracked.
fn call(message: &str) -> String {
    let message: Value = serde_json::from_str(message).unwrap_or_default();
    let told = ["type", "event", "name"].into_iter().filter_map(|member| message[member].as_str());
    told.collect::<Vec<_>>().join(" ")
}

fn reach(scope: &Scopes, resource: Option<&ResourceIdentifier>) -> String {
    match resource {
        Some(resource) => format!("{scope} at {}", resource.as_str()),
        None => scope.to_string(),
    }
}

fn why(cause: EndCause) -> &'static str {
    match cause {
        EndCause::Revoked => "the client ended it",
        EndCause::Person => "the person ended it",
        EndCause::Operator => "an operator ended it",
        EndCause::CodeReplayed => "the code was used twice",
        EndCause::RefreshReplayed => "an old refresh token was used",
        EndCause::ClientDeleted => "the client was deleted",
        EndCause::Risk => "it had become too dangerous",
    }
}

fn whence(origin: Origin) -> &'static str {
    match origin {
        Origin::Operator => "made by an operator",
        Origin::Dynamic => "registered itself",
        Origin::MetadataDocument => "by its metadata document",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line_of(event: &Value) -> String {
        let payload = event.to_string().into_bytes();
        line(&Recorded { offset: 0, at: Timestamp(1_795_449_900_000), payload }, 2, Terminal::plain(80))
    }

    fn started() -> Value {
        json!({"id": "evt_01kb6v3q5wf6y8z0c2d4e6g8h0", "at": 0, "actor": {"client": "cli_01kb6v3q5wf6y8z0c2d4e6g8h1"},
            "type": "grant.started.v1", "data": {"grant": "gra_01kb6v3q5wf6y8z0c2d4e6g8h2", "client": "cli_01kb6v3q5wf6y8z0c2d4e6g8h1",
            "person": "per_01kb6v3q5wf6y8z0c2d4e6g8h3", "resource": "https://notes.example/mcp", "scope": "notes:read notes:write",
            "expires_at": 5}})
    }

    #[test]
    fn a_fact_is_a_line_that_fits_and_goes_on_below_its_words() {
        let told = line_of(&started());
        assert_eq!(
            told,
            "  16:05:00  grant.started        cli_…e6g8h1  gra_…e6g8h2 for per_…e6g8h3:\n\
             \x20                                             notes:read notes:write\n"
        );
    }

    #[test]
    fn a_fact_of_a_later_release_is_told_as_it_is() {
        let told = line_of(&json!({"actor": "deputy", "type": "moon.risen.v2", "data": {"phase": "full"}}));
        assert!(told.contains("moon.risen ") && told.contains("{\"phase\":\"full\"}"), "{told}");
        assert!(line_of(&json!(null)).contains("unknown"));
    }

    #[test]
    fn what_strangers_chose_cannot_steer_the_terminal() {
        let told = line_of(&json!({"id": "evt_01kb6v3q5wf6y8z0c2d4e6g8h0", "at": 0, "actor": "anonymous",
            "type": "client.registered.v1", "data": {"client": "cli_01kb6v3q5wf6y8z0c2d4e6g8h1", "origin": "dynamic",
            "name": "\u{1b}[31mEvil"}}));
        assert!(told.contains("[31mEvil”,") && !told.contains('\u{1b}'), "{told}");
    }
}
