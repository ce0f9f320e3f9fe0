//! Every refusal is somebody's test: a reason that no test names is a rule that nobody checks.

use std::collections::{BTreeMap, BTreeSet};

use deputy::domain::refusal::ALL;

use super::source::{Source, Token, assert_none, rust_files, text};

/// A test names a refusal by its reason or by its constant.
pub struct Refusals {
    /// The reasons, by constant.
    reasons: BTreeMap<String, String>,
}

impl Refusals {
    /// As `domain::refusal` declares them: `pub const CODE_EXPIRED: OAuthError = …("code.expired", …)`.
    pub fn declared() -> Self {
        let source = Source { path: "src/domain/refusal.rs".to_owned(), text: text("src/domain/refusal.rs") };
        let tokens: Vec<_> = source.tokens().into_iter().map(|(_, token)| token).collect();
        let declarations = tokens.windows(4).enumerate().filter_map(|(index, window)| match window {
            [Token::Word(keyword), Token::Word(name), Token::Mark(':'), Token::Word(kind)]
                if keyword == "const" && kind == "OAuthError" =>
            {
                let reason = tokens[index..].iter().find_map(unquoted).expect("a refusal has a reason");
                Some((name.clone(), reason.to_owned()))
            }
            _ => None,
        });
        Self { reasons: declarations.collect() }
    }

    /// The reason that a token of a test names.
    pub fn named_by<'a>(&'a self, token: &'a Token) -> Option<&'a str> {
        match token {
            Token::Word(name) => self.reasons.get(name).map(String::as_str),
            Token::Literal(_) => unquoted(token).filter(|text| self.reasons.values().any(|reason| reason == text)),
            Token::Mark(_) => None,
        }
    }
}

#[test]
fn every_refusal_is_in_a_test() {
    let (refusals, tests) = (Refusals::declared(), tests_from_outside());
    let tokens: Vec<_> = tests.iter().flat_map(Source::tokens).map(|(_, token)| token).collect();
    let named: BTreeSet<_> = tokens.iter().filter_map(|token| refusals.named_by(token)).collect();
    let missing = ALL.iter().map(|refusal| refusal.reason).filter(|reason| !named.contains(reason));
    assert_none("A test in tests/ meets each refusal, by its reason.", &missing.map(str::to_owned).collect::<Vec<_>>());
}

#[test]
fn the_list_of_refusals_is_complete() {
    let listed: BTreeSet<_> = ALL.iter().map(|refusal| refusal.reason.to_owned()).collect();
    let declared: BTreeSet<_> = Refusals::declared().reasons.into_values().collect();
    assert_eq!(listed, declared, "`domain::refusal::ALL` names every refusal");
}

/// Tests of what a program does; the house tests only speak about them.
pub fn tests_from_outside() -> Vec<Source> {
    rust_files("tests").into_iter().filter(|source| !source.path.starts_with("tests/house/")).collect()
}

/// The text of a plain string literal.
pub fn unquoted(token: &Token) -> Option<&str> {
    match token {
        Token::Literal(literal) => literal.strip_prefix('"')?.strip_suffix('"'),
        Token::Word(_) | Token::Mark(_) => None,
    }
}
