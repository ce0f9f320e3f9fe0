//! Where the answer goes: only to a URI that this client registered, compared as text; and no link comes from a request.
//! [OAuth 2.1 §2.3.1](https://datatracker.ietf.org/doc/html/draft-ietf-oauth-v2-1-13#section-2.3.1), [RFC 9700 §4.1](https://www.rfc-editor.org/rfc/rfc9700#section-4.1)

use serde_json::json;

use super::{repels, repels_by_redirect, repels_on_page};
use crate::support::{Agent, Answer, CALLBACK, Installation, each_engine};

/// A client that registered this URI gets its code there; asked for any other, the person sees a page and goes nowhere.
async fn is_the_only_one(deputy: &Installation, registered: &str, others: &[&str]) {
    deputy.resource().await;
    let ada = deputy.person("ada@example.com").await;
    let agent = Agent::register(deputy, json!({"redirect_uris": [registered]})).await;
    for other in others {
        let url = agent.authorization_url("notes:read", &[("redirect_uri", other)]);
        repels_on_page(deputy, &url, "authorize.redirect_uri_unregistered").await;
    }
    let arrived = ada.authorize(&agent.authorization_url("notes:read", &[("redirect_uri", registered)])).await;
    assert!(arrived.as_str().starts_with(&format!("{registered}?code=")), "{arrived}");
}

async fn cannot_be_registered(deputy: &Installation, uris: &[&str]) {
    for uri in uris {
        let register = deputy.http.post(format!("{}/register", deputy.issuer));
        let request = register.json(&json!({"redirect_uris": [CALLBACK, uri]}));
        repels(deputy, Answer::of(request), 400, "invalid_redirect_uri", "registration.redirect_uri").await;
    }
    Agent::register(deputy, json!({"redirect_uris": [CALLBACK]})).await;
}

#[tokio::test]
async fn cve_2023_6291_prefix_match() {
    each_engine(async |deputy| {
        let others = [
            "https://allowed.example/cb.evil.example/cb",
            "https://allowed.example.evil.example/cb",
            "https://allowed.example/cb2",
        ];
        is_the_only_one(&deputy, "https://allowed.example/cb", &others).await;
    })
    .await;
}

#[tokio::test]
async fn cve_2024_1132_encoded_traversal() {
    each_engine(async |deputy| {
        let others =
            ["https://allowed.example/cb/..%2f..%2fevil", "https://allowed.example/cb/../evil", "https://allowed.example/./cb"];
        is_the_only_one(&deputy, "https://allowed.example/cb", &others).await;
        cannot_be_registered(&deputy, &["https://allowed.example/cb/..%2f..%2fevil", "https://allowed.example/cb/%2e%2e/evil"])
            .await;
    })
    .await;
}

#[tokio::test]
async fn cve_2022_3782_double_encoding() {
    each_engine(async |deputy| {
        let others = ["https://allowed.example/cb/%252f..%252fevil", "https://allowed.example/%63b"];
        is_the_only_one(&deputy, "https://allowed.example/cb", &others).await;
        cannot_be_registered(&deputy, &["https://allowed.example/cb/%252e%252e%252fevil"]).await;
    })
    .await;
}

#[tokio::test]
async fn cve_2026_3872_path_parameter_traversal() {
    each_engine(async |deputy| {
        is_the_only_one(
            &deputy,
            "https://allowed.example/cb",
            &["https://allowed.example/cb/..;/evil", "https://allowed.example/cb;x"],
        )
        .await;
        cannot_be_registered(&deputy, &["https://allowed.example/cb/..;/evil"]).await;
    })
    .await;
}

#[tokio::test]
async fn cve_2026_7504_wildcard_and_userinfo() {
    each_engine(async |deputy| {
        is_the_only_one(&deputy, "https://allowed.example/cb", &["https://allowed.example@evil.example/cb"]).await;
        cannot_be_registered(
            &deputy,
            &["https://allowed.example/*", "https://*.allowed.example/cb", "*", "https://allowed.example@evil.example/cb"],
        )
        .await;
    })
    .await;
}

#[tokio::test]
async fn cve_2024_8883_userinfo_after_loopback() {
    each_engine(async |deputy| {
        let others = ["http://localhost:80@evil.example/", "http://localhost@evil.example/", "http://evil.example@localhost/"];
        is_the_only_one(&deputy, "http://localhost/", &others).await;
    })
    .await;
}

#[tokio::test]
async fn cve_2026_18211_loopback_by_prefix() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let ada = deputy.person("ada@example.com").await;
        for (registered, free, others) in [
            ("http://localhost/cb", "http://localhost:9999/cb", ["http://localhost.evil.example/cb", "http://localhost.:1/cb"]),
            ("http://127.0.0.1/cb", "http://127.0.0.1:9999/cb", ["http://127.0.0.1.evil.example/cb", "http://127.0.0.2/cb"]),
        ] {
            let agent = Agent::register(&deputy, json!({"redirect_uris": [registered]})).await;
            for other in others {
                let url = agent.authorization_url("notes:read", &[("redirect_uri", other)]);
                repels_on_page(&deputy, &url, "authorize.redirect_uri_unregistered").await;
            }
            let arrived = ada.authorize(&agent.authorization_url("notes:read", &[("redirect_uri", free)])).await;
            assert!(arrived.as_str().starts_with(&format!("{free}?code=")), "{arrived}");
        }
    })
    .await;
}

#[tokio::test]
async fn cve_2023_6927_another_response_mode() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let agent = deputy.agent().await;
        for mode in ["form_post.jwt", "form_post", "fragment", "jwt", "query.jwt", "web_message", "query"] {
            let evil = [("response_mode", mode), ("redirect_uri", "https://evil.example/cb")];
            repels_on_page(&deputy, &agent.authorization_url("notes:read", &evil), "authorize.redirect_uri_unregistered").await;
            if mode != "query" {
                let url = agent.authorization_url("notes:read", &[("response_mode", mode)]);
                repels_by_redirect(&deputy, &url, CALLBACK, "invalid_request", "authorize.response_mode").await;
            }
        }
        let ada = deputy.person("ada@example.com").await;
        ada.authorize(&agent.authorization_url("notes:read", &[("response_mode", "query")])).await;
    })
    .await;
}

#[tokio::test]
async fn cve_2024_52289_a_dot_is_no_pattern() {
    each_engine(async |deputy| {
        is_the_only_one(&deputy, "https://foo.example.com/cb", &["https://fooaexample.com/cb", "https://foo-example.com/cb"]).await;
    })
    .await;
}

#[tokio::test]
async fn go_2026_4653_two_parsers_two_hosts() {
    each_engine(async |deputy| {
        let others = [
            "https://good.example\\@evil.example/",
            "https://good.example#@evil.example/",
            "https://good.example\t/",
            "https://good.example\n/",
            "https://good.example\r\n/",
            "https://good.example\u{0}/",
            "https://good.example/ ",
            " https://good.example/",
            "https:good.example/",
            "https:/good.example/",
            "https:\\\\good.example/",
            "https://good.example:443/",
            "https://GOOD.example/",
            "https://good.example./",
            "https://good%2eexample/",
            "https://good。example/",
            "https://gооd.example/",
            "//good.example/",
        ];
        is_the_only_one(&deputy, "https://good.example/", &others).await;
    })
    .await;
}

#[tokio::test]
async fn cve_2026_54072_an_unregistered_uri_gets_a_page() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        agent.code(&ada, "notes:read").await;
        // Also for someone who is signed in and allowed this client everything, when nothing would be asked.
        let facts = super::refusals(&deputy).await.len();
        let evil = [("redirect_uri", "https://evil.example/cb"), ("prompt", "none")];
        let page = ada.open(&agent.authorization_url("notes:read", &evil)).await.page();
        assert_eq!((page.status.as_u16(), page.header("location")), (400, None));
        super::on_record(&deputy, facts, "invalid_request", "authorize.redirect_uri_unregistered").await;
        let silent = ada.open(&agent.authorization_url("notes:read", &[("prompt", "none")])).await;
        assert!(silent.parameter("code").is_some());
    })
    .await;
}

#[tokio::test]
async fn cve_2025_4143_a_uri_of_another_client() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let ada = deputy.person("ada@example.com").await;
        let one = Agent::register(&deputy, json!({"client_name": "A", "redirect_uris": [CALLBACK]})).await;
        let other = Agent::register(&deputy, json!({"client_name": "B", "redirect_uris": ["https://evil.example/cb"]})).await;
        let url = one.authorization_url("notes:read", &[("redirect_uri", "https://evil.example/cb")]);
        repels_on_page(&deputy, &url, "authorize.redirect_uri_unregistered").await;
        ada.authorize(&other.authorization_url("notes:read", &[("redirect_uri", "https://evil.example/cb")])).await;
    })
    .await;
}

#[tokio::test]
async fn cve_2026_67333_schemes_that_run() {
    each_engine(async |deputy| {
        let schemes = [
            "javascript:alert(1)",
            "JavaScript:alert(1)",
            "data:text/html,x",
            "vbscript:x",
            "file:///etc/passwd",
            "blob:https://a.example/1",
            "javascript://app/%0aalert(1)",
            "about:blank",
            "view-source:https://a.example/",
            "filesystem:https://a.example/temporary/x",
            "chrome://settings/reset",
            "moz-extension://1/x.html",
            "intent://cb/#Intent;scheme=app;end",
            "intent://cb/",
            "ms-settings:/privacy",
            "search-ms://query=x/",
            "itms-services://a.example/manifest",
            "mailto:ada@example.com",
            "sms://15551234567/",
            "tel://15551234567/",
            "ftp://a.example/cb",
            "ws://a.example/cb",
            "wss://a.example/cb",
            "ldap://a.example/cb",
            "ssh://a.example/cb",
            "smb://a.example/share",
            "web+app://cb/",
        ];
        cannot_be_registered(&deputy, &schemes).await;
        deputy.resource().await;
        for (number, uri) in schemes.iter().enumerate() {
            let id = format!("https://agent.example/{number}.json");
            let document = json!({"client_id": id, "client_name": "Evil", "redirect_uris": [uri]});
            deputy.web.answer(&id.parse().expect("a URL"), deputy::outbound::Answer::json(&document));
            let url = format!("/authorize?client_id={id}&response_type=code&redirect_uri={}", urlencoded(uri));
            repels_on_page(&deputy, &url, "client_document.invalid").await;
        }
        // What a client says of itself is text on the page, whatever it looks like.
        let name = "<script>alert(1)</script><img src=x onerror=alert(1)>";
        let agent = Agent::register(&deputy, json!({"client_name": name, "client_uri": "https://agent.example/\"><script>"})).await;
        let ada = deputy.person("ada@example.com").await;
        let page = ada.open(&agent.authorization_url("notes:read", &[])).await.page();
        let consent = ada.sign_in_on(&page).await.page();
        assert!(
            consent.body.contains("name=\"decision\"")
                && !consent.body.contains("<script>alert")
                && !consent.body.contains("<img src=x")
        );
        assert!(consent.header("content-security-policy").is_some_and(|policy| !policy.contains("unsafe")));
    })
    .await;
}

#[tokio::test]
async fn cve_2020_15233_and_15234_loopback_override_and_case() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let ada = deputy.person("ada@example.com").await;
        let native = Agent::register(&deputy, json!({"redirect_uris": ["http://127.0.0.1:7777/Cb"]})).await;
        for other in
            ["http://127.0.0.1:8888/other", "http://127.0.0.1:8888/Cb?x=1", "http://localhost:8888/Cb", "http://127.0.0.1:8888/cb"]
        {
            let url = native.authorization_url("notes:read", &[("redirect_uri", other)]);
            repels_on_page(&deputy, &url, "authorize.redirect_uri_unregistered").await;
        }
        let url = native.authorization_url("notes:read", &[("redirect_uri", "http://127.0.0.1:8888/Cb")]);
        assert!(ada.authorize(&url).await.as_str().starts_with("http://127.0.0.1:8888/Cb?code="));
    })
    .await;
}

#[tokio::test]
async fn cve_2020_26938_a_script_in_the_uri() {
    each_engine(async |deputy| {
        let scripts =
            ["https://agent.example/<script>alert(1)</script>", "https://agent.example/\"onload=x", "https://agent.example/'x"];
        cannot_be_registered(&deputy, &scripts).await;
        deputy.resource().await;
        let agent = deputy.agent().await;
        for script in scripts {
            let url = agent.authorization_url("notes:read", &[("redirect_uri", script)]);
            repels_on_page(&deputy, &url, "authorize.redirect_uri_unregistered").await;
            let page = deputy.get(&url[deputy.issuer.len()..]).await;
            assert!(!page.body.contains(script), "the page does not say it again: {}", page.body);
        }
        let ada = deputy.person("ada@example.com").await;
        agent.code(&ada, "notes:read").await;
    })
    .await;
}

/// The headers by which proxies say who was asked.
const FORGED: [(&str, &str); 6] = [
    ("forwarded", "host=evil.example;proto=https;for=1.2.3.4"),
    ("x-forwarded-host", "evil.example"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-server", "evil.example"),
    ("x-original-url", "https://evil.example/"),
    ("host", "evil.example"),
];

#[tokio::test]
async fn cve_2026_29067_the_issuer_is_not_what_the_request_says() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let agent = deputy.agent().await;
        let metadata = deputy.get("/.well-known/oauth-authorization-server").await.ok();
        let page = agent.authorization_url("notes:read", &[]);
        let told = agent.authorization_url("notes:read", &[("code_challenge", ""), ("prompt", "none")]);
        for (name, value) in FORGED {
            let with = |url: &str| Answer::of(deputy.http.get(url).header(name, value));
            assert_eq!(
                with(&format!("{}/.well-known/oauth-authorization-server", deputy.issuer)).await.body,
                metadata.body,
                "{name}"
            );
            let page = with(&page).await;
            assert!(
                !page.body.contains("evil.example") && page.header("location").is_none_or(|to| !to.contains("evil.example")),
                "{name}"
            );
            let told = with(&told).await;
            let issuer = format!("iss={}", urlencoded(&deputy.issuer));
            assert!(told.header("location").is_some_and(|to| to.starts_with(CALLBACK) && to.contains(&issuer)), "{name}: {told:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn ghsa_2wmj_46rj_qm2w_links_come_from_the_configuration() {
    each_engine(async |deputy| {
        for (number, (name, value)) in FORGED.into_iter().enumerate() {
            let invite = deputy.http.post(format!("{}/admin/v1/invitations", deputy.issuer)).bearer_auth(deputy.operator_token());
            let body = json!({"login": format!("guest{number}@example.com")});
            let link = Answer::of(invite.header(name, value).json(&body)).await.ok().text("url");
            assert!(link.starts_with(&format!("{}/", deputy.issuer)), "{name}: {link}");
        }
    })
    .await;
}

fn urlencoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// A second `iss`, `code`, `state` or `error` beside ours: which of them a client believes is anybody's guess.
#[tokio::test]
async fn rfc9207_2_4_an_answer_before_ours() {
    each_engine(async |deputy| {
        let uris = [
            "https://agent.example/cb?iss=https://honest.example",
            "https://agent.example/cb?x=1&code=stolen",
            "https://agent.example/cb?%73tate=x",
            "https://agent.example/cb?error=none",
            "https://agent.example/cb?error_description=none",
            "http://127.0.0.1:7/cb?code",
            "com.example.app:/cb?iss=x",
        ];
        cannot_be_registered(&deputy, &uris).await;
        deputy.resource().await;
        let (ada, registered) = (deputy.person("ada@example.com").await, "https://agent.example/cb?tenant=1&coded=2");
        let agent = Agent::register(&deputy, json!({"redirect_uris": [registered]})).await;
        let arrived = ada.authorize(&agent.authorization_url("notes:read", &[("redirect_uri", registered)])).await;
        assert!(arrived.as_str().starts_with(&format!("{registered}&code=")), "{arrived}");
        let native = Agent::register(&deputy, json!({"redirect_uris": ["http://127.0.0.1/cb"]})).await;
        let url = native.authorization_url("notes:read", &[("redirect_uri", "http://127.0.0.1:7/cb?code=x")]);
        repels_on_page(&deputy, &url, "authorize.redirect_uri_unregistered").await;
    })
    .await;
}
