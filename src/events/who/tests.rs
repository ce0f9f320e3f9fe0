//! However the log is cut into batches, wherever a process ends, and however often a part is read again: everybody is the same.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    domain::{
        actor::evidence::ActorState,
        client::{AuthMethod, ClientId, GrantType, Origin},
        grant::EndCause,
        id::{EventKind, OperatorKind, PersonKind, SourceKind},
        json::Json,
        scope::Scopes,
    },
    storage::actors::StoredActor,
};

/// What a consumer has on record, as storage would.
#[derive(Default)]
struct Record {
    actors: Vec<StoredActor>,
    facts: Vec<Fact>,
    since: u64,
}

/// Reads a part of the log in one batch, with the rules of the stage and storage in memory.
fn read(record: &mut Record, known: &mut KnownActors, entries: &[Entry], from: usize, to: usize) {
    let mut pace = match known.take_pace("events/0", from as u64) {
        Some(pace) => pace,
        None => {
            let mut pace = Pace::default();
            let since = usize::try_from(record.since).expect("small").min(from);
            look_back(&entries[since..from], known, &mut pace);
            pace
        }
    };
    let looked = look(&entries[from..to], known, &mut pace);
    let mut roll = Roll::of(record.actors.clone());
    for sighting in &looked.sightings {
        roll.take_in(digest(sighting), sighting);
    }
    record.facts.append(&mut roll.facts);
    let (changed, gone) = roll.finish();
    record.actors.retain(|known| !gone.contains(&known.digest) && !changed.iter().any(|new| new.digest == known.digest));
    record.actors.extend(changed);
    record.since = pace.since();
    known.keep_pace("events/0", to as u64, pace);
}

/// Told apart by the name itself.
fn digest(sighting: &Sighting) -> Digest {
    let mut bytes = [0; 32];
    let name = sighting.actor.to_string();
    let name = &name.as_bytes()[name.len().saturating_sub(32)..];
    bytes[..name.len()].copy_from_slice(name);
    Digest(bytes)
}

fn states(record: &Record) -> Vec<(String, ActorKind, Timestamp, ActorState)> {
    let mut states: Vec<_> =
        record.actors.iter().map(|known| (known.actor.to_string(), known.kind, known.since, known.state.clone())).collect();
    states.sort_by(|one, other| one.0.cmp(&other.0));
    states
}

fn client(number: u8) -> ClientId {
    ClientId::parse(&format!("client{number}")).expect("a client")
}

fn person(number: u8) -> Id<PersonKind> {
    Id::from_bytes([number; 16])
}

fn message(number: u8, device: u8, second: u8) -> Fact {
    let (library, user_agent) = match device {
        0 => ("analytics.js", "Mozilla/5.0 HeadlessChrome/126.0"),
        1 => ("analytics-python", "python-requests/2"),
        _ => ("analytics.js", "Mozilla/5.0 Chrome/126.0"),
    };
    let name = if number.is_multiple_of(2) { "userId" } else { "anonymousId" };
    let mut message: Value = json!({"type": "track", "timestamp": format!("2027-01-15T08:00:0{}.000Z", second % 2),
        "context": {"library": {"name": library}, "userAgent": user_agent}});
    message[name] = json!(format!("somebody{number}"));
    let source: Id<SourceKind> = Id::from_bytes([9; 16]);
    Fact::EventReceived { source, message_id: "m".to_owned(), message: Json::of(&message) }
}

fn fact() -> impl Strategy<Value = Fact> {
    let some = 0..3_u8;
    prop_oneof![
        20 => (0..4_u8, 0..12_u8, 0..2_u8).prop_map(|(number, device, second)| message(number, device, second)),
        3 => (some.clone(), 0..3_u8).prop_map(|(number, origin)| Fact::ClientRegistered {
            client: client(number),
            origin: [Origin::Operator, Origin::Dynamic, Origin::MetadataDocument][usize::from(origin)],
            name: String::new(),
            auth_method: [Some(AuthMethod::PrivateKeyJwt), Some(AuthMethod::None), None][usize::from(number)],
        }),
        4 => (some.clone(), some.clone()).prop_map(|(agent, owner)| Fact::TokenIssued {
            grant: Id::from_bytes([1; 16]),
            grant_type: GrantType::AuthorizationCode,
            client: client(agent),
            person: Some(person(owner)),
            resource: None,
            scope: Scopes::default(),
            jti: Id::from_bytes([2; 16]),
            expires_at: Timestamp(0),
            network: None,
        }),
        4 => (some.clone(), some.clone()).prop_map(|(agent, owner)| Fact::TokenUsed {
            jti: Id::from_bytes([2; 16]),
            grant: Id::from_bytes([1; 16]),
            client: client(agent),
            person: Some(person(owner)),
            resource: None,
        }),
        4 => (some.clone(), some.clone()).prop_map(|(agent, owner)| Fact::ConsentGiven {
            client: client(agent), person: person(owner), resource: None, scope: Scopes::default(), network: None }),
        3 => some.clone().prop_map(|owner| Fact::SessionStarted { session: Id::from_bytes([3; 16]), person: person(owner), network: None }),
        6 => some.clone().prop_map(|agent| Fact::GrantEnded {
            grant: Id::from_bytes([1; 16]), client: client(agent), person: None, cause: EndCause::RefreshReplayed }),
        2 => some.clone().prop_map(|agent| Fact::RequestRefused {
            route: String::new(), client: Some(client(agent)), code: String::new(), reason: String::new() }),
        1 => some.clone().prop_map(|agent| Fact::ClientChanged { client: client(agent), change: "enabled".to_owned() }),
        1 => some.clone().prop_map(|agent| Fact::ClientDeleted { client: client(agent) }),
        1 => some.clone().prop_map(|agent| Fact::AgentSuspended { agent: client(agent), score: 9, threshold: 9, events: Vec::new(), signals: Vec::new() }),
        1 => some.clone().prop_map(|agent| Fact::ActorKindSet {
            actor: crate::domain::actor::ActorId::agent(&client(agent)), kind: ActorKind::Rogue, note: "so".to_owned() }),
        1 => some.prop_map(|agent| Fact::ActorKindLifted {
            actor: crate::domain::actor::ActorId::agent(&client(agent)), kind: ActorKind::UnknownAgent }),
    ]
}

/// A log in which time runs, and in which some messages come in crowds.
fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let stretch = (fact(), prop_oneof![9 => 1..3_usize, 1 => 40..130_usize], 0..4_000_i64);
    prop::collection::vec(stretch, 1..60).prop_map(|stretches| {
        let (mut log, mut at): (Vec<Entry>, i64) = (Vec::new(), 1_800_000_000_000);
        for (fact, times, pause) in stretches {
            let times = if matches!(fact, Fact::EventReceived { .. }) { times } else { 1 };
            at += pause;
            for _ in 0..times {
                let offset = log.len() as u64;
                let operator: Id<OperatorKind> = Id::from_bytes([4; 16]);
                let id: Id<EventKind> = Id::from_bytes(u128::from(offset + 1).to_be_bytes());
                let event = Event { id, at: Timestamp(at), actor: Actor::Operator(operator), fact: fact.clone() };
                let payload = serde_json::to_vec(&event).expect("events serialise");
                log.push(Entry { offset, at: Timestamp(at), payload: payload.into() });
            }
        }
        log
    })
}

/// Reads all of it: a batch up to each of these places, and there the process ends, or does not.
fn read_all(entries: &[Entry], cuts: &[(prop::sample::Index, Ends)]) -> Record {
    let (mut record, mut known) = (Record::default(), KnownActors::default());
    let mut places: Vec<(usize, Ends)> = cuts.iter().map(|(place, ends)| (place.index(entries.len() + 1), *ends)).collect();
    places.sort_by_key(|(place, _)| *place);
    let mut from = 0;
    for (to, ends) in places.into_iter().chain([(entries.len(), Ends::Not)]) {
        if from < to {
            read(&mut record, &mut known, entries, from, to);
        }
        from = to;
        if ends == Ends::Here {
            known = KnownActors::default();
        }
    }
    record
}

/// Whether the process ends at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    Here,
    Not,
}

fn cuts() -> impl Strategy<Value = Vec<(prop::sample::Index, Ends)>> {
    let ends = prop_oneof![Just(Ends::Here), Just(Ends::Not)];
    prop::collection::vec((any::<prop::sample::Index>(), ends), 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn the_same_log_makes_the_same_actors(entries in entries(), cuts in cuts()) {
        let (whole, parts) = (read_all(&entries, &[]), read_all(&entries, &cuts));
        prop_assert_eq!(states(&parts), states(&whole));
        prop_assert_eq!(parts.facts, whole.facts);
    }

    #[test]
    fn what_is_read_again_is_no_news(entries in entries()) {
        // Who is gone is made anew by reading again, and gone again.
        let entries: Vec<Entry> = entries
            .into_iter()
            .filter(|entry| !String::from_utf8_lossy(&entry.payload).contains("client.deleted"))
            .enumerate()
            .map(|(offset, entry)| Entry { offset: offset as u64, ..entry })
            .collect();
        let mut record = read_all(&entries, &[]);
        let (before, told) = (states(&record), record.facts.len());
        record.since = 0;
        read(&mut record, &mut KnownActors::default(), &entries, 0, entries.len());
        let kinds = |states: Vec<(String, ActorKind, Timestamp, ActorState)>| -> Vec<_> {
            states.into_iter().map(|(actor, kind, ..)| (actor, kind)).collect()
        };
        prop_assert_eq!(kinds(states(&record)), kinds(before));
        prop_assert_eq!(record.facts.len(), told);
    }
}
