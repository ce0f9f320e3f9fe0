//! Authorization codes are for one client, one verifier and one use; pushed and signed requests do not exist.
//! [OAuth 2.1 §4.1.3](https://datatracker.ietf.org/doc/html/draft-ietf-oauth-v2-1-13#section-4.1.3), [RFC 7636](https://www.rfc-editor.org/rfc/rfc7636)

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;

use super::{is_refused, repels, repels_by_redirect, repels_on_page};
use crate::support::{
    Agent, Answer, CALLBACK, Installation, RESOURCE, Signer,
    agent::{Tokens, VERIFIER},
    each_engine, each_engine_with,
    workload::unsigned,
};

#[tokio::test]
async fn cve_2025_4144_the_verifier_left_out() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        let code = agent.code(&ada, "notes:read").await;
        is_refused(&deputy, agent.redeem(&code, &[("code_verifier", "")]), 400, "invalid_grant", "code.verifier_missing").await;
        assert_eq!(deputy.facts_of("grant.started.v1").await.len(), 0);
        agent.authorize(&ada, "notes:read").await;
    })
    .await;
}

#[tokio::test]
async fn cve_2024_23647_the_challenge_taken_out_on_the_way() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        let stripped = agent.authorization_url("notes:read", &[("code_challenge", ""), ("code_challenge_method", "")]);
        repels_by_redirect(&deputy, &stripped, CALLBACK, "invalid_request", "pkce.missing").await;
        agent.authorize(&ada, "notes:read").await;
    })
    .await;
}

#[tokio::test]
async fn cve_2023_48228_an_empty_verifier_is_none() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        let code = agent.code(&ada, "notes:read").await;
        let form = [("grant_type", "authorization_code"), ("code", &code), ("client_id", &agent.client_id), ("code_verifier", "")];
        is_refused(&deputy, deputy.post("/token", &form), 400, "invalid_grant", "code.verifier_missing").await;
        agent.authorize(&ada, "notes:read").await;
    })
    .await;
}

#[tokio::test]
async fn cve_2024_22258_a_confidential_client_proves_possession_too() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let ada = deputy.person("ada@example.com").await;
        let agent = Agent::register(&deputy, json!({"token_endpoint_auth_method": "client_secret_basic"})).await;
        let without = agent.authorization_url("notes:read", &[("code_challenge", "")]);
        repels_by_redirect(&deputy, &without, CALLBACK, "invalid_request", "pkce.missing").await;
        let code = agent.code(&ada, "notes:read").await;
        is_refused(&deputy, agent.redeem(&code, &[("code_verifier", "")]), 400, "invalid_grant", "code.verifier_missing").await;
        agent.authorize(&ada, "notes:read").await;
    })
    .await;
}

#[tokio::test]
async fn cve_2026_67336_plain_and_none_are_not_offered() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let agent = deputy.agent().await;
        for path in ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"] {
            let metadata = deputy.get(path).await.ok().json();
            assert_eq!(metadata["code_challenge_methods_supported"], json!(["S256"]));
            for (name, values) in metadata.as_object().expect("an object").iter().filter(|(name, _)| name.contains("alg_values")) {
                let none_or_shared =
                    |value: &serde_json::Value| value == "none" || value.as_str().is_some_and(|alg| alg.starts_with("HS"));
                assert!(values.as_array().is_some_and(|values| !values.iter().any(none_or_shared)), "{name}: {values}");
            }
        }
        for method in ["plain", "", "s256", "S512", "none"] {
            let changes = [("code_challenge", VERIFIER), ("code_challenge_method", method)];
            let url = agent.authorization_url("notes:read", &changes[if method == "plain" { 0 } else { 1 }..]);
            repels_by_redirect(&deputy, &url, CALLBACK, "invalid_request", "pkce.method").await;
        }
        let short = agent.authorization_url("notes:read", &[("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-c")]);
        repels_by_redirect(&deputy, &short, CALLBACK, "invalid_request", "pkce.challenge").await;
        let ada = deputy.person("ada@example.com").await;
        agent.authorize(&ada, "notes:read").await;
    })
    .await;
}

#[tokio::test]
async fn node_oauth2_server_2026_the_verifier_has_a_grammar_and_a_wrong_one_burns_the_code() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        for verifier in ["x".repeat(42), "x".repeat(129), format!("{} y", "x".repeat(43)), format!("{}é", "x".repeat(43))] {
            let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
            let url = agent.authorization_url("notes:read", &[("code_challenge", &challenge)]);
            let code = ada.authorize(&url).await.query_pairs().find(|(name, _)| name == "code").expect("a code").1.into_owned();
            let verifier = [("code_verifier", verifier.as_str())];
            is_refused(&deputy, agent.redeem(&code, &verifier), 400, "invalid_grant", "code.verifier_wrong").await;
        }
        let code = agent.code(&ada, "notes:read").await;
        let wrong = VERIFIER.replace('a', "b");
        is_refused(&deputy, agent.redeem(&code, &[("code_verifier", &wrong)]), 400, "invalid_grant", "code.verifier_wrong").await;
        repels(&deputy, agent.redeem(&code, &[]), 400, "invalid_grant", "code.replayed").await;
        agent.authorize(&ada, "notes:read").await;
    })
    .await;
}

#[tokio::test]
async fn cve_2026_55672_code_and_refresh_token_are_for_one_client() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let ada = deputy.person("ada@example.com").await;
        let [one, other] = two_agents(&deputy).await;
        let stolen = one.code(&ada, "notes:read").await;
        is_refused(&deputy, other.redeem(&stolen, &[]), 400, "invalid_grant", "code.invalid").await;
        let tokens = one.authorize(&ada, "notes:read").await;
        repels(&deputy, other.refresh(tokens.refresh_token()), 400, "invalid_grant", "refresh.invalid").await;
        Tokens::of(one.refresh(tokens.refresh_token()).await);
    })
    .await;
}

#[tokio::test]
async fn cve_2026_4282_a_value_is_good_for_one_purpose() {
    each_engine_with("registration = \"token\"\n", async |deputy| {
        deputy.resource().await;
        let ada = deputy.person("ada@example.com").await;
        let admission = deputy.operate("POST", "/initial-access-tokens", json!({})).await.ok().text("token");
        let register = |token: &str| {
            let request = deputy.http.post(format!("{}/register", deputy.issuer)).bearer_auth(token);
            Answer::of(request.json(&json!({"redirect_uris": [CALLBACK], "grant_types": ["authorization_code", "refresh_token"]})))
        };
        let client_id = register(&admission).await.ok().text("client_id");
        let invitation = deputy.operate("POST", "/invitations", json!({"login": "guest@example.com"})).await.ok().text("url");
        let invitation = invitation.rsplit('/').next().expect("a link ends with its secret").to_owned();
        let agent = Agent::known(&deputy, &client_id);
        let tokens = agent.authorize(&ada, "notes:read").await;
        let code = agent.code(&ada, "notes:read").await;
        let page = ada.open(&agent.authorization_url("notes:read", &[("prompt", "consent")])).await.page();
        let seal = crate::support::person::field(&page, "seal");
        let cookies = ada.cookies();
        let values =
            [&code, tokens.refresh_token(), &tokens.access_token, &admission, &invitation, &seal, &deputy.operator_token()];
        for value in values.into_iter().map(ToString::to_string).chain(cookies) {
            if value != code {
                repels(&deputy, agent.redeem(&value, &[]), 400, "invalid_grant", "code.invalid").await;
            }
            if Some(value.as_str()) != tokens.refresh_token.as_deref() {
                repels(&deputy, agent.refresh(&value), 400, "invalid_grant", "refresh.invalid").await;
            }
            if value != admission {
                repels(&deputy, register(&value), 401, "invalid_token", "registration.token").await;
            }
            if value != tokens.access_token {
                let userinfo = Answer::of(deputy.http.get(format!("{}/userinfo", deputy.issuer)).bearer_auth(&value));
                repels(&deputy, userinfo, 401, "invalid_token", "token.invalid").await;
            }
            if value != deputy.operator_token() {
                let admin = Answer::of(deputy.http.get(format!("{}/admin/v1/people", deputy.issuer)).bearer_auth(&value));
                admin.await.refused(401, "invalid_token");
            }
            if value != invitation {
                assert!(!deputy.get(&format!("/invitation/{value}")).await.status.is_success());
            }
            if value != seal {
                let answered =
                    ada.submit("/consent", &[("seal", &value), ("decision", "allow"), ("scope", "notes:read")]).await.page();
                assert_eq!(answered.status, 400, "{}", answered.body);
            }
        }
        // They were not used up either.
        agent.redeem(&code, &[]).await.ok();
        agent.refresh(tokens.refresh_token()).await.ok();
        register(&admission).await.ok();
    })
    .await;
}

#[tokio::test]
async fn cve_2026_96446_a_pushed_request_is_refused_in_every_mode() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        agent.code(&ada, "notes:read").await;
        deputy.post("/par", &[("client_id", &agent.client_id)]).await.refused(404, "not_found");
        for prompt in ["", "none", "login", "consent", "select_account"] {
            let pushed = [("request_uri", "urn:ietf:params:oauth:request_uri:6esc_11ACC5bwc014ltc14eY22c"), ("prompt", prompt)];
            let url = agent.authorization_url("notes:read", &pushed);
            repels_by_redirect(&deputy, &url, CALLBACK, "request_uri_not_supported", "authorize.request_uri").await;
            // Someone who is signed in and consented is sent back with the same refusal.
            assert_eq!(ada.open(&url).await.parameter("code"), None);
        }
    })
    .await;
}

#[tokio::test]
async fn cve_2026_9793_no_request_object_is_read() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let agent = deputy.agent().await;
        let payload =
            json!({"client_id": agent.client_id, "redirect_uri": "https://evil.example/cb", "scope": "notes:admin"}).to_string();
        let signed = Signer::new().sign(&json!({"alg": "ES256"}), &payload);
        let none = format!("{}.", unsigned(&json!({"alg": "none"}), &payload));
        let encrypted = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..AAAAAAAAAAAAAAAA.AAAA.AAAAAAAAAAAAAAAAAAAAAA";
        for object in [signed.as_str(), &none, encrypted, "x"] {
            let url = agent.authorization_url("notes:read", &[("request", object)]);
            repels_by_redirect(&deputy, &url, CALLBACK, "request_not_supported", "authorize.request_object").await;
            // What it says is not taken for what is asked.
            let only =
                format!("/authorize?client_id={}&request={object}&redirect_uri=https%3A%2F%2Fevil.example%2Fcb", agent.client_id);
            repels_on_page(&deputy, &only, "authorize.redirect_uri_unregistered").await;
        }
        let ada = deputy.person("ada@example.com").await;
        agent.authorize(&ada, "notes:read").await;
    })
    .await;
}

#[tokio::test]
async fn cve_2023_0264_nothing_but_the_whole_code_works() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        let code = agent.code(&ada, "notes:read").await;
        for place in 0..code.len() {
            let mut altered = code.clone().into_bytes();
            altered[place] = if altered[place] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(altered).expect("ASCII");
            agent.redeem(&altered, &[]).await.refused(400, "invalid_grant");
        }
        for altered in [&code[1..], &code[..code.len() - 1], &format!("{code}A"), &format!(" {code}"), &code.to_uppercase()] {
            repels(&deputy, agent.redeem(altered, &[]), 400, "invalid_grant", "code.invalid").await;
        }
        agent.redeem(&code, &[]).await.ok();
    })
    .await;
}

#[tokio::test]
async fn rfc6749_4_1_3_a_code_is_tied_to_its_redirect_uri_and_to_its_minute() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        let code = agent.code(&ada, "notes:read").await;
        let elsewhere = agent.redeem(&code, &[("redirect_uri", "https://agent.example/other")]);
        is_refused(&deputy, elsewhere, 400, "invalid_grant", "code.redirect_uri").await;
        let code = agent.code(&ada, "notes:read").await;
        deputy.later(61);
        repels(&deputy, agent.redeem(&code, &[]), 400, "invalid_grant", "code.expired").await;
        let code = agent.code(&ada, "notes:read").await;
        deputy.later(59);
        let tokens = Tokens::of(agent.redeem(&code, &[]).await);
        is_refused(&deputy, agent.redeem(&code, &[]), 400, "invalid_grant", "code.replayed").await;
        // A replay ends what the first use began.
        repels(&deputy, agent.refresh(tokens.refresh_token()), 400, "invalid_grant", "refresh.ended").await;
        let ended = deputy.facts_of("grant.ended.v1").await;
        assert_eq!((ended.len(), &ended[0]["cause"]), (1, &"code_replayed".into()));
    })
    .await;
}

#[tokio::test]
async fn token_endpoint_a_wrong_resource_costs_no_code() {
    each_engine(async |deputy| {
        deputy.resource().await;
        deputy.resource_at("https://other.example/mcp").await;
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        let code = agent.code(&ada, "notes:read").await;
        for (resource, reason) in [
            ("https://other.example/mcp", "resource.widened"),
            ("https://nowhere.example/mcp", "resource.widened"),
            ("https://notes.example/mcp#f", "resource.malformed"),
        ] {
            repels(&deputy, agent.redeem(&code, &[("resource", resource)]), 400, "invalid_target", reason).await;
        }
        let form = format!("grant_type=authorization_code&code={code}&client_id={}&code_verifier={VERIFIER}", agent.client_id);
        let twice = format!("{form}&resource={RESOURCE}&resource={RESOURCE}");
        let post = |body: String, media_type: &'static str| {
            let request = deputy.http.post(format!("{}/token", deputy.issuer)).header("content-type", media_type);
            Answer::of(request.body(body))
        };
        let media_type = "application/x-www-form-urlencoded";
        repels(&deputy, post(twice, media_type), 400, "invalid_target", "resource.repeated").await;
        repels(&deputy, post(form.clone(), "application/json"), 400, "invalid_request", "request.media_type").await;
        let doubled = deputy.http.post(format!("{}/token", deputy.issuer)).header("content-type", media_type);
        let doubled = Answer::of(doubled.header("content-type", "text/plain").body(form.clone()));
        repels(&deputy, doubled, 400, "invalid_request", "request.media_type").await;
        let empty = [("grant_type", "authorization_code"), ("code", ""), ("client_id", &agent.client_id)];
        repels(&deputy, deputy.post("/token", &empty), 400, "invalid_request", "request.parameter_missing").await;
        post(form + "&resource=&unknown=", media_type).await.ok();
    })
    .await;
}

async fn two_agents(deputy: &Installation) -> [Agent<'_>; 2] {
    let metadata = |name: &str| json!({"client_name": name, "grant_types": ["authorization_code", "refresh_token"]});
    [Agent::register(deputy, metadata("One")).await, Agent::register(deputy, metadata("Other")).await]
}
