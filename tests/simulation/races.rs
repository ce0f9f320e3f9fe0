//! Many at once, over real sockets and on both engines, with a restart and a crash in the middle: what may be used once is used
//! once, and agents that refresh side by side get along.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, stream};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

use super::arrivals::{jwks, new_key};
use crate::support::{Agent, Answer, CALLBACK, Installation, RESOURCE, agent::VERIFIER, each_engine};

const RACERS: usize = 1000;
/// Requests in flight at once: two file descriptors each, of the 1,024 that a process usually has.
const IN_FLIGHT: usize = 300;
/// How often a racer tries again while it is told to.
const TRIES_MAX: usize = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_refreshes_at_once_get_one_successor() {
    each_engine(async |installation| {
        installation.resource().await;
        let (agent, person) = (installation.agent().await, installation.person("ada").await);
        let tokens = agent.authorize(&person, "notes:read").await;
        let form = refresh(&agent, tokens.refresh_token());
        let answers = race(&installation, 100, &form).await;
        let successors: BTreeSet<String> = answers.iter().map(|answer| answer.clone().ok().text("refresh_token")).collect();
        let access_tokens: BTreeSet<String> = answers.iter().map(|answer| answer.text("access_token")).collect();
        assert_eq!((successors.len(), access_tokens.len()), (1, 100), "one successor, and an access token for everybody");
        assert_eq!(installation.facts_of("token.issued.v1").await.len(), 101);

        let successor = successors.first().expect("there is one").clone();
        let next = agent.refresh(&successor).await.ok().text("refresh_token");
        installation.later(3600);
        agent.refresh(tokens.refresh_token()).await.refused(400, "invalid_grant");
        assert_eq!(installation.last_reason().await, "refresh.replayed");
        agent.refresh(&next).await.refused(400, "invalid_grant");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_racers_redeem_a_code_once() {
    each_engine(async |mut installation| {
        installation.resource().await;
        let agent = installation.agent().await;
        let code = agent.code(&installation.person("ada").await, "notes:read").await;
        let form = redeem(&agent, &code);
        let mut outcomes = count(&race(&installation, RACERS / 2, &form).await);
        installation.restart().await;
        add(&mut outcomes, &count(&race(&installation, RACERS / 2, &form).await));
        assert_eq!(outcomes, BTreeMap::from([(200, 1), (400, RACERS - 1)]));
        assert_eq!(installation.facts_of("token.issued.v1").await.len(), 1);
        assert_eq!(installation.last_reason().await, "code.replayed");
        assert_eq!(installation.facts_of("grant.ended.v1").await.len(), 1, "a replay ends what the code began");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_racers_use_an_assertion_once() {
    each_engine(async |mut installation| {
        installation.resource().await;
        let form = signing_client(&installation).await;
        let mut outcomes = count(&race(&installation, RACERS / 2, &form).await);
        installation.restart().await;
        add(&mut outcomes, &count(&race(&installation, RACERS / 2, &form).await));
        assert_eq!(outcomes, BTreeMap::from([(200, 1), (401, RACERS - 1)]));
        assert_eq!(installation.last_reason().await, "client_assertion.replayed");
    })
    .await;
}

/// Half of them at one node and half at another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_racers_over_two_nodes_have_one_winner() {
    let one = Installation::start_on_postgres("").await;
    one.resource().await;
    let other = one.beside().await;
    let (agent, person) = (one.agent().await, one.person("ada").await);
    let code = redeem(&agent, &agent.code(&person, "notes:read").await);
    for (form, refusal) in [(code, 400), (signing_client(&one).await, 401)] {
        let (here, there) = tokio::join!(race(&one, RACERS / 2, &form), race(&other, RACERS / 2, &form));
        let mut outcomes = count(&here);
        add(&mut outcomes, &count(&there));
        assert_eq!(outcomes, BTreeMap::from([(200, 1), (refusal, RACERS - 1)]));
    }
    let tokens = agent.authorize(&person, "notes:read").await;
    let form = refresh(&agent, tokens.refresh_token());
    let (here, there) = tokio::join!(race(&one, 50, &form), race(&other, 50, &form));
    let successors: BTreeSet<String> = here.iter().chain(&there).map(|answer| answer.clone().ok().text("refresh_token")).collect();
    assert_eq!(successors.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_in_the_middle_of_a_race_lets_nobody_win_twice() {
    each_engine(async |mut installation| {
        installation.resource().await;
        let agent = installation.agent().await;
        let person = installation.person("ada").await;
        let forms = [redeem(&agent, &agent.code(&person, "notes:read").await), signing_client(&installation).await];
        drop(person);
        for form in forms {
            let (http, issuer) = (installation.http.clone(), installation.issuer.clone());
            let (first, told) = (form.clone(), tokio::sync::mpsc::unbounded_channel());
            let (tell, mut hear) = told;
            let racing = tokio::spawn(async move {
                let racers = stream::iter(0..RACERS / 4).map(|_| {
                    let (http, issuer, form, tell) = (http.clone(), issuer.clone(), first.clone(), tell.clone());
                    async move {
                        let answer = send(&http, &issuer, &form).await;
                        // Nobody hears it once the crash is under way.
                        let _ = tell.send(());
                        answer
                    }
                });
                racers.buffer_unordered(IN_FLIGHT).collect::<Vec<_>>().await
            });
            for _ in 0..20 {
                hear.recv().await;
            }
            installation.crash().await;
            let before: Vec<Answer> = racing.await.expect("the racers arrive").into_iter().flatten().collect();
            let mut outcomes = count(&before);
            for status in outcomes.keys() {
                assert!([200, 400, 401, 503].contains(status), "{outcomes:?}");
            }
            add(&mut outcomes, &count(&race(&installation, RACERS / 4, &form).await));
            let winners = outcomes.get(&200).copied().unwrap_or(0);
            assert!(winners <= 1, "{outcomes:?}");
        }
    })
    .await;
}

type Form = Vec<(&'static str, String)>;

fn redeem(agent: &Agent<'_>, code: &str) -> Form {
    vec![
        ("grant_type", "authorization_code".to_owned()),
        ("client_id", agent.client_id.clone()),
        ("code", code.to_owned()),
        ("redirect_uri", CALLBACK.to_owned()),
        ("code_verifier", VERIFIER.to_owned()),
        ("resource", RESOURCE.to_owned()),
    ]
}

fn refresh(agent: &Agent<'_>, token: &str) -> Form {
    vec![
        ("grant_type", "refresh_token".to_owned()),
        ("client_id", agent.client_id.clone()),
        ("refresh_token", token.to_owned()),
        ("resource", RESOURCE.to_owned()),
    ]
}

/// A client that signs assertions, and a request with one.
async fn signing_client(installation: &Installation) -> Form {
    let key = new_key();
    let request = json!({"client_name": "A signer", "grant_types": ["client_credentials"], "scope": "notes:read",
        "token_endpoint_auth_method": "private_key_jwt", "jwks": jwks(&key)});
    let client = Agent::made_by_operator(installation, request).await;
    let now_s = installation.world().now().seconds();
    let claims = json!({"iss": client.client_id, "sub": client.client_id, "aud": installation.issuer, "exp": now_s + 60,
        "iat": now_s, "jti": "the only one"});
    let assertion = jsonwebtoken::encode(&Header::new(Algorithm::ES256), &claims, &EncodingKey::from_ec_der(&key));
    vec![
        ("grant_type", "client_credentials".to_owned()),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer".to_owned()),
        ("client_assertion", assertion.expect("a good key signs")),
        ("resource", RESOURCE.to_owned()),
    ]
}

/// So many racers with one request. Who is told to come again does.
async fn race(installation: &Installation, racers: usize, form: &Form) -> Vec<Answer> {
    let run = async |_| {
        for _ in 0..TRIES_MAX {
            let answer = send(&installation.http, &installation.issuer, form).await.expect("the server runs");
            if !matches!(answer.status.as_u16(), 429 | 503) {
                return answer;
            }
            assert!(answer.header("retry-after").is_some(), "{answer:?}");
            assert_eq!(answer.json()["error"], "temporarily_unavailable");
        }
        panic!("told to come again {TRIES_MAX} times");
    };
    stream::iter(0..racers).map(run).buffer_unordered(IN_FLIGHT).collect().await
}

/// The answer, if the connection lasts so long.
async fn send(http: &reqwest::Client, issuer: &str, form: &Form) -> Option<Answer> {
    let response = http.post(format!("{issuer}/token")).form(form).send().await.ok()?;
    let (status, headers) = (response.status(), response.headers().clone());
    Some(Answer { status, headers, body: response.text().await.ok()? })
}

fn count(answers: &[Answer]) -> BTreeMap<u16, usize> {
    let mut outcomes = BTreeMap::new();
    answers.iter().for_each(|answer| *outcomes.entry(answer.status.as_u16()).or_default() += 1);
    outcomes
}

fn add(outcomes: &mut BTreeMap<u16, usize>, more: &BTreeMap<u16, usize>) {
    more.iter().for_each(|(status, count)| *outcomes.entry(*status).or_default() += count);
}
