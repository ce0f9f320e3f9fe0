//! HTTP as the story's actors speak it: one request, its whole answer, nothing followed and nothing kept.

use std::time::Duration;

use reqwest::header::{HeaderMap, LOCATION, WWW_AUTHENTICATE};
use reqwest::{RequestBuilder, redirect};
use serde_json::Value;
use url::Url;

use super::super::Failure;

/// Everything runs on this machine; longer means that something hangs.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    /// Whom we asked for what, for a sentence about it.
    asked: String,
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

/// A client that follows no redirect and uses no proxy.
pub(super) fn client() -> Result<reqwest::Client, Failure> {
    let client = reqwest::Client::builder().timeout(ANSWER_MAX).redirect(redirect::Policy::none()).no_proxy().build();
    client.map_err(|error| Failure::because("cannot make requests", &error))
}

impl Answer {
    /// Sends a request and reads its whole answer.
    pub(super) async fn to(request: RequestBuilder) -> Result<Answer, Failure> {
        let (client, request) = request.build_split();
        let request = request.map_err(|error| Failure::because("a request cannot be made", &error.without_url()))?;
        let mut url = request.url().clone();
        // What follows may hold codes and seals.
        url.set_query(None);
        let asked = format!("{} {url}", request.method());
        let failed = |error: reqwest::Error| Failure::because(format!("{asked} was not answered"), &error.without_url());
        let response = client.execute(request).await.map_err(failed)?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.text().await.map_err(failed)?;
        Ok(Answer { asked, status, headers, body })
    }

    /// The answer, if it has the status that the story goes on with.
    pub(super) fn expect(self, status: u16) -> Result<Answer, Failure> {
        if self.status == status {
            return Ok(self);
        }
        let told = self.json().ok().and_then(|body| body["error_description"].as_str().map(str::to_owned));
        let told = told.map(|told| format!(": {}", told.trim_end_matches('.'))).unwrap_or_default();
        Err(Failure(format!("the story stops here: {} answered {} where {status} was expected{told}", self.asked, self.status)))
    }

    pub(super) fn json(&self) -> Result<Value, Failure> {
        serde_json::from_str(&self.body).map_err(|_| self.lacks("JSON"))
    }

    /// A member of the JSON body that must be a string.
    pub(super) fn text(&self, member: &str) -> Result<String, Failure> {
        self.json()?[member].as_str().map(str::to_owned).ok_or_else(|| self.lacks(member))
    }

    /// Where the answer sends its reader, if it does.
    pub(super) fn location(&self, from: &Url) -> Option<Url> {
        from.join(self.headers.get(LOCATION)?.to_str().ok()?).ok()
    }

    /// The `WWW-Authenticate` header.
    pub(super) fn challenge(&self) -> Result<Challenge, Failure> {
        let value = self.headers.get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
        value.map(|value| Challenge(value.to_owned())).ok_or_else(|| self.lacks("a WWW-Authenticate header"))
    }

    pub(super) fn lacks(&self, what: &str) -> Failure {
        Failure(format!("the story stops here: the answer to {} lacks {what}", self.asked))
    }
}

/// What a resource says to a request that may not pass ([RFC 6750 §3](https://www.rfc-editor.org/rfc/rfc6750#section-3)).
#[derive(Debug)]
pub(super) struct Challenge(String);

impl Challenge {
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.split_once(&format!("{name}=\""))?;
        value.split('"').next()
    }

    /// All of it but the address of the metadata, which is long and known.
    pub(super) fn in_short(&self) -> String {
        let parts = ["error", "scope"].into_iter().filter_map(|name| Some(format!("{name}=\"{}\"", self.parameter(name)?)));
        format!("Bearer {}", parts.collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_read_by_its_parameters() {
        let challenge = Challenge(
            "Bearer error=\"insufficient_scope\", error_description=\"More\", scope=\"a b\", resource_metadata=\"http://x/y\""
                .to_owned(),
        );
        assert_eq!(challenge.parameter("resource_metadata"), Some("http://x/y"));
        assert_eq!(challenge.parameter("realm"), None);
        assert_eq!(challenge.in_short(), "Bearer error=\"insufficient_scope\", scope=\"a b\"");
    }
}
