//! For resource servers written in Rust: protect an HTTP service with tokens that Deputy issued.
//! [RFC 9728](https://www.rfc-editor.org/rfc/rfc9728), [RFC 9068](https://www.rfc-editor.org/rfc/rfc9068),
//! [RFC 6750](https://www.rfc-editor.org/rfc/rfc6750), [MCP authorization](https://modelcontextprotocol.io/specification/2026-07-28/basic/authorization)
//!
//! Describe the `ResourceServer`, turn it into a layer, and wrap the whole service in it:
//!
//! ```
//! use axum::{Extension, Router, response::Response, routing::get};
//! use deputy::resource_server::{ResourceServer, token::Token};
//!
//! async fn read_notes(Extension(token): Extension<Token>) -> Result<String, Response> {
//!     token.require(&["notes:read"])?; // answers 403 insufficient_scope, with all that is needed
//!     Ok(format!("the notes of {}", token.subject))
//! }
//!
//! let protect = ResourceServer::new("https://notes.example/mcp", "https://deputy.example")
//!     .scopes_supported(["notes:read", "notes:write"])
//!     .implied_scopes("notes:write", ["notes:read"])
//!     .layer()?;
//! let service: Router = Router::new().route("/notes", get(read_notes)).layer(protect);
//! # Ok::<(), deputy::resource_server::ConfigError>(())
//! ```
//!
//! The layer also serves the resource's metadata, so it belongs outermost. It never reads a token from the query or the body, and
//! takes the `Authorization` header off each request: the service cannot pass on what it does not have.

/// The answers to a request that may not pass.
pub mod challenge;
/// Asking the authorization server about each token.
mod introspection;
/// What the authorization server says about itself.
mod issuer;
/// What the resource says about itself.
mod metadata;
/// The tower layer: credentials in, a verified request or a challenge out.
pub mod protect;
/// The authorization server's public keys, cached.
mod published_keys;
/// Which scopes a request needs, and which scopes cover them.
mod scopes;
/// What a verified token says.
pub mod token;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::request::Parts;
use url::Url;

use self::challenge::Demands;
use self::introspection::Introspection;
use self::issuer::Issuer;
use self::metadata::Metadata;
use self::protect::{ProtectLayer, Verifier};
use self::published_keys::PublishedKeys;
use self::scopes::{Implied, ScopeRules};
use crate::domain::scope::{self, Scopes};
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::outbound::{Outbound, OutboundPolicy};

/// One resource: who it is, whose tokens it takes, and what it asks of them.
#[derive(Debug)]
pub struct ResourceServer {
    identifier: String,
    issuer: String,
    name: Option<String>,
    scopes_supported: Vec<String>,
    scopes_required: Vec<String>,
    implied: BTreeMap<String, Vec<String>>,
    rules: ScopeRules,
    body_bytes_max: usize,
    check: Check,
    outbound: Option<Outbound>,
    clock: Clock,
}

/// Why a [`ResourceServer`] cannot work as described.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    #[error("the resource identifier {given:?} {why}")]
    Identifier { given: String, why: &'static str },
    #[error("the issuer {given:?} {why}")]
    Issuer { given: String, why: &'static str },
    #[error("{0:?} is not a scope: one word of printable ASCII without quotes and backslashes")]
    Scope(String),
}

#[derive(Debug)]
enum Check {
    PublishedKeys,
    Introspection { client_id: String, client_secret: Secret<String>, cache_ttl: Duration },
}

#[derive(Clone)]
struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl ResourceServer {
    /// A resource known as `identifier`, which is the `aud` that its tokens must carry, to the byte; for tokens of `issuer`.
    ///
    /// Tokens are checked with the issuer's published keys unless [`Self::introspecting`] says otherwise.
    #[must_use]
    pub fn new(identifier: impl Into<String>, issuer: impl Into<String>) -> Self {
        Self {
            identifier: identifier.into(),
            issuer: issuer.into(),
            name: None,
            scopes_supported: Vec::new(),
            scopes_required: Vec::new(),
            implied: BTreeMap::new(),
            rules: ScopeRules::default(),
            body_bytes_max: 4 << 20,
            check: Check::PublishedKeys,
            outbound: None,
            clock: Clock(Arc::new(machine_time)),
        }
    }

    /// The name that people see for this resource.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// The scopes listed in the metadata: a client that was told nothing better asks for all of them.
    #[must_use]
    pub fn scopes_supported<S: Into<String>>(self, scopes: impl IntoIterator<Item = S>) -> Self {
        Self { scopes_supported: words(scopes), ..self }
    }

    /// The scopes that every request needs, and that the first challenge asks for.
    #[must_use]
    pub fn required_scopes<S: Into<String>>(self, scopes: impl IntoIterator<Item = S>) -> Self {
        Self { scopes_required: words(scopes), ..self }
    }

    /// Whoever holds `scope` also holds the scopes that it implies, and what those imply in turn.
    #[must_use]
    pub fn implied_scopes<S: Into<String>>(mut self, scope: impl Into<String>, implied: impl IntoIterator<Item = S>) -> Self {
        self.implied.entry(scope.into()).or_default().extend(words(implied));
        self
    }

    /// The scopes that a call of the MCP tool `tool` needs beyond the required ones.
    ///
    /// They are demanded before the MCP server runs, because a client steps up only on an HTTP 403. A body that is not plain JSON-RPC
    /// needs the scopes of every tool named here.
    #[must_use]
    pub fn tool_scopes<S: Into<String>>(mut self, tool: impl Into<String>, scopes: impl IntoIterator<Item = S>) -> Self {
        self.rules.tools.entry(tool.into()).or_default().extend(words(scopes));
        self
    }

    /// Decides from the head and the complete body of each request which scopes it needs beyond the required ones.
    #[must_use]
    pub fn scope_rule(mut self, rule: impl Fn(&Parts, &[u8]) -> Scopes + Send + Sync + 'static) -> Self {
        self.rules.custom = Some(Box::new(rule));
        self
    }

    /// The longest body that is read to decide about scopes; a longer one is answered `413`. 4 MiB unless set.
    #[must_use]
    pub fn body_bytes_max(self, body_bytes_max: usize) -> Self {
        Self { body_bytes_max, ..self }
    }

    /// Asks the issuer about each token ([RFC 7662](https://www.rfc-editor.org/rfc/rfc7662)), with this client's credentials, so that
    /// a revoked token is refused at once.
    ///
    /// A positive answer is reused for `cache_ttl`, though never past the token's expiry: zero asks every time.
    #[must_use]
    pub fn introspecting(self, client_id: impl Into<String>, client_secret: Secret<String>, cache_ttl: Duration) -> Self {
        Self { check: Check::Introspection { client_id: client_id.into(), client_secret, cache_ttl }, ..self }
    }

    /// Reaches the issuer through `outbound` instead of a client of its own.
    #[must_use]
    pub fn outbound(self, outbound: Outbound) -> Self {
        Self { outbound: Some(outbound), ..self }
    }

    /// Reads the time from `clock` instead of the machine's.
    #[must_use]
    pub fn clock(self, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self { clock: Clock(Arc::new(clock)), ..self }
    }

    /// The layer that protects a service as described. Nothing is fetched until the first token arrives.
    ///
    /// # Errors
    /// [`ConfigError`] when an identifier is not a canonical URL or a scope is not a word.
    pub fn layer(self) -> Result<ProtectLayer, ConfigError> {
        let identifier =
            canonical_url(&self.identifier).map_err(|why| ConfigError::Identifier { given: self.identifier.clone(), why })?;
        let issuer_url = canonical_url(&self.issuer).map_err(|why| ConfigError::Issuer { given: self.issuer.clone(), why })?;
        let implied = self.implied.iter().flat_map(|(scope, implied)| std::iter::once(scope).chain(implied));
        let mentioned =
            self.scopes_supported.iter().chain(&self.scopes_required).chain(implied).chain(self.rules.tools.values().flatten());
        if let Some(bad) = mentioned.into_iter().find(|scope| !scope::is_scope(scope)) {
            return Err(ConfigError::Scope(bad.clone()));
        }

        let metadata = Metadata::new(&identifier, &self.identifier, &self.issuer, self.name.as_deref(), &self.scopes_supported);
        let outbound = self.outbound.unwrap_or_else(|| Outbound::new(OutboundPolicy::OperatorNamed));
        let issuer = Issuer::new(self.issuer, issuer_url, outbound);
        let verifier = match self.check {
            Check::PublishedKeys => Verifier::PublishedKeys(Arc::new(PublishedKeys::new(issuer, self.clock.clone()))),
            Check::Introspection { client_id, client_secret, cache_ttl } => {
                Verifier::Introspection(Box::new(Introspection::new(issuer, client_id, client_secret, cache_ttl, &self.identifier)))
            }
        };
        let demands = Demands::new(metadata.url(), &self.scopes_required, Implied::new(self.implied));
        Ok(ProtectLayer::new(protect::Resource {
            identifier: self.identifier,
            metadata,
            verifier,
            demands: Arc::new(demands),
            rules: self.rules,
            body_bytes_max: self.body_bytes_max,
            clock: self.clock,
        }))
    }
}

impl Clock {
    fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Clock")
    }
}

#[expect(clippy::disallowed_methods, reason = "resource servers live outside our World")]
fn machine_time() -> Timestamp {
    Timestamp(0).plus(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn words<S: Into<String>>(words: impl IntoIterator<Item = S>) -> Vec<String> {
    words.into_iter().map(Into::into).collect()
}

/// Identifiers are compared to the byte, everywhere: only a spelling that no URL parser would change can be relied on.
fn canonical_url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "is not a URL")?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("is neither http nor https");
    }
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err("has a query, a fragment or a user name");
    }
    if url.as_str().strip_suffix('/').unwrap_or(url.as_str()) != text.strip_suffix('/').unwrap_or(text) {
        return Err("is not spelled canonically: lower case, no default port, no dot segments");
    }
    Ok(url)
}

#[cfg(test)]
mod tests;
