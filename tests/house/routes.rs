//! Every route has a test that is refused there: one function that spells the route and names the refusal.

use deputy::domain::refusal::REQUEST_METHOD;

use super::refusals::{Refusals, tests_from_outside, unquoted};
use super::source::{Source, Token, assert_none, rust_files};

/// By what a route is asked, as axum's routers spell it.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];
const ANY: &str = "any";

#[test]
fn every_route_has_a_refusal_test() {
    let refusals = Refusals::declared();
    let refused: Vec<_> =
        tests_from_outside().iter().flat_map(functions).flat_map(|function| asked(&function, &refusals)).collect();
    let routes = routes();
    assert!(routes.iter().any(|route| route.path == "/token" && route.methods == ["post"]), "routes are found");
    let mut missing = Vec::new();
    for route in &routes {
        // Where nothing is asked of the caller, all that can be refused is the method.
        let is_only_read = route.methods == ["get"];
        for method in &route.methods {
            let is_refused = refused.iter().any(|asked| {
                let is_by_it = *method == ANY || asked.methods.iter().any(|asked| asked == method);
                is_at(&asked.path, &route.path) && (is_by_it && asked.is_about_more || is_only_read && asked.is_about_methods)
            });
            if !is_refused {
                missing.push(format!("{method} {}", route.path));
            }
        }
    }
    assert_none(
        "One test function asks the route by this method and names a refusal that is met there; `request.method` counts where one \
         only reads.",
        &missing,
    );
}

/// What a test function asks for and does not say that it gets.
struct Asked {
    path: String,
    /// Those that stand beside the path; where none does, all that the function speaks of.
    methods: Vec<String>,
    /// The function names a refusal of the method.
    is_about_methods: bool,
    /// It names another.
    is_about_more: bool,
}

fn asked(function: &[Token], refusals: &Refusals) -> Vec<Asked> {
    let reasons: Vec<_> = function.iter().filter_map(|token| refusals.named_by(token)).collect();
    if reasons.is_empty() {
        return Vec::new();
    }
    let is_about_methods = reasons.contains(&REQUEST_METHOD.reason);
    let is_about_more = reasons.iter().any(|reason| *reason != REQUEST_METHOD.reason);
    let all: Vec<_> = (0..function.len()).filter_map(|index| method_at(function, index)).collect();
    let paths = function.iter().enumerate().filter_map(|(index, token)| Some((index, unquoted(token)?)));
    paths
        .filter(|(index, text)| text.trim_start_matches("{}").starts_with('/') && !is_granted(function, *index))
        .map(|(index, path)| Asked {
            path: path.trim_start_matches("{}").to_owned(),
            methods: method_beside(function, index).map_or_else(|| all.clone(), |method| vec![method]),
            is_about_methods,
            is_about_more,
        })
        .collect()
}

/// The method that a token names: as a text of its own, or as what a client or a person does.
fn method_at(function: &[Token], index: usize) -> Option<String> {
    match &function[index] {
        Token::Word(word) => {
            let is_call =
                index > 0 && function[index - 1] == Token::Mark('.') && function.get(index + 1) == Some(&Token::Mark('('));
            let method = match word.as_str() {
                "open" => "get",
                "submit" => "post",
                word => METHODS.into_iter().find(|method| *method == word)?,
            };
            is_call.then(|| method.to_owned())
        }
        token => {
            let text = unquoted(token)?;
            METHODS.into_iter().find(|method| text == method.to_uppercase()).map(str::to_owned)
        }
    }
}

/// The method in front of a path, with nothing between them but what makes a text of it.
fn method_beside(function: &[Token], path: usize) -> Option<String> {
    let is_between = |token: &Token| match token {
        Token::Mark(mark) => matches!(mark, '&' | '!' | '(' | ','),
        Token::Word(word) => word == "format",
        Token::Literal(_) => false,
    };
    let before = (0..path).rev().find(|index| !is_between(&function[*index]))?;
    method_at(function, before)
}

/// Whether the statement says that the answer is good.
fn is_granted(function: &[Token], index: usize) -> bool {
    let end = function[index..].iter().position(|token| *token == Token::Mark(';')).map_or(function.len(), |length| index + length);
    function[index..end].windows(2).any(|window| match window {
        [Token::Word(word), Token::Mark('(')] => word == "ok",
        [Token::Mark(','), Token::Literal(literal)] => matches!(literal.as_str(), "200" | "201" | "204"),
        _ => false,
    })
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
    methods: Vec<&'static str>,
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
            let is_named = |method: &&str| {
                arguments.windows(2).any(|window| matches!(window, [Token::Word(word), Token::Mark('(')] if word == method))
            };
            // The issuer's path is empty unless somebody chose one.
            found.push(Route {
                path: path.replace("{issuer_path}", ""),
                methods: METHODS.into_iter().chain([ANY]).filter(is_named).collect(),
            });
        }
    }
    assert!(found.iter().all(|route| !route.methods.is_empty()), "every route has a method that this test knows");
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
