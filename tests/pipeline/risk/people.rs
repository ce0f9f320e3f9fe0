//! The risk of a person: what happens with their account, and what each agent does that acts for them.

use serde_json::{Value, json};

use super::{ids_of, people_at_risk, replay_by};
use crate::support::{Agent, Installation, Person, agent::Tokens, each_engine, each_engine_with, person::field};

const DAY_S: u64 = 86_400;

/// The kinds of the signals about the only person, with the agents that they name.
fn signals(told: &Value) -> Vec<(&str, &Value)> {
    let signals = told[0]["signals"].as_array().expect("a list");
    signals.iter().map(|signal| (signal["signal"].as_str().expect("text"), &signal["client_id"])).collect()
}

#[tokio::test]
async fn a_replay_is_held_against_whom_it_was_for_and_by_default_nothing_more() {
    each_engine(async |mut deputy| {
        let resource = deputy.resource().await;
        let (agent, ada) = (deputy.agent().await, deputy.person("ada@example.com").await);
        assert_eq!(people_at_risk(&deputy).await, json!([]));
        let kept = agent.authorize(&ada, "notes:read").await;
        replay_by(&deputy, &agent, &ada).await;
        let told = people_at_risk(&deputy).await;
        let (ended, person) = (ids_of(&deputy, "grant.ended.v1").await, &kept.claims()["sub"]);
        assert_eq!((&told[0]["person_id"], &told[0]["score"], &told[0]["proven_score"]), (person, &json!(50), &json!(50)));
        let signal = &told[0]["signals"][0];
        assert_eq!((&signal["client_id"], &signal["event_id"]), (&json!(agent.client_id), &ended[0]));
        let signalled =
            json!({"person": person, "agent": agent.client_id, "signal": "refresh_replayed", "event": ended[0], "score": 50});
        assert_eq!(deputy.facts_of("risk.person_signalled.v1").await, [signalled]);
        assert!(deputy.is_active(&resource, &kept.access_token).await);
        agent.refresh(kept.refresh_token()).await.ok();
        assert!(deputy.facts_of("risk.measure_taken.v1").await.is_empty());
        let told = people_at_risk(&deputy).await;
        deputy.crash().await;
        assert_eq!(people_at_risk(&deputy).await, told);
    })
    .await;
}

#[tokio::test]
async fn what_anybody_may_do_to_an_account_is_seen_and_not_proven() {
    each_engine(async |deputy| {
        let ada = deputy.person("ada@example.com").await;
        for login in ["ada@example.com", "ada@example.com", "nobody@example.com"] {
            let stranger = Person::new(&deputy, login, "a wrong password");
            let page = stranger.open("/sign-in").await.page();
            let form = [("seal", &*field(&page, "seal")), ("login", login), ("password", "a wrong password")];
            stranger.submit("/sign-in", &form).await.page().refused_on_page(403, "sign_in.wrong");
        }
        let told = people_at_risk(&deputy).await;
        assert_eq!(told.as_array().map(Vec::len), Some(1), "nobody has no account");
        assert_eq!((&told[0]["score"], &told[0]["proven_score"]), (&json!(4), &json!(0)));
        assert_eq!(signals(&told), [("sign_in_refused", &Value::Null); 2]);
        ada.sign_in().await;
    })
    .await;
}

#[tokio::test]
async fn a_new_network_is_a_signal_and_no_address_is_on_record() {
    each_engine_with("trusted_proxies = [\"127.0.0.1\"]", async |mut deputy| {
        deputy.everybody_comes_from("203.0.113.7");
        let ada = { deputy.person("ada@example.com").await.password };
        let sign_in = async |deputy: &Installation| {
            Person::new(deputy, "ada@example.com", &ada).sign_in().await;
        };
        sign_in(&deputy).await;
        deputy.everybody_comes_from("2001:db8:1:2::9");
        sign_in(&deputy).await;
        deputy.later(DAY_S);
        deputy.everybody_comes_from("203.0.113.200");
        sign_in(&deputy).await;
        assert_eq!(people_at_risk(&deputy).await, json!([]), "where they are at home was learned");
        for address in ["198.51.100.7", "198.51.100.99", "2001:db8:1:ffff::1", "127.0.0.1"] {
            deputy.everybody_comes_from(address);
            sign_in(&deputy).await;
        }
        let told = people_at_risk(&deputy).await;
        assert_eq!(signals(&told), [("new_network", &Value::Null)]);
        assert_eq!((&told[0]["score"], &told[0]["proven_score"]), (&json!(10), &json!(10)));
        let sessions = ids_of(&deputy, "session.started.v1").await;
        assert_eq!(told[0]["signals"][0]["event_id"], sessions[3]);

        let recorded = json!(deputy.facts().await).to_string();
        assert!(["203.0.113", "2001:db8", "198.51.100"].iter().all(|network| !recorded.contains(network)), "{recorded}");
        let networks: Vec<_> = deputy.facts_of("session.started.v1").await.iter().map(|fact| fact["network"].clone()).collect();
        assert_eq!((&networks[0], &networks[1], &networks[3]), (&networks[2], &networks[5], &networks[4]), "the same digest");
        assert_eq!(networks[6], Value::Null, "behind a proxy of ours everybody may be");
    })
    .await;
}

#[tokio::test]
async fn an_agents_habits_are_learned_for_each_person() {
    each_engine_with("trusted_proxies = [\"127.0.0.1\"]", async |mut deputy| {
        deputy.everybody_comes_from("203.0.113.7");
        deputy.resource().await;
        let (client_id, mut refresh_token) = {
            let (agent, ada) = (deputy.agent().await, deputy.person("ada@example.com").await);
            (agent.client_id.clone(), agent.authorize(&ada, "notes:read").await.refresh_token().to_owned())
        };
        for _ in 0..8 {
            deputy.later(DAY_S);
            let answer = Agent::known(&deputy, &client_id).refresh(&refresh_token).await;
            refresh_token = Tokens::of(answer).refresh_token().to_owned();
        }
        assert_eq!(people_at_risk(&deputy).await, json!([]));
        deputy.later(12 * 3600);
        deputy.everybody_comes_from("198.51.100.7");
        Agent::known(&deputy, &client_id).refresh(&refresh_token).await.ok();
        let told = people_at_risk(&deputy).await;
        assert_eq!(signals(&told), [("off_hours", &json!(client_id)), ("new_network", &json!(client_id))]);
        let last = ids_of(&deputy, "token.issued.v1").await.pop().expect("there are some");
        assert!(told[0]["signals"].as_array().expect("a list").iter().all(|signal| signal["event_id"] == last));
        let agents = super::agents_at_risk(&deputy).await;
        assert_eq!((&agents[0]["proven_score"], &agents[0]["suspension_score"]), (&json!(15), &json!(0)));

        // Somebody else's first token by the same agent, at the same hour and place, is nothing unusual.
        let agent = Agent::known(&deputy, &client_id);
        agent.authorize(&deputy.person("grace@example.com").await, "notes:read").await;
        assert_eq!(people_at_risk(&deputy).await, told);
    })
    .await;
}
