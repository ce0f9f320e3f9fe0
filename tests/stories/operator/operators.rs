//! The first start, more operators, and the document that describes their API.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use deputy::{
    config::Settings,
    domain::refusal::{
        ADMIN_CONFLICT, ADMIN_NOT_FOUND, ADMIN_VALUE, OPERATOR_TOKEN, REQUEST_JSON, REQUEST_JSON_MEDIA_TYPE, REQUEST_METHOD,
        REQUEST_TOO_LARGE,
    },
    protocol::administration::operators::{self, FirstOperatorError},
    world::World,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{last_fact, refused};
use crate::support::{Answer, each_engine};

fn settings(folder: &Path) -> Settings {
    Settings::parse("the test's configuration", &format!("data_dir = {folder:?}")).expect("the configuration is good")
}

async fn is_operator(world: &World, token: &str) -> bool {
    operators::authenticate(world, Some(format!("Bearer {token}").as_bytes())).await.is_ok()
}

#[tokio::test]
async fn the_first_start_writes_a_token_that_only_its_owner_can_read() {
    let folder = TempDir::new().expect("a folder");
    let settings = settings(folder.path());
    let path = settings.operator_token_path();
    let world = World::open(settings.clone()).await.expect("the world opens");
    operators::first(&world).await.expect("the first operator is made");
    let token = std::fs::read_to_string(&path).expect("the token is there").trim().to_owned();
    let mode = path.metadata().expect("it is a file").permissions().mode() & 0o777;
    assert_eq!((token.len(), mode), (43, 0o600));
    assert!(is_operator(&world, &token).await);
    world.close().await;
    drop(world);

    let world = World::open(settings.clone()).await.expect("the world opens again");
    operators::first(&world).await.expect("there is one already");
    assert_eq!(std::fs::read_to_string(&path).expect("still there").trim(), token);
    std::fs::remove_file(&path).expect("somebody tidied up");
    operators::first(&world).await.expect("there is one already");
    assert!(!path.exists() && is_operator(&world, &token).await, "no second first operator");
    world.close().await;
}

#[tokio::test]
async fn a_crash_between_file_and_database_loses_no_token() {
    let folder = TempDir::new().expect("a folder");
    let settings = settings(folder.path());
    let path = settings.operator_token_path();
    let world = World::open(settings).await.expect("the world opens");
    std::fs::write(&path, "half a tok").expect("the file is written");
    let refused = operators::first(&world).await.expect_err("this is no token");
    assert!(
        matches!(refused, FirstOperatorError::NotAToken { .. }) && refused.to_string().contains("remove the file"),
        "{refused}"
    );

    let token = "the_token_that_an_earlier_start_has_written_x";
    std::fs::write(&path, format!("{token}\n")).expect("the file is written");
    operators::first(&world).await.expect("the operator is made");
    assert!(is_operator(&world, token).await && !is_operator(&world, "another_token_of_the_same_length_as_that_one").await);
    assert_eq!(path.metadata().expect("it is a file").permissions().mode() & 0o777, 0o600);
    world.close().await;
}

#[tokio::test]
async fn an_operator_adds_another_who_has_a_token_of_their_own() {
    each_engine(async |deputy| {
        let added = deputy.operate("POST", "/operators", json!({"name": "Grace"})).await.ok().json();
        let token = added["token"].as_str().expect("a token");
        let request = deputy.http.get(format!("{}/admin/v1/clients", deputy.issuer)).bearer_auth(token);
        Answer::of(request).await.ok();
        let (actor, data) = last_fact(&deputy, "operator.created.v1").await;
        assert_eq!((&data["operator"], &data["name"]), (&added["operator_id"], &"Grace".into()));
        assert!(actor["operator"].as_str().is_some_and(|id| id.starts_with("opr_")) && actor["operator"] != added["operator_id"]);

        let request = deputy.http.post(format!("{}/admin/v1/resources", deputy.issuer)).bearer_auth(token);
        let scopes = json!([{"name": "a", "description": "Do a"}]);
        let request = request.json(&json!({"identifier": "https://a.example/mcp", "name": "A", "scopes": scopes}));
        Answer::of(request).await.ok();
        let (actor, _) = last_fact(&deputy, "resource.registered.v1").await;
        assert_eq!(actor["operator"], added["operator_id"], "the fact says who did it");
        refused(deputy.operate("POST", "/operators", json!({"name": "  "})).await, 400, &ADMIN_VALUE, "name must have");
        assert!(deputy.facts().await.iter().all(|fact| !fact.to_string().contains(token)), "no fact holds a secret");
    })
    .await;
}

#[tokio::test]
async fn an_operator_is_removed_but_never_the_last_one() {
    each_engine(async |deputy| {
        let path = async |place: usize| {
            let list = deputy.operate("GET", "/operators", Value::Null).await.ok();
            assert!(!list.body.contains("token"), "a token is told once");
            format!("/operators/{}", list.json()["items"][place]["operator_id"].as_str().expect("text"))
        };
        let first = path(0).await;
        refused(deputy.operate("DELETE", &first, Value::Null).await, 409, &ADMIN_CONFLICT, "last operator");
        deputy.later(1);
        let added = deputy.operate("POST", "/operators", json!({"name": "Grace"})).await.ok().json();
        let second = path(1).await;
        assert_eq!(second, format!("/operators/{}", added["operator_id"].as_str().expect("text")));
        let as_grace = async |method: reqwest::Method, path: &str| {
            let request = deputy.http.request(method, format!("{}/admin/v1{path}", deputy.issuer));
            Answer::of(request.bearer_auth(added["token"].as_str().expect("a token"))).await
        };
        as_grace(reqwest::Method::GET, "/operators").await.ok();
        refused(deputy.operate("DELETE", "/operators/{unknown}", Value::Null).await, 404, &ADMIN_NOT_FOUND, "no such thing");
        deputy.operate("DELETE", &second, Value::Null).await.ok();
        as_grace(reqwest::Method::GET, "/operators").await.refused(401, OPERATOR_TOKEN.code.as_str());
        let (actor, data) = last_fact(&deputy, "operator.removed.v1").await;
        assert_eq!((&data["operator"], actor["operator"].as_str()), (&added["operator_id"], first.strip_prefix("/operators/")));
        refused(deputy.operate("DELETE", &second, Value::Null).await, 404, &ADMIN_NOT_FOUND, "no such thing");

        // Two who remove each other at the same moment: one stays.
        let third = deputy.operate("POST", "/operators", json!({"name": "Barbara"})).await.ok().json();
        let url = format!("{}/admin/v1{first}", deputy.issuer);
        let theirs = Answer::of(deputy.http.delete(url).bearer_auth(third["token"].as_str().expect("a token")));
        let path = format!("/operators/{}", third["operator_id"].as_str().expect("text"));
        let (ours, theirs) = futures_util::join!(deputy.operate("DELETE", &path, Value::Null), theirs);
        let done = [&ours, &theirs].into_iter().filter(|answer| answer.status == 204).count();
        assert_eq!(done, 1, "{ours:?} {theirs:?}");
    })
    .await;
}

/// Whom the server issued a token for something else is no operator.
#[tokio::test]
async fn an_access_token_lists_nothing() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let token = deputy.service("notes:read").await.client_credentials(&[]).await.ok().text("access_token");
        for path in [
            "/transformations",
            "/tracking-plans",
            "/computed-traits",
            "/predicted-traits",
            "/audiences",
            "/identity-rules",
            "/regulations",
            "/profile-tokens",
            "/consumers",
            "/risk/rule",
        ] {
            let url = format!("{}/admin/v1{path}", deputy.issuer);
            let answer = Answer::of(deputy.http.get(&url).bearer_auth(&token)).await;
            answer.refused(401, OPERATOR_TOKEN.code.as_str());
            assert_eq!(deputy.last_reason().await, OPERATOR_TOKEN.reason);
            Answer::of(deputy.http.get(&url).bearer_auth(deputy.operator_token())).await.ok();
        }
    })
    .await;
}

#[tokio::test]
async fn requests_are_read_strictly() {
    each_engine(async |deputy| {
        let post = |body: &str| {
            let request = deputy.http.post(format!("{}/admin/v1/operators", deputy.issuer)).bearer_auth(deputy.operator_token());
            Answer::of(request.header("content-type", "application/json").body(body.to_owned()))
        };
        refused(post("{\"name\": \"x\", \"colour\": 1}").await, 400, &ADMIN_VALUE, "unknown field `colour`");
        refused(post("{\"name\": \"x\", \"name\": \"y\"}").await, 400, &ADMIN_VALUE, "duplicate field `name`");
        refused(post("{\"name\": 5}").await, 400, &ADMIN_VALUE, "expected a string");
        refused(post("{}").await, 400, &ADMIN_VALUE, "missing field `name`");
        for text in ["", "{", "[\"x\"]", "\"x\"", "null"] {
            refused(post(text).await, 400, &REQUEST_JSON, "JSON");
        }
        let long = format!("{{\"name\": \"{}\"}}", "x".repeat(1025 * 1024));
        refused(post(&long).await, 413, &REQUEST_TOO_LARGE, "larger");
        let request = deputy.http.post(format!("{}/admin/v1/operators", deputy.issuer)).bearer_auth(deputy.operator_token());
        let form = Answer::of(request.form(&[("name", "x")])).await;
        refused(form, 415, &REQUEST_JSON_MEDIA_TYPE, "application/json");
        for query in ["?colour=1", "?limit=0", "?limit=501", "?limit=x"] {
            refused(deputy.operate("GET", &format!("/clients{query}"), Value::Null).await, 400, &ADMIN_VALUE, "");
        }
        assert_eq!(deputy.facts_of("operator.created.v1").await.len(), 1, "only the first operator is there");
    })
    .await;
}

#[tokio::test]
async fn the_document_describes_every_operation_and_every_operation_demands_the_token() {
    each_engine(async |deputy| {
        let document = deputy.get("/admin/v1/openapi.json").await.ok().json();
        assert_eq!(document["servers"][0]["url"], deputy.issuer.as_str());
        let paths = document["paths"].as_object().expect("the document has paths");
        let mut operations = 0;
        for (path, item) in paths {
            for (method, operation) in item.as_object().expect("a path has operations") {
                operations += 1;
                assert!(operation["security"][0].get("operator_token").is_some(), "{method} {path}");
                assert_eq!(
                    operation["responses"]["default"]["content"]["application/json"]["schema"]["$ref"],
                    "#/components/schemas/Refusal"
                );
                let method: reqwest::Method = method.to_uppercase().parse().expect("a method");
                let url = format!("{}{}", deputy.issuer, path.replace(['{', '}'], ""));
                let answer = Answer::of(deputy.http.request(method.clone(), &url)).await.refused(401, OPERATOR_TOKEN.code.as_str());
                assert!(answer.header("www-authenticate").is_some_and(|text| text.starts_with("Bearer ")), "{answer:?}");
                let wrong = deputy.http.request(method, &url).bearer_auth("x".repeat(43));
                Answer::of(wrong).await.refused(401, OPERATOR_TOKEN.code.as_str());
            }
        }
        assert_eq!(operations, 81);
        let text = document.to_string();
        let references = text.split("\"#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next());
        for name in references {
            assert!(document["components"]["schemas"].get(name).is_some(), "{name} is referred to and not there");
        }
        refused(deputy.operate("POST", "/openapi.json", json!({})).await, 405, &REQUEST_METHOD, "method");
    })
    .await;
}
