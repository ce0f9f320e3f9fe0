//! [OAuth 2.1 §3.2, §4](https://datatracker.ietf.org/doc/html/draft-ietf-oauth-v2-1-13#section-3.2)

use serde_json::json;

use crate::support::{Agent, CALLBACK, RESOURCE, agent::Tokens, each_engine, each_engine_with, person::field};

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
async fn oauth21_4_1_3_a_code_yields_no_more_than_is_allowed_when_it_is_redeemed() {
    each_engine(async |deputy| {
        let resource = deputy.resource().await;
        let ada = deputy.person("ada@example.com").await;
        let new = json!({"client_name": "Notes app", "redirect_uris": [CALLBACK], "grant_types": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_method": "none"});
        let agent = Agent::made_by_operator(&deputy, new).await;
        let (both, client) = ("notes:read notes:write", format!("/clients/{}", agent.client_id));
        let redeemed = async |code: &str| {
            let tokens = Tokens::of(agent.redeem(code, &[]).await);
            assert_eq!(tokens.answer.text("scope"), tokens.claims()["scope"]);
            // What the grant begins with, and what is on record, is no more either.
            let (started, issued) = (deputy.facts_of("grant.started.v1").await, deputy.facts_of("token.issued.v1").await);
            let told = [&started.last().expect("it began")["scope"], &issued.last().expect("it was issued")["scope"]];
            assert_eq!(told, [&tokens.claims()["scope"]; 2]);
            Tokens::of(agent.refresh(tokens.refresh_token()).await).answer.text("scope")
        };
        let code = agent.code(&ada, both).await;
        assert_eq!(redeemed(&code).await, both);

        // The person narrows what they allowed, in another tab.
        let code = agent.code(&ada, both).await;
        let page = ada.open(&agent.authorization_url(both, &[("prompt", "consent")])).await.page();
        let form = [("seal", field(&page, "seal")), ("scope", "notes:read".to_owned()), ("decision", "allow".to_owned())];
        ada.submit("/consent", &form.each_ref().map(|(name, value)| (*name, value.as_str()))).await.away();
        assert_eq!(redeemed(&code).await, "notes:read");

        // An operator narrows the client's registration, and takes a scope from the resource.
        let code = agent.code(&ada, "notes:read").await;
        deputy.operate("PATCH", &client, json!({"scope": "notes:write"})).await.ok();
        agent.redeem(&code, &[]).await.refused(400, "invalid_grant");
        assert_eq!(deputy.last_reason().await, "grant.consent");
        deputy.operate("PATCH", &client, json!({"scope": null})).await.ok();
        ada.authorize(&agent.authorization_url(both, &[("prompt", "consent")])).await;
        let code = agent.code(&ada, both).await;
        let path = format!("/resources/{}", resource["resource_id"].as_str().expect("text"));
        let left = json!([{"name": "notes:write", "description": "Write and change your notes"}]);
        deputy.operate("PATCH", &path, json!({"scopes": left})).await.ok();
        assert_eq!(redeemed(&code).await, "notes:write");

        // Nor is there a token where the client may not go any more.
        let code = agent.code(&ada, "notes:write").await;
        deputy.resource_at("https://files.example/mcp").await;
        deputy.operate("PATCH", &client, json!({"resources": ["https://files.example/mcp"]})).await.ok();
        agent.redeem(&code, &[]).await.refused(400, "invalid_grant");
        assert_eq!(deputy.last_reason().await, "grant.resource");
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
async fn oauth21_4_3_1_a_slow_refresh_is_no_replay_though_two_rotations_came_before_it() {
    each_engine(async |deputy| {
        let resource = deputy.resource().await;
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        let first = agent.authorize(&ada, "notes:read").await;
        let second = Tokens::of(agent.refresh(first.refresh_token()).await);
        deputy.later(50);
        let third = Tokens::of(agent.refresh(second.refresh_token()).await);
        deputy.later(9);
        let late = Tokens::of(agent.refresh(first.refresh_token()).await);
        assert_eq!(late.refresh_token, third.refresh_token, "the one live token");
        assert!(deputy.is_active(&resource, &late.access_token).await);
        // The window of the first has closed when that of the second is open.
        deputy.later(2);
        assert_eq!(Tokens::of(agent.refresh(second.refresh_token()).await).refresh_token, third.refresh_token);
        agent.refresh(first.refresh_token()).await.refused(400, "invalid_grant");
        assert_eq!(deputy.last_reason().await, "refresh.replayed");
        agent.refresh(third.refresh_token()).await.refused(400, "invalid_grant");
        assert_eq!(deputy.facts_of("grant.ended.v1").await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn oauth21_4_3_1_three_rotations_back_is_a_replay() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        let first = agent.authorize(&ada, "notes:read").await;
        let mut last = first.clone();
        for _ in 0..3 {
            last = Tokens::of(agent.refresh(last.refresh_token()).await);
        }
        agent.refresh(first.refresh_token()).await.refused(400, "invalid_grant");
        assert_eq!(deputy.last_reason().await, "refresh.replayed");
        agent.refresh(last.refresh_token()).await.refused(400, "invalid_grant");
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
