//! What an operator's request holds: who they are, and what they say, read strictly.
//!
//! A field or parameter that we do not know is refused by its name: it is a mistake that would otherwise look like a success.

use std::sync::Arc;

use axum::{
    extract::{FromRequest, FromRequestParts, Path as AxumPath, Query as AxumQuery, Request},
    http::request::Parts,
};
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::{
    domain::{
        id::{Id, OperatorKind},
        refusal::{ADMIN_NOT_FOUND, ADMIN_VALUE, OAuthError, REQUEST_JSON},
    },
    http::{body, body::BODY_BYTES_MAX_KNOWN, clients::authorization},
    protocol::administration::operators,
    world::World,
};

/// Who asks. The first argument of every handler, so that nothing of the request is read for a stranger.
pub(super) struct Operator(pub(super) Id<OperatorKind>);

impl FromRequestParts<Arc<World>> for Operator {
    type Rejection = OAuthError;

    async fn from_request_parts(parts: &mut Parts, world: &Arc<World>) -> Result<Operator, OAuthError> {
        operators::authenticate(world, authorization(&parts.headers)).await.map(Operator)
    }
}

/// What the path names. Text that cannot name anything of its kind names nothing that exists.
pub(super) struct Named<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Named<T> {
    type Rejection = OAuthError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Named<T>, OAuthError> {
        let AxumPath(name) = AxumPath::from_request_parts(parts, state).await.map_err(|_| ADMIN_NOT_FOUND)?;
        Ok(Named(name))
    }
}

/// The parameters of the query.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = OAuthError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Query<T>, OAuthError> {
        let AxumQuery(query) = AxumQuery::try_from_uri(&parts.uri)
            .map_err(|rejection| ADMIN_VALUE.because(format!("{}.", rejection.body_text().trim_end_matches('.'))))?;
        Ok(Query(query))
    }
}

/// The JSON document that was sent.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = OAuthError;

    async fn from_request(request: Request, _: &S) -> Result<Body<T>, OAuthError> {
        let (parts, body) = request.into_parts();
        let bytes = body::json_bytes(&parts.headers, body, BODY_BYTES_MAX_KNOWN).await?;
        serde_json::from_slice(&bytes).map(Body).map_err(|error| refusal(&error))
    }
}

fn refusal(error: &serde_json::Error) -> OAuthError {
    if error.classify() != Category::Data {
        return REQUEST_JSON;
    }
    let text = error.to_string();
    // The value that was met may be a password at the wrong place; what was expected there says enough.
    let told = match text.find(", expected") {
        Some(at) if text.starts_with("invalid ") => format!("A value is not of the right kind{}", &text[at..]),
        _ if text.starts_with("unknown ") || text.starts_with("missing ") || text.starts_with("duplicate ") => {
            format!("The request body is not right: {text}")
        }
        _ => "A value is not of the right form".to_owned(),
    };
    ADMIN_VALUE.because(format!("{told}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Account {
        #[expect(dead_code, reason = "only the errors of reading it are looked at")]
        login: String,
        #[expect(dead_code, reason = "only the errors of reading it are looked at")]
        password: Option<bool>,
    }

    #[test]
    fn a_mistake_is_named_and_a_secret_is_not() {
        for (text, reason, told) in [
            ("{\"login\":\"a\",\"passphrase\":\"hunter2\"}", "admin.value", "unknown field `passphrase`"),
            ("{}", "admin.value", "missing field `login`"),
            ("{\"login\":\"a\",\"login\":\"hunter2\"}", "admin.value", "duplicate field `login`"),
            ("{\"login\":\"a\",\"password\":\"hunter2\"}", "admin.value", "expected a boolean"),
            ("{\"login\":", "request.json", "not the JSON"),
        ] {
            let refused = refusal(&serde_json::from_str::<Account>(text).expect_err("it is wrong"));
            assert_eq!(refused.reason, reason, "{text}");
            assert!(refused.description.contains(told) && !refused.description.contains("hunter2"), "{}", refused.description);
        }
    }
}
