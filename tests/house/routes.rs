//! Every route has a test that is refused there: one function that spells the route and names the refusal.

use deputy::domain::refusal::REQUEST_METHOD;

use super::refusals::{Refusals, tests_from_outside, unquoted};
use super::source::{Source, Token, assert_none, rust_files};

#[test]
fn every_route_has_a_refusal_test() {
    let refusals = Refusals::declared();
    let mut refused = Vec::new();
    for function in tests_from_outside().iter().flat_map(functions) {
        let reasons: Vec<_> = function.iter().filter_map(|token| refusals.named_by(token)).collect();
        let is_about_methods = reasons.iter().all(|reason| *reason == REQUEST_METHOD.reason);
        let paths = function.iter().filter_map(unquoted).filter(|text| text.starts_with('/') && !reasons.is_empty());
        refused.extend(paths.map(|path| (path.to_owned(), is_about_methods)));
    }
    let routes = routes();
    assert!(routes.iter().any(|route| route.path == "/token" && !route.is_only_read), "routes are found");
    let is_refused = |route: &Route| {
        refused.iter().any(|(path, is_about_methods)| is_at(path, &route.path) && (route.is_only_read || !is_about_methods))
    };
    let missing = routes.iter().filter(|route| !is_refused(route)).map(|route| route.path.clone()).collect::<Vec<_>>();
    assert_none(
        "One test function spells the route and names a refusal that is met there; `request.method` counts where one only reads.",
        &missing,
    );
}

#[test]
fn a_path_is_at_its_route() {
    for path in ["/admin/v1/clients/{id}/secret", "/admin/v1/clients/{}/secret", "/clients/some/secret?now=yes"] {
        assert!(is_at(path, "/admin/v1/clients/{client_id}/secret"), "{path}");
    }
    for path in ["/admin/v1/clients/{id}", "/admin/v1/people/{id}/secret", "/admin/v1/clients/{id}/secret/more"] {
        assert!(!is_at(path, "/admin/v1/clients/{client_id}/secret"), "{path}");
    }
}

/// Whether a path, as a test spells it, is served by a route. The actors of the tests leave the admin API's prefix out.
fn is_at(path: &str, route: &str) -> bool {
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    [route, route.strip_prefix("/admin/v1").unwrap_or(route)].into_iter().any(|route| {
        let (path, route): (Vec<_>, Vec<_>) = (path.split('/').collect(), route.split('/').collect());
        path.len() == route.len() && path.iter().zip(&route).all(|(found, segment)| found == segment || segment.starts_with('{'))
    })
}

struct Route {
    path: String,
    /// Nothing but `get`.
    is_only_read: bool,
}

/// What is given to `.route(…)`; the path spelled out or as `&format!(…)`.
fn routes() -> Vec<Route> {
    let mut found = Vec::new();
    for source in rust_files("src/http") {
        let tokens: Vec<_> = source.tokens().into_iter().map(|(_, token)| token).collect();
        for (index, window) in tokens.windows(3).enumerate() {
            if !matches!(window, [Token::Mark('.'), Token::Word(word), Token::Mark('(')] if word == "route") {
                continue;
            }
            let arguments = &tokens[index + 2..];
            let arguments = &arguments[..closing(arguments)];
            let Some(path) = arguments.iter().find_map(unquoted) else { continue };
            let writes = ["post", "put", "patch", "delete", "any"];
            let is_only_read = !arguments.iter().any(|token| matches!(token, Token::Word(word) if writes.contains(&word.as_str())));
            // The issuer's path is empty unless somebody chose one.
            found.push(Route { path: path.replace("{issuer_path}", ""), is_only_read });
        }
    }
    found
}

/// Where the group closes that begins at the first token.
fn closing(tokens: &[Token]) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate() {
        match token {
            Token::Mark('{' | '(' | '[') => depth += 1,
            Token::Mark('}' | ')' | ']') if depth == 1 => return index,
            Token::Mark('}' | ')' | ']') => depth -= 1,
            Token::Word(_) | Token::Mark(_) | Token::Literal(_) => {}
        }
    }
    tokens.len()
}

/// The functions of a file: each from `fn` to where its body closes.
fn functions(source: &Source) -> Vec<Vec<Token>> {
    let tokens: Vec<_> = source.tokens().into_iter().map(|(_, token)| token).collect();
    let starts = (0..tokens.len()).filter(|index| matches!(&tokens[*index], Token::Word(word) if word == "fn"));
    let bodies = starts.filter_map(|start| {
        let body = start + tokens[start..].iter().position(|token| *token == Token::Mark('{'))?;
        Some(tokens[start..body + closing(&tokens[body..])].to_vec())
    });
    bodies.collect()
}
