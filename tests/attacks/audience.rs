//! What a token is for, and for how much: neither resource nor scope grows on any path.
//! [RFC 8707](https://www.rfc-editor.org/rfc/rfc8707), [RFC 7662 §4](https://www.rfc-editor.org/rfc/rfc7662#section-4), [RFC 9068 §4](https://www.rfc-editor.org/rfc/rfc9068#section-4)

use std::time::Duration;

use deputy::{
    domain::secret::Secret,
    keys::signing::TokenType,
    outbound::{self, Outbound, OutboundPolicy},
    resource_server::ResourceServer,
};
use serde_json::{Value, json};

use super::{repels, repels_by_redirect};
use crate::support::{
    Agent, Answer, CALLBACK, Protected, RESOURCE, Workload,
    agent::{Tokens, claims},
    each_engine,
    workload::{Signer, unsigned},
};

const OTHER: &str = "https://other.example/mcp";

#[tokio::test]
async fn cve_2026_18208_an_inactive_answer_is_only_that() {
    each_engine(async |deputy| {
        let (resource, other) = (deputy.resource().await, deputy.resource_at(OTHER).await);
        let service = deputy.service("notes:read").await;
        let token = service.client_credentials(&[]).await.ok().text("access_token");
        let ask = |resource: &Value, token: &str| {
            let (id, secret) = (resource["resource_id"].as_str().expect("text").to_owned(), resource["secret"].as_str());
            let request = deputy.http.post(format!("{}/introspect", deputy.issuer)).basic_auth(id, secret);
            Answer::of(request.header("accept", "application/token-introspection+jwt").form(&[("token", token)]))
        };
        for (resource, token) in [(&other, token.as_str()), (&resource, "dead"), (&resource, &format!("{token}x"))] {
            let told = ask(resource, token).await.ok();
            assert_eq!((told.body.as_str(), told.header("content-type")), (r#"{"active":false}"#, Some("application/json")));
        }
        let told = ask(&resource, &token).await.ok();
        assert_eq!((&told.json()["active"], told.header("content-type")), (&true.into(), Some("application/json")), "never signed");
    })
    .await;
}

#[tokio::test]
async fn cve_2021_32701_a_remembered_token_is_judged_for_each_need() {
    each_engine(async |deputy| {
        let resource = deputy.resource().await;
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        let reader = agent.authorize(&ada, "notes:read").await.access_token;
        let protected = Protected::asking(&deputy, &resource);
        protected.call("/read", &reader).await.ok();
        // The answer is remembered now; a wider need is not covered by it.
        protected.call("/write", &reader).await.refused(403, "insufficient_scope");
        protected.call("/read", &reader).await.ok();
        let writer = agent.authorize(&ada, "notes:read notes:write").await.access_token;
        protected.call("/write", &writer).await.ok();
    })
    .await;
}

#[tokio::test]
async fn cve_2024_38371_a_policy_binds_every_grant() {
    each_engine(async |deputy| {
        deputy.resource().await;
        deputy.resource_at(OTHER).await;
        let metadata = json!({"client_name": "Bounded", "redirect_uris": [CALLBACK], "scope": "notes:read", "resources": [RESOURCE],
            "grant_types": ["authorization_code", "refresh_token", "client_credentials"]});
        let agent = Agent::made_by_operator(&deputy, metadata).await;
        let url = agent.authorization_url("notes:read", &[("resource", OTHER)]);
        repels_by_redirect(&deputy, &url, CALLBACK, "invalid_target", "resource.unregistered").await;
        let elsewhere = [("resource", OTHER)];
        repels(&deputy, agent.client_credentials(&elsewhere), 400, "invalid_target", "resource.unregistered").await;
        let ada = deputy.person("ada@example.com").await;
        agent.authorize(&ada, "notes:read").await;
        agent.client_credentials(&[]).await.ok();
    })
    .await;
}

#[tokio::test]
async fn cve_2024_52287_scope_stays_within_the_registration_on_every_grant() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let metadata = json!({"client_name": "Bounded", "redirect_uris": [CALLBACK], "scope": "notes:read",
            "grant_types": ["authorization_code", "refresh_token", "client_credentials"]});
        let agent = Agent::made_by_operator(&deputy, metadata).await;
        for scope in ["notes:write", "notes:read notes:write", "notes:admin"] {
            let url = agent.authorization_url(scope, &[]);
            repels_by_redirect(&deputy, &url, CALLBACK, "invalid_scope", "scope.unregistered").await;
            let wider = [("scope", scope)];
            repels(&deputy, agent.client_credentials(&wider), 400, "invalid_scope", "scope.unregistered").await;
        }
        let about_a_person = [("scope", "openid")];
        repels(&deputy, agent.client_credentials(&about_a_person), 400, "invalid_scope", "scope.unknown").await;
        let ada = deputy.person("ada@example.com").await;
        let tokens = agent.authorize(&ada, "notes:read").await;
        let refresh = [("grant_type", "refresh_token"), ("refresh_token", tokens.refresh_token())];
        repels(&deputy, agent.token(&refresh, &[("scope", "notes:write")]), 400, "invalid_scope", "scope.widened").await;
        agent.client_credentials(&[("scope", "notes:read")]).await.ok();
    })
    .await;
}

#[tokio::test]
async fn cve_2025_64521_a_disabled_service_gets_nothing() {
    each_engine(async |deputy| {
        let resource = deputy.resource().await;
        let (service, workload) = (deputy.service("notes:read").await, Workload::made_by_operator(&deputy, "notes:read").await);
        let token = service.client_credentials(&[]).await.ok().text("access_token");
        workload.prove(&workload.claims()).await.ok();
        for client_id in [&service.client_id, &workload.client_id] {
            deputy.operate("PATCH", &format!("/clients/{client_id}"), json!({"disabled": true})).await.ok();
        }
        repels(&deputy, service.client_credentials(&[]), 400, "unauthorized_client", "client.disabled").await;
        super::is_refused(&deputy, workload.prove(&workload.claims()), 400, "unauthorized_client", "client.disabled").await;
        let grants = ["urn:ietf:params:oauth:grant-type:jwt-bearer", "urn:ietf:params:oauth:grant-type:token-exchange"];
        for grant_type in grants {
            let form = [("grant_type", grant_type), ("assertion", "x"), ("subject_token", &token)];
            repels(&deputy, service.token(&form, &[]), 400, "unsupported_grant_type", "grant_type.unknown").await;
        }
        assert!(!deputy.is_active(&resource, &token).await, "what it held is dead too");
        deputy.operate("PATCH", &format!("/clients/{}", service.client_id), json!({"disabled": false})).await.ok();
        service.client_credentials(&[]).await.ok();
    })
    .await;
}

#[tokio::test]
async fn cve_2026_1609_no_jwt_stands_for_a_person() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let ada = deputy.person("ada@example.com").await;
        let workload = Workload::made_by_operator(&deputy, "notes:read").await;
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
            ("assertion", &workload.signer.jwt(&workload.claims_with("sub", json!(ada.login)))),
            ("client_id", &workload.client_id),
        ];
        repels(&deputy, deputy.post("/token", &form), 400, "unsupported_grant_type", "grant_type.unknown").await;
        workload.prove(&workload.claims()).await.ok();
    })
    .await;
}

/// What the draft of a token exchange would look like.
fn exchange<'a>(subject_token: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let exchange = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token", subject_token),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
    ];
    [&exchange, more].concat()
}

#[tokio::test]
async fn cve_2026_56668_a_token_is_not_exchanged() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (ada, agent, service) =
            (deputy.person("ada@example.com").await, deputy.agent().await, deputy.service("notes:read").await);
        let tokens = agent.authorize(&ada, "notes:read").await;
        for scope in ["notes:read", "notes:admin"] {
            let form = exchange(&tokens.access_token, &[("scope", scope)]);
            repels(&deputy, service.token(&form, &[]), 400, "unsupported_grant_type", "grant_type.unknown").await;
        }
        service.client_credentials(&[]).await.ok();
    })
    .await;
}

/// What was signed for another purpose is neither exchanged nor taken for an access token.
#[tokio::test]
async fn cve_2023_0657_no_other_token_is_a_subject_token() {
    each_engine(async |deputy| {
        let resource = deputy.resource().await;
        let (ada, agent, service) =
            (deputy.person("ada@example.com").await, deputy.agent().await, deputy.service("notes:read").await);
        let tokens = agent.authorize(&ada, "openid notes:read").await;
        let signer = Signer::new();
        let of_type = |word: &str| {
            let claims = json!({"iss": deputy.issuer, "sub": tokens.claims()["sub"], "aud": RESOURCE, "jti": word});
            signer.sign(&json!({"alg": "ES256", "typ": word, "kid": "k1"}), &claims.to_string())
        };
        let others = ["logout+jwt", "oauth-id-jag+jwt", "dpop+jwt", "JWT", "at+jwt"].map(of_type);
        let id_token = tokens.answer.text("id_token");
        for other in others.iter().chain([&id_token]) {
            repels(&deputy, service.token(&exchange(other, &[]), &[]), 400, "unsupported_grant_type", "grant_type.unknown").await;
            let userinfo = Answer::of(deputy.http.get(format!("{}/userinfo", deputy.issuer)).bearer_auth(other));
            repels(&deputy, userinfo, 401, "invalid_token", "token.invalid").await;
            assert!(!deputy.is_active(&resource, other).await, "{other}");
        }
        assert!(deputy.is_active(&resource, &tokens.access_token).await);
    })
    .await;
}

#[tokio::test]
async fn cve_2026_11800_no_algorithm_opens_a_grant_by_jwt() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let workload = Workload::made_by_operator(&deputy, "notes:read").await;
        let keys = deputy.get("/jwks").await.body;
        for algorithm in ["none", "HS256", "RS256", "ES256"] {
            let payload = workload.claims().to_string();
            let signed = workload.signer.sign(&json!({"alg": algorithm, "kid": "k1"}), &payload);
            for assertion in [signed, format!("{}.", unsigned(&json!({"alg": algorithm}), &payload))] {
                let form = [
                    ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
                    ("assertion", assertion.as_str()),
                    ("client_id", &workload.client_id),
                    ("key", &keys),
                ];
                repels(&deputy, deputy.post("/token", &form), 400, "unsupported_grant_type", "grant_type.unknown").await;
            }
        }
        workload.prove(&workload.claims()).await.ok();
    })
    .await;
}

#[tokio::test]
async fn cve_2026_9704_a_subject_token_that_cannot_be_read_is_no_other_request() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let service = deputy.service("notes:read").await;
        let (long, endless) = ("a".repeat(20_000), "a".repeat(65_536));
        repels(&deputy, service.token(&exchange("", &[]), &[]), 400, "unsupported_grant_type", "grant_type.unknown").await;
        repels(&deputy, service.token(&exchange(&long, &[]), &[]), 400, "invalid_request", "request.parameter_too_long").await;
        repels(&deputy, service.token(&exchange(&endless, &[]), &[]), 400, "invalid_request", "request.too_large").await;
        let twice = exchange("x", &[("subject_token", "y")]);
        repels(&deputy, service.token(&twice, &[]), 400, "invalid_request", "request.parameter_repeated").await;
        // Nor does an unreadable parameter beside client_credentials become a token.
        let beside = [("grant_type", "client_credentials"), ("resource", RESOURCE), ("subject_token", long.as_str())];
        repels(&deputy, service.token(&beside, &[]), 400, "invalid_request", "request.parameter_too_long").await;
        service.client_credentials(&[]).await.ok();
    })
    .await;
}

#[tokio::test]
async fn cve_2022_1245_a_target_outside_of_the_policy() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let service = deputy.service("notes:read").await;
        for (resource, reason) in [
            ("https://nowhere.example/mcp", "resource.unknown"),
            (deputy.issuer.as_str(), "resource.unknown"),
            ("urn:some:audience", "resource.malformed"),
            ("https://notes.example/mcp#", "resource.malformed"),
        ] {
            let target = [("resource", resource)];
            repels(&deputy, service.client_credentials(&target), 400, "invalid_target", reason).await;
        }
        deputy.resource_at(OTHER).await;
        repels(&deputy, service.client_credentials(&[("resource", "")]), 400, "invalid_target", "resource.missing").await;
        // `audience` is not RFC 8707's word and has no say.
        let told = service.client_credentials(&[("audience", OTHER)]).await.ok();
        assert_eq!(claims(&told.text("access_token"))["aud"], RESOURCE);
    })
    .await;
}

#[tokio::test]
async fn cve_2026_67332_a_grant_is_for_one_resource() {
    each_engine(async |deputy| {
        deputy.resource().await;
        deputy.resource_at(OTHER).await;
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        let code = agent.code(&ada, "notes:read").await;
        repels(&deputy, agent.redeem(&code, &[("resource", OTHER)]), 400, "invalid_target", "resource.widened").await;
        let tokens = Tokens::of(agent.redeem(&code, &[]).await);
        let refresh = [("grant_type", "refresh_token"), ("refresh_token", tokens.refresh_token())];
        repels(&deputy, agent.token(&refresh, &[("resource", OTHER)]), 400, "invalid_target", "resource.widened").await;
        let refreshed = Tokens::of(agent.token(&refresh, &[]).await);
        assert_eq!(refreshed.claims()["aud"], RESOURCE);
    })
    .await;
}

#[tokio::test]
async fn cve_2025_69196_a_token_is_good_at_its_resource_alone() {
    each_engine(async |deputy| {
        let (resource, other) = (deputy.resource().await, deputy.resource_at(OTHER).await);
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        let token = agent.authorize(&ada, "notes:read").await.access_token;
        Protected::at(&deputy, OTHER).call("/read", &token).await.refused(401, "invalid_token");
        Protected::asking(&deputy, &other).call("/read", &token).await.refused(401, "invalid_token");
        Protected::at(&deputy, RESOURCE).call("/read", &token).await.ok();
        Protected::asking(&deputy, &resource).call("/read", &token).await.ok();
    })
    .await;
}

#[tokio::test]
async fn cve_2026_116684_the_layer_compares_the_whole_audience() {
    each_engine(async |deputy| {
        let resource = deputy.resource().await;
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        let good = agent.authorize(&ada, "notes:read").await.claims();
        let with = |aud: Value| {
            let mut claims = good.clone();
            claims["aud"] = aud;
            deputy.world().keys.sign(TokenType::AccessToken, &claims)
        };
        let (keys, asking) = (Protected::at(&deputy, RESOURCE), Protected::asking(&deputy, &resource));
        for near in [
            json!(null),
            json!(""),
            json!([]),
            json!(["https://notes.example"]),
            json!("https://notes.example/mcp/"),
            json!("https://notes.example/mc"),
            json!("https://notes.example/mcp2"),
            json!("https://NOTES.example/mcp"),
            json!(" https://notes.example/mcp"),
            json!({"0": RESOURCE}),
            json!(1),
        ] {
            let token = with(near.clone());
            let answer = keys.call("/read", &token).await;
            assert_eq!(answer.status, 401, "{near}: {answer:?}");
            asking.call("/read", &token).await.refused(401, "invalid_token");
        }
        let mut absent = good.clone();
        absent.as_object_mut().expect("an object").remove("aud");
        let token = deputy.world().keys.sign(TokenType::AccessToken, &absent);
        keys.call("/read", &token).await.refused(401, "invalid_token");
        asking.call("/read", &token).await.refused(401, "invalid_token");
        keys.call("/read", &with(json!(RESOURCE))).await.ok();
        asking.call("/read", &with(json!(RESOURCE))).await.ok();
    })
    .await;
}

#[tokio::test]
async fn cve_2020_14389_the_right_audience_in_wrong_company() {
    each_engine(async |deputy| {
        let resource = deputy.resource().await;
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        let good = agent.authorize(&ada, "notes:read").await.claims();
        let protected = Protected::at(&deputy, RESOURCE);
        let sign = |changes: Value| {
            let mut claims = good.clone();
            claims.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
            deputy.world().keys.sign(TokenType::AccessToken, &claims)
        };
        for changes in [
            json!({"aud": format!("https://evil.example {RESOURCE}")}),
            json!({"aud": format!("https://evil.example/?{RESOURCE}")}),
            json!({"aud": ["https://evil.example", RESOURCE], "iss": "https://evil.example"}),
            json!({"aud": RESOURCE, "iss": format!("{}/", deputy.issuer)}),
        ] {
            let token = sign(changes.clone());
            let answer = protected.call("/read", &token).await;
            assert_eq!(answer.status, 401, "{changes}: {answer:?}");
            assert!(!deputy.is_active(&resource, &token).await, "{changes}");
        }
        let token = sign(json!({}));
        protected.call("/read", &token).await.ok();
        assert_eq!(deputy.introspect(&resource, &token).await.ok().json()["active"], true);
    })
    .await;
}

#[tokio::test]
async fn cve_2026_53513_a_hostile_discovery_document_leads_nowhere() {
    each_engine(async |deputy| {
        let resource = deputy.resource().await;
        let service = deputy.service("notes:read").await;
        let token = service.client_credentials(&[]).await.ok().text("access_token");
        let issuer = "https://deputy.example";
        for endpoint in [
            "https://169.254.169.254/latest/meta-data",
            "http://127.0.0.1:1/introspect",
            "https://evil.example/introspect",
            "https://deputy.example:444/introspect",
            "http://deputy.example/introspect",
            "https://user@deputy.example.evil.example/introspect",
        ] {
            let (outbound, web) = Outbound::simulated(OutboundPolicy::OperatorNamed);
            let well_known = format!("{issuer}/.well-known/oauth-authorization-server").parse().expect("a URL");
            let document = json!({"issuer": issuer, "jwks_uri": endpoint, "introspection_endpoint": endpoint});
            web.answer(&well_known, outbound::Answer::json(&document));
            let secret = resource["secret"].as_str().expect("text").to_owned();
            let described = || ResourceServer::new(RESOURCE, issuer).outbound(outbound.clone());
            let asking = described().introspecting("res_1", Secret::new(secret), Duration::ZERO);
            for protected in [Protected::of(described()), Protected::of(asking)] {
                protected.call("/read", &token).await.refused(503, "temporarily_unavailable");
            }
            let called: Vec<_> = web.calls().into_iter().map(|call| call.url.to_string()).collect();
            assert!(called.iter().all(|url| *url == format!("{issuer}/.well-known/oauth-authorization-server")), "{called:?}");
        }
        Protected::asking(&deputy, &resource).call("/read", &token).await.ok();
    })
    .await;
}
