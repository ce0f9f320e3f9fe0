//! What makes somebody what they are, as tables.

use super::*;

const HOUR_MS: i64 = 3_600_000;

/// Somebody to whom something happens at these hours.
fn somebody(collection: Collection, story: &[(i64, Observed)]) -> ActorState {
    let mut state = ActorState::default();
    for (number, (hours, observed)) in (1_u128..).zip(story) {
        let seen = Seen { event: Id::from_bytes(number.to_be_bytes()), at: Timestamp(hours * HOUR_MS), observed: observed.clone() };
        state.observe(collection, &seen);
    }
    state
}

fn registered(origin: Origin, auth_method: AuthMethod) -> (i64, Observed) {
    (0, Observed::Registered { origin, auth_method: Some(auth_method) })
}

fn consents(people: std::ops::Range<u8>) -> Vec<(i64, Observed)> {
    people.map(|number| (1, Observed::ConsentedTo { person: Id::from_bytes([number; 16]) })).collect()
}

fn replays(hours: &[i64]) -> Vec<(i64, Observed)> {
    hours.iter().map(|hour| (*hour, Observed::Shown(Evidence::Replayed))).collect()
}

#[test]
fn what_makes_an_agent_what_it_is() {
    let (by_operator, secretive) =
        (registered(Origin::Operator, AuthMethod::ClientSecretBasic), registered(Origin::Dynamic, AuthMethod::ClientSecretBasic));
    let (by_host, by_itself) =
        (registered(Origin::MetadataDocument, AuthMethod::None), registered(Origin::Dynamic, AuthMethod::None));
    let (keyed, token) = (registered(Origin::Dynamic, AuthMethod::PrivateKeyJwt), (1, Observed::TokenIssued));
    let (suspended, enabled) = ((9, Observed::Shown(Evidence::Suspended)), (10, Observed::Shown(Evidence::Enabled)));
    let refused = vec![(1, Observed::Shown(Evidence::RequestRefused)); 1000];
    let table = [
        (vec![by_operator.clone()], ActorKind::TrustedAgent),
        (vec![by_host.clone()], ActorKind::UnknownAgent),
        ([vec![by_host.clone()], consents(0..2)].concat(), ActorKind::UnknownAgent),
        ([vec![by_host.clone()], consents(0..2), consents(0..2)].concat(), ActorKind::UnknownAgent),
        ([vec![by_host.clone()], consents(0..3)].concat(), ActorKind::TrustedAgent),
        ([vec![by_host.clone()], consents(0..3), replays(&[2])].concat(), ActorKind::UnknownAgent),
        ([vec![by_itself.clone()], consents(0..9)].concat(), ActorKind::UnknownAgent),
        ([vec![keyed.clone(), token.clone()], consents(0..3)].concat(), ActorKind::TrustedAgent),
        ([vec![token, keyed], consents(0..3)].concat(), ActorKind::TrustedAgent),
        ([vec![by_operator.clone()], refused].concat(), ActorKind::TrustedAgent),
        // A public client's tokens are in anybody's hands; a client that proves itself has them alone.
        ([vec![by_itself], replays(&[1, 2, 3, 4, 5, 6])].concat(), ActorKind::UnknownAgent),
        ([vec![secretive.clone()], replays(&[1, 2, 3, 4])].concat(), ActorKind::UnknownAgent),
        ([vec![secretive.clone()], replays(&[1, 9, 18, 24, 26])].concat(), ActorKind::UnknownAgent),
        ([vec![secretive.clone()], replays(&[1, 9, 18, 24, 25])].concat(), ActorKind::Rogue),
        ([vec![secretive.clone()], replays(&[1, 2, 3, 4, 5, 900])].concat(), ActorKind::Rogue),
        ([vec![by_operator.clone()], replays(&[1, 2, 3, 4, 5]), vec![enabled.clone()]].concat(), ActorKind::TrustedAgent),
        (vec![by_operator.clone(), suspended.clone()], ActorKind::Rogue),
        (vec![by_operator.clone(), suspended.clone(), enabled.clone()], ActorKind::TrustedAgent),
        // Read again, in the same order or not.
        (vec![by_operator.clone(), suspended.clone(), enabled, suspended], ActorKind::TrustedAgent),
    ];
    for (story, expected) in table {
        assert_eq!(somebody(Collection::Agents, &story).kind(Collection::Agents), expected, "{story:?}");
    }
}

#[test]
fn what_makes_somebody_a_bot() {
    let shown = |evidence| (1, Observed::Shown(evidence));
    let unread: Vec<_> = std::iter::once(shown(Evidence::SignedIn)).chain((0..3).map(|_| (1, Observed::GaveConsent))).collect();
    let table = [
        (vec![shown(Evidence::Visited)], ActorKind::Person),
        (vec![shown(Evidence::Visited), shown(Evidence::AutomatedDevice)], ActorKind::BotPosingAsPerson),
        (vec![shown(Evidence::ScriptedDevice)], ActorKind::BotPosingAsPerson),
        (vec![shown(Evidence::ImpossiblePace)], ActorKind::BotPosingAsPerson),
        // Anybody may send messages about anybody; a password is proof.
        (vec![shown(Evidence::SignedIn), shown(Evidence::AutomatedDevice)], ActorKind::Person),
        (vec![shown(Evidence::Named), shown(Evidence::SignInRefused)], ActorKind::Person),
        (unread[..3].to_vec(), ActorKind::Person),
        (unread, ActorKind::BotPosingAsPerson),
        (
            vec![shown(Evidence::SignedIn), (2, Observed::GaveConsent), (2, Observed::GaveConsent), (2, Observed::GaveConsent)],
            ActorKind::Person,
        ),
    ];
    for (story, expected) in table {
        assert_eq!(somebody(Collection::Users, &story).kind(Collection::Users), expected, "{story:?}");
    }
}

#[test]
fn an_operators_word_beats_the_evidence_until_it_is_lifted() {
    let operator: Id<OperatorKind> = Id::from_bytes([1; 16]);
    let said = |kind| (5, Observed::Said { kind, note: "I know it".to_owned(), operator });
    let story = [registered(Origin::Dynamic, AuthMethod::None), said(ActorKind::Rogue), (6, Observed::Shown(Evidence::Enabled))];
    let state = somebody(Collection::Agents, &story);
    assert_eq!((state.kind(Collection::Agents), state.outlives_its_client()), (ActorKind::Rogue, true));
    assert_eq!(state.word().map(|word| word.note.as_str()), Some("I know it"));
    let state = somebody(Collection::Agents, &[&story[..], &[(7, Observed::Lifted)]].concat());
    assert_eq!((state.kind(Collection::Agents), state.outlives_its_client()), (ActorKind::UnknownAgent, false));
    let kinds: Vec<ActorKind> = state.history().iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, [ActorKind::UnknownAgent, ActorKind::Rogue, ActorKind::UnknownAgent]);
    let state = somebody(Collection::Agents, &[said(ActorKind::BotPosingAsPerson)]);
    assert_eq!(state, ActorState::default(), "an agent is never among the people");
}

#[test]
fn noise_neither_grows_the_record_nor_hides_what_matters() {
    let mut story = vec![registered(Origin::Operator, AuthMethod::ClientSecretPost)];
    for number in 0..300 {
        story.push((number, Observed::Shown(Evidence::RequestRefused)));
        story.push((number, Observed::Shown(Evidence::ConsentRefused)));
        story.push((number, Observed::TokenIssued));
        story.push((number * 100, Observed::Shown(Evidence::Replayed)));
    }
    let state = somebody(Collection::Agents, &story);
    assert_eq!(state.history().len(), 1 + 5 + 5 + 1 + REPLAYS_OF_ROGUE);
    assert_eq!(state.history()[0].evidence, Evidence::MadeByOperator);
    assert_eq!(state.kind(Collection::Agents), ActorKind::TrustedAgent);
}
