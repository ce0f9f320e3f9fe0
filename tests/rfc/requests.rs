//! The form of requests: [RFC 6749 §3.1, §3.2](https://www.rfc-editor.org/rfc/rfc6749#section-3.1),
//! [RFC 9110 §15.5](https://www.rfc-editor.org/rfc/rfc9110#section-15.5).

use reqwest::{Method, header::CONTENT_TYPE};

use crate::support::{Answer, Installation, RESOURCE};

const FORM: &str = "application/x-www-form-urlencoded";

#[tokio::test]
async fn rfc9110_15_5_6_a_method_that_is_not_served_is_named() {
    let served = [
        ("/token", "POST"),
        ("/introspect", "POST"),
        ("/revoke", "POST"),
        ("/register", "POST"),
        ("/userinfo", "GET,HEAD,POST"),
        ("/jwks", "GET,HEAD"),
        ("/.well-known/oauth-authorization-server", "GET,HEAD"),
        ("/.well-known/openid-configuration", "GET,HEAD"),
        ("/healthz", "GET,HEAD"),
        ("/readyz", "GET,HEAD"),
        ("/metrics", "GET,HEAD"),
        ("/favicon.ico", "GET,HEAD"),
        ("/assets/0/deputy.css", "GET,HEAD"),
    ];
    let deputy = Installation::start().await;
    for (path, methods) in served {
        let answer = send(&deputy, Method::DELETE, path, FORM, "").await.refused(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), Some(methods), "{path}");
        assert_eq!(deputy.last_reason().await, "request.method", "{path}");
    }
}

#[tokio::test]
async fn rfc9110_15_5_5_what_is_not_served_is_not_found() {
    let deputy = Installation::start().await;
    for path in ["/tokens", "/token/", "//token", "/.well-known/oauth-authorization-server/else", "/assets/0/nothing.css"] {
        let answer = deputy.get(path).await;
        assert_eq!(answer.status, 404, "{path}: {answer:?}");
    }
    deputy.get("/tokens").await.refused(404, "not_found");
    let browse = |accept: &str| Answer::of(deputy.http.get(format!("{}/tokens", deputy.issuer)).header("accept", accept));
    let page = browse("text/html,application/xhtml+xml,*/*;q=0.8").await.refused_on_page(404, "request.not_found");
    assert!(page.header("content-security-policy").is_some() && page.body.contains("There is nothing here"));
    browse("application/json").await.refused(404, "not_found");
    assert_eq!(deputy.last_reason().await, "request.not_found");
}

#[tokio::test]
async fn rfc6749_3_2_a_body_of_another_media_type_is_refused() {
    let deputy = Installation::start().await;
    for path in ["/token", "/introspect", "/revoke"] {
        for media_type in ["application/json", "text/plain", ""] {
            send(&deputy, Method::POST, path, media_type, "grant_type=client_credentials").await.refused(400, "invalid_request");
            assert_eq!(deputy.last_reason().await, "request.media_type", "{path} {media_type}");
        }
    }
    let media_type = "Application/X-WWW-Form-Urlencoded; charset=utf-8";
    send(&deputy, Method::POST, "/token", media_type, "grant_type=x").await.refused(400, "unsupported_grant_type");
}

#[tokio::test]
async fn rfc6749_3_2_a_parameter_occurs_once() {
    let deputy = Installation::start().await;
    for path in ["/token", "/introspect", "/revoke"] {
        send(&deputy, Method::POST, path, FORM, "token=a&client_id=b&token=a").await.refused(400, "invalid_request");
        assert_eq!(deputy.last_reason().await, "request.parameter_repeated", "{path}");
    }
}

#[tokio::test]
async fn rfc8707_2_a_token_is_for_one_resource() {
    let deputy = Installation::start().await;
    deputy.resource().await;
    deputy.resource_at("https://files.example/mcp").await;
    let (ada, agent, service) = (deputy.person("ada@example.com").await, deputy.agent().await, deputy.service("notes:read").await);
    let both = [("resource", RESOURCE), ("resource", "https://files.example/mcp")];
    let tokens = agent.authorize(&ada, "notes:read").await;
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", tokens.refresh_token())];
    service.token(&[&both[..], &[("grant_type", "client_credentials")]].concat(), &[]).await.refused(400, "invalid_target");
    assert_eq!(deputy.last_reason().await, "resource.repeated");
    let tracking_api = format!("{}/v1", deputy.issuer);
    let with_ours = [("resource", tracking_api.as_str()), ("resource", RESOURCE), ("grant_type", "client_credentials")];
    service.token(&with_ours, &[]).await.refused(400, "invalid_target");
    assert_eq!(deputy.last_reason().await, "resource.repeated");
    agent.token(&[&both[..], &refresh].concat(), &[]).await.refused(400, "invalid_target");
    assert_eq!(deputy.last_reason().await, "resource.repeated");
    // The client is told, as of everything that it asks for wrongly.
    let url = format!("{}&resource=https://files.example/mcp", agent.authorization_url("notes:read", &[]));
    assert_eq!(ada.open(&url).await.parameter("error").as_deref(), Some("invalid_target"));
    assert_eq!(deputy.last_reason().await, "resource.repeated");
    // Nothing is used up by it.
    agent.refresh(tokens.refresh_token()).await.ok();
}

#[tokio::test]
async fn rfc6749_3_2_a_needed_parameter_is_there_and_not_empty() {
    let deputy = Installation::start().await;
    for body in ["", "grant_type=", "something=else"] {
        send(&deputy, Method::POST, "/token", FORM, body).await.refused(400, "invalid_request");
        assert_eq!(deputy.last_reason().await, "request.parameter_missing", "{body}");
    }
}

#[tokio::test]
async fn rfc6749_appendix_b_a_form_is_utf_8_with_whole_escapes() {
    let deputy = Installation::start().await;
    for path in ["/token", "/introspect", "/revoke"] {
        for body in ["token=%", "token=%4", "token=%zz", "token=%ff%fe", "token=%ed%a0%80"] {
            send(&deputy, Method::POST, path, FORM, body).await.refused(400, "invalid_request");
            assert_eq!(deputy.last_reason().await, "request.malformed", "{path} {body}");
        }
    }
}

#[tokio::test]
async fn a_request_has_its_bounds() {
    let deputy = Installation::start().await;
    for path in ["/token", "/introspect", "/revoke"] {
        let long = format!("token={}", "a".repeat(16 * 1024 + 1));
        send(&deputy, Method::POST, path, FORM, &long).await.refused(400, "invalid_request");
        assert_eq!(deputy.last_reason().await, "request.parameter_too_long", "{path}");

        let large = format!("token={}", "a".repeat(64 * 1024));
        send(&deputy, Method::POST, path, FORM, &large).await.refused(400, "invalid_request");
        assert_eq!(deputy.last_reason().await, "request.too_large", "{path}");
    }
}

#[tokio::test]
async fn rfc7591_3_1_a_registration_is_json() {
    let deputy = Installation::start().await;
    send(&deputy, Method::POST, "/register", FORM, "client_name=x").await.refused(400, "invalid_request");
    assert_eq!(deputy.last_reason().await, "request.json_media_type");
    for body in ["", "{", "[]", "null", "\"text\""] {
        send(&deputy, Method::POST, "/register", "application/json", body).await.refused(400, "invalid_request");
        assert_eq!(deputy.last_reason().await, "request.json", "{body}");
    }
    let wrong = send(&deputy, Method::POST, "/register", "application/json", "{\"redirect_uris\": 1}").await;
    wrong.refused(400, "invalid_redirect_uri");
    assert_eq!(deputy.last_reason().await, "registration.redirect_uri");
    let large = format!("{{\"client_name\": \"{}\"}}", "a".repeat(16 * 1024));
    send(&deputy, Method::POST, "/register", "application/json", &large).await.refused(400, "invalid_request");
    assert_eq!(deputy.last_reason().await, "request.too_large");
}

#[tokio::test]
async fn rfc6750_3_1_userinfo_explains_an_error_only_to_who_sent_a_token() {
    let deputy = Installation::start().await;
    let answer = deputy.get("/userinfo").await.refused(401, "invalid_token");
    assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"deputy\""));
    assert_eq!(deputy.last_reason().await, "token.missing");

    let answer = Answer::of(deputy.http.get(format!("{}/userinfo", deputy.issuer)).bearer_auth("no.such.token")).await;
    let answer = answer.refused(401, "invalid_token");
    assert!(answer.header("www-authenticate").is_some_and(|challenge| challenge.contains("error=\"invalid_token\"")), "{answer:?}");
    assert_eq!(deputy.last_reason().await, "token.invalid");
}

async fn send(deputy: &Installation, method: Method, path: &str, media_type: &str, body: &str) -> Answer {
    let mut request = deputy.http.request(method, format!("{}{path}", deputy.issuer)).body(body.to_owned());
    if !media_type.is_empty() {
        request = request.header(CONTENT_TYPE, media_type);
    }
    Answer::of(request).await
}
