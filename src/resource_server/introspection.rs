//! Asking the authorization server about each token.
//! [RFC 7662](https://www.rfc-editor.org/rfc/rfc7662)

use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use moka::sync::Cache;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::OnceCell;
use url::Url;

use super::challenge;
use super::issuer::{Issuer, IssuerError};
use super::token::Claims;
use crate::domain::refusal::OAuthError;
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::outbound::Call;

/// Positive answers held at most.
const CACHED_MAX: u64 = 10_000;

/// The issuer's word, token by token.
#[derive(Debug)]
pub(super) struct Introspection {
    issuer: Issuer,
    endpoint: OnceCell<Url>,
    authorization: HeaderValue,
    audience: String,
    cache_ttl: Duration,
    /// By the hash of token and audience. Only what the issuer said: scopes and expiry are judged at each use.
    answers: Cache<[u8; 32], (Timestamp, Claims)>,
}

impl Introspection {
    pub(super) fn new(
        issuer: Issuer,
        client_id: String,
        client_secret: Secret<String>,
        cache_ttl: Duration,
        audience: &str,
    ) -> Self {
        let authorization = basic(&client_id, &client_secret);
        let answers = Cache::new(CACHED_MAX);
        Self { issuer, endpoint: OnceCell::new(), authorization, audience: audience.to_owned(), cache_ttl, answers }
    }

    /// What the issuer says of `token`, if it is active and for us.
    pub(super) async fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, OAuthError> {
        let key = self.cache_key(token);
        let cached = self.answers.get(&key).filter(|(asked_at, _)| *asked_at <= now && now.since(*asked_at) < self.cache_ttl);
        let claims = match cached {
            Some((_, claims)) => claims,
            None => {
                let claims = self.ask(token).await?;
                if !self.cache_ttl.is_zero() {
                    self.answers.insert(key, (now, claims.clone()));
                }
                claims
            }
        };
        claims.check(self.issuer.identifier(), &self.audience, now)?;
        Ok(claims)
    }

    async fn ask(&self, token: &str) -> Result<Claims, OAuthError> {
        #[derive(Deserialize)]
        struct Activity {
            active: bool,
        }
        let answer = self.answer(token).await.map_err(|error| {
            // A refused credential of ours is also the operator's trouble and not the token's.
            tracing::warn!(error = &error as &dyn std::error::Error, "the issuer could not be asked about a token");
            challenge::ISSUER_UNAVAILABLE
        })?;
        match Activity::deserialize(&answer) {
            Ok(Activity { active: true }) => Claims::deserialize(&answer).map_err(|_| challenge::CLAIMS),
            Ok(Activity { active: false }) => Err(challenge::INACTIVE),
            Err(_) => Err(challenge::ISSUER_UNAVAILABLE),
        }
    }

    async fn answer(&self, token: &str) -> Result<Value, IssuerError> {
        let endpoint = self.endpoint.get_or_try_init(|| self.issuer.introspection_endpoint()).await?;
        let fields = [("token", token), ("token_type_hint", "access_token")];
        self.issuer.ask(Call::post_form(endpoint, &fields).header(AUTHORIZATION, self.authorization.clone())).await
    }

    fn cache_key(&self, token: &str) -> [u8; 32] {
        let mut context = Context::new(&SHA256);
        context.update(self.audience.as_bytes());
        context.update(&[0]);
        context.update(token.as_bytes());
        context.finish().as_ref().try_into().expect("SHA-256 is 32 bytes")
    }
}

/// Both halves are form-encoded first ([RFC 6749 §2.3.1](https://www.rfc-editor.org/rfc/rfc6749#section-2.3.1)).
fn basic(client_id: &str, client_secret: &Secret<String>) -> HeaderValue {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encode(client_id), encode(client_secret.reveal()));
    let mut header = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair))).expect("base64 is printable ASCII");
    header.set_sensitive(true);
    header
}
