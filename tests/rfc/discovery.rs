//! [RFC 8414](https://www.rfc-editor.org/rfc/rfc8414) and [OpenID Connect Discovery](https://openid.net/specs/openid-connect-discovery-1_0.html)

use crate::support::Installation;

#[tokio::test]
async fn rfc8414_3_every_form_of_the_address_serves_one_document() {
    let deputy = Installation::start().await;
    let document = deputy.get("/.well-known/oauth-authorization-server").await.ok();
    assert_eq!(document.text("issuer"), deputy.issuer);
    assert_eq!(document.header("content-type"), Some("application/json"));
    assert_eq!(deputy.get("/.well-known/openid-configuration").await.ok().json(), document.json());
}

#[tokio::test]
async fn rfc8414_3_1_an_issuer_with_a_path_is_found_in_all_three_forms() {
    let deputy = Installation::start_with("issuer = \"http://127.0.0.1:1/t1\"\n").await;
    // The issuer's port is not the listener's here, so the paths are asked of the listener.
    let at = |path: &str| deputy.http.get(format!("http://{}{path}", deputy.address())).send();
    for path in [
        "/.well-known/oauth-authorization-server/t1",
        "/.well-known/openid-configuration/t1",
        "/t1/.well-known/openid-configuration",
    ] {
        let answer = at(path).await.expect("it answers");
        assert_eq!(answer.status(), 200, "{path}");
        let document: serde_json::Value = answer.json().await.expect("JSON");
        assert_eq!(document["issuer"], "http://127.0.0.1:1/t1");
        assert_eq!(document["token_endpoint"], "http://127.0.0.1:1/t1/token");
    }
    for path in ["/.well-known/oauth-authorization-server", "/t1/.well-known/oauth-authorization-server", "/token"] {
        assert_eq!(at(path).await.expect("it answers").status(), 404, "{path}");
    }
}

#[tokio::test]
async fn forms_that_are_not_served_are_404_in_json_and_never_a_redirect() {
    let deputy = Installation::start().await;
    for path in [
        "/.well-known/oauth-authorization-server/mcp",
        "/.well-known/openid-configuration/",
        "/mcp/.well-known/openid-configuration",
        "/.well-known/oauth-protected-resource",
        "/token/",
        "//token",
        "/no/such/page",
    ] {
        deputy.get(path).await.refused(404, "not_found");
    }
    assert_eq!(deputy.last_reason().await, "request.not_found");
    deputy.get("/token").await.refused(405, "method_not_allowed");
    assert_eq!(deputy.last_reason().await, "request.method");
}

#[tokio::test]
async fn rfc8414_2_the_document_says_what_mcp_clients_need() {
    let deputy = Installation::start().await;
    let document = deputy.get("/.well-known/oauth-authorization-server").await.json();
    assert_eq!(document["code_challenge_methods_supported"], serde_json::json!(["S256"]));
    assert_eq!(document["client_id_metadata_document_supported"], true);
    assert_eq!(document["authorization_response_iss_parameter_supported"], true);
    assert!(document["scopes_supported"].as_array().expect("a list").contains(&"offline_access".into()));
    let nulls = document.as_object().expect("an object").iter().filter(|(_, value)| value.is_null()).count();
    assert_eq!(nulls, 0, "an absent key is left out");
    for endpoint in ["authorization", "token", "registration", "introspection", "revocation", "userinfo"] {
        let url = document[format!("{endpoint}_endpoint")].as_str().expect("an endpoint is a URL");
        assert!(url.starts_with(&deputy.issuer), "{url}");
    }
}

#[tokio::test]
async fn rfc8414_2_what_is_switched_off_is_not_announced() {
    let deputy = Installation::start_with("registration = \"off\"\nclient_metadata_documents = false\n").await;
    let document = deputy.get("/.well-known/oauth-authorization-server").await.json();
    assert!(document.get("registration_endpoint").is_none());
    assert_eq!(document["client_id_metadata_document_supported"], false);
}

#[tokio::test]
async fn rfc7517_5_the_key_set_holds_public_keys_with_kid_and_alg() {
    for algorithm in ["ES256", "EdDSA", "RS256"] {
        let deputy = Installation::start_with(&format!("signing_algorithm = \"{algorithm}\"\n")).await;
        let keys = deputy.get("/jwks").await.ok().json();
        let keys = keys["keys"].as_array().expect("a list");
        assert_eq!(keys.len(), 2, "the key that signs, and the next");
        for key in keys {
            assert_eq!(key["alg"], algorithm);
            assert!(key["kid"].is_string() && key["use"] == "sig", "{key}");
            assert!(["d", "p", "q", "dp", "dq", "qi", "k"].iter().all(|private| key.get(private).is_none()), "{key}");
        }
    }
}

#[tokio::test]
async fn the_probes_answer_and_metrics_count() {
    let deputy = Installation::start().await;
    assert_eq!(deputy.get("/healthz").await.ok().text("status"), "ok");
    assert_eq!(deputy.get("/readyz").await.ok().text("status"), "ready");
    assert!(deputy.get("/metrics").await.ok().body.contains("http_requests_total{route=\"/healthz\""));
}
