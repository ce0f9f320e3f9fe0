//! What the authorization server says about itself.
//! [RFC 8414 §3](https://www.rfc-editor.org/rfc/rfc8414#section-3)

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::outbound::{Call, Limits, Outbound, OutboundError};

/// For one document of the issuer.
const LIMITS: Limits = Limits { timeout: Duration::from_secs(5), body_bytes_max: 256 * 1024 };

/// The authorization server whose tokens count.
#[derive(Debug)]
pub(super) struct Issuer {
    identifier: String,
    url: Url,
    outbound: Outbound,
}

/// Why the issuer could not be asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum IssuerError {
    #[error("the issuer does not answer")]
    Call(#[source] OutboundError),
    #[error("the issuer answers {0}")]
    Status(StatusCode),
    #[error("the issuer's answer is not what was asked for")]
    Form(#[source] serde_json::Error),
    #[error("the issuer's metadata names another issuer")]
    OtherIssuer,
    #[error("the issuer's metadata has no usable {0}")]
    Endpoint(&'static str),
}

/// The part of the metadata that matters to a resource server.
#[derive(Debug, Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: Option<Url>,
    introspection_endpoint: Option<Url>,
}

impl Issuer {
    /// `url` is `identifier`, parsed.
    pub(super) fn new(identifier: String, url: Url, outbound: Outbound) -> Self {
        Self { identifier, url, outbound }
    }

    pub(super) fn identifier(&self) -> &str {
        &self.identifier
    }

    /// Where the keys are published.
    pub(super) async fn jwks_uri(&self) -> Result<Url, IssuerError> {
        self.own(self.metadata().await?.jwks_uri, "jwks_uri")
    }

    /// Where tokens are asked about.
    pub(super) async fn introspection_endpoint(&self) -> Result<Url, IssuerError> {
        self.own(self.metadata().await?.introspection_endpoint, "introspection_endpoint")
    }

    /// Makes a call that is to be answered `200` with a JSON document.
    pub(super) async fn ask<T: DeserializeOwned>(&self, call: Call) -> Result<T, IssuerError> {
        let fetched = self.outbound.send(call, LIMITS).await.map_err(IssuerError::Call)?;
        if fetched.status != StatusCode::OK {
            return Err(IssuerError::Status(fetched.status));
        }
        serde_json::from_slice(&fetched.body).map_err(IssuerError::Form)
    }

    async fn metadata(&self) -> Result<Metadata, IssuerError> {
        let mut well_known = self.url.clone();
        well_known.set_path(&format!("/.well-known/oauth-authorization-server{}", self.url.path().trim_end_matches('/')));
        let metadata: Metadata = self.ask(Call::get(&well_known)).await?;
        if metadata.issuer != self.identifier { Err(IssuerError::OtherIssuer) } else { Ok(metadata) }
    }

    /// Deputy serves everything at its own origin, so a document that sends us, or our secret, elsewhere is not to be followed.
    fn own(&self, endpoint: Option<Url>, name: &'static str) -> Result<Url, IssuerError> {
        endpoint.filter(|endpoint| endpoint.origin() == self.url.origin()).ok_or(IssuerError::Endpoint(name))
    }
}
