//! Clients in an operator's hands.

use deputy::domain::refusal::{ADMIN_CONFLICT, ADMIN_CURSOR, ADMIN_NOT_FOUND, ADMIN_VALUE, CLIENT_DISABLED};
use futures_util::join;
use serde_json::{Value, json};

use super::{last_fact, refused};
use crate::support::{Agent, CALLBACK, Installation, RESOURCE, agent::claims, each_engine};

/// How often two operators try to get in each other's way.
const RACES: u32 = 15;

#[tokio::test]
async fn a_client_is_registered_shown_and_found_in_the_list() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let new = json!({"client_id": "nightly-report", "client_name": "Nightly report", "grant_types": ["client_credentials"],
            "scope": "notes:read", "resources": ["https://NOTES.example/mcp/"]});
        let made = deputy.operate("POST", "/clients", new.clone()).await;
        assert_eq!(made.status, 201);
        assert_eq!(made.header("cache-control"), Some("no-store"));
        let made = made.json();
        assert_eq!(made["client_secret"].as_str().map(str::len), Some(43));
        assert_eq!(made["resources"], json!([RESOURCE]), "spelled as it was registered");
        assert_eq!((&made["origin"], &made["token_endpoint_auth_method"]), (&"operator".into(), &"client_secret_basic".into()));
        let shown = deputy.operate("GET", "/clients/nightly-report", Value::Null).await.ok();
        assert!(shown.json().get("client_secret").is_none() && !shown.body.contains(made["client_secret"].as_str().expect("text")));
        assert_eq!(shown.json()["created_at"], "2027-01-15T08:00:00Z");
        let list = deputy.operate("GET", "/clients", Value::Null).await.ok().json();
        assert_eq!(list, json!({"items": [shown.json()], "next_cursor": null}));
        let (actor, data) = last_fact(&deputy, "client.registered.v1").await;
        let expected =
            json!({"client": "nightly-report", "origin": "operator", "name": "Nightly report", "auth_method": "client_secret_basic"});
        assert_eq!(data, expected);
        assert!(actor["operator"].is_string());
        refused(deputy.operate("POST", "/clients", new).await, 409, &ADMIN_CONFLICT, "client_id exists already");
        refused(deputy.operate("GET", "/clients/{unknown}", Value::Null).await, 404, &ADMIN_NOT_FOUND, "no such thing");
    })
    .await;
}

#[tokio::test]
async fn what_does_not_fit_together_is_refused_with_a_sentence() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let keys = json!({"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}]});
        let private = json!({"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "d": "AA"}]});
        let table = [
            (json!({}), "authorization_code needs 1 to 32 redirect_uris"),
            (json!({"redirect_uris": ["http://app.example/cb"]}), "http is for loopback only"),
            (json!({"redirect_uris": [CALLBACK], "client_name": ""}), "client_name must have"),
            (json!({"redirect_uris": [CALLBACK], "grant_types": []}), "grant_types must hold"),
            (json!({"redirect_uris": [CALLBACK], "grant_types": ["implicit"]}), "unknown variant"),
            (json!({"grant_types": ["refresh_token", "client_credentials"], "scope": "notes:read"}), "refresh_token needs"),
            (
                json!({"grant_types": ["client_credentials"], "scope": "notes:read", "token_endpoint_auth_method": "none"}),
                "authenticates",
            ),
            (json!({"grant_types": ["client_credentials"]}), "client_credentials needs scope"),
            (json!({"redirect_uris": [CALLBACK], "scope": "mail:send"}), "The scope mail:send exists at no resource"),
            (json!({"redirect_uris": [CALLBACK], "scope": "a\"b"}), "printable ASCII"),
            (json!({"redirect_uris": [CALLBACK], "resources": ["https://other.example/"]}), "is not registered here"),
            (json!({"redirect_uris": [CALLBACK], "resources": []}), "resources must name"),
            (json!({"redirect_uris": [CALLBACK], "token_endpoint_auth_method": "private_key_jwt"}), "needs jwks or jwks_uri"),
            (
                json!({"redirect_uris": [CALLBACK], "token_endpoint_auth_method": "private_key_jwt", "jwks": private}),
                "public keys only",
            ),
            (json!({"redirect_uris": [CALLBACK], "jwks": keys}), "are for token_endpoint_auth_method private_key_jwt"),
            (json!({"redirect_uris": [CALLBACK], "client_uri": "javascript:alert(1)"}), "client_uri must be"),
            (json!({"redirect_uris": [CALLBACK], "client_id": "per_01h00000000000000000000000"}), "client_id must be"),
            (json!({"redirect_uris": [CALLBACK], "client_id": "https://app.example/client"}), "client_id must be"),
        ];
        for (mut new, told) in table {
            if new.get("client_name").is_none() {
                new["client_name"] = "An app".into();
            }
            refused(deputy.operate("POST", "/clients", new).await, 400, &ADMIN_VALUE, told);
        }
        assert_eq!(deputy.facts_of("client.registered.v1").await.len(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_disabled_client_is_cut_off_at_once_and_what_it_had_stays_dead() {
    each_engine(async |mut deputy| {
        let resource = deputy.resource().await;
        let client_id = deputy.service("notes:read").await.client_id;
        let path = format!("/clients/{client_id}");
        let old = {
            let service = renewed(&deputy, &client_id).await;
            let old = service.client_credentials(&[]).await.ok().text("access_token");
            deputy.later(5);
            let changed = deputy.operate("PATCH", &path, json!({"disabled": true})).await.ok().json();
            assert_eq!(changed["disabled_at"], "2027-01-15T08:00:05Z");
            assert!(!deputy.is_active(&resource, &old).await);
            service.client_credentials(&[]).await.refused(400, CLIENT_DISABLED.code.as_str());
            assert_eq!(deputy.last_reason().await, CLIENT_DISABLED.reason);
            old
        };
        deputy.restart().await;
        assert!(!deputy.is_active(&resource, &old).await, "also after a restart");
        deputy.operate("PATCH", &path, json!({"disabled": true})).await.ok();
        deputy.later(20);
        let changed = deputy.operate("PATCH", &path, json!({"disabled": false})).await.ok().json();
        assert_eq!(changed["disabled_at"], Value::Null);
        assert!(!deputy.is_active(&resource, &old).await, "what was issued before stays dead");
        let service = renewed(&deputy, &client_id).await;
        let new = service.client_credentials(&[]).await.ok().text("access_token");
        assert!(deputy.is_active(&resource, &new).await);
        let changes: Vec<_> = deputy.facts_of("client.changed.v1").await.iter().map(|data| data["change"].clone()).collect();
        assert_eq!(changes, ["secret", "disabled", "enabled", "secret"], "each once");
        refused(deputy.operate("PATCH", "/clients/unknown", json!({"disabled": true})).await, 404, &ADMIN_NOT_FOUND, "");
    })
    .await;
}

/// The client with a new secret.
async fn renewed<'i>(deputy: &'i Installation, client_id: &str) -> Agent<'i> {
    let answer = deputy.operate("POST", &format!("/clients/{client_id}/secret"), Value::Null).await.ok();
    Agent::with_secret(deputy, client_id, &answer.text("client_secret"))
}

#[tokio::test]
async fn a_new_secret_makes_the_one_before_worthless() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let service = deputy.service("notes:read").await;
        let successor = renewed(&deputy, &service.client_id).await;
        service.client_credentials(&[]).await.refused(401, "invalid_client");
        assert_eq!(deputy.last_reason().await, "client.secret_wrong");
        successor.client_credentials(&[]).await.ok();

        let public = deputy.agent().await;
        let secret = format!("/clients/{}/secret", public.client_id);
        refused(deputy.operate("POST", &secret, Value::Null).await, 400, &ADMIN_VALUE, "does not authenticate with a secret");
        refused(deputy.operate("POST", "/clients/unknown/secret", Value::Null).await, 404, &ADMIN_NOT_FOUND, "");
    })
    .await;
}

#[tokio::test]
async fn an_operator_changes_what_an_operator_registered_and_nothing_else() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let new = json!({"client_name": "App", "redirect_uris": [CALLBACK], "scope": "notes:read", "resources": [RESOURCE]});
        let id = deputy.operate("POST", "/clients", new).await.ok().text("client_id");
        let path = format!("/clients/{id}");
        let change = json!({"client_name": "Notes app", "redirect_uris": [CALLBACK, "http://127.0.0.1/cb"], "scope": null, "resources": null});
        let changed = deputy.operate("PATCH", &path, change.clone()).await.ok().json();
        assert_eq!((&changed["client_name"], &changed["scope"], &changed["resources"]), (&"Notes app".into(), &Value::Null, &Value::Null));
        assert_eq!(changed["redirect_uris"], json!([CALLBACK, "http://127.0.0.1/cb"]));
        assert_eq!(deputy.operate("PATCH", &path, change).await.ok().json(), changed);
        assert_eq!(deputy.facts_of("client.changed.v1").await.len(), 1, "nothing is on record that did not happen");
        refused(deputy.operate("PATCH", &path, json!({"redirect_uris": []})).await, 400, &ADMIN_VALUE, "needs 1 to 32 redirect_uris");
        let foreign = format!("/clients/{}", deputy.agent().await.client_id);
        refused(deputy.operate("PATCH", &foreign, json!({"client_name": "Mine"})).await, 400, &ADMIN_VALUE, "came by itself");
        deputy.operate("PATCH", &foreign, json!({"disabled": true})).await.ok();
    })
    .await;
}

/// A client that acts for itself has one grant for each resource; another one begins only when that one will no longer do.
#[tokio::test]
async fn a_service_goes_on_under_one_grant_until_its_registration_changes_or_the_grant_ends_too_soon() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let service = deputy.service("notes:read notes:write").await;
        let grant = async || claims(&service.client_credentials(&[]).await.ok().text("access_token"))["gid"].clone();
        let first = grant().await;
        assert_eq!(grant().await, first);
        deputy.operate("PATCH", &format!("/clients/{}", service.client_id), json!({"scope": "notes:read"})).await.ok();
        let second = grant().await;
        assert_ne!(second, first);
        for _ in 0..3 {
            assert_eq!(grant().await, second, "also when it was remembered that there is another one");
        }
        // A second before the grant would end: a token under it would be as short.
        deputy.later(365 * 86_400 - 1);
        let answer = service.client_credentials(&[]).await.ok();
        assert_eq!(answer.json()["expires_in"], 600);
        let third = claims(&answer.text("access_token"))["gid"].clone();
        assert!(third != second && grant().await == third);
    })
    .await;
}

#[tokio::test]
async fn a_deleted_client_leaves_nothing_alive_and_its_name_may_begin_anew() {
    each_engine(async |deputy| {
        let resource = deputy.resource().await;
        let new =
            json!({"client_id": "report", "client_name": "Report", "grant_types": ["client_credentials"], "scope": "notes:read"});
        let first = Agent::made_by_operator(&deputy, new.clone()).await;
        let old = first.client_credentials(&[]).await.ok().text("access_token");
        let deleted = deputy.operate("DELETE", "/clients/report", Value::Null).await;
        assert_eq!((deleted.status.as_u16(), deleted.body.as_str()), (204, ""));
        assert!(!deputy.is_active(&resource, &old).await);
        assert_eq!(deputy.facts_of("grant.ended.v1").await[0]["cause"], "client_deleted");
        assert_eq!(last_fact(&deputy, "client.deleted.v1").await.1, json!({"client": "report"}));
        first.client_credentials(&[]).await.refused(401, "invalid_client");
        assert_eq!(deputy.last_reason().await, "client.unknown");

        // Tokens tell whole seconds: all of this comes within one.
        let second = Agent::made_by_operator(&deputy, new).await;
        first.client_credentials(&[]).await.refused(401, "invalid_client");
        let new = second.client_credentials(&[]).await.ok().text("access_token");
        assert!(deputy.is_active(&resource, &new).await && !deputy.is_active(&resource, &old).await);
        deputy.operate("DELETE", "/clients/report", Value::Null).await.ok();
        refused(deputy.operate("DELETE", "/clients/report", Value::Null).await, 404, &ADMIN_NOT_FOUND, "");
    })
    .await;
}

#[tokio::test]
async fn a_list_is_read_page_by_page() {
    each_engine(async |deputy| {
        for number in 0..5 {
            let new = json!({"client_id": format!("app-{number}"), "client_name": "App", "redirect_uris": [CALLBACK]});
            deputy.operate("POST", "/clients", new).await.ok();
        }
        let mut seen = Vec::new();
        let mut query = "?limit=2".to_owned();
        loop {
            let page = deputy.operate("GET", &format!("/clients{query}"), Value::Null).await.ok().json();
            let items =
                page["items"].as_array().expect("items").iter().map(|item| item["client_id"].as_str().expect("text").to_owned());
            seen.extend(items);
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            query = format!("?limit=2&cursor={cursor}");
        }
        assert_eq!(seen, ["app-0", "app-1", "app-2", "app-3", "app-4"]);
        deputy.later(86_401);
        refused(deputy.operate("GET", &format!("/clients{query}"), Value::Null).await, 400, &ADMIN_CURSOR, "cursor");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_two_operators_change_at_once_both_comes_true() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let new = json!({"client_name": "0", "redirect_uris": [CALLBACK]});
        let client = deputy.operate("POST", "/clients", new).await.ok().text("client_id");
        let path = format!("/clients/{client}");
        for round in 1..=RACES {
            let (name, uri) = (round.to_string(), format!("{CALLBACK}/{round}"));
            let scope = if round % 2 == 0 { json!("notes:read") } else { Value::Null };
            let (one, other, third) = join!(
                deputy.operate("PATCH", &path, json!({"client_name": name})),
                deputy.operate("PATCH", &path, json!({"redirect_uris": [uri]})),
                deputy.operate("PATCH", &path, json!({"scope": scope})),
            );
            for answer in [one, other, third] {
                answer.ok();
            }
            let shown = deputy.operate("GET", &path, Value::Null).await.ok().json();
            let found = (&shown["client_name"], &shown["redirect_uris"], &shown["scope"]);
            assert_eq!(found, (&json!(name), &json!([uri]), &scope));
        }
    })
    .await;
}
