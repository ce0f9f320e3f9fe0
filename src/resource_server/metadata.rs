//! What the resource says about itself.
//! [RFC 9728 §3](https://www.rfc-editor.org/rfc/rfc9728#section-3)

use http::header::{ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Response, StatusCode};
use serde_json::json;
use url::Url;

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");

/// The metadata document and where it is served.
#[derive(Debug)]
pub(super) struct Metadata {
    url: String,
    path: String,
    document: String,
}

impl Metadata {
    /// `url` is `identifier`, parsed.
    pub(super) fn new(url: &Url, identifier: &str, issuer: &str, name: Option<&str>, scopes_supported: &[String]) -> Self {
        // The well-known part goes between host and path, and a path of one slash counts as none (RFC 9728 §3.1).
        let path = format!("{WELL_KNOWN}{}", if url.path() == "/" { "" } else { url.path() });
        let mut document = json!({
            "resource": identifier,
            "authorization_servers": [issuer],
            "bearer_methods_supported": ["header"],
        });
        if !scopes_supported.is_empty() {
            document["scopes_supported"] = json!(scopes_supported);
        }
        if let Some(name) = name {
            document["resource_name"] = json!(name);
        }
        Self { url: format!("{}{path}", url.origin().ascii_serialization()), path, document: document.to_string() }
    }

    /// Where clients are told to look.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The answer, if `path` is one of ours: that of the identifier, or the root form, which clients try next.
    pub(super) fn serve<B: From<String>>(&self, method: &Method, path: &str) -> Option<Response<B>> {
        if path != self.path && path != WELL_KNOWN {
            return None;
        }
        let (status, body) = match *method {
            Method::GET => (StatusCode::OK, self.document.clone()),
            Method::HEAD => (StatusCode::OK, String::new()),
            Method::OPTIONS => (StatusCode::NO_CONTENT, String::new()),
            _ => (StatusCode::METHOD_NOT_ALLOWED, String::new()),
        };
        let mut response = Response::new(B::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
        headers.insert(ALLOW, METHODS);
        // Public by nature, and clients that live in a browser read it from their own origin.
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("authorization, content-type, mcp-protocol-version"));
        Some(response)
    }
}
