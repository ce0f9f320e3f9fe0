//! [RFC 7009](https://www.rfc-editor.org/rfc/rfc7009)

use crate::support::{Agent, Answer, agent::Tokens, each_engine};

async fn revoke(agent: &Agent<'_>, token: &str) -> Answer {
    agent.post("/revoke", &[("token", token)], &[]).await
}

#[tokio::test]
async fn rfc7009_2_1_revoking_a_refresh_token_ends_all_tokens_of_its_grant() {
    each_engine(async |mut deputy| {
        let resource = deputy.resource().await;
        let (first, second, client_id) = {
            let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
            let first = agent.authorize(&ada, "notes:read").await;
            let second = Tokens::of(agent.refresh(first.refresh_token()).await);
            assert!(deputy.is_active(&resource, &first.access_token).await);
            revoke(&agent, second.refresh_token()).await.ok();
            for token in [&first.access_token, &second.access_token] {
                assert!(!deputy.is_active(&resource, token).await, "at once");
            }
            agent.refresh(second.refresh_token()).await.refused(400, "invalid_grant");
            assert_eq!(deputy.last_reason().await, "refresh.ended");
            (first, second, agent.client_id.clone())
        };
        // CVE-2026-9802: it is still revoked after a restart.
        deputy.restart().await;
        assert!(!deputy.is_active(&resource, &first.access_token).await);
        let form = [("grant_type", "refresh_token"), ("refresh_token", second.refresh_token()), ("client_id", client_id.as_str())];
        deputy.post("/token", &form).await.refused(400, "invalid_grant");
        assert_eq!(deputy.facts_of("grant.ended.v1").await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn rfc7009_2_1_revoking_an_access_token_ends_that_token() {
    each_engine(async |deputy| {
        let resource = deputy.resource().await;
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        let first = agent.authorize(&ada, "notes:read").await;
        revoke(&agent, &first.access_token).await.ok();
        assert!(!deputy.is_active(&resource, &first.access_token).await);
        let second = Tokens::of(agent.refresh(first.refresh_token()).await);
        assert!(deputy.is_active(&resource, &second.access_token).await);
        revoke(&agent, &first.access_token).await.ok();
        deputy.later(86_400);
        revoke(&agent, &second.access_token).await.ok();
        assert_eq!(deputy.facts_of("token.revoked.v1").await.len(), 1, "what is dead already is no news");
    })
    .await;
}

#[tokio::test]
async fn rfc7009_2_2_what_is_unknown_or_somebody_elses_is_answered_alike_and_changes_nothing() {
    each_engine(async |deputy| {
        let resource = deputy.resource().await;
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        let thief = Agent::register(&deputy, serde_json::json!({"client_name": "Thief"})).await;
        let tokens = agent.authorize(&ada, "notes:read").await;
        for token in ["x", tokens.refresh_token(), &tokens.access_token] {
            revoke(&thief, token).await.ok();
        }
        assert!(deputy.is_active(&resource, &tokens.access_token).await);
        Tokens::of(agent.refresh(tokens.refresh_token()).await);
    })
    .await;
}

#[tokio::test]
async fn rfc7009_2_2_1_refusals() {
    each_engine(async |deputy| {
        let agent = deputy.agent().await;
        agent.post("/revoke", &[], &[]).await.refused(400, "invalid_request");
        assert_eq!(deputy.last_reason().await, "request.parameter_missing");
        agent.post("/revoke", &[("token", "x"), ("token_type_hint", "id_token")], &[]).await.refused(400, "unsupported_token_type");
        assert_eq!(deputy.last_reason().await, "revocation.token_type");
        deputy.post("/revoke", &[("token", "x"), ("client_id", "cli_nobody")]).await.refused(401, "invalid_client");
        assert_eq!(deputy.last_reason().await, "client.unknown");
    })
    .await;
}
