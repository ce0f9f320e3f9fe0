//! A web in memory, for the simulated world: names, answers and faults are set by the test, and calls are on record.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use url::{Host, Url};

use super::{Call, Fetched, OutboundError, OutboundPolicy, address};

/// What one URL answers.
#[derive(Debug, Clone)]
pub enum Answer {
    /// A complete answer.
    Complete { status: StatusCode, headers: HeaderMap, body: Vec<u8> },
    /// The connection fails.
    Unreachable,
    /// The answer begins and never ends.
    Endless,
    /// Nothing ever comes: only the caller's timeout ends the exchange.
    Silent,
}

impl Answer {
    /// `200` with a JSON document.
    #[must_use]
    pub fn json(document: &serde_json::Value) -> Self {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        Self::Complete { status: StatusCode::OK, headers, body: document.to_string().into_bytes() }
    }

    /// An empty answer.
    #[must_use]
    pub fn status(status: StatusCode) -> Self {
        Self::Complete { status, headers: HeaderMap::new(), body: Vec::new() }
    }
}

/// The handle to a simulated web. Clones share one web.
#[derive(Debug, Clone, Default)]
pub struct SimulatedWeb(Arc<Mutex<Web>>);

#[derive(Debug, Default)]
struct Web {
    answers: HashMap<Url, Answer>,
    names: HashMap<String, Vec<IpAddr>>,
    calls: Vec<Call>,
}

impl SimulatedWeb {
    /// From now on `url` answers this. URLs without an answer are `404`.
    pub fn answer(&self, url: &Url, answer: Answer) {
        self.web().answers.insert(url.clone(), answer);
    }

    /// From now on `host` has these addresses. Names that were never set have one public address, and `localhost` is loopback.
    pub fn name(&self, host: &str, addresses: &[IpAddr]) {
        self.web().names.insert(host.to_owned(), addresses.to_vec());
    }

    /// The calls that got as far as the network, oldest first.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.web().calls.clone()
    }

    pub(super) async fn exchange(
        &self,
        call: Call,
        policy: OutboundPolicy,
        body_bytes_max: usize,
    ) -> Result<Fetched, OutboundError> {
        let answer = self.receive(call, policy)?;
        match answer {
            Answer::Complete { status, headers, body } if body.len() <= body_bytes_max => Ok(Fetched { status, headers, body }),
            Answer::Complete { .. } | Answer::Endless => Err(OutboundError::TooLarge { body_bytes_max }),
            Answer::Unreachable => Err(OutboundError::Unavailable("simulated: unreachable".into())),
            Answer::Silent => std::future::pending().await,
        }
    }

    fn receive(&self, call: Call, policy: OutboundPolicy) -> Result<Answer, OutboundError> {
        let mut web = self.web();
        if let Some(Host::Domain(host)) = call.url.host() {
            let found = web.names.get(host).cloned().unwrap_or_else(|| vec![usual_address(host)]);
            address::allowed(host, found.into_iter(), policy).map_err(OutboundError::Refused)?;
        }
        let answer = web.answers.get(&call.url).cloned().unwrap_or_else(|| Answer::status(StatusCode::NOT_FOUND));
        web.calls.push(call);
        Ok(answer)
    }

    fn web(&self) -> MutexGuard<'_, Web> {
        // Every change to the web is a single insertion: a test that panicked beside us leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn usual_address(host: &str) -> IpAddr {
    if host == "localhost" || host.ends_with(".localhost") { Ipv4Addr::LOCALHOST.into() } else { Ipv4Addr::new(1, 2, 3, 4).into() }
}
