//! Outgoing HTTP: every URL is hostile, whoever gave it to us.
//! [RFC 9700 §4](https://www.rfc-editor.org/rfc/rfc9700#section-4), [RFC 6890](https://www.rfc-editor.org/rfc/rfc6890)
//!
//! A name is looked up once for each exchange, special-use addresses are struck from the answer, and only what is left is connected
//! to: there is no second look-up that could tell another story. This module never follows a redirect, never reads a proxy from the
//! environment, never keeps a cookie or a connection, and never reads more, nor waits longer, than its caller stated.

/// Which addresses may be connected to at all.
mod address;
/// For how long an answer may be kept.
mod freshness;
/// The twin without a network.
mod simulated;
/// Other people's PostgreSQL.
pub mod warehouse;

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::Url;

pub use self::address::Refusal;
pub use self::freshness::KeptFor;
pub use self::simulated::{Answer, SimulatedWeb};

/// Whom an installation may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutboundPolicy {
    /// `https` to public addresses: for every URL that came from outside.
    PublicOnly,
    /// As `PublicOnly`, and `http` or `https` to loopback when the host says so itself: `localhost`, `*.localhost`, `127.0.0.1`,
    /// `[::1]`. For a server whose own issuer is loopback.
    AllowLoopback,
    /// `http` and `https` to any address: only for URLs that the operator of this process wrote into its configuration.
    OperatorNamed,
}

/// What one exchange may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For the whole exchange: name look-up, connection, TLS, request, and the last byte of the answer.
    pub timeout: Duration,
    /// Of the answer's body; one byte more is `OutboundError::TooLarge`.
    pub body_bytes_max: usize,
}

/// One request to make.
#[derive(Debug, Clone)]
pub struct Call {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Call {
    /// A `GET` that asks for JSON.
    #[must_use]
    pub fn get(url: &Url) -> Self {
        Self::new(Method::GET, url)
    }

    /// A `POST` of form fields that asks for JSON.
    #[must_use]
    pub fn post_form(url: &Url, fields: &[(&str, &str)]) -> Self {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let call = Self::new(Method::POST, url).header(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        Self { body: body.into_bytes(), ..call }
    }

    /// A `POST` of a JSON document that asks for JSON.
    #[must_use]
    pub fn post_json(url: &Url, document: &serde_json::Value) -> Self {
        let call = Self::new(Method::POST, url).header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Self { body: document.to_string().into_bytes(), ..call }
    }

    /// Sets a header, in place of an earlier value.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    fn new(method: Method, url: &Url) -> Self {
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]);
        Self { method, url: url.clone(), headers, body: Vec::new() }
    }
}

/// A complete answer, whatever its status: a redirect is an answer too, and goes no further.
#[derive(Debug, Clone)]
pub struct Fetched {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// Why there is no answer. The texts are for logs: what they tell of our network is not for the one who chose the URL.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// The URL or the address behind it is not allowed. Asking again will not help.
    #[error("this address may not be called")]
    Refused(#[source] Refusal),
    /// Name look-up, connection, TLS or the exchange itself failed. Asking again later may help.
    #[error("no answer")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    #[error("the answer is longer than {body_bytes_max} bytes")]
    TooLarge { body_bytes_max: usize },
    #[error("no complete answer within {} ms", timeout.as_millis())]
    TimedOut { timeout: Duration },
}

/// The one way out of this process by HTTP. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Outbound {
    policy: OutboundPolicy,
    transport: Transport,
}

#[derive(Debug, Clone)]
enum Transport {
    Network(reqwest::Client),
    Simulated(SimulatedWeb),
}

impl Outbound {
    /// Calls over the network. On a machine without certificate authorities every `https` call will be `Unavailable`.
    #[must_use]
    pub fn new(policy: OutboundPolicy) -> Self {
        Self::resolving_with(Arc::new(SystemNames), policy)
    }

    /// Calls into a web in memory, which the returned handle fills. URLs and addresses are judged as on the network.
    #[must_use]
    pub fn simulated(policy: OutboundPolicy) -> (Self, SimulatedWeb) {
        let web = SimulatedWeb::default();
        (Self { policy, transport: Transport::Simulated(web.clone()) }, web)
    }

    /// The same way out, to whatever host the operator of this process names.
    #[must_use]
    pub fn to_named(&self) -> Self {
        match &self.transport {
            Transport::Network(_) => Self::new(OutboundPolicy::OperatorNamed),
            Transport::Simulated(web) => {
                Self { policy: OutboundPolicy::OperatorNamed, transport: Transport::Simulated(web.clone()) }
            }
        }
    }

    /// Fetches `url`, asking for JSON.
    ///
    /// # Errors
    /// See [`OutboundError`]. An unwelcome status is not an error.
    pub async fn get(&self, url: &Url, limits: Limits) -> Result<Fetched, OutboundError> {
        self.send(Call::get(url), limits).await
    }

    /// Judges a URL as far as that can be done without a name look-up, so that whoever brings one that will never be called hears
    /// so at once.
    ///
    /// # Errors
    /// `OutboundError::Refused`.
    pub fn check(&self, url: &Url) -> Result<(), OutboundError> {
        address::check_url(url, self.policy).map_err(OutboundError::Refused)
    }

    /// Makes one call; there are no retries.
    ///
    /// # Errors
    /// See [`OutboundError`]. An unwelcome status is not an error.
    pub async fn send(&self, call: Call, limits: Limits) -> Result<Fetched, OutboundError> {
        self.check(&call.url)?;
        let exchange = async {
            match &self.transport {
                Transport::Network(client) => exchange(client, call, limits.body_bytes_max).await,
                Transport::Simulated(web) => web.exchange(call, self.policy, limits.body_bytes_max).await,
            }
        };
        let timed_out = |_| Err(OutboundError::TimedOut { timeout: limits.timeout });
        tokio::time::timeout(limits.timeout, exchange).await.unwrap_or_else(timed_out)
    }

    fn resolving_with(names: Arc<dyn Resolve>, policy: OutboundPolicy) -> Self {
        let builder = || {
            reqwest::Client::builder()
                .dns_resolver(GuardedNames { names: Arc::clone(&names), policy })
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .no_proxy()
                .pool_max_idle_per_host(0)
                .user_agent(concat!("deputy/", env!("CARGO_PKG_VERSION")))
        };
        let client = builder().build().unwrap_or_else(|error| {
            tracing::warn!(%error, "no certificate authorities found on this machine: outgoing https will fail");
            builder().tls_certs_only([]).build().expect("a client without certificate authorities needs nothing from the machine")
        });
        Self { policy, transport: Transport::Network(client) }
    }
}

async fn exchange(client: &reqwest::Client, call: Call, body_bytes_max: usize) -> Result<Fetched, OutboundError> {
    let request = client.request(call.method, call.url).headers(call.headers).body(call.body);
    let mut response = request.send().await.map_err(failure)?;
    let too_large = OutboundError::TooLarge { body_bytes_max };
    if response.content_length().is_some_and(|announced| announced > body_bytes_max as u64) {
        return Err(too_large);
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failure)? {
        if chunk.len() > body_bytes_max - body.len() {
            return Err(too_large);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Fetched { status: response.status(), headers: std::mem::take(response.headers_mut()), body })
}

/// Finds our own refusal again, which the resolver handed to the HTTP client, and strips the URL, whose query may be secret.
fn failure(error: reqwest::Error) -> OutboundError {
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(current) = cause {
        if let Some(refusal) = current.downcast_ref::<Refusal>() {
            return OutboundError::Refused(refusal.clone());
        }
        cause = current.source();
    }
    OutboundError::Unavailable(Box::new(error.without_url()))
}

/// The machine's own resolver.
struct SystemNames;

impl Resolve for SystemNames {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(Box::new(found.collect::<Vec<_>>().into_iter()) as Addrs)
        })
    }
}

/// Strikes what may not be connected to from another resolver's answers.
struct GuardedNames {
    names: Arc<dyn Resolve>,
    policy: OutboundPolicy,
}

impl Resolve for GuardedNames {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        let policy = self.policy;
        let answer = self.names.resolve(name);
        Box::pin(async move {
            let allowed = address::allowed(&host, answer.await?.map(|found| found.ip()), policy)?;
            Ok(Box::new(allowed.into_iter().map(|ip| SocketAddr::new(ip, 0))) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests;
