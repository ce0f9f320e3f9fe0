//! An HTTP answer, read whole, with what tests ask of it.

use reqwest::{StatusCode, header::HeaderMap};
use serde_json::Value;

/// Status, headers and body.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    pub async fn of(request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.expect("the server answers");
        let (status, headers) = (response.status(), response.headers().clone());
        Answer { status, headers, body: response.text().await.expect("the body is text") }
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// A member of the JSON body that must be a string.
    #[track_caller]
    pub fn text(&self, member: &str) -> String {
        self.json()[member].as_str().unwrap_or_else(|| panic!("no string {member} in {self:?}")).to_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("the header is text"))
    }

    /// Fails unless this is a success.
    #[track_caller]
    pub fn ok(self) -> Answer {
        assert!(self.status.is_success(), "{self:?}");
        self
    }

    /// Fails unless this is a refusal of this status and code, in the form that every refusal has.
    #[track_caller]
    pub fn refused(self, status: u16, error: &str) -> Answer {
        assert_eq!((self.status.as_u16(), self.json()["error"].as_str()), (status, Some(error)), "{self:?}");
        assert_eq!(self.header("cache-control"), Some("no-store"), "{self:?}");
        assert!(self.json()["error_description"].as_str().is_some_and(|text| text.len() > 10), "{self:?}");
        self
    }

    /// Fails unless this is a page that tells a person of this refusal: one that ends their way, or a form that comes back.
    #[track_caller]
    pub fn refused_on_page(self, status: u16, reason: &str) -> Answer {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        let is_told =
            [format!("<code>{reason}</code>"), format!("data-reason=\"{reason}\"")].iter().any(|told| self.body.contains(told));
        assert!(is_told, "no {reason} on {}", self.body);
        assert_eq!(self.header("cache-control"), Some("no-store"), "{self:?}");
        self
    }
}
