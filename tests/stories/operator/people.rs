//! People in an operator's hands.

use deputy::domain::refusal::{ADMIN_NOT_FOUND, ADMIN_VALUE, GRANT_PERSON, LOGIN_INVALID, LOGIN_TAKEN, PASSWORD_WEAK};
use serde_json::{Value, json};

use super::{last_fact, refused};
use crate::support::{Installation, agent::Tokens, each_engine};

/// The `person_id` of whoever has this login.
async fn id_of(deputy: &Installation, login: &str) -> String {
    let list = deputy.operate("GET", "/people", Value::Null).await.ok().json();
    let found = list["items"].as_array().expect("items").iter().find(|person| person["login"] == login).cloned();
    found.expect("there is such a person")["person_id"].as_str().expect("text").to_owned()
}

#[tokio::test]
async fn an_account_is_made_and_its_password_told_to_nobody() {
    each_engine(async |deputy| {
        let new = json!({"login": "Ada@Example.com", "display_name": "Ada", "password": "correct horse battery"});
        let made = deputy.operate("POST", "/people", new.clone()).await;
        assert_eq!(made.status, 201);
        assert_eq!((made.text("login"), made.text("display_name")), ("ada@example.com".to_owned(), "Ada".to_owned()));
        let list = deputy.operate("GET", "/people?limit=1", Value::Null).await.ok();
        assert_eq!(list.json()["items"][0], made.json());
        assert!(!made.body.contains("battery") && !list.body.contains("argon"));
        let (actor, data) = last_fact(&deputy, "person.created.v1").await;
        assert_eq!(data, json!({"person": made.json()["person_id"]}), "a fact carries ids");
        assert!(actor["operator"].is_string());
        refused(deputy.operate("POST", "/people", new).await, 409, &LOGIN_TAKEN, "taken");
        refused(deputy.operate("POST", "/people", json!({"login": "a b"})).await, 400, &LOGIN_INVALID, "login");
        let weak = json!({"login": "grace", "password": "password1234"});
        refused(deputy.operate("POST", "/people", weak).await, 400, &PASSWORD_WEAK, "12 characters");
        let wrong = json!({"login": "grace", "password": ["hunter2"]});
        let told = deputy.operate("POST", "/people", wrong).await;
        assert!(!told.body.contains("hunter2"));
        refused(told, 400, &ADMIN_VALUE, "expected a string");
    })
    .await;
}

#[tokio::test]
async fn a_person_is_invited_by_a_link_that_is_told_once() {
    each_engine(async |deputy| {
        let invited = deputy.operate("POST", "/invitations", json!({"login": "ada@example.com"})).await.ok();
        assert!(invited.text("url").starts_with(&format!("{}/invitation/", deputy.issuer)), "{invited:?}");
        assert_eq!(invited.text("expires_at"), "2027-01-22T08:00:00Z");
        let (actor, _) = last_fact(&deputy, "person.invited.v1").await;
        assert!(actor["operator"].is_string());
        let token = invited.text("url").rsplit('/').next().expect("the link ends in it").to_owned();
        assert!(deputy.facts().await.iter().all(|fact| !fact.to_string().contains(&token)));
        deputy.person("grace@example.com").await;
        let taken = json!({"login": "grace@example.com"});
        refused(deputy.operate("POST", "/invitations", taken).await, 409, &LOGIN_TAKEN, "taken");
    })
    .await;
}

#[tokio::test]
async fn a_locked_person_is_out_with_all_that_acts_for_them() {
    each_engine(async |deputy| {
        let resource = deputy.resource().await;
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        let old = agent.authorize(&ada, "notes:read").await;
        let path = format!("/people/{}", id_of(&deputy, "ada@example.com").await);
        deputy.later(5);
        let locked = deputy.operate("PATCH", &path, json!({"locked": true})).await.ok().json();
        assert_eq!(locked["locked_at"], "2027-01-15T08:00:05Z");
        assert!(!deputy.is_active(&resource, &old.access_token).await);
        agent.refresh(old.refresh_token()).await.refused(400, GRANT_PERSON.code.as_str());
        assert_eq!(deputy.last_reason().await, GRANT_PERSON.reason);
        assert_eq!(deputy.facts_of("session.ended.v1").await.len(), 1);
        assert!(ada.open("/account").await.page().body.contains("name=\"password\""), "nobody is signed in");

        deputy.operate("PATCH", &path, json!({"locked": true})).await.ok();
        deputy.later(5);
        deputy.operate("PATCH", &path, json!({"locked": false})).await.ok();
        assert!(!deputy.is_active(&resource, &old.access_token).await, "what was issued before stays dead");
        let new = Tokens::of(agent.refresh(old.refresh_token()).await);
        assert!(deputy.is_active(&resource, &new.access_token).await, "a lock ends no grant");
        assert_eq!((deputy.facts_of("person.locked.v1").await.len(), deputy.facts_of("person.unlocked.v1").await.len()), (1, 1));
        refused(deputy.operate("PATCH", &path, json!({})).await, 400, &ADMIN_VALUE, "missing field `locked`");
        refused(deputy.operate("PATCH", "/people/per_unknown", json!({"locked": true})).await, 404, &ADMIN_NOT_FOUND, "");
    })
    .await;
}
