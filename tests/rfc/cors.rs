//! [Fetch §3.2](https://fetch.spec.whatwg.org/#http-cors-protocol): clients in browsers may call what clients call, and nothing else.

use reqwest::Method;

use crate::support::{Answer, Installation};

async fn preflight(deputy: &Installation, path: &str) -> Answer {
    let request = deputy.http.request(Method::OPTIONS, format!("{}{path}", deputy.issuer));
    let request = request.header("origin", "https://client.example").header("access-control-request-method", "POST");
    Answer::of(request.header("access-control-request-headers", "authorization,mcp-protocol-version")).await
}

#[tokio::test]
async fn what_clients_call_is_open_to_any_origin() {
    let deputy = Installation::start().await;
    for path in [
        "/token",
        "/register",
        "/revoke",
        "/jwks",
        "/userinfo",
        "/v1/batch",
        "/v1/projects/key/settings",
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
    ] {
        let allowed = preflight(&deputy, path).await;
        assert_eq!((allowed.status.as_u16(), allowed.header("access-control-allow-origin")), (204, Some("*")), "{path}");
        let headers = allowed.header("access-control-allow-headers").unwrap_or_default();
        assert!(
            ["authorization", "content-type", "x-retry-count", "dpop", "mcp-protocol-version"]
                .iter()
                .all(|name| headers.contains(name)),
            "{path}"
        );
        let answer =
            Answer::of(deputy.http.post(format!("{}{path}", deputy.issuer)).header("origin", "https://client.example")).await;
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "refusals are readable too: {path}");
        assert!(answer.header("access-control-expose-headers").is_some_and(|names| names.contains("WWW-Authenticate")));
    }
}

#[tokio::test]
async fn pages_and_operators_are_not() {
    let deputy = Installation::start().await;
    for path in ["/authorize", "/sign-in", "/consent", "/account", "/admin/v1/clients", "/introspect"] {
        assert_eq!(preflight(&deputy, path).await.header("access-control-allow-origin"), None, "{path}");
    }
}
