//! [RFC 6749 §2.3](https://www.rfc-editor.org/rfc/rfc6749#section-2.3)

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use crate::support::{Agent, Answer, Installation, Workload, each_engine, workload::ASSERTION_TYPE};

const GRANT: (&str, &str) = ("grant_type", "client_credentials");

/// An operator's client with this method of authentication.
async fn service<'i>(deputy: &'i Installation, method: Option<&str>) -> Agent<'i> {
    let mut metadata = json!({"client_name": "A service", "grant_types": ["client_credentials"], "scope": "notes:read"});
    if let Some(method) = method {
        metadata["token_endpoint_auth_method"] = method.into();
    }
    Agent::made_by_operator(deputy, metadata).await
}

/// Asks for a token with this Authorization header.
async fn with_header(deputy: &Installation, header: &str) -> Answer {
    Answer::of(deputy.http.post(format!("{}/token", deputy.issuer)).header("authorization", header).form(&[GRANT])).await
}

fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

#[tokio::test]
async fn rfc6749_2_3_1_basic_is_read_decoded_then_raw() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let service = service(&deputy, Some("client_secret_basic")).await;
        let secret = service.client_secret.clone().expect("a secret");
        with_header(&deputy, &basic(&service.client_id, &secret)).await.ok();
        with_header(&deputy, &basic(&service.client_id, &secret).replace("Basic", "bAsIc")).await.ok();
        let encoded: String = secret.bytes().map(|byte| format!("%{byte:02X}")).collect();
        with_header(&deputy, &basic(&service.client_id, &encoded)).await.ok();
        for malformed in
            ["Basic", "Basic x", "Basic !", "Bearer x", &basic("", "x"), &format!("Basic {}", STANDARD.encode("no colon"))]
        {
            let answer = with_header(&deputy, malformed).await.refused(401, "invalid_client");
            assert!(answer.header("www-authenticate").is_some_and(|challenge| challenge.starts_with("Basic ")));
            assert_eq!(deputy.last_reason().await, "client.credentials_malformed", "{malformed}");
        }
        for (id, secret, reason) in [
            (service.client_id.as_str(), "wrong", "client.secret_wrong"),
            (&service.client_id, "", "client.secret_wrong"),
            ("cli_nobody", &secret, "client.unknown"),
            ("no client", &secret, "client.unknown"),
        ] {
            with_header(&deputy, &basic(id, secret)).await.refused(401, "invalid_client");
            assert_eq!(deputy.last_reason().await, reason, "{id}");
        }
    })
    .await;
}

#[tokio::test]
async fn rfc6749_2_3_one_request_uses_one_method() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (service, other) = (service(&deputy, Some("client_secret_basic")).await, deputy.agent().await);
        let secret = service.client_secret.clone().expect("a secret");
        service.token(&[GRANT], &[("client_secret", &secret)]).await.refused(400, "invalid_request");
        assert_eq!(deputy.last_reason().await, "client.authentication_repeated");
        let assertion = [("client_assertion_type", ASSERTION_TYPE), ("client_assertion", "x.y.z")];
        service.token(&[GRANT], &assertion).await.refused(400, "invalid_request");
        assert_eq!(deputy.last_reason().await, "client.authentication_repeated");
        // Named otherwise than it authenticated.
        service.token(&[GRANT], &[("client_id", &other.client_id)]).await.refused(400, "invalid_request");
        assert_eq!(deputy.last_reason().await, "client.authentication_repeated");
        service.token(&[GRANT], &[("client_id", &service.client_id)]).await.ok();
    })
    .await;
}

#[tokio::test]
async fn rfc7591_2_the_registered_method_is_the_one_that_counts() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let by_form = service(&deputy, Some("client_secret_post")).await;
        let by_header = service(&deputy, Some("client_secret_basic")).await;
        let undecided = service(&deputy, None).await;
        let workload = Workload::made_by_operator(&deputy, "notes:read").await;
        let public = deputy.agent().await;
        let post = async |client: &Agent<'_>| {
            let secret = client.client_secret.clone().expect("a secret");
            deputy.post("/token", &[GRANT, ("client_id", &client.client_id), ("client_secret", &secret)]).await
        };
        post(&by_form).await.ok();
        post(&undecided).await.ok();
        undecided.token(&[GRANT], &[]).await.ok();
        post(&by_header).await.refused(401, "invalid_client");
        assert_eq!(deputy.last_reason().await, "client.authentication_method");
        by_form.token(&[GRANT], &[]).await.refused(401, "invalid_client");
        assert_eq!(deputy.last_reason().await, "client.authentication_method");
        for client_id in [&workload.client_id, &public.client_id] {
            with_header(&deputy, &basic(client_id, "x")).await.refused(401, "invalid_client");
            assert_eq!(deputy.last_reason().await, "client.authentication_method");
        }
        for (form, reason) in [
            (vec![GRANT], "client.authentication_missing"),
            (vec![GRANT, ("client_id", workload.client_id.as_str())], "client.authentication_missing"),
            (vec![GRANT, ("client_id", by_form.client_id.as_str())], "client.authentication_missing"),
            (vec![GRANT, ("client_id", "cli_nobody")], "client.unknown"),
        ] {
            deputy.post("/token", &form).await.refused(401, "invalid_client");
            assert_eq!(deputy.last_reason().await, reason, "{form:?}");
        }
        public.token(&[GRANT], &[]).await.refused(400, "unauthorized_client");
        assert_eq!(deputy.last_reason().await, "client.grant_type");
    })
    .await;
}

#[tokio::test]
async fn a_disabled_client_is_refused_wherever_clients_authenticate() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let service = service(&deputy, None).await;
        service.token(&[GRANT], &[]).await.ok();
        deputy.operate("PATCH", &format!("/clients/{}", service.client_id), json!({"disabled": true})).await.ok();
        for path in ["/token", "/introspect", "/revoke"] {
            service.post(path, &[GRANT, ("token", "x")], &[]).await.refused(400, "unauthorized_client");
            assert_eq!(deputy.last_reason().await, "client.disabled", "{path}");
        }
    })
    .await;
}
