//! Every refusal is somebody's test: a reason that no test names is a rule that nobody checks.

use std::collections::BTreeSet;

use deputy::domain::refusal::ALL;

use super::source::{assert_none, rust_files, text};

#[test]
fn every_reason_is_in_a_test() {
    let tests: Vec<_> = rust_files("tests").into_iter().filter(|source| !source.path.starts_with("tests/house/")).collect();
    let named: BTreeSet<String> = tests.iter().flat_map(|source| source.literals()).map(|(_, literal)| literal).collect();
    let missing = ALL.iter().filter(|refusal| !named.contains(&format!("\"{}\"", refusal.reason)));
    assert_none("A refusal is tested by its reason.", &missing.map(|refusal| refusal.reason.to_owned()).collect::<Vec<_>>());
}

#[test]
fn the_list_of_refusals_is_complete() {
    let source = text("src/domain/refusal.rs");
    let made =
        source.matches("OAuthError = OAuthError::new(").count() + source.matches("OAuthError =\n    OAuthError::new(").count();
    assert_eq!(ALL.len(), made, "`ALL` names every refusal of the file");
}
