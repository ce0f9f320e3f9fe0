//! The risk of an agent: what it did is its score, with the events that led to it; and where an operator says so, the score suspends it.

use deputy::domain::refusal::{ADMIN_VALUE, REQUEST_METHOD};
use serde_json::{Value, json};

use super::{agents_at_risk as risks, ids_of, replay_by, set_rule};
use crate::support::{Agent, Installation, each_engine, each_engine_with};

/// Somebody new uses a refresh token that was exchanged long ago.
async fn replay(deputy: &Installation, agent: &Agent<'_>) {
    let ada = deputy.person(&format!("ada-{}@example.com", deputy.topic("facts").await.len())).await;
    replay_by(deputy, agent, &ada).await;
}

#[tokio::test]
async fn a_replay_raises_the_score_and_by_default_nothing_more() {
    each_engine(async |mut deputy| {
        deputy.resource().await;
        let agent = deputy.agent().await;
        assert_eq!(risks(&deputy).await, json!([]));
        replay(&deputy, &agent).await;
        let told = risks(&deputy).await;
        let (ended, refused) = (ids_of(&deputy, "grant.ended.v1").await, ids_of(&deputy, "request.refused.v1").await);
        assert_eq!((&told[0]["client_id"], &told[0]["proven_score"]), (&json!(agent.client_id), &json!(50)));
        let named = |signal: &str| {
            let signals = told[0]["signals"].as_array().expect("a list");
            signals.iter().filter(|told| told["signal"] == signal).map(|told| told["event_id"].clone()).collect::<Vec<_>>()
        };
        assert_eq!((named("refresh_replayed"), named("request_refused")), (ended.clone(), refused));
        assert_eq!(told[0]["score"], 52, "the refusal is its echo, and small");
        let signals = told[0]["signals"].as_array().expect("a list");
        let person = signals.iter().find_map(|told| told["person_id"].as_str()).expect("it was for somebody");
        let signalled =
            json!({"agent": agent.client_id, "person": person, "signal": "refresh_replayed", "event": ended[0], "score": 50});
        assert_eq!(deputy.facts_of("risk.signalled.v1").await, [signalled]);
        assert_eq!(told[0]["suspension_score"], 0, "what one account can do alone");
        assert!(deputy.facts_of("risk.agent_suspended.v1").await.is_empty());
        replay(&deputy, &agent).await;

        // A day halves it; a crash, and stages that run again, change nothing.
        let told = risks(&deputy).await;
        deputy.crash().await;
        assert_eq!(risks(&deputy).await, told);
        let proven = told[0]["proven_score"].as_u64().expect("a number");
        deputy.later(86_400);
        assert_eq!(risks(&deputy).await[0]["proven_score"], proven / 2);
        assert_eq!(deputy.facts_of("risk.signalled.v1").await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn nobody_can_have_an_agent_suspended_by_asking_in_its_name() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let agent = deputy.agent().await;
        set_rule(&deputy, json!({"suspend_at": 1})).await;
        for client_id in [agent.client_id.as_str(), "nobody-at-all"] {
            for _ in 0..5 {
                let form = [("grant_type", "refresh_token"), ("client_id", client_id), ("refresh_token", "made up")];
                deputy.post("/token", &form).await;
            }
        }
        let told = risks(&deputy).await;
        assert_eq!(told.as_array().map(Vec::len), Some(1), "names that somebody made up are not kept");
        assert_eq!(
            (&told[0]["client_id"], &told[0]["score"], &told[0]["proven_score"]),
            (&json!(agent.client_id), &json!(10), &json!(0))
        );
        agent.authorize(&deputy.person("ada@example.com").await, "notes:read").await;
    })
    .await;
}

#[tokio::test]
async fn an_agent_is_suspended_at_the_threshold_until_an_operator_lifts_it() {
    each_engine(async |mut deputy| {
        let resource = deputy.resource().await;
        set_rule(&deputy, json!({"suspend_at": 80})).await;
        let (client_id, other_id, tokens) = {
            let metadata = json!({"client_name": "Another agent", "grant_types": ["authorization_code", "refresh_token"]});
            let (agent, other) = (deputy.agent().await, Agent::register(&deputy, metadata).await);
            let tokens = agent.authorize(&deputy.person("grace@example.com").await, "notes:read").await;
            let kept = other.authorize(&deputy.person("linus@example.com").await, "notes:read").await;
            for _ in 0..3 {
                replay(&deputy, &agent).await;
            }
            deputy.settle().await;
            assert!(deputy.is_active(&resource, &tokens.access_token).await, "150 of three people is 50, and below");
            replay(&deputy, &agent).await;
            deputy.settle().await;
            assert!(!deputy.is_active(&resource, &tokens.access_token).await);
            assert!(deputy.is_active(&resource, &kept.access_token).await, "another agent's");
            agent.refresh(tokens.refresh_token()).await.refused(400, "unauthorized_client");
            assert_eq!(deputy.last_reason().await, "client.disabled");
            other.refresh(kept.refresh_token()).await.ok();
            (agent.client_id, other.client_id, tokens)
        };
        let events = ids_of(&deputy, "grant.ended.v1").await;
        // The two that came last weigh the most by now.
        let suspended = json!({"agent": client_id, "score": 100, "threshold": 80, "events": events[..2],
            "signals": ["refresh_replayed", "refresh_replayed"]});
        assert_eq!(deputy.facts_of("risk.agent_suspended.v1").await, std::slice::from_ref(&suspended));

        deputy.crash().await;
        deputy.settle().await;
        assert!(!deputy.is_active(&resource, &tokens.access_token).await);
        Agent::known(&deputy, &client_id).refresh(tokens.refresh_token()).await.refused(400, "unauthorized_client");

        deputy.operate("PATCH", &format!("/clients/{client_id}"), json!({"disabled": false})).await.ok();
        let told = risks(&deputy).await;
        assert!(told.as_array().expect("a list").iter().all(|told| told["client_id"] != json!(client_id)), "{told}");
        Agent::known(&deputy, &client_id).refresh(tokens.refresh_token()).await.ok();
        let agent = Agent::known(&deputy, &client_id);
        replay(&deputy, &agent).await;
        deputy.settle().await;
        assert_eq!(deputy.facts_of("risk.agent_suspended.v1").await, [suspended], "it began anew");
        assert_ne!(client_id, other_id);
    })
    .await;
}

#[tokio::test]
async fn what_is_read_only_after_an_operator_let_the_agent_act_suspends_nobody() {
    each_engine(async |deputy| {
        deputy.resource().await;
        set_rule(&deputy, json!({"suspend_at": 80})).await;
        let agent = deputy.agent().await;
        let risk = async |what: &str| {
            assert_eq!(deputy.operate("POST", &format!("/consumers/risk/{what}"), Value::Null).await.status, 204);
        };
        risk("pause").await;
        for _ in 0..5 {
            replay(&deputy, &agent).await;
        }
        deputy.settle().await;
        deputy.later(1);
        for disabled in [true, false] {
            deputy.operate("PATCH", &format!("/clients/{}", agent.client_id), json!({"disabled": disabled})).await.ok();
        }
        deputy.later(1);
        // What it does since then counts, whatever is read first.
        replay(&deputy, &agent).await;
        risk("resume").await;
        let told = risks(&deputy).await;
        assert_eq!((&told[0]["client_id"], &told[0]["proven_score"]), (&json!(agent.client_id), &json!(50)));
        assert_eq!(deputy.facts_of("risk.signalled.v1").await.len(), 6, "all of it is on record");
        assert!(deputy.facts_of("risk.agent_suspended.v1").await.is_empty());
        agent.authorize(&deputy.person("grace@example.com").await, "notes:read").await;
    })
    .await;
}

#[tokio::test]
async fn the_rule_is_an_operators_and_off_by_default() {
    each_engine(async |deputy| {
        let rule = async || deputy.operate("GET", "/risk/rule", Value::Null).await.ok().json();
        assert_eq!(rule().await, json!({"suspend_at": null, "revoke_at": null, "require_approval_at": null}));
        set_rule(&deputy, json!({"suspend_at": 100, "revoke_at": 70, "require_approval_at": 50})).await;
        let set = json!({"suspend_at": 100, "revoke_at": 70, "require_approval_at": 50});
        assert_eq!(rule().await, set);
        for body in [
            json!({"suspend_at": 0}),
            json!({"suspend_at": 1001}),
            json!({"suspend_at": "low"}),
            json!({"suspend_at": 100, "revoke_at": 0}),
            json!({"require_approval_at": 1001}),
            json!({"forgive_at": 5}),
        ] {
            deputy.operate("PUT", "/risk/rule", body).await.refused(400, ADMIN_VALUE.code.as_str());
        }
        assert_eq!(rule().await, set);
        set_rule(&deputy, json!({})).await;
        assert_eq!(deputy.facts_of("risk.rule_changed.v1").await, [set, json!({})]);
        for path in ["/risk", "/risk/people"] {
            deputy.operate("POST", path, json!({})).await.refused(405, REQUEST_METHOD.code.as_str());
            assert_eq!(deputy.last_reason().await, "request.method");
        }
    })
    .await;
}

#[tokio::test]
async fn what_two_people_do_suspends_an_agent_for_nobody() {
    each_engine(async |deputy| {
        let resource = deputy.resource().await;
        set_rule(&deputy, json!({"suspend_at": 1})).await;
        let agent = deputy.agent().await;
        let tokens = agent.authorize(&deputy.person("grace@example.com").await, "notes:read").await;
        for login in ["ada@example.com", "eve@example.com"] {
            let person = deputy.person(login).await;
            for _ in 0..3 {
                replay_by(&deputy, &agent, &person).await;
            }
        }
        let told = risks(&deputy).await;
        assert_eq!((&told[0]["proven_score"], &told[0]["suspension_score"]), (&json!(300), &json!(0)));
        assert!(deputy.is_active(&resource, &tokens.access_token).await);
        agent.refresh(tokens.refresh_token()).await.ok();

        replay(&deputy, &agent).await;
        deputy.settle().await;
        agent.refresh(tokens.refresh_token()).await.refused(400, "unauthorized_client");
        assert_eq!(deputy.last_reason().await, "client.disabled", "a third person is no accident");
    })
    .await;
}

#[tokio::test]
async fn what_an_agent_does_for_itself_is_its_own() {
    each_engine_with("trusted_proxies = [\"127.0.0.1\"]", async |mut deputy| {
        deputy.resource().await;
        set_rule(&deputy, json!({"suspend_at": 15})).await;
        let Agent { client_id, client_secret, .. } = deputy.service("notes:read").await;
        let secret = client_secret.expect("it has one");
        // At work for nine days, always at the same hour.
        for (days, address) in [(9, "203.0.113.7"), (1, "198.51.100.7")] {
            deputy.everybody_comes_from(address);
            for _ in 0..days {
                deputy.later(86_400);
                Agent::with_secret(&deputy, &client_id, &secret).client_credentials(&[]).await.ok();
            }
        }
        let told = risks(&deputy).await;
        assert_eq!((&told[0]["suspension_score"], &told[0]["signals"][0]["signal"]), (&json!(10), &json!("new_network")));
        deputy.later(9 * 3600);
        let agent = Agent::with_secret(&deputy, &client_id, &secret);
        agent.client_credentials(&[]).await.ok();
        let told = risks(&deputy).await;
        assert_eq!(told[0]["signals"][1]["signal"], "off_hours", "{told}");
        assert!(deputy.facts_of("risk.agent_suspended.v1").await.is_empty(), "the network is worth less by now");
        assert_eq!(told[0]["signals"][1]["person_id"], Value::Null);

        deputy.everybody_comes_from("192.0.2.7");
        let agent = Agent::with_secret(&deputy, &client_id, &secret);
        agent.client_credentials(&[]).await.ok();
        deputy.settle().await;
        agent.client_credentials(&[]).await.refused(400, "unauthorized_client");
        assert_eq!(deputy.last_reason().await, "client.disabled");
        let suspended = &deputy.facts_of("risk.agent_suspended.v1").await[0];
        assert_eq!(suspended["signals"], json!(["new_network", "off_hours", "new_network"]));
    })
    .await;
}
