//! [OAuth 2.1 §3.2, §4](https://datatracker.ietf.org/doc/html/draft-ietf-oauth-v2-1-13#section-3.2)

use crate::support::{RESOURCE, agent::Tokens, each_engine, each_engine_with};

#[tokio::test]
async fn oauth21_3_2_3_the_answer_has_every_member_and_is_not_kept() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        let tokens = agent.authorize(&ada, "notes:read").await;
        let answer = &tokens.answer;
        assert_eq!((answer.header("cache-control"), answer.header("pragma")), (Some("no-store"), Some("no-cache")));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let json = answer.json();
        assert_eq!(
            (&json["token_type"], &json["expires_in"], &json["scope"]),
            (&"Bearer".into(), &600.into(), &"notes:read".into())
        );
        assert!(tokens.refresh_token.is_some() && json.get("id_token").is_none());
        let issued = deputy.facts_of("token.issued.v1").await;
        assert_eq!((issued.len(), &issued[0]["jti"]), (1, &tokens.claims()["jti"]), "promise 1: the event was there first");
    })
    .await;
}

#[tokio::test]
async fn oauth21_4_3_a_refresh_rotates_and_may_narrow() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        let first = agent.authorize(&ada, "notes:read notes:write").await;
        let second = Tokens::of(agent.refresh(first.refresh_token()).await);
        assert_ne!(first.refresh_token, second.refresh_token);
        assert_eq!(second.answer.text("scope"), "notes:read notes:write");
        let form = [("grant_type", "refresh_token"), ("refresh_token", second.refresh_token()), ("scope", "notes:read")];
        let third = Tokens::of(agent.token(&form, &[]).await);
        assert_eq!(third.answer.text("scope"), "notes:read");
        // Narrowing was for that token; the grant still has both.
        let fourth = Tokens::of(agent.refresh(third.refresh_token()).await);
        assert_eq!(fourth.answer.text("scope"), "notes:read notes:write");
    })
    .await;
}

#[tokio::test]
async fn oauth21_4_3_1_a_repeated_refresh_gets_the_same_successor_and_a_late_replay_ends_the_family() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        let first = agent.authorize(&ada, "notes:read").await;
        let second = Tokens::of(agent.refresh(first.refresh_token()).await);
        deputy.later(59);
        let again = Tokens::of(agent.refresh(first.refresh_token()).await);
        assert_eq!(again.refresh_token, second.refresh_token, "the same successor inside the grace window");
        deputy.later(2);
        agent.refresh(first.refresh_token()).await.refused(400, "invalid_grant");
        assert_eq!(deputy.last_reason().await, "refresh.replayed");
        agent.refresh(second.refresh_token()).await.refused(400, "invalid_grant");
        let ended = deputy.facts_of("grant.ended.v1").await;
        assert_eq!((ended.len(), &ended[0]["cause"]), (1, &"refresh_replayed".into()));
    })
    .await;
}

#[tokio::test]
async fn oauth21_4_3_a_refresh_token_dies_of_idleness_and_with_its_grant() {
    each_engine_with("refresh_token_idle_ttl_s = 3600\ngrant_ttl_s = 86400\n", async |deputy| {
        deputy.resource().await;
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        let mut tokens = agent.authorize(&ada, "notes:read").await;
        for _ in 0..4 {
            deputy.later(3500);
            tokens = Tokens::of(agent.refresh(tokens.refresh_token()).await);
        }
        deputy.later(3601);
        agent.refresh(tokens.refresh_token()).await.refused(400, "invalid_grant");
        assert_eq!(deputy.last_reason().await, "refresh.expired");
    })
    .await;
}

#[tokio::test]
async fn oauth21_4_2_a_client_acts_for_itself_within_its_registration() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let service = deputy.service("notes:read").await;
        let answer = service.client_credentials(&[]).await.ok();
        assert_eq!(answer.text("scope"), "notes:read");
        assert!(answer.json().get("refresh_token").is_none());
        let claims = crate::support::agent::claims(&answer.text("access_token"));
        assert_eq!((claims["sub"].as_str(), claims["aud"].as_str()), (Some(service.client_id.as_str()), Some(RESOURCE)));
        service.client_credentials(&[("scope", "notes:write")]).await.refused(400, "invalid_scope");
        assert_eq!(deputy.last_reason().await, "scope.unregistered");
        // One grant carries all of a client's own tokens at a resource.
        let again = crate::support::agent::claims(&service.client_credentials(&[]).await.ok().text("access_token"));
        assert_eq!(again["gid"], claims["gid"]);
        assert_ne!(again["jti"], claims["jti"]);
    })
    .await;
}

#[tokio::test]
async fn when_storage_is_down_the_answer_is_503_and_nothing_is_lost() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        let tokens = agent.authorize(&ada, "notes:read").await;
        let code = agent.code(&ada, "notes:read").await;
        let faults = deputy.world().storage.faults().clone();
        faults.fail_commits(1);
        let refused = agent.refresh(tokens.refresh_token()).await.refused(503, "temporarily_unavailable");
        assert!(refused.header("retry-after").is_some());
        faults.fail_commits(1);
        agent.redeem(&code, &[]).await.refused(503, "temporarily_unavailable");
        Tokens::of(agent.refresh(tokens.refresh_token()).await);
        Tokens::of(agent.redeem(&code, &[]).await);
    })
    .await;
}
