//! [RFC 7591](https://www.rfc-editor.org/rfc/rfc7591)

use deputy::outbound;
use serde_json::{Value, json};

use crate::support::{Agent, Answer, CALLBACK, Installation, Signer, each_engine, each_engine_with};

async fn register(deputy: &Installation, metadata: Value) -> Answer {
    Answer::of(deputy.http.post(format!("{}/register", deputy.issuer)).json(&metadata)).await
}

#[tokio::test]
async fn rfc7591_3_2_1_the_answer_says_what_was_registered() {
    each_engine(async |deputy| {
        let metadata = json!({"client_name": "Notes agent", "redirect_uris": [CALLBACK], "client_uri": "https://agent.example",
            "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"], "scope": "notes:read",
            "software_id": "notes", "software_version": "1", "something_unknown": {"x": 1}});
        let answer = register(&deputy, metadata).await;
        assert_eq!((answer.status.as_u16(), answer.header("cache-control")), (201, Some("no-store")));
        let told = answer.json();
        for (member, value) in [
            ("client_name", json!("Notes agent")),
            ("redirect_uris", json!([CALLBACK])),
            ("token_endpoint_auth_method", json!("none")),
            ("grant_types", json!(["authorization_code", "refresh_token"])),
            ("response_types", json!(["code"])),
            ("application_type", json!("web")),
            ("client_uri", json!("https://agent.example")),
            ("software_id", json!("notes")),
        ] {
            assert_eq!(told[member], value, "{member}");
        }
        assert!(
            told["client_id_issued_at"].is_i64() && told.get("client_secret").is_none() && told.get("something_unknown").is_none()
        );
        assert!(told.as_object().expect("an object").values().all(|value| !value.is_null()), "a null breaks clients");
        let registered = deputy.facts_of("client.registered.v1").await;
        assert_eq!((registered.len(), &registered[0]["client"]), (1, &told["client_id"]));
    })
    .await;
}

#[tokio::test]
async fn rfc7591_3_equal_registrations_are_one_and_secrets_are_told_once() {
    each_engine(async |deputy| {
        let id = async |metadata: Value| register(&deputy, metadata).await.ok().text("client_id");
        let native = |port: u16| json!({"client_name": "Native", "redirect_uris": [format!("http://127.0.0.1:{port}/cb")]});
        assert_eq!(id(native(1)).await, id(native(2)).await, "the port of a loopback redirect is free anyway");
        assert_ne!(id(native(1)).await, id(json!({"client_name": "Other", "redirect_uris": ["http://127.0.0.1:1/cb"]})).await);
        let confidential = json!({"redirect_uris": [CALLBACK], "token_endpoint_auth_method": "client_secret_post"});
        let (one, other) = (register(&deputy, confidential.clone()).await.ok(), register(&deputy, confidential).await.ok());
        assert_ne!(one.text("client_id"), other.text("client_id"));
        assert_ne!(one.text("client_secret"), other.text("client_secret"));
        assert_eq!(one.json()["client_secret_expires_at"], 0);
    })
    .await;
}

#[tokio::test]
async fn rfc7591_3_2_2_what_is_not_acceptable_is_named() {
    each_engine(async |deputy| {
        let with = |name: &str, value: Value| {
            let mut metadata = json!({"redirect_uris": [CALLBACK]});
            metadata[name] = value;
            metadata
        };
        let private =
            |keys: Value| json!({"redirect_uris": [CALLBACK], "token_endpoint_auth_method": "private_key_jwt", "jwks": keys});
        let mut with_private_half = Signer::new().jwk();
        with_private_half["d"] = "AAAA".into();
        let both = json!({"redirect_uris": [CALLBACK], "token_endpoint_auth_method": "private_key_jwt",
            "jwks": Signer::new().jwks(), "jwks_uri": "https://agent.example/jwks"});
        let metadata = "invalid_client_metadata";
        for (request, error, reason) in [
            (json!({}), "invalid_redirect_uri", "registration.redirect_uri"),
            (with("redirect_uris", json!([])), "invalid_redirect_uri", "registration.redirect_uri"),
            (with("redirect_uris", json!(CALLBACK)), "invalid_redirect_uri", "registration.redirect_uri"),
            (with("redirect_uris", json!([CALLBACK, 1])), "invalid_redirect_uri", "registration.redirect_uri"),
            (with("redirect_uris", json!(vec![CALLBACK; 33])), "invalid_redirect_uri", "registration.redirect_uri"),
            (with("redirect_uris", json!(["http://agent.example/cb"])), "invalid_redirect_uri", "registration.redirect_uri"),
            (with("redirect_uris", json!(["agent:cb"])), "invalid_redirect_uri", "registration.redirect_uri"),
            (with("redirect_uris", json!(["mailto:ada@example.com"])), "invalid_redirect_uri", "registration.redirect_uri"),
            (with("response_types", json!(["token"])), metadata, "registration.metadata"),
            (with("token_endpoint_auth_method", json!("tls_client_auth")), metadata, "registration.metadata"),
            (with("client_name", json!("x".repeat(201))), metadata, "registration.metadata"),
            (with("client_name", json!("two\nlines")), metadata, "registration.metadata"),
            (with("client_uri", json!("javascript:alert(1)")), metadata, "registration.metadata"),
            (with("client_uri", json!(format!("https://agent.example/{}", "x".repeat(2_000)))), metadata, "registration.metadata"),
            (with("client_name", json!(1)), metadata, "registration.metadata"),
            (with("grant_types", json!("authorization_code")), metadata, "registration.metadata"),
            (with("application_type", json!("browser")), metadata, "registration.metadata"),
            (with("jwks_uri", json!("agent.example/jwks")), metadata, "registration.metadata"),
            (with("scope", json!("a\"b")), metadata, "registration.metadata"),
            (with("grant_types", json!(["client_credentials"])), metadata, "registration.grant_type"),
            (with("token_endpoint_auth_method", json!("private_key_jwt")), metadata, "registration.keys"),
            (private(json!({"keys": []})), metadata, "registration.keys"),
            (private(json!({"keys": [with_private_half]})), metadata, "registration.keys"),
            (private(json!({"keys": [{"kty": "oct", "k": "AAAA"}]})), metadata, "registration.keys"),
            (both, metadata, "registration.keys"),
        ] {
            register(&deputy, request.clone()).await.refused(400, error);
            assert_eq!(deputy.last_reason().await, reason, "{request}");
        }
        assert!(deputy.facts_of("client.registered.v1").await.is_empty());
        register(&deputy, private(Signer::new().jwks())).await.ok();
    })
    .await;
}

#[tokio::test]
async fn rfc7591_3_registration_can_need_a_token() {
    each_engine_with("registration = \"token\"\n", async |deputy| {
        let with = async |authorization: &str| {
            let request = deputy.http.post(format!("{}/register", deputy.issuer)).header("authorization", authorization);
            Answer::of(request.json(&json!({"redirect_uris": [CALLBACK]}))).await
        };
        for authorization in ["Bearer wrong", "Basic wrong", "Bearer"] {
            let answer = with(authorization).await.refused(401, "invalid_token");
            assert!(answer.header("www-authenticate").is_some_and(|challenge| challenge.starts_with("Bearer ")));
            assert_eq!(deputy.last_reason().await, "registration.token", "{authorization}");
        }
        register(&deputy, json!({"redirect_uris": [CALLBACK]})).await.refused(401, "invalid_token");
        let token = deputy.operate("POST", "/initial-access-tokens", json!({})).await.ok().text("token");
        with(&format!("Bearer {token}")).await.ok();
        deputy.later(7 * 86_400);
        with(&format!("Bearer {token}")).await.refused(401, "invalid_token");
    })
    .await;
}

#[tokio::test]
async fn rfc7591_3_registration_can_be_off() {
    each_engine_with("registration = \"off\"\n", async |deputy| {
        register(&deputy, json!({"redirect_uris": [CALLBACK]})).await.refused(403, "access_denied");
        assert_eq!(deputy.last_reason().await, "registration.off");
        let metadata = deputy.get("/.well-known/oauth-authorization-server").await.ok().json();
        assert!(metadata.get("registration_endpoint").is_none());
    })
    .await;
}

#[tokio::test]
async fn rfc7591_5_new_registrations_are_bounded_and_known_ones_are_not() {
    each_engine_with("registrations_per_minute_max = 2\n", async |deputy| {
        let named = |name: &str| json!({"client_name": name, "redirect_uris": [CALLBACK]});
        for name in ["one", "two"] {
            register(&deputy, named(name)).await.ok();
        }
        let counted = deputy.refusals_counted("registration.limit").await;
        let answer = register(&deputy, named("three")).await.refused(429, "temporarily_unavailable");
        assert!(answer.header("retry-after").is_some());
        assert!(deputy.refusals_counted("registration.limit").await > counted);
        register(&deputy, named("one")).await.ok();
    })
    .await;
}

#[tokio::test]
async fn rfc7591_5_one_network_cannot_keep_the_others_out() {
    let deputy = Installation::start_with("registrations_per_minute_max = 8\ntrusted_proxies = [\"127.0.0.1\"]\n").await;
    deputy.resource().await;
    let register = async |address: &str, name: &str| {
        let request = deputy.http.post(format!("{}/register", deputy.issuer)).header("x-forwarded-for", address);
        Answer::of(request.json(&json!({"client_name": name, "redirect_uris": [CALLBACK]}))).await
    };
    for (address, name) in [("192.0.2.1", "one"), ("192.0.2.2", "two")] {
        register(address, name).await.ok();
    }
    let counted = deputy.refusals_counted("registration.limit").await;
    register("192.0.2.3", "three").await.refused(429, "temporarily_unavailable");
    register("192.0.2.3", "one").await.ok();
    // A metadata document is a row of ours too, whoever names it.
    let url = "https://agent.example/client.json";
    let document = json!({"client_id": url, "client_name": "Documented", "redirect_uris": [CALLBACK]});
    deputy.web.answer(&url.parse().expect("a URL"), outbound::Answer::json(&document));
    let authorize = async |address: &str| {
        let request = deputy.http.get(Agent::known(&deputy, url).authorization_url("notes:read", &[]));
        Answer::of(request.header("x-forwarded-for", address)).await
    };
    authorize("192.0.2.4").await.refused_on_page(429, "registration.limit");
    assert_eq!(deputy.refusals_counted("registration.limit").await, counted + 2);
    assert!(deputy.web.calls().is_empty(), "nothing is fetched for nothing");
    authorize("198.51.100.1").await.ok();
    authorize("192.0.2.4").await.ok();
    register("2001:db8::1", "four").await.ok();
}

#[tokio::test]
async fn a_document_that_nobody_was_asked_about_is_not_fetched_for_a_token() {
    let deputy = Installation::start().await;
    deputy.resource().await;
    let agent = Agent::known(&deputy, "https://agent.example/client.json");
    agent.redeem("any", &[]).await.refused(401, "invalid_client");
    assert_eq!(deputy.last_reason().await, "client.unknown");
    assert!(deputy.web.calls().is_empty());
}

/// What Cursor sends, whose own scheme is no reversed domain name as [RFC 8252 §7.1](https://www.rfc-editor.org/rfc/rfc8252#section-7.1)
/// would have it.
#[tokio::test]
async fn rfc8252_7_1_an_app_may_have_a_scheme_of_its_own() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let ada = deputy.person("ada@example.com").await;
        let app = "cursor://anysphere.cursor-mcp/oauth/callback";
        let uris = json!([app, "https://www.cursor.com/agents/mcp/oauth/callback", "http://localhost:8787/callback"]);
        let cursor = json!({"client_name": "Cursor", "redirect_uris": uris, "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"], "token_endpoint_auth_method": "none"});
        assert_eq!(register(&deputy, cursor.clone()).await.ok().json()["redirect_uris"], uris);
        let agent = Agent::register(&deputy, cursor).await;
        let url = agent.authorization_url("notes:read", &[("redirect_uri", app)]);
        let sign_in = ada.open(&url).await.page().ok();
        assert!(!sign_in.body.contains("anysphere"), "the authority of such a URI is whatever it says: {}", sign_in.body);
        let consent = ada.sign_in_on(&sign_in).await.page().ok();
        assert!(
            consent.body.contains(">cursor:</strong>") && consent.body.contains("installed on this device"),
            "{}",
            consent.body
        );
        let arrived = ada.allow_on(&consent).await.away();
        assert!(arrived.as_str().starts_with(&format!("{app}?code=")), "{arrived}");
        // Any app can claim the scheme, so its person is asked each time.
        assert!(ada.open(&url).await.page().body.contains("name=\"decision\""));
    })
    .await;
}
