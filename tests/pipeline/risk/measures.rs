//! What becomes of what a person granted, where an operator says so: it rests until they consent again, or it ends.

use deputy::domain::refusal::GRANT_APPROVAL;
use serde_json::{Value, json};

use super::{people_at_risk, replay_by, set_rule};
use crate::support::{Agent, Installation, Person, each_engine, each_engine_with, state::authorize_again};

/// Two people with two agents each, and the tokens of all four.
async fn registered(deputy: &Installation) -> [Agent<'_>; 2] {
    let metadata = json!({"client_name": "Another agent", "grant_types": ["authorization_code", "refresh_token"]});
    [deputy.agent().await, Agent::register(deputy, metadata).await]
}

#[tokio::test]
async fn grants_rest_until_the_person_consents_again() {
    each_engine(async |mut deputy| {
        let resource = deputy.resource().await;
        set_rule(&deputy, json!({"require_approval_at": 50})).await;
        let (client_id, tokens, password) = {
            let [agent, other] = registered(&deputy).await;
            let (ada, grace) = (deputy.person("ada@example.com").await, deputy.person("grace@example.com").await);
            let tokens = agent.authorize(&ada, "notes:read").await;
            let unaffected =
                [(&other, other.authorize(&ada, "notes:read").await), (&agent, agent.authorize(&grace, "notes:read").await)];
            let code = agent.code(&ada, "notes:read").await;
            replay_by(&deputy, &agent, &ada).await;
            agent.redeem(&agent.code(&ada, "notes:read").await, &[]).await.ok();
            let code_before = agent.code(&ada, "notes:read").await;
            deputy.settle().await;

            assert!(!deputy.is_active(&resource, &tokens.access_token).await);
            let refused = agent.refresh(tokens.refresh_token()).await.refused(400, "invalid_grant");
            assert!(refused.body.contains(&*GRANT_APPROVAL.description), "{refused:?}");
            assert_eq!(deputy.last_reason().await, "grant.approval");
            agent.redeem(&code_before, &[]).await.refused(400, "invalid_grant");
            assert_eq!(deputy.last_reason().await, "grant.approval");
            agent.redeem(&code, &[]).await.refused(400, "invalid_grant");
            for (agent, tokens) in unaffected {
                assert!(deputy.is_active(&resource, &tokens.access_token).await);
                agent.refresh(tokens.refresh_token()).await.ok();
            }
            (agent.client_id, tokens, ada.password)
        };
        let taken = deputy.facts_of("risk.measure_taken.v1").await;
        let ended = super::ids_of(&deputy, "grant.ended.v1").await;
        let expected = json!({"measure": "require_approval", "person": tokens.claims()["sub"], "agent": client_id, "score": 50,
            "threshold": 50, "events": ended, "signals": ["refresh_replayed"]});
        assert_eq!(taken, [expected]);
        deputy.crash().await;
        deputy.settle().await;

        let (agent, ada) = (Agent::known(&deputy, &client_id), Person::new(&deputy, "ada@example.com", &password));
        agent.refresh(tokens.refresh_token()).await.refused(400, "invalid_grant");
        ada.sign_in().await;
        let silent = ada.open(&agent.authorization_url("notes:read", &[("prompt", "none")])).await;
        assert_eq!(silent.parameter("error").as_deref(), Some("consent_required"));
        let page = ada.open(&agent.authorization_url("notes:read", &[])).await.page();
        assert!(page.body.contains("was used a second time"), "they are told why: {}", page.body);
        agent.refresh(tokens.refresh_token()).await.refused(400, "invalid_grant");
        deputy.later(2);
        ada.allow_on(&page).await.away();
        let refreshed = agent.refresh(tokens.refresh_token()).await.ok();
        assert!(deputy.is_active(&resource, &refreshed.text("access_token")).await);
        assert!(!deputy.is_active(&resource, &tokens.access_token).await, "what was dead stays dead");
        assert_eq!(people_at_risk(&deputy).await, json!([]), "they have looked at it");
        assert!(ada.open(&agent.authorization_url("notes:read", &[])).await.parameter("code").is_some(), "silent again");
    })
    .await;
}

#[tokio::test]
async fn grants_end_with_their_consent() {
    each_engine(async |mut deputy| {
        let resource = deputy.resource().await;
        set_rule(&deputy, json!({"revoke_at": 50, "require_approval_at": 20})).await;
        let [agent, other] = registered(&deputy).await;
        let (ada, grace) = (deputy.person("ada@example.com").await, deputy.person("grace@example.com").await);
        let tokens = agent.authorize(&ada, "notes:read").await;
        let unaffected =
            [(&other, other.authorize(&ada, "notes:read").await), (&agent, agent.authorize(&grace, "notes:read").await)];
        replay_by(&deputy, &agent, &ada).await;
        deputy.settle().await;

        assert!(!deputy.is_active(&resource, &tokens.access_token).await);
        agent.refresh(tokens.refresh_token()).await.refused(400, "invalid_grant");
        assert_eq!(deputy.last_reason().await, "refresh.ended");
        for (agent, tokens) in &unaffected {
            assert!(deputy.is_active(&resource, &tokens.access_token).await);
            agent.refresh(tokens.refresh_token()).await.ok();
        }
        let (taken, ended) = (deputy.facts_of("risk.measure_taken.v1").await, deputy.facts_of("grant.ended.v1").await);
        assert_eq!((taken.len(), &taken[0]["measure"]), (1, &json!("revoke_grants")));
        let (person, client) = (&tokens.claims()["sub"], json!(agent.client_id));
        let causes: Vec<_> = ended.iter().map(|fact| (&fact["person"], &fact["client"], &fact["cause"])).collect();
        assert_eq!(causes, [(person, &client, &json!("refresh_replayed")), (person, &client, &json!("risk"))]);
        let page = ada.open(&agent.authorization_url("notes:read", &[])).await.page();
        let away = ada.allow_on(&page).await;
        agent.redeem(&away.parameter("code").expect("a code"), &[]).await.ok();

        let told = people_at_risk(&deputy).await;
        deputy.crash().await;
        assert_eq!(people_at_risk(&deputy).await, told);
        assert_eq!(deputy.facts_of("risk.measure_taken.v1").await.len(), 1, "once");
    })
    .await;
}

#[tokio::test]
async fn however_many_grants_there_are_all_end() {
    each_engine(async |deputy| {
        deputy.resource().await;
        set_rule(&deputy, json!({"revoke_at": 50})).await;
        let [agent, _] = registered(&deputy).await;
        let ada = deputy.person("ada@example.com").await;
        let tokens = agent.authorize(&ada, "notes:read").await;
        authorize_again(&deputy.world().storage, tokens.claims()["gid"].as_str().expect("a grant"), 500).await;
        replay_by(&deputy, &agent, &ada).await;
        deputy.settle().await;
        let ended = deputy.facts_of("grant.ended.v1").await;
        assert_eq!(ended.iter().filter(|fact| fact["cause"] == "risk").count(), 501);
    })
    .await;
}

#[tokio::test]
async fn what_happens_with_an_account_costs_all_that_it_granted() {
    each_engine_with("trusted_proxies = [\"127.0.0.1\"]", async |mut deputy| {
        deputy.everybody_comes_from("203.0.113.7");
        deputy.resource().await;
        set_rule(&deputy, json!({"require_approval_at": 10})).await;
        let (password, tokens) = {
            let (ada, mut tokens) = (deputy.person("ada@example.com").await, Vec::new());
            for agent in registered(&deputy).await {
                let granted = agent.authorize(&ada, "notes:read").await;
                tokens.push((agent.client_id, granted.refresh_token().to_owned()));
            }
            (ada.password, tokens)
        };
        deputy.later(86_400);
        deputy.everybody_comes_from("198.51.100.7");
        let session = {
            let ada = Person::new(&deputy, "ada@example.com", &password);
            ada.sign_in().await;
            ada.cookie("deputy_session").expect("they are signed in")
        };
        deputy.settle().await;
        deputy.everybody_comes_from("203.0.113.7");
        for (client_id, refresh_token) in &tokens {
            Agent::known(&deputy, client_id).refresh(refresh_token).await.refused(400, "invalid_grant");
            assert_eq!(deputy.last_reason().await, "grant.approval");
        }
        let taken = &deputy.facts_of("risk.measure_taken.v1").await[0];
        assert_eq!((&taken["agent"], &taken["signals"]), (&Value::Null, &json!(["new_network"])));

        // They consent again from where they have never been: that is a signal, and not against the consent that it comes with.
        deputy.later(2);
        deputy.everybody_comes_from("192.0.2.7");
        let (client_id, refresh_token) = &tokens[0];
        let (agent, ada) = (Agent::known(&deputy, client_id), Person::new(&deputy, "ada@example.com", &password));
        ada.set_cookie("deputy_session", &session);
        let page = ada.open(&agent.authorization_url("notes:read", &[])).await.page();
        ada.allow_on(&page).await.away();
        deputy.settle().await;
        assert_eq!(deputy.facts_of("risk.person_signalled.v1").await.len(), 2);
        agent.refresh(refresh_token).await.ok();
    })
    .await;
}
