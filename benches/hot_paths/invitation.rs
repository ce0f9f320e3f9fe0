//! What a server of this benchmark says when it is up.

use serde::{Deserialize, Serialize};

use super::servers::load::Request;

/// Where a server is, and how it is asked.
#[derive(Clone, Serialize, Deserialize)]
pub struct Invitation {
    /// Host and port.
    pub address: String,
    /// Gives the token whose issuance is measured.
    pub token: Question,
    /// Gives a token that can be introspected.
    pub introspected_token: Question,
    /// Its body is `token=` and a token.
    pub introspection: Question,
}

/// A form that is posted.
#[derive(Clone, Serialize, Deserialize)]
pub struct Question {
    pub path: String,
    /// The Authorization header.
    pub authorization: String,
    #[serde(default)]
    pub body: String,
}

impl Invitation {
    /// The question as it goes over the wire.
    pub fn ask(&self, question: &Question) -> Request {
        let Question { path, authorization, body } = question;
        Request::post(&self.address, path, authorization, "application/x-www-form-urlencoded", body)
    }
}
