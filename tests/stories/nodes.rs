//! Two processes share a PostgreSQL database: what one has answered holds at the other at once.

use serde_json::{Value, json};

use crate::support::{Agent, Installation, Person, RESOURCE, Workload, agent::Tokens, workload::ASSERTION_TYPE};

/// The same client as it meets another node.
fn at<'n>(node: &'n Installation, agent: &Agent<'_>) -> Agent<'n> {
    match &agent.client_secret {
        Some(secret) => Agent::with_secret(node, &agent.client_id, secret),
        None => Agent::known(node, &agent.client_id),
    }
}

/// An installation, another node of it, and the resource that both know.
async fn two_nodes() -> (Installation, Installation, Value) {
    let one = Installation::start_on_postgres("").await;
    let resource = one.resource().await;
    let other = one.beside().await;
    (one, other, resource)
}

#[tokio::test]
async fn a_code_is_redeemed_once_whatever_node_is_asked() {
    let (one, other, resource) = two_nodes().await;
    let (ada, agent) = (one.person("ada@example.com").await, one.agent().await);
    let code = agent.code(&ada, "notes:read").await;
    let tokens = Tokens::of(agent.redeem(&code, &[]).await);
    assert!(other.is_active(&resource, &tokens.access_token).await, "a token of one node is good at the other");
    at(&other, &agent).redeem(&code, &[]).await.refused(400, "invalid_grant");
    assert_eq!(other.last_reason().await, "code.replayed");
    for node in [&one, &other] {
        assert!(!node.is_active(&resource, &tokens.access_token).await, "a replay ends what the code began, everywhere");
        at(node, &agent).refresh(tokens.refresh_token()).await.refused(400, "invalid_grant");
    }
}

#[tokio::test]
async fn a_family_of_refresh_tokens_is_one_at_all_nodes() {
    let (one, other, _) = two_nodes().await;
    let (ada, agent) = (one.person("ada@example.com").await, one.agent().await);
    let agents = [&agent, &at(&other, &agent)];
    let first = agent.authorize(&ada, "notes:read").await;
    let [here, there] = agents.map(|agent| agent.refresh(first.refresh_token()));
    let (here, there) = tokio::join!(here, there);
    let successor = here.ok().text("refresh_token");
    assert_eq!(successor, there.ok().text("refresh_token"), "side by side they get the same successor");
    let next = agents[1].refresh(&successor).await.ok().text("refresh_token");
    one.later(3600);
    agent.refresh(&successor).await.refused(400, "invalid_grant");
    assert_eq!(one.last_reason().await, "refresh.replayed");
    agents[1].refresh(&next).await.refused(400, "invalid_grant");
}

/// Whatever ends a grant or switches somebody off at one node, the other refuses what is below it as soon as the first has answered.
#[tokio::test]
async fn what_has_ended_at_one_node_has_ended_at_the_other() {
    let (one, other, resource) = two_nodes().await;
    for how in ["revoked", "ended by an operator", "its person is locked", "its client is disabled"] {
        let ada = one.person(&how.replace(' ', "-")).await;
        let metadata = json!({"client_name": how, "grant_types": ["authorization_code", "refresh_token"]});
        let agent = Agent::register(&one, metadata).await;
        let tokens = agent.authorize(&ada, "notes:read openid").await;
        let userinfo = async || {
            let request = other.http.get(format!("{}/userinfo", other.issuer)).bearer_auth(&tokens.access_token);
            request.send().await.expect("it answers").status().as_u16()
        };
        // The other node has verified the token and remembers what it says.
        assert!(other.is_active(&resource, &tokens.access_token).await && userinfo().await == 200, "{how}");
        let grant = tokens.claims()["gid"].as_str().expect("text").to_owned();
        match how {
            "revoked" => agent.post("/revoke", &[("token", tokens.refresh_token())], &[]).await,
            "ended by an operator" => one.operate("DELETE", &format!("/grants/{grant}"), Value::Null).await,
            "its person is locked" => {
                let person = tokens.claims()["sub"].as_str().expect("text").to_owned();
                one.operate("PATCH", &format!("/people/{person}"), json!({"locked": true})).await
            }
            _ => one.operate("PATCH", &format!("/clients/{}", agent.client_id), json!({"disabled": true})).await,
        }
        .ok();
        assert!(!other.is_active(&resource, &tokens.access_token).await, "{how}");
        assert_eq!(userinfo().await, 401, "{how}");
        let refused = at(&other, &agent).refresh(tokens.refresh_token()).await;
        assert_eq!(refused.status, 400, "{how}: {refused:?}");
    }
}

#[tokio::test]
async fn an_assertion_is_good_at_one_node_only() {
    let (one, other, _) = two_nodes().await;
    let workload = Workload::made_by_operator(&one, "notes:read").await;
    let assertion = workload.signer.jwt(&workload.claims());
    workload.present(&assertion).await.ok();
    let form = [
        ("grant_type", "client_credentials"),
        ("resource", RESOURCE),
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", &assertion),
    ];
    other.post("/token", &form).await.refused(401, "invalid_client");
    assert_eq!(other.last_reason().await, "client_assertion.replayed");
}

/// A rotation at one node, and the other has not even looked yet.
#[tokio::test]
async fn a_rotation_at_one_node_refuses_no_token_at_the_other() {
    let (one, other, resource) = two_nodes().await;
    let service = one.service("notes:read").await;
    for _ in 0..2 {
        one.later(421);
        one.operate("POST", "/keys/rotate", Value::Null).await.ok();
        for signer in [&one, &other] {
            let token = at(signer, &service).client_credentials(&[]).await.ok().text("access_token");
            for verifier in [&one, &other] {
                assert!(verifier.is_active(&resource, &token).await);
            }
        }
        // Too soon for both, though the other has not heard of it.
        for node in [&one, &other] {
            node.operate("POST", "/keys/rotate", Value::Null).await.refused(409, "conflict");
        }
        // Upkeep runs about twice a minute.
        other.settle().await;
    }
}

#[tokio::test]
async fn failures_to_sign_in_are_counted_over_all_nodes() {
    let (one, other, _) = two_nodes().await;
    one.person("ada").await;
    for attempt in 0..8 {
        let node = if attempt % 2 == 0 { &one } else { &other };
        let browser = Person::new(node, "ada", "a wrong password");
        let form = browser.open("/sign-in").await.page();
        let page = browser.sign_in_on(&form).await.page();
        let expected = if attempt < 5 { (403, "sign_in.wrong") } else { (429, "sign_in.slowed") };
        page.refused_on_page(expected.0, expected.1);
    }
}
