//! What holds for any log: compared with the oracle, and with itself.

use proptest::prelude::*;

use super::oracle::Oracle;
use super::*;
use crate::domain::identity::{
    external_id::ExternalIdType,
    graph::{Bar, Component},
    rules::{Limit, Window},
};

const DAY_MS: i64 = 86_400_000;

/// An event: when, and of which ids.
type Said = (Timestamp, Vec<ExternalId>);

/// Something that happens to a graph.
#[derive(Debug, Clone)]
enum Move {
    Event(Said),
    /// One of the merges in force is undone.
    Unmerge(prop::sample::Index),
    /// One of the ids is taken away.
    TakeAway(prop::sample::Index),
}

fn external_id() -> impl Strategy<Value = ExternalId> {
    const TYPES: [&str; 5] = ["user_id", "email", "anonymous_id", "crm_id", "phone"];
    (prop::sample::select(&TYPES[..]), 1..=5u8).prop_map(|(id_type, number)| match id_type {
        "email" => id(&format!("email:{number}@x")),
        "phone" => id(&format!("phone:+493090182{number}")),
        // One of the values is blocked.
        "user_id" if number == 5 => id("user_id:null"),
        _ => id(&format!("{id_type}:{number}")),
    })
}

/// The clock runs, and sometimes jumps by more than any window, either way.
fn said() -> impl Strategy<Value = Said> {
    let at = prop_oneof![8 => 0..60 * DAY_MS, 1 => -500 * DAY_MS..0, 1 => 400 * DAY_MS..900 * DAY_MS];
    (at.prop_map(Timestamp), prop::collection::vec(external_id(), 1..5))
}

fn log() -> impl Strategy<Value = Vec<Said>> {
    prop::collection::vec(said(), 1..60)
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        8 => said().prop_map(Move::Event),
        2 => any::<prop::sample::Index>().prop_map(Move::Unmerge),
        1 => any::<prop::sample::Index>().prop_map(Move::TakeAway),
    ];
    prop::collection::vec(one, 1..80)
}

fn settings(windows: &'static [Window]) -> impl Strategy<Value = RuleSettings> {
    let limit = (1..4u32, prop::sample::select(windows)).prop_map(|(values_max, window)| Limit { values_max, window });
    let types = [ExternalIdType::USER_ID, ExternalIdType::EMAIL, ExternalIdType::ANONYMOUS_ID];
    let limits = prop::collection::btree_map(prop::sample::select(types.to_vec()), limit.clone(), 0..3);
    let priority = Just(types.to_vec()).prop_shuffle();
    (limits, limit, priority).prop_map(|(limits, other_limit, priority)| RuleSettings {
        limits,
        other_limit,
        priority,
        ..RuleSettings::default()
    })
}

const ANY_WINDOW: &[Window] = &[Window::Weekly, Window::Monthly, Window::Annually, Window::Ever];

fn without_limits() -> RuleSettings {
    let limit = Limit { values_max: 1_000, window: Window::Ever };
    RuleSettings { limits: BTreeMap::new(), other_limit: limit, ..RuleSettings::default() }
}

fn course_of(settings: &RuleSettings, log: &[Said]) -> Course {
    let mut course = Course::new(settings.clone());
    for (at, ids) in log {
        course.event(*at, ids);
    }
    course
}

/// The same partition, whatever its profiles are called.
fn groups(course: &Course) -> BTreeSet<BTreeSet<ExternalId>> {
    course.partition().into_values().collect()
}

/// As a store would hand it out: only the components that these ids lead to.
fn part(full: &Graph, ids: &[ExternalId]) -> Graph {
    let mut part = Graph::default();
    for id in ids {
        match full.knows(id).then(|| full.home(id)).flatten() {
            None => part.note_unmapped(id.clone()),
            Some(home) => {
                if !part.has(home) {
                    part.insert(full.component(home).clone());
                }
            }
        }
    }
    part
}

/// Invariants of any graph that has come about by moves.
fn check(course: &Course) {
    let mapped = course.ids.iter().filter_map(|id| course.graph.home(id));
    for profile in mapped {
        let component: &Component = course.graph.component(profile);
        let canonical = component.canonical();
        assert!(
            component.members.is_sorted() && component.members.iter().all(|member| *member >= canonical),
            "parents are earlier"
        );
        assert_eq!(course.graph.canonical(canonical.id), canonical.id, "no chain of parents");
        for member in &component.members {
            assert_eq!(course.graph.canonical(member.id), canonical.id, "one profile stands for all");
        }
        let is_member = |profile: ProfileId| component.members.iter().any(|member| member.id == profile);
        let inside = course.merges.iter().filter(|merge| is_member(merge.edge.home));
        assert_eq!(inside.count(), component.members.len() - 1, "edges are a forest");
        let ids = course.ids.iter().filter(|id| course.graph.home(id).is_some_and(is_member));
        assert_eq!(ids.count(), component.mappings.len(), "an id is mapped to one profile");
        for (profile, bar) in &component.bars {
            assert!(is_member(*profile));
            match bar {
                Bar::Profile(other) => assert!(!is_member(*other), "what was taken apart stays apart"),
                Bar::ExternalId(id) => assert!(!course.graph.home(id).is_some_and(is_member), "what was taken away stays away"),
            }
        }
    }
}

proptest! {
    #[test]
    fn it_does_what_the_oracle_does(settings in settings(ANY_WINDOW), log in log()) {
        let mut course = Course::new(settings.clone());
        let mut oracle = Oracle::new(settings);
        for (offset, (at, ids)) in log.iter().enumerate() {
            let resolution = course.event(*at, ids);
            let canonical = resolution.profile.map(|resolved| course.graph.component(resolved.canonical).canonical().created);
            let mut dropped: Vec<_> = resolution.dropped.into_iter().map(|dropped| dropped.id).collect();
            let (expected, mut expected_dropped) = oracle.event(offset as u64, *at, ids);
            dropped.sort();
            dropped.dedup();
            expected_dropped.sort();
            prop_assert_eq!((canonical, dropped), (expected, expected_dropped));
            let partition = course.partition().into_iter();
            let ours: BTreeMap<_, _> = partition.map(|(profile, ids)| (course.graph.component(profile).canonical().created, ids)).collect();
            let theirs = oracle.profiles.iter().map(|profile| (profile.created, profile.ids.keys().cloned().collect()));
            prop_assert_eq!(ours, theirs.collect());
        }
    }

    #[test]
    fn one_log_makes_one_graph_whatever_part_of_it_is_loaded(settings in settings(ANY_WINDOW), log in log(), batch in 1..10usize) {
        let whole = course_of(&settings, &log);
        let mut stored = Course::new(settings);
        for batch in log.chunks(batch) {
            let all: Vec<ExternalId> = batch.iter().flat_map(|(_, ids)| ids.clone()).collect();
            let mut loaded = part(&stored.graph, &all);
            for (at, ids) in batch {
                let cause = stored.cause(*at);
                let subject = Subject { ids: ids.clone(), weight: Weight::Binding };
                let changes = resolve(&loaded, &stored.rules, &cause, 0, &subject).changes;
                loaded.apply(&cause, &changes);
                stored.note(&cause, &changes);
            }
        }
        stored.ids = whole.ids.clone();
        for id in &whole.ids {
            if !stored.graph.knows(id) {
                stored.graph.note_unmapped(id.clone());
            }
        }
        prop_assert_eq!(whole.partition(), stored.partition());
        prop_assert_eq!(whole.merges, stored.merges);
    }

    #[test]
    fn without_limits_the_order_does_not_matter((log, shuffled) in log().prop_flat_map(|log| (Just(log.clone()), Just(log).prop_shuffle()))) {
        let settings = without_limits();
        prop_assert_eq!(groups(&course_of(&settings, &log)), groups(&course_of(&settings, &shuffled)));
    }

    #[test]
    fn a_replay_changes_nothing(settings in settings(&[Window::Ever]), log in log(), prefix in any::<prop::sample::Index>()) {
        let mut course = course_of(&settings, &log);
        for (at, ids) in &log[..prefix.index(log.len())] {
            prop_assert_eq!(course.event(*at, ids).changes, []);
        }
    }

    #[test]
    fn a_merge_that_is_undone_restores_the_profiles(log in log(), last in said()) {
        let mut course = course_of(&without_limits(), &log);
        let (before, offset) = (course.partition(), course.next_offset);
        let mapped = course.event(last.0, &last.1);
        let undone: Vec<Merge> = course.merges.iter().filter(|merge| merge.offset == offset).cloned().collect();
        for merge in &undone {
            course.unmerge(offset, &merge.edge.id).expect("it is in force");
        }
        let fresh: BTreeSet<_> = mapped.changes.iter().filter_map(|change| match change {
            Change::Mapped { id, .. } => Some(id.clone()),
            _ => None,
        }).collect();
        let mut after = course.partition();
        after.values_mut().for_each(|ids| ids.retain(|id| !fresh.contains(id)));
        after.retain(|_, ids| !ids.is_empty());
        prop_assert_eq!(after, before);
        check(&course);
    }

    #[test]
    fn invariants_hold_after_every_move(settings in settings(ANY_WINDOW), moves in moves()) {
        let mut course = Course::new(settings);
        for one in moves {
            match one {
                Move::Event((at, ids)) => {
                    course.event(at, &ids);
                }
                Move::Unmerge(index) if !course.merges.is_empty() => {
                    let merge = course.merges[index.index(course.merges.len())].clone();
                    course.unmerge(merge.offset, &merge.edge.id).expect("it is in force");
                }
                Move::TakeAway(index) if !course.ids.is_empty() => {
                    let ids: Vec<_> = course.ids.iter().cloned().collect();
                    let id = &ids[index.index(ids.len())];
                    match course.take_away(id) {
                        Ok(_) => prop_assert_eq!(course.graph.home(id), None),
                        Err(error) => prop_assert!(matches!(error, SplitError::NotMapped | SplitError::LastOne)),
                    }
                }
                Move::Unmerge(_) | Move::TakeAway(_) => {}
            }
            check(&course);
        }
    }
}
