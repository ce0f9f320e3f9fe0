//! Attacks on what operators do: other spellings of paths, cut-offs that do not hold, secrets that outlive their owner, forged cursors.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use deputy::domain::refusal::{ADMIN_CURSOR, ADMIN_VALUE, OPERATOR_TOKEN, REQUEST_NOT_FOUND};
use serde_json::{Value, json};

use crate::support::{Agent, Answer, CALLBACK, Installation, RESOURCE, agent::claims, each_engine};

/// The status of a request whose path no library tidied up.
fn status_of(deputy: &Installation, request_line: &str) -> u16 {
    let address = deputy.issuer.trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(&address).expect("it listens");
    write!(stream, "{request_line} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers text");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{answer:?}"));
    assert!(!answer.contains("client_id"), "{request_line} tells nothing: {answer}");
    status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cve_2026_15573_and_2025_71399_no_spelling_of_a_path_avoids_the_token() {
    each_engine(async |deputy| {
        let made = json!({"client_name": "App", "redirect_uris": [CALLBACK]});
        deputy.operate("POST", "/clients", made).await.ok();
        let spellings = [
            "/admin",
            "/admin/",
            "/admin/v1",
            "/admin/v1/",
            "/admin/nothing",
            "/admin/v1/nothing/at/all",
            "/admin/v1/clients",
            "/admin/v1/clients/",
            "/admin/v1/clients;x",
            "/admin/v1//clients",
            "/admin/v1/./clients",
            "/admin/v1/../v1/clients",
            "/admin/../admin/v1/clients",
            "/admin/v1/openapi.json/../clients",
            "/admin/v1/%63lients",
            "/admin/v1/clients?cursor=x",
            "/admin/v1/openapi.json/",
            "//admin/v1/clients",
            "/./admin/v1/clients",
            "/x/../admin/v1/clients",
            "/%61dmin/v1/clients",
            "/admin;/v1/clients",
            "/Admin/v1/clients",
            "/admin%2fv1%2fclients",
            "/\\admin/v1/clients",
            "/healthz/../admin/v1/clients",
            "http://127.0.0.1/admin/v1/clients",
        ];
        for spelling in spellings {
            for method in ["GET", "POST", "PATCH", "DELETE", "OPTIONS", "HEAD"] {
                let status = status_of(&deputy, &format!("{method} {spelling}"));
                assert!(matches!(status, 400 | 401 | 404), "{method} {spelling}: {status}");
                if spelling.starts_with("/admin/") {
                    assert_eq!(status, 401, "{method} {spelling} demands the token first");
                }
            }
        }
        for (method, path) in [("GET", "/nothing"), ("POST", "/v1/clients/x/y"), ("GET", "")] {
            let answer = deputy.operate(method, path, Value::Null).await;
            answer.refused(404, REQUEST_NOT_FOUND.code.as_str());
        }
    })
    .await;
}

#[tokio::test]
async fn cve_2026_15573_only_one_whole_bearer_token_of_an_operator_opens() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let token = deputy.operator_token();
        let access_token = deputy.service("notes:read").await.client_credentials(&[]).await.ok().text("access_token");
        let iat = deputy.operate("POST", "/initial-access-tokens", json!({})).await.ok().text("token");
        let wrong = [
            String::new(),
            "Bearer".to_owned(),
            "Bearer ".to_owned(),
            format!("Basic {token}"),
            token.clone(),
            format!("Bearer {}", &token[1..]),
            format!("Bearer {token}x"),
            format!("Bearer {token}, Bearer {token}"),
            format!("Bearer {access_token}"),
            format!("Bearer {iat}"),
        ];
        for header in wrong {
            let request = deputy.http.get(format!("{}/admin/v1/people", deputy.issuer)).header("authorization", &header);
            Answer::of(request).await.refused(401, OPERATOR_TOKEN.code.as_str());
        }
        let twice = deputy.http.get(format!("{}/admin/v1/people", deputy.issuer)).bearer_auth(&token);
        Answer::of(twice.header("authorization", "Bearer x")).await.refused(401, OPERATOR_TOKEN.code.as_str());
        let in_query = deputy.get(&format!("/admin/v1/people?access_token={token}")).await;
        in_query.refused(401, OPERATOR_TOKEN.code.as_str());
        deputy.operate("GET", "/people", Value::Null).await.ok();
    })
    .await;
}

#[tokio::test]
async fn cve_2026_8922_of_all_cut_offs_the_strictest_wins() {
    each_engine(async |deputy| {
        let resource = deputy.resource().await;
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        let token = agent.authorize(&ada, "notes:read").await.access_token;
        let people = deputy.operate("GET", "/people", Value::Null).await.ok().json();
        let person = format!("/people/{}", people["items"][0]["person_id"].as_str().expect("text"));
        let client = format!("/clients/{}", agent.client_id);
        deputy.later(5);
        deputy.operate("PATCH", &client, json!({"disabled": true})).await.ok();
        deputy.operate("PATCH", &person, json!({"locked": true})).await.ok();
        deputy.later(5);
        deputy.operate("PATCH", &client, json!({"disabled": false})).await.ok();
        assert!(!deputy.is_active(&resource, &token).await, "the person is still locked");
        deputy.operate("PATCH", &person, json!({"locked": false})).await.ok();
        assert!(!deputy.is_active(&resource, &token).await, "both cut-offs are past, and both count");

        deputy.later(5);
        let token = agent.authorize(&ada, "notes:read").await.access_token;
        assert!(deputy.is_active(&resource, &token).await);
        deputy.later(1);
        deputy.operate("PATCH", &person, json!({"locked": true})).await.ok();
        deputy.later(1);
        deputy.operate("PATCH", &person, json!({"locked": false})).await.ok();
        deputy.operate("PATCH", &client, json!({"disabled": true})).await.ok();
        deputy.operate("PATCH", &client, json!({"disabled": false})).await.ok();
        assert!(!deputy.is_active(&resource, &token).await, "an earlier cut-off is not forgotten for a later one");
    })
    .await;
}

#[tokio::test]
async fn cve_2026_15943_no_secret_follows_a_name_to_another_place() {
    each_engine(async |deputy| {
        let resource = deputy.resource().await;
        let path = format!("/resources/{}", resource["resource_id"].as_str().expect("text"));
        let moved = deputy.operate("PATCH", &path, json!({"identifier": "https://evil.example/mcp"})).await;
        let moved = moved.refused(400, ADMIN_VALUE.code.as_str());
        assert!(moved.text("error_description").contains("unknown field `identifier`"), "a resource that moves is a new one");
        deputy.operate("DELETE", &path, Value::Null).await.ok();
        let again = deputy.resource_at(RESOURCE).await;
        assert_ne!(again["secret"], resource["secret"]);
        let (id, secret) = (again["resource_id"].as_str().expect("text"), resource["secret"].as_str());
        let request = deputy.http.post(format!("{}/introspect", deputy.issuer)).basic_auth(id, secret).form(&[("token", "x")]);
        Answer::of(request).await.refused(401, "invalid_client");

        let new =
            json!({"client_id": "mover", "client_name": "Mover", "grant_types": ["client_credentials"], "scope": "notes:read"});
        let old = Agent::made_by_operator(&deputy, new.clone()).await;
        let change = json!({"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "https://evil.example/jwks"});
        deputy.operate("PATCH", "/clients/mover", change).await.refused(400, ADMIN_VALUE.code.as_str());
        deputy.operate("DELETE", "/clients/mover", Value::Null).await.ok();
        deputy.later(1);
        Agent::made_by_operator(&deputy, new).await;
        old.client_credentials(&[]).await.refused(401, "invalid_client");
        assert_eq!(deputy.last_reason().await, "client.secret_wrong");
    })
    .await;
}

#[tokio::test]
async fn ghsa_r9w3_57w2_gch2_a_cursor_that_was_made_up_or_altered_is_refused() {
    each_engine(async |deputy| {
        deputy.resource().await;
        for number in 0..3 {
            let new = json!({"client_id": format!("app-{number}"), "client_name": "App", "redirect_uris": [CALLBACK]});
            deputy.operate("POST", "/clients", new).await.ok();
            deputy.person(&format!("person-{number}")).await;
        }
        let cursor = deputy.operate("GET", "/clients?limit=1", Value::Null).await.ok().text("next_cursor");
        let mut forged = vec![
            String::new(),
            "app-1".to_owned(),
            "1'%20OR%20'1'='1".to_owned(),
            "%22%3B%20DROP%20TABLE%20clients%3B--".to_owned(),
            cursor[1..].to_owned(),
            format!("{cursor}A"),
            "A".repeat(20_000),
        ];
        for place in [0, cursor.len() / 2, cursor.len() - 1] {
            let mut altered = cursor.clone().into_bytes();
            altered[place] = if altered[place] == b'A' { b'Q' } else { b'A' };
            forged.push(String::from_utf8(altered).expect("ASCII"));
        }
        for cursor in forged {
            let answer = deputy.operate("GET", &format!("/clients?cursor={cursor}"), Value::Null).await;
            let answer = answer.refused(400, ADMIN_CURSOR.code.as_str());
            assert_eq!(answer.text("error_description"), ADMIN_CURSOR.description);
        }
        for list in ["/people", "/grants", "/grants?client=app-1", "/resources", "/keys"] {
            let separator = if list.contains('?') { '&' } else { '?' };
            let answer = deputy.operate("GET", &format!("{list}{separator}cursor={cursor}"), Value::Null).await;
            answer.refused(400, ADMIN_CURSOR.code.as_str());
        }
        deputy.operate("GET", &format!("/clients?cursor={cursor}"), Value::Null).await.ok();
    })
    .await;
}

/// What a token says of somebody comes from us alone: whoever registers or changes a client adds nothing to it.
#[tokio::test]
async fn cve_2026_9795_and_4629_nobody_adds_claims_to_a_token() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let service = deputy.service("notes:read").await;
        let plain = claims(&service.client_credentials(&[]).await.ok().text("access_token"));
        for member in ["claims", "roles", "groups", "protocol_mappers", "act", "may_act"] {
            let new = json!({"client_name": "App", "redirect_uris": [CALLBACK], member: {"role": "admin"}});
            let refused = deputy.operate("POST", "/clients", new.clone()).await.refused(400, ADMIN_VALUE.code.as_str());
            assert!(refused.text("error_description").contains(&format!("unknown field `{member}`")), "{refused:?}");
            let change = json!({member: {"role": "admin"}});
            deputy.operate("PATCH", &format!("/clients/{}", service.client_id), change).await.refused(400, "invalid_request");
            let registered = Answer::of(deputy.http.post(format!("{}/register", deputy.issuer)).json(&new)).await.ok();
            assert_eq!(registered.json().get(member), None, "what is not known is not kept");
            let asked = service.client_credentials(&[(member, "{\"role\": \"admin\"}")]).await.ok();
            let told = claims(&asked.text("access_token"));
            let names = |claims: &Value| claims.as_object().expect("claims").keys().cloned().collect::<Vec<_>>();
            assert_eq!((names(&told), told.get("scope")), (names(&plain), plain.get("scope")), "{member}");
        }
    })
    .await;
}

#[tokio::test]
async fn cve_2025_1391_a_name_gives_no_membership() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let agent = deputy.agent().await;
        let (ada, mallory) = (deputy.person("ada").await, deputy.person("x@victim.example").await);
        let mut told = Vec::new();
        for person in [&ada, &mallory] {
            let token = agent.authorize(person, "openid profile notes:read").await.access_token;
            let userinfo = deputy.http.get(format!("{}/userinfo", deputy.issuer)).bearer_auth(&token);
            let userinfo = Answer::of(userinfo).await.ok().json();
            let names = [&claims(&token), &userinfo].map(|claims| claims.as_object().expect("claims").keys().cloned().collect());
            told.push(names.map(|names: Vec<String>| names));
        }
        assert_eq!(told[0], told[1], "who has a domain in their name is told of like who has none");
        let known = told.iter().flatten().flatten();
        assert!(known.into_iter().all(|name| !["org", "organization", "groups", "roles", "tenant"].contains(&name.as_str())));
    })
    .await;
}
