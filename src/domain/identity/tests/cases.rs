//! Golden cases.

use super::*;
use crate::domain::identity::{
    external_id::ExternalIdType,
    resolve::{Dropped, Why},
    rules::{Limit, MAPPINGS_MAX, MERGES_MAX, Window},
};

fn course() -> Course {
    Course::new(RuleSettings::default())
}

/// Rules under which nothing but the size of a profile is in the way.
fn without_limits() -> RuleSettings {
    let limit = Limit { values_max: MAPPINGS_MAX as u32, window: Window::Ever };
    RuleSettings { limits: BTreeMap::new(), other_limit: limit, ..RuleSettings::default() }
}

fn dropped(text: &str, why: Why) -> Dropped {
    Dropped { id: id(text), why }
}

#[test]
fn two_user_ids_with_one_address_stay_two() {
    let mut course = course();
    course.users(&["user_id:abc123", "email:jane@example.com"]);
    let second = course.users(&["user_id:abc456", "email:jane@example.com"]);
    assert_eq!(second.dropped, [dropped("email:jane@example.com", Why::Limit(ExternalIdType::USER_ID))]);
    assert_eq!(second.profile.map(|resolved| resolved.canonical), course.profile("user_id:abc456"));
    assert_ne!(course.profile("user_id:abc123"), course.profile("user_id:abc456"));
    assert_eq!(course.profile("email:jane@example.com"), course.profile("user_id:abc123"));
}

#[test]
fn who_shares_a_tablet_stays_apart() {
    let mut course = course();
    course.users(&["anonymous_id:tablet"]);
    course.users(&["user_id:ann", "anonymous_id:tablet"]);
    let bob = course.users(&["user_id:bob", "anonymous_id:tablet"]);
    assert_eq!(bob.dropped, [dropped("anonymous_id:tablet", Why::Limit(ExternalIdType::USER_ID))]);
    assert_ne!(course.profile("user_id:ann"), course.profile("user_id:bob"));
    assert_eq!(course.profile("anonymous_id:tablet"), course.profile("user_id:ann"), "who was there first keeps it");
    let again = course.users(&["user_id:bob"]);
    assert_eq!((again.profile, again.changes), (bob.profile, vec![]));
}

#[test]
fn anonymous_on_two_devices_then_known_on_both_is_one() {
    let mut course = course();
    let laptop = course.users(&["anonymous_id:laptop"]).profile.expect("somebody");
    let phone = course.users(&["anonymous_id:phone"]).profile.expect("somebody");
    course.users(&["user_id:ann", "anonymous_id:phone"]);
    let merged = course.users(&["user_id:ann", "anonymous_id:laptop"]);
    let expected = Change::Merged {
        winner: laptop.canonical,
        loser: phone.canonical,
        edge: super::super::graph::Edge {
            id: id("user_id:ann"),
            home: phone.home,
            with: id("anonymous_id:laptop"),
            with_home: laptop.home,
        },
    };
    assert_eq!(merged.changes, [expected], "the earlier one stands for both");
    let everything = ["anonymous_id:laptop", "anonymous_id:phone", "user_id:ann"].map(|text| course.profile(text));
    assert_eq!(everything, [Some(laptop.canonical); 3]);
}

#[test]
fn a_type_that_sorts_earlier_is_dropped_later() {
    let limit = Limit { values_max: 1, window: Window::Ever };
    let one_each = RuleSettings { other_limit: limit, ..RuleSettings::default() };
    // Each event would give the profile two addresses; without the last of its ids it does not meet the other profile.
    for (ids, expected) in [
        (vec!["email:b@x", "mid_id:1"], "mid_id:1"),
        (vec!["email:b@x", "mid_id:1", "abc_id:1"], "mid_id:1"),
        (vec!["email:b@x", "mid_id:1", "zzz_id:1"], "zzz_id:1"),
    ] {
        let mut course = Course::new(one_each.clone());
        course.users(&["email:a@x", "mid_id:1"]);
        let resolution = course.users(&ids);
        assert_eq!(resolution.dropped[0].id, id(expected), "{ids:?}");
        assert_eq!(course.profile("mid_id:1"), course.profile("email:a@x"));
    }
}

#[test]
fn a_blocked_value_names_nobody() {
    let mut course = course();
    let both = course.users(&["user_id:null", "anonymous_id:a"]);
    assert_eq!(both.dropped, [dropped("user_id:null", Why::Blocked)]);
    assert_eq!(course.profile("user_id:null"), None);
    let alone = course.users(&["user_id:null"]);
    assert_eq!((alone.profile, alone.changes), (None, vec![]));
}

#[test]
fn a_hint_finds_but_changes_nothing() {
    let mut course = course();
    let known = course.users(&["user_id:ann"]).profile;
    let mut hint = |ids: [&str; 2]| {
        let ids = ids.map(id).to_vec();
        ids.iter()
            .filter(|id| !course.graph.knows(id))
            .cloned()
            .collect::<Vec<_>>()
            .into_iter()
            .for_each(|id| course.graph.note_unmapped(id));
        let cause = course.cause(Timestamp(0));
        resolve(&course.graph, &course.rules, &cause, 0, &Subject { ids, weight: Weight::Hint })
    };
    assert_eq!(hint(["anonymous_id:a", "user_id:ann"]), Resolution { profile: known, changes: vec![], dropped: vec![] });
    assert_eq!(hint(["anonymous_id:a", "user_id:bob"]), Resolution { profile: None, changes: vec![], dropped: vec![] });
}

#[test]
fn a_profile_merges_a_hundred_times_and_then_stays_as_it_is() {
    let mut course = Course::new(without_limits());
    course.users(&["user_id:ann"]);
    for number in 0..MERGES_MAX {
        course.users(&[&format!("anonymous_id:n{number}")]);
        let merged = course.users(&["user_id:ann", &format!("anonymous_id:n{number}")]);
        assert!(matches!(merged.changes[..], [Change::Merged { .. }]), "{number}");
    }
    let other = course.users(&["anonymous_id:other"]).profile;
    let refused = course.users(&["user_id:ann", "anonymous_id:other", "email:ann@x"]);
    let too_many = [dropped("email:ann@x", Why::MergesMax), dropped("anonymous_id:other", Why::MergesMax)];
    assert_eq!((refused.changes, refused.dropped), (vec![], too_many.to_vec()));
    assert_eq!(
        refused.profile.map(|resolved| resolved.canonical),
        course.profile("user_id:ann"),
        "the event still finds its profile"
    );
    assert_eq!(other.map(|resolved| resolved.canonical), course.profile("anonymous_id:other"));
    course.users(&["user_id:ann", "email:ann@x"]);
    assert_eq!(course.profile("email:ann@x"), course.profile("user_id:ann"), "an id of its own may still be added");
}

#[test]
fn a_profile_has_a_thousand_ids_and_then_stays_as_it_is() {
    let mut course = Course::new(without_limits());
    for number in 1..MAPPINGS_MAX {
        course.users(&["user_id:ann", &format!("anonymous_id:n{number}")]);
    }
    let refused = course.users(&["user_id:ann", "anonymous_id:one-more"]);
    assert_eq!((refused.changes, refused.dropped), (vec![], vec![dropped("anonymous_id:one-more", Why::MappingsMax)]));
    assert_eq!(refused.profile.map(|resolved| resolved.canonical), course.profile("user_id:ann"));
    let new = course.users(&["user_id:bob", "anonymous_id:n1"]);
    assert_eq!(new.profile.map(|resolved| resolved.canonical), course.profile("anonymous_id:n1"), "nothing new comes of it");
    assert_eq!(course.profile("user_id:bob"), None);

    let one = Limit { values_max: 1, window: Window::Ever };
    let limits = [(ExternalIdType::USER_ID, one)].into();
    course.rules = Rules::new(RuleSettings { limits, ..without_limits() }).expect("valid");
    let other = course.users(&["user_id:bob", "anonymous_id:n1"]);
    assert_eq!(other.dropped, [dropped("anonymous_id:n1", Why::Limit(ExternalIdType::USER_ID))], "who is another stays another");
    assert_eq!(other.profile.map(|resolved| resolved.canonical), course.profile("user_id:bob"));
}

#[test]
fn a_limit_counts_within_its_window_and_whatever_the_clock_does() {
    let weekly = Limit { values_max: 2, window: Window::Weekly };
    let mut course = Course::new(RuleSettings { other_limit: weekly, ..RuleSettings::default() });
    let day = |days: i64| Timestamp::from_seconds(days * 86_400);
    let mut add = |at: i64, value: &str| {
        let resolution = course.event(day(at), &[id("user_id:ann"), id(value)]);
        resolution.dropped.is_empty()
    };
    assert!(add(100, "anonymous_id:1") && add(101, "anonymous_id:2"));
    assert!(!add(102, "anonymous_id:3"), "two within the week");
    assert!(!add(-300, "anonymous_id:3"), "a clock that is set back makes no room");
    assert!(add(107, "anonymous_id:3"), "the first is a week old");
    assert!(!add(107, "anonymous_id:4"));
}

#[test]
fn a_lowered_limit_takes_nothing_away() {
    let mut course = course();
    course.users(&["user_id:ann", "email:1@x", "email:2@x", "email:3@x"]);
    let one = Limit { values_max: 1, window: Window::Ever };
    course.rules = Rules::new(RuleSettings { other_limit: one, ..RuleSettings::default() }).expect("valid");
    assert_eq!(course.users(&["user_id:ann", "email:1@x", "email:2@x"]).dropped, []);
    assert_eq!(course.users(&["user_id:ann", "email:4@x"]).dropped, [dropped("email:4@x", Why::Limit(ExternalIdType::EMAIL))]);
    course.users(&["anonymous_id:a"]);
    assert_eq!(course.users(&["user_id:ann", "anonymous_id:a"]).dropped, [], "a merge that adds no address is no breach");
}

#[test]
fn what_was_taken_apart_stays_apart() {
    let mut course = course();
    let ann = course.users(&["user_id:ann", "anonymous_id:a"]).profile.expect("somebody");
    let bob = course.users(&["email:bob@x"]).profile.expect("somebody");
    course.users(&["user_id:ann", "email:bob@x"]);
    course.users(&["email:bob@x", "phone:+4930901820"]);
    course.unmerge(2, &id("email:bob@x")).expect("it was merged");
    assert_eq!(course.profile("phone:+4930901820"), Some(bob.canonical), "what came later goes where its evidence leads");
    assert_eq!(course.profile("anonymous_id:a"), Some(ann.canonical));
    for _ in 0..2 {
        let again = course.users(&["user_id:ann", "email:bob@x"]);
        assert_eq!((again.changes, again.dropped), (vec![], vec![dropped("email:bob@x", Why::KeptApart)]));
    }
    course.users(&["anonymous_id:c"]);
    course.users(&["anonymous_id:c", "email:bob@x"]);
    let around = course.users(&["user_id:ann", "anonymous_id:c"]);
    assert_eq!(around.dropped, [dropped("anonymous_id:c", Why::KeptApart)], "nor by way of a third");
    assert_eq!(course.unmerge(2, &id("email:bob@x")), Err(SplitError::NoSuchMerge), "once is enough");
}

#[test]
fn an_id_that_was_taken_away_does_not_come_back() {
    let mut course = course();
    course.users(&["user_id:ann", "email:wrong@x", "anonymous_id:a"]);
    course.take_away(&id("email:wrong@x")).expect("it is mapped");
    assert_eq!(course.profile("email:wrong@x"), None);
    let again = course.users(&["user_id:ann", "email:wrong@x"]);
    assert_eq!((again.changes, again.dropped), (vec![], vec![dropped("email:wrong@x", Why::KeptApart)]));
    course.users(&["user_id:bob", "email:wrong@x"]);
    assert_eq!(course.profile("email:wrong@x"), course.profile("user_id:bob"), "it may be another's");
    assert_eq!(course.take_away(&id("user_id:ann")), Err(SplitError::LastOne));
    assert_eq!(course.take_away(&id("email:wrong@x")).err(), None);
    assert_eq!(course.take_away(&id("email:wrong@x")), Err(SplitError::NotMapped));
    assert_eq!(course.take_away(&id("user_id:bob")), Err(SplitError::LastOne));
}

#[test]
#[should_panic(expected = "a subject is of one collection")]
fn agents_and_people_are_never_named_together() {
    let agent = ExternalId::parse(Collection::Agents, "client_id:cli_1").expect("an id");
    course().event(Timestamp(0), &[id("user_id:ann"), agent]);
}
