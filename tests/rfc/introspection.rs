//! [RFC 7662](https://www.rfc-editor.org/rfc/rfc7662)

use serde_json::json;

use crate::support::{Agent, CALLBACK, RESOURCE, agent::Tokens, each_engine};

#[tokio::test]
async fn rfc7662_2_2_an_active_token_tells_its_claims() {
    each_engine(async |deputy| {
        let resource = deputy.resource().await;
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        let tokens = agent.authorize(&ada, "notes:read").await;
        let told = deputy.introspect(&resource, &tokens.access_token).await.ok().json();
        let claims = tokens.claims();
        assert_eq!(told["active"], true);
        for member in ["iss", "sub", "aud", "exp", "iat", "jti", "client_id", "scope", "gid"] {
            assert_eq!(told[member], claims[member], "{member}: the story is the token's");
        }
        assert_eq!((&told["token_type"], &told["aud"]), (&"Bearer".into(), &RESOURCE.into()));
    })
    .await;
}

#[tokio::test]
async fn rfc7662_2_2_whatever_is_not_alive_is_only_inactive() {
    each_engine(async |deputy| {
        let resource = deputy.resource().await;
        let other = deputy.resource_at("https://other.example/mcp").await;
        let service = deputy.service("notes:read").await;
        let token = service.client_credentials(&[]).await.ok().text("access_token");
        let inactive = serde_json::json!({"active": false});
        assert_eq!(deputy.introspect(&other, &token).await.ok().json(), inactive, "another resource's token");
        for garbage in ["x", "a.b.c", &token[..token.len() - 2], &format!("{token}A")] {
            assert_eq!(deputy.introspect(&resource, garbage).await.ok().json(), inactive, "{garbage}");
        }
        assert_eq!(deputy.introspect(&resource, &token).await.ok().json()["active"], true);
        deputy.later(600);
        assert_eq!(deputy.introspect(&resource, &token).await.ok().json(), inactive, "expired");
    })
    .await;
}

#[tokio::test]
async fn rfc7662_2_1_the_caller_must_prove_who_it_is() {
    each_engine(async |deputy| {
        let mut resource = deputy.resource().await;
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        let token = agent.authorize(&ada, "notes:read").await.access_token;
        deputy.post("/introspect", &[("token", &token)]).await.refused(401, "invalid_client");
        assert_eq!(deputy.last_reason().await, "client.authentication_missing");
        agent.post("/introspect", &[("token", &token)], &[]).await.refused(401, "invalid_client");
        assert_eq!(deputy.last_reason().await, "client.authentication_missing", "a public client proves nothing");
        resource["secret"] = "wrong".into();
        deputy.introspect(&resource, &token).await.refused(401, "invalid_client");
        assert_eq!(deputy.last_reason().await, "client.secret_wrong");
    })
    .await;
}

#[tokio::test]
async fn rfc7662_2_1_a_client_may_ask_about_its_own_refresh_token() {
    each_engine(async |deputy| {
        let resource = deputy.resource().await;
        let metadata = json!({"client_name": "Confidential", "redirect_uris": [CALLBACK],
            "grant_types": ["authorization_code", "refresh_token"], "token_endpoint_auth_method": "client_secret_basic"});
        let (ada, agent) = (deputy.person("ada@example.com").await, Agent::made_by_operator(&deputy, metadata).await);
        let first = agent.authorize(&ada, "notes:read").await;
        let ask = async |token: &str| agent.post("/introspect", &[("token", token)], &[]).await.ok().json();
        let told = ask(first.refresh_token()).await;
        let claims = first.claims();
        for member in ["iss", "sub", "client_id", "scope", "gid", "iat"] {
            assert_eq!(told[member], claims[member], "{member}");
        }
        assert!(told["active"] == true && told["exp"].as_i64() > claims["exp"].as_i64(), "{told}");
        assert!(told.get("token_type").is_none() && told.get("aud").is_none(), "{told}");

        let inactive = json!({"active": false});
        let next = Tokens::of(agent.refresh(first.refresh_token()).await);
        assert_eq!(ask(first.refresh_token()).await["active"], true, "it may be sent again within the grace window");
        deputy.later(61);
        assert_eq!(ask(first.refresh_token()).await, inactive);
        assert_eq!(ask(next.refresh_token()).await["active"], true, "asking redeems nothing, and is no replay");
        let service = deputy.service("notes:read").await;
        assert_eq!(service.post("/introspect", &[("token", next.refresh_token())], &[]).await.ok().json(), inactive);
        assert!(!deputy.is_active(&resource, next.refresh_token()).await, "it is for its client alone");
        agent.post("/revoke", &[("token", next.refresh_token())], &[]).await.ok();
        assert_eq!(ask(next.refresh_token()).await, inactive);
    })
    .await;
}

#[tokio::test]
async fn a_confidential_client_may_ask_about_its_own_tokens_only() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (one, two) = (deputy.service("notes:read").await, deputy.service("notes:read").await);
        let token = one.client_credentials(&[]).await.ok().text("access_token");
        assert_eq!(one.post("/introspect", &[("token", &token)], &[]).await.ok().json()["active"], true);
        assert_eq!(two.post("/introspect", &[("token", &token)], &[]).await.ok().json(), serde_json::json!({"active": false}));
    })
    .await;
}
