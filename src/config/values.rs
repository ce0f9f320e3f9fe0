//! The types of settings: each is parsed once, and then cannot be wrong.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ipnet::IpNet;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use url::{Host, Url};

use crate::domain::{secret::Secret, token::SigningAlgorithm};

/// A text that is not of the form its setting needs; the reference says what is.
#[derive(Debug, thiserror::Error)]
#[error("not allowed")]
pub struct NotAllowed;

/// The issuer identifier, to the byte as configured, without a trailing slash.
/// [RFC 8414 §2](https://www.rfc-editor.org/rfc/rfc8414#section-2)
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Issuer {
    text: String,
    url: Url,
}

impl Issuer {
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The path below which everything is served: empty, or `/tenant` without a trailing slash.
    pub fn path(&self) -> &str {
        self.url.path().trim_end_matches('/')
    }

    /// Scheme, host and port, as browsers send it in `Origin`.
    pub fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// Whether only this machine can reach it: then plain HTTP is safe, and other loopback addresses may be believed.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.url)
    }
}

impl FromStr for Issuer {
    type Err = NotAllowed;

    fn from_str(text: &str) -> Result<Self, NotAllowed> {
        let url = Url::parse(text).map_err(|_| NotAllowed)?;
        let is_secure = url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url));
        // The parser writes capitals, default ports and dot segments anew; what clients compare must already be in that form.
        let is_normal = url.as_str() == text || url.as_str().strip_suffix('/') == Some(text);
        let is_plain = url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
        if is_secure && is_normal && is_plain && !text.ends_with('/') {
            Ok(Self { text: text.to_owned(), url })
        } else {
            Err(NotAllowed)
        }
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}", self.text)
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// Where state is kept. Neither `Debug` nor `Display` shows a password.
#[derive(Clone)]
pub enum DatabaseAddress {
    /// A file in the data folder.
    Sqlite,
    /// A `postgres://` URL, which may hold a password.
    Postgres(Secret<String>),
}

impl FromStr for DatabaseAddress {
    type Err = NotAllowed;

    fn from_str(text: &str) -> Result<Self, NotAllowed> {
        if text == "sqlite" {
            return Ok(Self::Sqlite);
        }
        let url = Url::parse(text).map_err(|_| NotAllowed)?;
        if matches!(url.scheme(), "postgres" | "postgresql") {
            Ok(Self::Postgres(Secret::new(text.to_owned())))
        } else {
            Err(NotAllowed)
        }
    }
}

impl fmt::Display for DatabaseAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Postgres(text) = self else { return out.write_str("sqlite") };
        let url = Url::parse(text.reveal()).map_err(|_| fmt::Error)?;
        // Only host, port and name: a password may stand before the host and in the query.
        write!(out, "postgres://{}", url.host_str().unwrap_or_default())?;
        if let Some(port) = url.port() {
            write!(out, ":{port}")?;
        }
        out.write_str(url.path())
    }
}

impl fmt::Debug for DatabaseAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self}")
    }
}

/// Where facts and events are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogAddress {
    /// Files in the data folder.
    Embedded,
    /// Apache Kafka: `host:port`, separated by commas, and what all names there begin with.
    Kafka { brokers: String, prefix: String },
}

impl FromStr for LogAddress {
    type Err = NotAllowed;

    fn from_str(text: &str) -> Result<Self, NotAllowed> {
        if text == "embedded" {
            return Ok(Self::Embedded);
        }
        let address = text.strip_prefix("kafka://").ok_or(NotAllowed)?;
        let (brokers, prefix) = address.split_once('/').unwrap_or((address, "deputy"));
        let is_broker = |broker: &str| {
            let (host, port) = broker.rsplit_once(':').unwrap_or_default();
            !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || "/@".contains(c)) && port.parse::<u16>().is_ok()
        };
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
        match brokers.split(',').all(is_broker) && (1..=64).contains(&prefix.len()) && prefix.chars().all(is_plain) {
            true => Ok(Self::Kafka { brokers: brokers.to_owned(), prefix: prefix.to_owned() }),
            false => Err(NotAllowed),
        }
    }
}

impl fmt::Display for LogAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded => out.write_str("embedded"),
            Self::Kafka { brokers, prefix } => write!(out, "kafka://{brokers}/{prefix}"),
        }
    }
}

/// The name of who runs the server, fit for a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrganizationName(String);

impl OrganizationName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for OrganizationName {
    type Err = NotAllowed;

    fn from_str(text: &str) -> Result<Self, NotAllowed> {
        let text = text.trim();
        let is_fit = (1..=80).contains(&text.chars().count()) && !text.chars().any(char::is_control);
        if is_fit { Ok(Self(text.to_owned())) } else { Err(NotAllowed) }
    }
}

impl FromStr for SigningAlgorithm {
    type Err = NotAllowed;

    fn from_str(text: &str) -> Result<Self, NotAllowed> {
        Self::parse(text).ok_or(NotAllowed)
    }
}

/// Who may register a client by itself. [RFC 7591 §3](https://www.rfc-editor.org/rfc/rfc7591#section-3)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registration {
    Open,
    /// Holders of an initial access token.
    Token,
    Off,
}

impl FromStr for Registration {
    type Err = NotAllowed;

    fn from_str(text: &str) -> Result<Self, NotAllowed> {
        match text {
            "open" => Ok(Self::Open),
            "token" => Ok(Self::Token),
            "off" => Ok(Self::Off),
            _ => Err(NotAllowed),
        }
    }
}

/// How lines on standard error are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

impl FromStr for LogFormat {
    type Err = NotAllowed;

    fn from_str(text: &str) -> Result<Self, NotAllowed> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(NotAllowed),
        }
    }
}

/// What is written to standard error: a level, or directives for single modules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter(String);

impl LogFilter {
    pub fn to_filter(&self) -> EnvFilter {
        EnvFilter::new(&self.0)
    }
}

impl FromStr for LogFilter {
    type Err = NotAllowed;

    fn from_str(text: &str) -> Result<Self, NotAllowed> {
        // A bare word is a module's name to the filter, so that a misspelt level would silently turn nearly everything off.
        let is_level_or_names_one = |part: &str| part.contains('=') || LevelFilter::from_str(part.trim()).is_ok();
        let is_right = text.split(',').all(is_level_or_names_one) && EnvFilter::try_new(text).is_ok();
        if is_right { Ok(Self(text.to_owned())) } else { Err(NotAllowed) }
    }
}

/// The 32 bytes that encrypt the signing keys at rest, as base64url, from the environment or the text of the key's file.
///
/// # Errors
/// The text is anything else.
pub fn master_key(text: &str) -> Result<Secret<[u8; 32]>, NotAllowed> {
    let digits = text.trim().trim_end_matches('=');
    let mut bytes = [0; 32];
    match URL_SAFE_NO_PAD.decode_slice(digits, &mut bytes) {
        Ok(32) => Ok(Secret::new(bytes)),
        _ => Err(NotAllowed),
    }
}

/// One address, or a network as address and prefix length.
pub(super) fn network(text: &str) -> Result<IpNet, NotAllowed> {
    let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).map_err(|_| NotAllowed)?;
    Ok(network.trunc())
}

/// A host's name, or an IP address; one of version 6 in brackets, as in a URL.
pub(super) fn host(text: &str) -> Result<Host, NotAllowed> {
    Host::parse(text).map_err(|_| NotAllowed)
}

/// The base address of an OpenTelemetry collector.
pub(super) fn collector(text: &str) -> Result<Url, NotAllowed> {
    let url = Url::parse(text).map_err(|_| NotAllowed)?;
    if matches!(url.scheme(), "http" | "https") && url.has_host() { Ok(url) } else { Err(NotAllowed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issuers_are_https_or_loopback_and_in_normal_form() {
        let allowed = [
            "https://id.example",
            "https://id.example/tenant",
            "https://id.example:8443",
            "http://localhost:9400",
            "http://[::1]:9400",
        ];
        for text in allowed {
            assert_eq!(text.parse::<Issuer>().map(|issuer| issuer.to_string()).ok().as_deref(), Some(text));
        }
        let refused = [
            "",
            "id.example",
            "http://id.example",
            "https://id.example/",
            "https://id.example/a/",
            "https://id.example?x",
            "https://id.example#x",
            "https://user@id.example",
            "https://ID.example",
            "https://id.example:443",
            "https://id.example/a/../b",
            "ftp://127.0.0.1",
            "http://127.0.0.1.example",
        ];
        for text in refused {
            assert!(text.parse::<Issuer>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_issuer_tells_its_path_and_origin() {
        let issuer: Issuer = "https://id.example:8443/tenant".parse().expect("a right issuer");
        assert_eq!((issuer.path(), issuer.origin().as_str(), issuer.is_loopback()), ("/tenant", "https://id.example:8443", false));
        let issuer: Issuer = "http://127.0.0.1:9400".parse().expect("a right issuer");
        assert_eq!((issuer.path(), issuer.origin().as_str(), issuer.is_loopback()), ("", "http://127.0.0.1:9400", true));
    }

    #[test]
    fn a_log_is_embedded_or_brokers_with_a_prefix() {
        let table = [
            ("embedded", Some("embedded")),
            ("kafka://127.0.0.1:9092", Some("kafka://127.0.0.1:9092/deputy")),
            ("kafka://a.example:9092,b.example:9092/eu-1", Some("kafka://a.example:9092,b.example:9092/eu-1")),
            ("kafka://[::1]:9092", Some("kafka://[::1]:9092/deputy")),
            ("kafka://", None),
            ("kafka://a.example", None),
            ("kafka://a.example:9092,", None),
            ("kafka://user:secret@a.example:9092", None),
            ("kafka://a.example:9092/", None),
            ("kafka://a.example:9092/Of Others", None),
            ("file", None),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse::<LogAddress>().ok().map(|log| log.to_string()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_network_is_an_address_or_a_prefix() {
        for (text, expected) in
            [("10.1.2.3/8", Some("10.0.0.0/8")), ("::1", Some("::1/128")), ("10.0.0.0/33", None), ("host", None)]
        {
            assert_eq!(network(text).ok().map(|network| network.to_string()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_master_key_is_32_bytes() {
        assert!(master_key("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n").is_ok_and(|key| key.reveal()[31] == 31));
        for wrong in ["", "AAEC", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8AAEC", "+/ECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"]
        {
            assert!(master_key(wrong).is_err(), "{wrong}");
        }
    }
}
