//! Every route has a test that is refused there: one function that spells the route and names the refusal.

use std::collections::BTreeSet;

use super::refusals::{Refusals, tests_from_outside, unquoted};
use super::source::{Source, Token, assert_none, rust_files};

#[test]
fn every_route_has_a_refusal_test() {
    let refusals = Refusals::declared();
    let mut refused = BTreeSet::new();
    for function in tests_from_outside().iter().flat_map(functions) {
        if function.iter().any(|token| refusals.named_by(token).is_some()) {
            refused.extend(function.iter().filter_map(unquoted).filter(|text| text.starts_with('/')).map(anonymous));
        }
    }
    let routes = routes();
    assert!(routes.contains("/token"), "routes are found: {routes:?}");
    let missing: Vec<_> = routes.difference(&refused).cloned().collect();
    assert_none(
        "A test spells the route and the refusal that it met there; where nothing else is refused, the method is.",
        &missing,
    );
}

#[test]
fn routes_are_compared_without_names_and_queries() {
    assert_eq!(anonymous("/admin/v1/clients/{client_id}/secret"), anonymous("/admin/v1/clients/{}/secret"));
    assert_eq!(anonymous("/authorize?client_id={id}"), "/authorize");
    assert_ne!(anonymous("/admin/v1/clients/{id}"), anonymous("/admin/v1/clients"));
}

/// What is given to `.route(…)`, spelled out or as `&format!(…)`.
fn routes() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for source in rust_files("src/http") {
        let tokens: Vec<_> = source.tokens().into_iter().map(|(_, token)| token).collect();
        for (index, window) in tokens.windows(2).enumerate() {
            if matches!(window, [Token::Mark('.'), Token::Word(word)] if word == "route") {
                let path = tokens[index..].iter().take(8).find_map(unquoted);
                // The issuer's path is empty unless somebody chose one.
                found.extend(path.map(|path| anonymous(&path.replace("{issuer_path}", ""))));
            }
        }
    }
    found
}

/// A path with its parameters unnamed, and without a query.
fn anonymous(path: &str) -> String {
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    let mut pieces = path.split('{');
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |path, piece| path + "{}" + piece.split_once('}').map_or("", |(_, rest)| rest))
}

/// The functions of a file, each from its name to the end of its body.
fn functions(source: &Source) -> Vec<Vec<Token>> {
    let tokens: Vec<_> = source.tokens().into_iter().map(|(_, token)| token).collect();
    let starts = (0..tokens.len()).filter(|index| matches!(&tokens[*index], Token::Word(word) if word == "fn"));
    starts.map(|start| tokens[start..start + length(&tokens[start..])].to_vec()).collect()
}

/// How many tokens a function has: up to where its body closes, or its declaration ends.
fn length(tokens: &[Token]) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate() {
        match token {
            Token::Mark('{' | '(' | '[') => depth += 1,
            Token::Mark('}') if depth <= 1 => return index,
            Token::Mark('}' | ')' | ']') => depth -= 1,
            Token::Mark(';') if depth == 0 => return index,
            Token::Word(_) | Token::Mark(_) | Token::Literal(_) => {}
        }
    }
    tokens.len()
}
