//! What is remarked of agents: that a token is used, and with which key, and as which instance, one shows itself. No answer waits for it.

use serde_json::{Value, json};

use super::{
    space::Space,
    who::{actor, evidence},
};
use crate::support::{Answer, Installation, RESOURCE, each_engine, workload::Workload};

async fn userinfo(deputy: &Installation, token: &str) {
    Answer::of(deputy.http.get(format!("{}/userinfo", deputy.issuer)).bearer_auth(token)).await.ok();
}

/// When the actor's only finding of this sort was made.
async fn seen_at(deputy: &Installation, id: &str, evidence: &str) -> Value {
    let history = actor(deputy, id).await["history"].clone();
    let found: Vec<Value> =
        history.as_array().expect("a list").iter().filter(|finding| finding["evidence"] == evidence).cloned().collect();
    assert_eq!(found.len(), 1, "{history}");
    found[0]["at"].clone()
}

#[tokio::test]
async fn the_use_of_a_token_is_seen_once_at_each_place() {
    each_engine(async |mut deputy| {
        let (resource, token) = {
            let resource = deputy.resource().await;
            let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
            let tokens = agent.authorize(&ada, "openid notes:read").await;
            assert!(deputy.facts_of("token.used.v1").await.is_empty());
            for _ in 0..3 {
                assert!(deputy.is_active(&resource, &tokens.access_token).await);
                userinfo(&deputy, &tokens.access_token).await;
            }
            assert!(!deputy.topic("facts").await.iter().any(|fact| fact["type"] == "token.used.v1"), "no answer waits for it");
            let claims = tokens.claims();
            let (client, person) = (agent.client_id.as_str(), claims["sub"].as_str().expect("text"));
            let mut used = json!({"jti": claims["jti"], "grant": claims["gid"], "client": client, "person": person});
            let at_userinfo = used.clone();
            used["resource"] = json!(RESOURCE);
            assert_eq!(deputy.facts_of("token.used.v1").await, [used, at_userinfo]);

            // It is evidence of both, the last time that it was seen, and nobody becomes another by it.
            let (of_agent, of_person) = (format!("client_id:{client}"), format!("user_id:{person}"));
            assert!(evidence(&deputy, &of_agent).await.ends_with(&["got_token".to_owned(), "used_token".to_owned()]));
            let before = seen_at(&deputy, &of_person, "used_for").await;
            assert_eq!(actor(&deputy, &of_agent).await["kind"], "unknown_agent");
            deputy.later(60);
            let next = agent.authorize(&ada, "notes:read").await;
            assert!(deputy.is_active(&resource, &next.access_token).await);
            let after = seen_at(&deputy, &of_person, "used_for").await;
            assert!(after.as_str() > before.as_str(), "{before} {after}");
            assert_eq!(seen_at(&deputy, &of_agent, "used_token").await, after);

            // And it is in the history of both, for that is who it is about.
            let space = Space::of(&deputy).await;
            for (collection, who) in [("agents", &of_agent), ("users", &of_person)] {
                let uses = space.events(collection, who).await.iter().filter(|event| *event == "token.used.v1").count();
                assert_eq!(uses, 3, "{collection}");
            }
            assert_eq!(actor(&deputy, &of_person).await["kind"], "person");
            (resource, next.access_token)
        };
        deputy.crash().await;
        assert!(deputy.is_active(&resource, &token).await);
        assert_eq!(deputy.facts_of("token.used.v1").await.len(), 4, "another process has not seen it");
    })
    .await;
}

#[tokio::test]
async fn what_is_no_use_is_not_remarked() {
    each_engine(async |deputy| {
        let (resource, other) = (deputy.resource().await, deputy.resource_at("https://other.example/mcp").await);
        let service = deputy.service("notes:read").await;
        let token = service.client_credentials(&[]).await.ok().text("access_token");
        service.post("/introspect", &[("token", &token)], &[]).await.ok();
        assert!(!deputy.is_active(&other, &token).await && !deputy.is_active(&resource, "x").await);
        service.post("/revoke", &[("token", &token)], &[]).await.ok();
        assert!(!deputy.is_active(&resource, &token).await);
        assert!(deputy.facts_of("token.used.v1").await.is_empty(), "its own client asks, or another resource, or it is dead");
        let token = service.client_credentials(&[]).await.ok().text("access_token");
        assert!(deputy.is_active(&resource, &token).await);
        let used = deputy.facts_of("token.used.v1").await;
        assert_eq!((used.len(), used[0].get("person")), (1, None), "it acts for itself");
    })
    .await;
}

#[tokio::test]
async fn an_agent_is_known_by_the_keys_that_it_proves_itself_with() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let space = Space::of(&deputy).await;
        let workload = Workload::made_by_operator(&deputy, "notes:read").await;
        for _ in 0..2 {
            workload.prove(&workload.claims()).await.ok();
        }
        let jkt = workload.signer.thumbprint();
        let (client, key) = (format!("client_id:{}", workload.client_id), format!("jkt:{jkt}"));
        assert_eq!(deputy.facts_of("client.key_used.v1").await, [json!({"client": workload.client_id, "jkt": jkt})]);
        assert_eq!(space.ids("agents", &key).await, [client.clone(), key.clone()]);

        // Two that share a key stay two: the first to show it has it.
        let jwks = workload.signer.jwks();
        let second = Workload::registered(&deputy, "notes:read", jwks.clone(), workload.signer).await;
        second.prove(&second.claims()).await.ok();
        space.settle().await;
        let of_second = format!("client_id:{}", second.client_id);
        assert_eq!(space.ids("agents", &of_second).await, [of_second]);
        assert_eq!(space.ids("agents", &key).await, [client, key]);

        // What is no name is the operator's to say.
        deputy.operate("PUT", "/identity-rules", json!({"blocked_patterns": ["^.{43}$"]})).await.ok();
        let third = Workload::made_by_operator(&deputy, "notes:read").await;
        third.prove(&third.claims()).await.ok();
        space.settle().await;
        let of_third = format!("client_id:{}", third.client_id);
        assert_eq!(space.ids("agents", &of_third).await, [of_third]);
    })
    .await;
}

#[tokio::test]
async fn an_agent_that_sends_events_says_which_instance_it_is() {
    each_engine(async |deputy| {
        let space = Space::of(&deputy).await;
        let service = deputy.service("tracking_api:write").await;
        let source = deputy.source(json!({"client_id": service.client_id, "requires_token": true})).await;
        let form = [("grant_type", "client_credentials"), ("scope", "tracking_api:write")];
        let token = service.token(&form, &[]).await.ok().text("access_token");
        let of_service = format!("client_id:{}", service.client_id);
        let message = |write_key: &Value, instance: &str| {
            let ids = json!([{"id": instance, "type": "agent_id", "collection": "agents"}]);
            json!({"writeKey": write_key, "userId": "ada", "event": "Booked", "context": {"externalIds": ids}}).to_string()
        };
        let body = message(&source["write_key"], "laptop");
        Answer::of(deputy.http.post(format!("{}/v1/track", deputy.issuer)).bearer_auth(&token).body(body)).await.ok();
        // A write key stands in pages: who has no more than that names no agent.
        let body = message(&json!(space.write_key), "stranger");
        Answer::of(deputy.http.post(format!("{}/v1/track", deputy.issuer)).body(body)).await.ok();
        space.settle().await;

        assert_eq!(space.ids("agents", "agent_id:laptop").await, ["agent_id:laptop", of_service.as_str()]);
        assert_eq!(space.ask("agents", "agent_id:stranger", "traits").await.status, 404);
        let links = space.ask("agents", "agent_id:laptop", "links").await.ok().json();
        assert_eq!(links["data"][0]["external_ids"][0]["id"], "ada", "{links}");
        assert!(space.events("agents", "agent_id:laptop").await.contains(&"Booked".to_owned()));
        assert_eq!(space.events("users", "user_id:ada").await, ["Booked", "Booked"]);
    })
    .await;
}
