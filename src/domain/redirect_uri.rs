//! Redirect URIs: what may be registered, and when a requested one is the registered one.
//!
//! [OAuth 2.1 §2.3.1 and §8.4.2](https://datatracker.ietf.org/doc/html/draft-ietf-oauth-v2-1-13#section-2.3.1): plain string comparison,
//! with one exception: the port of a loopback redirect is free, because native apps take one from the operating system.
//! No wildcard, no pattern, no prefix, no normalisation.

use serde::{Deserialize, Serialize};
use url::{Host, Url};

const BYTES_MAX: usize = 2_000;
/// Schemes that a browser runs or reads instead of navigating to.
const DANGEROUS_SCHEMES: [&str; 9] = ["javascript", "data", "vbscript", "file", "blob", "about", "filesystem", "view-source", "ws"];

/// A redirect URI in a form that can be registered, spelled as it was given.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RedirectUri(String);

impl RedirectUri {
    /// Reads a URI that a client registers: https, http on loopback, or a private-use scheme with a dot
    /// ([RFC 8252 §7.1](https://www.rfc-editor.org/rfc/rfc8252#section-7.1)). The error says what is wrong with it.
    pub fn parse(text: &str) -> Result<RedirectUri, &'static str> {
        if text.len() > BYTES_MAX {
            return Err("it is longer than 2,000 bytes");
        }
        // A URL parser would drop or re-read these, and then we would compare one thing and send another.
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains(['\\', '"', '<', '>', '`', '{', '}', '|', '^', '\''])
        {
            return Err("it holds characters that must be percent-encoded");
        }
        if text.contains('*') {
            return Err("wildcards are not supported; register each URI in full");
        }
        let url = Url::parse(text).map_err(|_| "it is not an absolute URI")?;
        if text.contains('#') {
            return Err("it must not have a fragment");
        }
        if !url.username().is_empty() || url.password().is_some() || authority(text).contains('@') {
            return Err("it must not have userinfo");
        }
        if has_dot_segment(text) {
            return Err("it must not have dot segments, encoded or not");
        }
        match url.scheme() {
            "https" if url.has_host() => Ok(()),
            "http" if is_loopback(&url) => Ok(()),
            "http" => Err("http is for loopback only; use https"),
            scheme if DANGEROUS_SCHEMES.contains(&scheme) => Err("its scheme is not one that can be redirected to"),
            scheme if scheme.contains('.') => Ok(()),
            _ => Err("a private-use scheme must be a reversed domain name, such as com.example.app"),
        }?;
        Ok(RedirectUri(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `requested`, as it stands in a request, is this registered URI.
    pub fn admits(&self, requested: &str) -> bool {
        if self.0 == requested {
            return true;
        }
        // The requested text passes the same parser, so a userinfo or a foreign host never reaches the port rule.
        let (Ok(requested), Some(own)) = (RedirectUri::parse(requested), self.loopback_without_port()) else { return false };
        requested.loopback_without_port().is_some_and(|other| other == own)
    }

    /// The host, for the consent page; the scheme if it is an app's own.
    pub fn host(&self) -> String {
        let url = Url::parse(&self.0).expect("it was parsed at construction");
        url.host_str().map_or_else(|| url.scheme().to_owned(), str::to_owned)
    }

    /// Whether whatever listens on the person's own machine would get the code.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&Url::parse(&self.0).expect("it was parsed at construction"))
    }

    /// The text with its port cut out, if this is an http loopback URI: equal for URIs that admit each other. Cut from the text,
    /// so that nothing is normalised.
    pub fn loopback_without_port(&self) -> Option<String> {
        let url = Url::parse(&self.0).ok()?;
        if url.scheme() != "http" || !is_loopback(&url) {
            return None;
        }
        let authority = authority(&self.0);
        let host_end =
            if authority.starts_with('[') { authority.find(']')? + 1 } else { authority.find(':').unwrap_or(authority.len()) };
        let start = self.0.find("://")? + 3;
        Some(format!("{}{}{}", &self.0[..start], &authority[..host_end], &self.0[start + authority.len()..]))
    }
}

fn authority(text: &str) -> &str {
    let rest = text.find("://").map_or("", |at| &text[at + 3..]);
    &rest[..rest.find(['/', '?']).unwrap_or(rest.len())]
}

/// `.` and `..` as a path segment, also percent-encoded once or twice, or followed by path parameters.
fn has_dot_segment(text: &str) -> bool {
    let path = text.find("://").map_or(text, |at| &text[at + 3..]);
    let path = path
        .split('?')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase()
        .replace("%25", "%")
        .replace("%2e", ".")
        .replace("%2f", "/")
        .replace("%5c", "/");
    path.split('/').skip(1).any(|segment| matches!(segment.split(';').next(), Some("." | "..")))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

impl TryFrom<String> for RedirectUri {
    type Error = &'static str;

    fn try_from(text: String) -> Result<RedirectUri, &'static str> {
        RedirectUri::parse(&text)
    }
}
impl From<RedirectUri> for String {
    fn from(uri: RedirectUri) -> String {
        uri.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn admits(registered: &str, requested: &str) -> bool {
        RedirectUri::parse(registered).expect(registered).admits(requested)
    }

    #[test]
    fn only_the_registered_uri_and_a_free_loopback_port_are_admitted() {
        for (registered, requested, expected) in [
            ("https://allowed.example/cb", "https://allowed.example/cb", true),
            ("https://allowed.example/cb", "https://allowed.example/cb/", false),
            ("https://allowed.example/cb", "https://allowed.example.evil.example/cb", false),
            ("https://allowed.example/cb", "https://ALLOWED.example/cb", false),
            ("https://allowed.example/cb", "https://allowed.example:443/cb", false),
            ("https://allowed.example/cb", "https://allowed.example/cb?x=1", false),
            ("https://allowed.example/Cb", "https://allowed.example/cb", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1:53123/cb", true),
            ("http://127.0.0.1:1/cb", "http://127.0.0.1/cb", true),
            ("http://[::1]:1/cb", "http://[::1]:2/cb", true),
            ("http://localhost:1/cb", "http://localhost:2/cb", true),
            ("http://localhost/cb", "http://127.0.0.1/cb", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1:2/other", false),
            ("http://127.0.0.1/cb", "https://127.0.0.1:2/cb", false),
            ("http://localhost/", "http://localhost:80@evil.example/", false),
            ("http://localhost/cb", "http://localhost.evil.example/cb", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1.evil.example/cb", false),
            ("https://allowed.example/cb", "https://allowed.example:8443/cb", false),
        ] {
            assert_eq!(admits(registered, requested), expected, "{registered} against {requested}");
        }
    }

    #[test]
    fn what_may_not_be_registered() {
        for text in [
            "http://app.example/cb",
            "javascript:alert(1)",
            "data:text/html,x",
            "vbscript:x",
            "file:///etc/passwd",
            "https://h/*",
            "https://*.h/cb",
            "https://good.example\\@evil.example/",
            "https://good.example@evil.example/cb",
            "https://@h/cb",
            "https://h/cb#f",
            "https://h/cb#",
            "cb",
            "/cb",
            "https://h/a/../b",
            "https://h/a/%2e%2e/b",
            "https://h/a/%252e%252e%252fb",
            "https://h/a/..;/b",
            "https://h/\tcb",
            "https://h/<script>",
            "myapp:/cb",
            "https://h/a b",
            "",
        ] {
            assert!(RedirectUri::parse(text).is_err(), "{text:?}");
        }
        for text in ["https://h.example/cb?x=1", "com.example.app:/cb", "http://localhost:3000/oauth/callback", "http://[::1]/cb"] {
            assert!(RedirectUri::parse(text).is_ok(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn an_admitted_uri_names_the_registered_host(requested in "(http|https)://[a-z0-9.:@\\\\\\[\\]/%#?\t;*]{0,40}") {
            for registered in ["http://localhost:8/cb", "http://127.0.0.1/cb", "http://[::1]/cb", "https://a.example/cb"] {
                if admits(registered, &requested) {
                    let (own, asked) = (Url::parse(registered)?, Url::parse(&requested)?);
                    prop_assert_eq!((own.scheme(), own.host(), own.path()), (asked.scheme(), asked.host(), asked.path()));
                }
            }
        }
    }
}
