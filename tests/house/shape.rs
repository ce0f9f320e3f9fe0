//! How files begin, how long they may be, and how migrations are numbered.

use super::source::{assert_none, files, rust_files};

/// Seldom over 500 lines: these are, each for its reason.
const LONG: [(&str, &str); 2] = [
    ("src/domain/event.rs", "the catalogue of facts, which is read by searching it"),
    ("src/domain/refusal.rs", "the catalogue of refusals, which is read by searching it"),
];

const LINES_MAX: usize = 500;
const EXAMPLE_LINES_MAX: usize = 120;

#[test]
fn a_file_opens_with_its_purpose() {
    let sources = ["src", "tests", "examples"].into_iter().flat_map(rust_files);
    let silent = sources.filter(|source| !source.text.starts_with("//! "));
    assert_none("A Rust file opens with a sentence of purpose: //! …", &silent.map(|source| source.path).collect::<Vec<_>>());
}

#[test]
fn a_file_is_seldom_long() {
    let sources: Vec<_> = ["src", "tests"].into_iter().flat_map(rust_files).collect();
    let is_long = |path: &str| LONG.iter().any(|(known, _)| *known == path);
    let mut broken = Vec::new();
    for source in &sources {
        match source.text.lines().count() {
            count if count > LINES_MAX && !is_long(&source.path) => broken.push(format!("{}: {count} lines", source.path)),
            count if count <= LINES_MAX && is_long(&source.path) => {
                broken.push(format!("{}: short again; strike it out", source.path))
            }
            _ => {}
        }
    }
    assert_none("Split along a decision and its execution, or along two audiences.", &broken);
}

#[test]
fn an_example_is_one_idea() {
    let long = rust_files("examples").into_iter().filter(|source| source.text.lines().count() > EXAMPLE_LINES_MAX);
    assert_none("An example has at most 120 lines.", &long.map(|source| source.path).collect::<Vec<_>>());
}

#[test]
fn names_say_what_a_thing_is() {
    const SAY_NOTHING: [&str; 9] = ["util", "utils", "common", "helper", "helpers", "manager", "base", "misc", "part2"];
    let mut broken = Vec::new();
    for source in ["src", "tests", "examples"].into_iter().flat_map(rust_files) {
        let parts = source.path.trim_end_matches(".rs").split(['/', '_']);
        if parts.into_iter().any(|part| SAY_NOTHING.contains(&part)) {
            broken.push(source.path);
        }
    }
    assert_none("No module is called util, common, helper, manager or the like.", &broken);
}

#[test]
fn migrations_are_numbered_and_say_why() {
    for (index, migration) in files("migrations").iter().enumerate() {
        let expected = format!("migrations/{:04}_", index + 1);
        assert!(migration.path.starts_with(&expected), "{} should be called {expected}….sql", migration.path);
        assert!(migration.path.ends_with(".sql"), "{} is SQL", migration.path);
        assert!(migration.text.starts_with("-- "), "{} opens with a comment that says why", migration.path);
    }
}
