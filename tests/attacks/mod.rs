//! Attacks that worked on other authorization servers, each named by its advisory; here each is refused, changes nothing and is on
//! record.
//!
//! Each has a control: the same request without the malice succeeds. Where the vulnerable feature does not exist here, the test
//! holds that it stays refused. `house/attacks.rs` lists them all, also those that find no surface here.

/// Where the answer goes.
mod redirect_uri;
/// Codes, PKCE, pushed and signed requests.
mod codes;
/// Refresh tokens, and whoever stands behind them.
mod refresh;
/// What a token is for, and for how much.
mod audience;
/// Signed tokens and assertions.
mod jwt;
/// Registration, and everything that we fetch.
mod registration;
/// Sign-in, forms, sessions and consent.
mod sign_in;
/// Links and cookies that somebody made, and text that would run on a page.
mod forged;
/// The admin API, cut-offs, secrets and cursors.
mod administration;
/// Denial of service, and rules of drafts and of what peers learned.
mod drafts;

use proptest::{
    strategy::{Strategy, ValueTree as _},
    test_runner::TestRunner,
};
use serde_json::Value;

use crate::support::{Answer, Installation, Person, person::Arrived};

/// Makes a request that must be refused in exactly this way: it changes nothing, and one fact is on record for it.
async fn repels(deputy: &Installation, attack: impl Future<Output = Answer>, status: u16, error: &str, reason: &str) -> Answer {
    let before = deputy.state().await;
    let answer = is_refused(deputy, attack, status, error, reason).await;
    assert_eq!(deputy.state().await, before, "a refused request changes nothing");
    answer
}

/// As `repels`, for an attack that is to leave a trace: a burnt code, an ended family.
async fn is_refused(deputy: &Installation, attack: impl Future<Output = Answer>, status: u16, error: &str, reason: &str) -> Answer {
    let before = refusals(deputy).await.len();
    let answer = attack.await.refused(status, error);
    on_record(deputy, before, error, reason).await;
    answer
}

/// Opens a page that must say the reason and lead nowhere.
async fn repels_on_page(deputy: &Installation, url: &str, reason: &str) {
    let (before, facts) = (deputy.state().await, refusals(deputy).await.len());
    let page = Person::new(deputy, "nobody", "").open(url).await;
    let Arrived::Page(page) = page else { panic!("{url} leads away: {page:?}") };
    assert_eq!((page.status.as_u16(), page.header("location")), (400, None), "{url}");
    assert!(page.body.contains(reason), "{url}: {}", page.body);
    assert_eq!(deputy.state().await, before, "{url}");
    on_record(deputy, facts, "", reason).await;
}

/// Opens an authorization request that must be refused to the client, at `redirect_uri`, without a code.
async fn repels_by_redirect(deputy: &Installation, url: &str, redirect_uri: &str, error: &str, reason: &str) {
    let visitor = deputy.visitor().await;
    let (before, facts) = (deputy.state().await, refusals(deputy).await.len());
    let away = visitor.open(url).await.away();
    assert!(away.as_str().starts_with(&format!("{redirect_uri}?error={error}&")), "{away}");
    assert!(!away.query_pairs().any(|(name, _)| name == "code"), "{away}");
    assert_eq!(deputy.state().await, before, "{url}");
    on_record(deputy, facts, error, reason).await;
}

/// One more refusal is on record than there were, and it is this one. An empty `error` is any.
async fn on_record(deputy: &Installation, before: usize, error: &str, reason: &str) {
    let refusals = refusals(deputy).await;
    assert_eq!(refusals.len(), before + 1, "{refusals:?}");
    assert_eq!(deputy.last_reason().await, reason);
    let last = refusals.last().expect("there is one");
    assert!(error.is_empty() || last["data"]["code"] == error, "{last}");
}

/// The same text with the character at `place` exchanged.
fn altered(text: &str, place: usize) -> String {
    let other = if text.as_bytes()[place] == b'A' { "B" } else { "A" };
    format!("{}{other}{}", &text[..place], &text[place + 1..])
}

/// Some values of a strategy, the same in every run.
fn samples<S: Strategy>(strategy: &S, count: usize) -> Vec<S::Value> {
    let mut runner = TestRunner::deterministic();
    (0..count).map(|_| strategy.new_tree(&mut runner).expect("the strategy refuses nothing").current()).collect()
}

/// The refusals on record.
async fn refusals(deputy: &Installation) -> Vec<Value> {
    let facts = deputy.facts().await.into_iter();
    facts.filter(|fact| fact["type"].as_str().is_some_and(|name| name.contains(".refused."))).collect()
}
