//! Tests set the time and step the stages: they never sleep, and none is left out.

use super::source::{Source, Token, assert_none, rust_files};

#[test]
fn no_test_sleeps() {
    let broken: Vec<_> = test_files().iter().flat_map(|source| source.places_of("sleep")).collect();
    assert_none("Set the time, step the stage, or wait for what is to happen.", &broken);
}

#[test]
fn no_test_is_ignored() {
    let mut broken = Vec::new();
    for source in ["src", "tests"].into_iter().flat_map(rust_files) {
        let tokens = source.tokens();
        let ignored = tokens.windows(3).filter(
            |window| matches!(window, [(_, Token::Mark('#')), (_, Token::Mark('[')), (_, Token::Word(word))] if word == "ignore"),
        );
        broken.extend(ignored.map(|window| format!("{}:{}", source.path, window[0].0)));
    }
    assert_none("A test is run or deleted.", &broken);
}

fn test_files() -> Vec<Source> {
    let inner = rust_files("src").into_iter().filter(|source| source.path.contains("/tests"));
    inner.chain(rust_files("tests")).collect()
}
