//! Redirect URIs: what may be registered, and when a requested one is the registered one.
//!
//! [OAuth 2.1 §2.3.1 and §8.4.2](https://datatracker.ietf.org/doc/html/draft-ietf-oauth-v2-1-13#section-2.3.1): plain string comparison,
//! with one exception: the port of a loopback redirect is free, because native apps take one from the operating system.
//! No wildcard, no pattern, no prefix, no normalisation.

use serde::{Deserialize, Serialize};
use url::{Host, Url};

const BYTES_MAX: usize = 2_000;
/// What we append to a redirect URI ([RFC 6749 §4.1.2](https://www.rfc-editor.org/rfc/rfc6749#section-4.1.2),
/// [RFC 9207 §2](https://www.rfc-editor.org/rfc/rfc9207#section-2)). One that has them already would answer twice.
const OUR_PARAMETERS: [&str; 6] = ["code", "state", "iss", "error", "error_description", "error_uri"];

/// Schemes that no app may call its own, though they look like a private-use one: what a browser runs or shows from within, what
/// another program or the system itself answers to, and what carries a code over a network to somebody else.
const FOREIGN_SCHEMES: [&str; 5] = [
    // Run, or read instead of navigated to.
    "javascript vbscript livescript mocha data blob filesystem file about view-source jar mhtml mk res cid mid urn \
     tag hcp help wyciwyg",
    // A browser's inside, or another browser.
    "chrome chromium devtools edge brave opera vivaldi resource extension isolated-app page-icon safari-extension \
     safari-web-extension safari-resource googlechrome googlechromes microsoft-edge firefox firefox-focus \
     x-safari-http x-safari-https x-web-search read webcal webcals feed",
    // The system, its settings and its shops; a scheme that starts any other.
    "intent android-app market content package app-settings app-prefs prefs shell search search-ms shortcuts \
     applescript x-apple x-man-page x-help-action x-help-script itms itmss itms-apps itms-appss itms-services \
     macappstore apt snap appstream steam windowsdefender bingmaps terminal",
    // People and places.
    "mailto message tel telprompt sms smsto mms mmsto callto fax modem facetime facetime-audio sip sips h323 xmpp im \
     pres irc irc6 ircs geo maps skype whatsapp tg bitcoin ethereum lightning payto magnet otpauth openpgp4fpr fido \
     openid openid4vp",
    // Other protocols.
    "ws wss ftp ftps sftp tftp scp ssh telnet telnets tn3270 rlogin gopher wais nntp news snews imap imaps pop pop3 \
     smtp ldap ldaps ldapi dav davs webdav nfs smb cifs afp rsync git svn hg vnc rdp rtsp rtsps rtspu rtmp mmsh icap \
     dns dict finger whois ipp ipps lpd coap coaps mqtt amqp redis jdbc odbc ipfs ipns ed2k shttp httpg jms soap snmp \
     syslog udp tcp unix",
];
/// Families of them: Windows and Office, Firefox, Chromium, and what web sites may register for themselves.
const FOREIGN_PREFIXES: [&str; 4] = ["ms-", "moz-", "chrome-", "web+"];

/// A redirect URI in a form that can be registered, spelled as it was given.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RedirectUri(String);

impl RedirectUri {
    /// Reads a URI that a client registers: https, http on loopback, or an app's own scheme
    /// ([RFC 8252 §7.1](https://www.rfc-editor.org/rfc/rfc8252#section-7.1)). The error says what is wrong with it.
    ///
    /// 2026-11: the scheme need not be a reversed domain name, as the RFC has it. Cursor's is not, and a dot proves nothing: any app
    /// can claim any scheme, which PKCE and asking the person each time are the answer to.
    pub fn parse(text: &str) -> Result<RedirectUri, &'static str> {
        let uri = RedirectUri::of_a_client(text)?;
        if uri.url().query_pairs().any(|(name, _)| OUR_PARAMETERS.contains(&&*name)) {
            return Err("its query must not have parameters of the answer, such as code, state, iss or error");
        }
        Ok(uri)
    }

    /// Reads a URI that a client has had: what was registered before a rule came is still a redirect URI, if no good one.
    fn of_a_client(text: &str) -> Result<RedirectUri, &'static str> {
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
            scheme if is_foreign(scheme) => Err("its scheme is not one that an app can have for itself"),
            scheme if scheme.contains('.') || url.has_host() || url.path().starts_with('/') => Ok(()),
            _ => Err("an app's own scheme must be followed by a slash, such as example:/callback"),
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

    /// Who gets the answer, for the pages: the host, or the scheme if it is an app's own. What follows such a scheme says nothing
    /// of who that is.
    pub fn host(&self) -> String {
        let url = self.url();
        let host = url.host_str().filter(|_| matches!(url.scheme(), "https" | "http"));
        host.unwrap_or(url.scheme()).to_owned()
    }

    /// Whether whoever owns the host gets the code, and nobody else.
    pub fn is_web(&self) -> bool {
        self.url().scheme() == "https"
    }

    /// Whether whatever listens on the person's own machine would get the code.
    pub fn is_loopback(&self) -> bool {
        let url = self.url();
        matches!(url.scheme(), "https" | "http") && is_loopback(&url)
    }

    fn url(&self) -> Url {
        Url::parse(&self.0).expect("it was parsed at construction")
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

fn is_foreign(scheme: &str) -> bool {
    FOREIGN_SCHEMES.iter().any(|schemes| schemes.split(' ').any(|known| known == scheme))
        || FOREIGN_PREFIXES.iter().any(|prefix| scheme.starts_with(prefix))
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
        RedirectUri::of_a_client(&text)
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
            "myapp:cb",
            "myapp:",
            "myapp://",
            "MAILTO:/x",
            "ms-word:/x",
            "chrome-extension://x/y",
            "web+app://x",
            "https://h/a b",
            "https://h/cb?iss=x",
            "https://h/cb?a=b&%63ode=x",
            "https://h/cb?state",
            "",
        ] {
            assert!(RedirectUri::parse(text).is_err(), "{text:?}");
        }
        for text in [
            "https://h.example/cb?x=1",
            "https://h.example/cb?codes=1&isss=2",
            "com.example.app:/cb",
            "com.example.app:cb",
            "cursor://anysphere.cursor-mcp/oauth/callback",
            "vscode://vscode.mcp/oauth/callback",
            "myapp:/cb",
            "http://localhost:3000/oauth/callback",
            "http://[::1]/cb",
        ] {
            assert!(RedirectUri::parse(text).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn who_gets_the_answer_is_not_what_follows_an_apps_own_scheme() {
        for (text, host, is_loopback) in [
            ("https://app.example/cb", "app.example", false),
            ("HTTPS://app.example/cb", "app.example", false),
            ("http://127.0.0.1:7/cb", "127.0.0.1", true),
            ("evil://claude.ai/cb", "evil", false),
            ("com.example.app://claude.ai/cb", "com.example.app", false),
            ("evil://localhost/cb", "evil", false),
        ] {
            let uri = RedirectUri::parse(text).expect(text);
            assert_eq!((uri.host().as_str(), uri.is_loopback()), (host, is_loopback), "{text}");
        }
    }

    #[test]
    fn what_was_registered_before_a_rule_can_still_be_read() {
        let known: RedirectUri = serde_json::from_str("\"https://h.example/cb?state=x\"").expect("it was a redirect URI");
        assert_eq!(known.as_str(), "https://h.example/cb?state=x");
        assert!(serde_json::from_str::<RedirectUri>("\"javascript:alert(1)\"").is_err());
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
