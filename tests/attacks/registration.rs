//! Registration gives no power, and whatever URL somebody names is hostile.
//! [RFC 7591 §5](https://www.rfc-editor.org/rfc/rfc7591#section-5), [RFC 9700 §4](https://www.rfc-editor.org/rfc/rfc9700#section-4)

use std::{io, net::IpAddr, time::Duration};

use deputy::{
    outbound,
    world::clock::{Clock as _, SystemClock},
};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{repels, repels_on_page};
use crate::{
    clients::processes::{self, Announces, Process},
    support::{Agent, Answer, CALLBACK, Installation, Signer, Workload, each_engine, each_engine_with, person::field},
};

const INTERNAL: [&str; 12] = [
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.100.100.200",
    "168.63.129.16",
    "0.0.0.0",
    "[::ffff:a00:1]",
    "[::ffff:a9fe:a9fe]",
    "[fd00:ec2::254]",
    "[fe80::1]",
    "[64:ff9b::a00:1]",
];

fn registration(deputy: &Installation, metadata: Value) -> impl Future<Output = Answer> {
    Answer::of(deputy.http.post(format!("{}/register", deputy.issuer)).json(&metadata))
}

/// Serves a metadata document, the usual one with these changes, and returns the client that it describes.
fn documented<'i>(deputy: &'i Installation, id: &str, changes: Value) -> Agent<'i> {
    let mut document = json!({"client_id": id, "client_name": "Documented", "redirect_uris": [CALLBACK]});
    document.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
    deputy.web.answer(&id.parse().expect("a URL"), outbound::Answer::json(&document));
    Agent::known(deputy, id)
}

#[tokio::test]
async fn cve_2026_54885_no_internal_address_is_called() {
    each_engine(async |deputy| {
        deputy.resource().await;
        for host in INTERNAL {
            let agent = documented(&deputy, &format!("https://{host}/client.json"), json!({}));
            repels_on_page(&deputy, &agent.authorization_url("notes:read", &[]), "client_document.refused").await;
        }
        // A name is judged by where it leads.
        let internal: IpAddr = [10, 0, 0, 1].into();
        deputy.web.name("internal.example", &[internal]);
        let agent = documented(&deputy, "https://internal.example/client.json", json!({}));
        repels_on_page(&deputy, &agent.authorization_url("notes:read", &[]), "client_document.refused").await;
        assert!(deputy.web.calls().is_empty(), "nothing was even tried");
        let ada = deputy.person("ada@example.com").await;
        documented(&deputy, "https://agent.example/client.json", json!({})).authorize(&ada, "notes:read").await;
    })
    .await;
}

#[tokio::test]
async fn cve_2026_54885_nor_loopback_by_a_server_that_is_not() {
    each_engine_with("issuer = \"https://deputy.example\"\n", async |deputy| {
        for id in ["https://127.0.0.1/client.json", "https://[::1]/client.json", "https://localhost/client.json"] {
            documented(&deputy, id, json!({}));
            let answer = Answer::of(deputy.http.get(format!("http://{}/authorize?client_id={id}", deputy.address()))).await;
            assert!(answer.status == 400 && answer.body.contains("client_document.refused"), "{id}: {answer:?}");
        }
        let answer =
            Answer::of(deputy.http.get(format!("http://{}/authorize?client_id=http://127.0.0.1/c.json", deputy.address()))).await;
        assert!(answer.body.contains("client_document.url"), "{answer:?}");
        assert!(deputy.web.calls().is_empty());
    })
    .await;
}

#[tokio::test]
async fn cve_2026_1180_keys_at_an_internal_address() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let metadata = |jwks_uri: String| json!({"redirect_uris": [CALLBACK], "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": jwks_uri});
        for host in INTERNAL {
            let register = registration(&deputy, metadata(format!("https://{host}/jwks")));
            repels(&deputy, register, 400, "invalid_client_metadata", "registration.keys").await;
        }
        for uri in ["http://agent.example/jwks", "ftp://agent.example/jwks", "https://user:pass@agent.example/jwks"] {
            repels(&deputy, registration(&deputy, metadata(uri.to_owned())), 400, "invalid_client_metadata", "registration.keys").await;
        }
        // A name that turns out to be internal when it is first used.
        let internal: IpAddr = [169, 254, 169, 254].into();
        deputy.web.name("keys.example", &[internal]);
        let signer = Signer::new();
        deputy.web.answer(&"https://keys.example/jwks".parse().expect("a URL"), outbound::Answer::json(&signer.jwks()));
        let workload = Workload::registered(&deputy, "notes:read", json!("https://keys.example/jwks"), signer).await;
        let (state, counted) = (deputy.state().await, deputy.refusals_counted("client.keys_unavailable").await);
        workload.prove(&workload.claims()).await.refused(503, "temporarily_unavailable");
        assert!(deputy.refusals_counted("client.keys_unavailable").await > counted);
        assert_eq!(deputy.state().await, state);
        assert!(deputy.web.calls().is_empty(), "no address of ours was called");
        deputy.web.name("keys.example", &[[1, 2, 3, 4].into()]);
        deputy.later(10);
        workload.prove(&workload.claims()).await.ok();
    })
    .await;
}

#[tokio::test]
async fn cve_2020_10770_a_request_uri_is_never_fetched() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let agent = deputy.agent().await;
        for uri in ["https://evil.example/request", "http://169.254.169.254/latest/meta-data", "https://agent.example/request"] {
            let url = agent.authorization_url("notes:read", &[("request_uri", uri)]);
            super::repels_by_redirect(&deputy, &url, CALLBACK, "request_uri_not_supported", "authorize.request_uri").await;
        }
        assert!(deputy.web.calls().is_empty());
    })
    .await;
}

#[tokio::test]
async fn cve_2026_4874_no_parameter_becomes_a_call() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let ada = deputy.person("ada@example.com").await;
        let uri = "http://169.254.169.254/latest/meta-data";
        let names = ["client_uri", "logo_uri", "policy_uri", "tos_uri"];
        let mut metadata = json!({"grant_types": ["authorization_code", "refresh_token"]});
        for name in names.into_iter().chain(["sector_identifier_uri", "initiate_login_uri", "backchannel_logout_uri"]) {
            metadata[name] = uri.into();
        }
        let agent = Agent::register(&deputy, metadata).await;
        let tokens = agent.authorize(&ada, "notes:read").await;
        let form = [("grant_type", "refresh_token"), ("refresh_token", tokens.refresh_token())];
        let hosts = [
            ("client_session_host", "169.254.169.254"),
            ("client_session_state", uri),
            ("jwks_uri", uri),
            ("callback_uri", uri),
            ("audience", uri),
        ];
        agent.token(&form, &hosts).await.ok();
        assert!(deputy.web.calls().is_empty());
    })
    .await;
}

#[tokio::test]
async fn cve_2026_53513_a_redirect_is_not_followed() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let id = "https://agent.example/client.json";
        let agent = Agent::known(&deputy, id);
        for status in [StatusCode::MOVED_PERMANENTLY, StatusCode::FOUND, StatusCode::SEE_OTHER, StatusCode::TEMPORARY_REDIRECT] {
            let headers = [("location", "https://10.0.0.1/client.json")]
                .map(|(name, value)| (name.parse().expect("a header's name"), reqwest::header::HeaderValue::from_static(value)));
            let answer = outbound::Answer::Complete { status, headers: headers.into_iter().collect(), body: Vec::new() };
            deputy.web.answer(&id.parse().expect("a URL"), answer);
            repels_on_page(&deputy, &agent.authorization_url("notes:read", &[]), "client_document.invalid").await;
        }
        assert!(deputy.web.calls().iter().all(|call| call.url.as_str() == id));
        let ada = deputy.person("ada@example.com").await;
        documented(&deputy, id, json!({})).authorize(&ada, "notes:read").await;
    })
    .await;
}

#[tokio::test]
async fn cve_2026_65635_a_registration_gives_no_power() {
    each_engine(async |deputy| {
        deputy.resource().await;
        for grant_types in [
            json!(["client_credentials"]),
            json!(["authorization_code", "client_credentials"]),
            json!(["authorization_code", "urn:ietf:params:oauth:grant-type:token-exchange"]),
            json!(["implicit"]),
            json!(["password", "authorization_code"]),
            json!(["refresh_token"]),
            json!([]),
        ] {
            let register = registration(&deputy, json!({"redirect_uris": [CALLBACK], "grant_types": grant_types}));
            repels(&deputy, register, 400, "invalid_client_metadata", "registration.grant_type").await;
        }
        // What else it asks for is not given: no scope without the person, no place among operators, no chosen identity.
        let wishes = json!({"token_endpoint_auth_method": "client_secret_basic", "scope": "notes:admin admin", "client_id": "cli_chosen",
            "client_secret": "chosen", "organization": "another", "roles": ["admin"], "trusted": true, "origin": "operator",
            "resources": [format!("{}/admin", deputy.issuer)]});
        let agent = Agent::register(&deputy, wishes).await;
        assert!(agent.client_id != "cli_chosen" && agent.client_secret.as_deref() != Some("chosen"));
        repels(&deputy, agent.client_credentials(&[]), 400, "unauthorized_client", "client.grant_type").await;
        let url = agent.authorization_url("notes:admin", &[("resource", &deputy.issuer)]);
        super::repels_by_redirect(&deputy, &url, CALLBACK, "invalid_target", "resource.unknown").await;
        let ada = deputy.person("ada@example.com").await;
        let tokens = agent.authorize(&ada, "notes:read").await;
        let admin = Answer::of(deputy.http.get(format!("{}/admin/v1/clients", deputy.issuer)).bearer_auth(&tokens.access_token)).await;
        admin.refused(401, "invalid_token");
        assert_eq!(deputy.last_reason().await, "operator.token");
    })
    .await;
}

#[tokio::test]
async fn cve_2026_15572_a_change_is_judged_like_a_registration() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let ada = deputy.person("ada@example.com").await;
        let registered = deputy.agent().await;
        for method in ["PUT", "PATCH", "DELETE", "POST", "GET"] {
            let path = format!("{}/register/{}", deputy.issuer, registered.client_id);
            let request = deputy.http.request(method.parse().expect("a method"), path);
            let change = Answer::of(request.json(&json!({"redirect_uris": ["https://evil.example/cb"]})));
            repels(&deputy, change, 404, "not_found", "request.not_found").await;
        }
        let id = "https://agent.example/client.json";
        let agent = documented(&deputy, id, json!({}));
        agent.authorize(&ada, "notes:read").await;
        deputy.later(3601);
        for change in [
            json!({"redirect_uris": ["javascript:alert(1)"]}),
            json!({"redirect_uris": ["https://evil.example/*"]}),
            json!({"redirect_uris": []}),
            json!({"client_secret": "known to all"}),
            json!({"client_id": "https://other.example/client.json"}),
            json!({"client_uri": "javascript:alert(1)"}),
            json!({"client_name": "two\nlines"}),
            json!({"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "https://10.0.0.1/jwks"}),
            json!({"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "http://agent.example/jwks"}),
        ] {
            documented(&deputy, id, change);
            // Nobody has us ask for it all the time.
            deputy.later(10);
            repels_on_page(&deputy, &agent.authorization_url("notes:read", &[]), "client_document.invalid").await;
        }
        deputy.later(10);
        documented(&deputy, id, json!({"client_name": "Renamed"})).authorize(&ada, "notes:read").await;
    })
    .await;
}

#[tokio::test]
async fn ghsa_46c8_635v_68r2_loopback_is_known_by_its_host() {
    each_engine(async |deputy| {
        deputy.resource().await;
        for (id, reason) in [
            ("http://localhost.evil.example/client.json", "client_document.refused"),
            ("http://evillocalhost/client.json", "client_document.refused"),
            ("http://127.0.0.1.evil.example/client.json", "client_document.refused"),
            ("http://localhost./client.json", "client_document.refused"),
            ("http://LOCALHOST/client.json", "client_document.url"),
            ("http://127.1/client.json", "client_document.url"),
            ("http://0x7f000001/client.json", "client_document.url"),
            ("http://localhost@evil.example/client.json", "client_document.url"),
            ("http://xn--lcalhost-o0a/client.json", "client_document.refused"),
        ] {
            deputy.web.answer(&id.parse().expect("a URL"), outbound::Answer::json(&json!({})));
            repels_on_page(&deputy, &Agent::known(&deputy, id).authorization_url("notes:read", &[]), reason).await;
        }
        assert!(deputy.web.calls().is_empty());
        let ada = deputy.person("ada@example.com").await;
        documented(&deputy, "http://localhost:3999/client.json", json!({})).authorize(&ada, "notes:read").await;
    })
    .await;
}

#[tokio::test]
async fn cve_2026_110864_what_another_server_sealed_is_unknown() {
    each_engine(async |deputy| {
        let other = Installation::start().await;
        for installation in [&deputy, &other] {
            installation.resource().await;
        }
        let (ada, evil) = (deputy.person("ada@example.com").await, other.person("ada@example.com").await);
        let (agent, foreign) = (deputy.agent().await, other.agent().await);
        let page = ada.open(&agent.authorization_url("notes:read", &[])).await.page();
        let forged = evil.open(&foreign.authorization_url("notes:read", &[])).await.page();
        let before = deputy.state().await;
        let form = [("seal", &*field(&forged, "seal")), ("login", &ada.login), ("password", &ada.password)];
        let refused = ada.submit("/sign-in", &form).await.page();
        assert!(refused.status == 400 && refused.body.contains("form.expired"), "{refused:?}");
        assert_eq!((deputy.state().await, deputy.last_reason().await), (before, "form.expired".to_owned()));
        ada.sign_in_on(&page).await.page();
    })
    .await;
}

#[tokio::test]
async fn cve_2025_6514_metadata_holds_web_addresses_only() {
    for configuration in ["", "issuer = \"https://deputy.example\"\n", "issuer = \"https://deputy.example/tenant\"\n"] {
        let deputy = Installation::start_with(configuration).await;
        let path = deputy.issuer.parse::<reqwest::Url>().expect("a URL").path().trim_end_matches('/').to_owned();
        let url = format!("http://{}/.well-known/oauth-authorization-server{path}", deputy.address());
        let metadata = Answer::of(deputy.http.get(url)).await.ok().json();
        let addresses = metadata
            .as_object()
            .expect("an object")
            .iter()
            .filter(|(name, _)| name.ends_with("_endpoint") || name.ends_with("_uri") || *name == "issuer");
        let addresses: Vec<_> = addresses.map(|(_, value)| value.as_str().expect("text")).collect();
        assert!(addresses.len() > 6 && addresses.iter().all(|address| address.starts_with(&deputy.issuer)), "{addresses:?}");
        assert!(deputy.issuer.starts_with("https://") || deputy.issuer.starts_with("http://127.0.0.1:"));
    }
}

#[tokio::test]
async fn cve_2025_66414_and_66416_a_rebound_name_reaches_no_mcp_server() -> io::Result<()> {
    let deputy = Installation::start().await;
    // The example server goes by the machine's clock.
    deputy.clock.set(SystemClock.now());
    let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut server = processes::example("protected_mcp_server");
    server.args(["--address", &address.to_string(), "--issuer", &deputy.issuer]);
    let _server = Process::start(server, Announces::OnOutput, "an MCP server").await;
    let resource = format!("http://{address}/mcp");
    deputy.resource_at(&resource).await;
    let service = deputy.service("notes:read").await;
    let token = service.client_credentials(&[("resource", &resource)]).await.ok().text("access_token");
    let call = |headers: &[(&'static str, &str)]| {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
        let mut request = deputy.http.post(&resource).bearer_auth(&token).json(&body).timeout(Duration::from_secs(20));
        request = request.header("accept", "application/json, text/event-stream");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::of(request)
    };
    for headers in [
        [("host", "evil.example")],
        [("host", "evil.example:9401")],
        [("host", "127.0.0.1.evil.example")],
        [("origin", "https://evil.example")],
        [("origin", "null")],
    ] {
        let answer = call(&headers).await;
        assert_eq!(answer.status, 403, "{headers:?}: {answer:?}");
    }
    let answer = call(&[]).await.ok();
    assert!(answer.body.contains("read_notes"), "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn an_example_whose_credentials_cannot_be_read_does_not_go_on_without_asking() -> io::Result<()> {
    // A server that took them for none would go on to this address, which is in use.
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    for credentials in ["", "rsc_1", "rsc_1 secret"] {
        let mut server = processes::example("protected_mcp_server");
        server.args(["--address", &taken.local_addr()?.to_string()]).env("NOTES_CREDENTIALS", credentials);
        let output = server.output().await?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("<ID>:<SECRET>"), "{credentials:?}: {said}");
    }
    Ok(())
}
