//! The tower layer: credentials in, a verified request or a challenge out.
//! [RFC 6750 §2.1](https://www.rfc-editor.org/rfc/rfc6750#section-2.1)

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::AUTHORIZATION;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Either, Full, LengthLimitError, Limited};
use hyper::body::{Body, Bytes};
use tower::{Layer, Service};

use super::Clock;
use super::challenge::{self, Demands};
use super::introspection::Introspection;
use super::metadata::Metadata;
use super::published_keys::PublishedKeys;
use super::scopes::ScopeRules;
use super::token::{Claims, Token, Unverified};
use crate::domain::refusal::OAuthError;
use crate::domain::scope::Scopes;
use crate::domain::time::Timestamp;

/// Wraps a service in [`Protect`]. Made by [`ResourceServer::layer`](super::ResourceServer::layer); clones share their caches.
#[derive(Debug, Clone)]
pub struct ProtectLayer {
    resource: Arc<Resource>,
}

/// A service that only verified requests reach, each with a [`Token`] among its extensions.
#[derive(Debug, Clone)]
pub struct Protect<S> {
    inner: S,
    resource: Arc<Resource>,
}

/// All that is known of the resource.
#[derive(Debug)]
pub(super) struct Resource {
    pub(super) identifier: String,
    pub(super) metadata: Metadata,
    pub(super) verifier: Verifier,
    pub(super) demands: Arc<Demands>,
    pub(super) rules: ScopeRules,
    pub(super) body_bytes_max: usize,
    pub(super) clock: Clock,
}

#[derive(Debug)]
pub(super) enum Verifier {
    PublishedKeys(Arc<PublishedKeys>),
    Introspection(Box<Introspection>),
}

/// Our own answers.
type Answer = Response<Full<Bytes>>;

impl ProtectLayer {
    pub(super) fn new(resource: Resource) -> Self {
        Self { resource: Arc::new(resource) }
    }
}

impl<S> Layer<S> for ProtectLayer {
    type Service = Protect<S>;

    fn layer(&self, inner: S) -> Protect<S> {
        Protect { inner, resource: Arc::clone(&self.resource) }
    }
}

impl<S, B, R> Service<Request<B>> for Protect<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Body + From<Bytes> + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<Either<Full<Bytes>, R>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let resource = Arc::clone(&self.resource);
        // The readiness that was polled belongs to this very instance, so that one makes the call.
        let successor = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, successor);
        Box::pin(async move {
            match resource.admit(request).await {
                Ok(request) => Ok(inner.call(request).await?.map(Either::Right)),
                Err(answer) => Ok(answer.map(Either::Left)),
            }
        })
    }
}

impl Resource {
    /// The request as the service may see it, or our own answer to it.
    async fn admit<B>(&self, mut request: Request<B>) -> Result<Request<B>, Box<Answer>>
    where
        B: Body + From<Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        if let Some(metadata) = self.metadata.serve(request.method(), request.uri().path()) {
            return Err(Box::new(metadata));
        }
        let token = self.authenticate(request.headers()).await.map_err(|refusal| self.refuse(&refusal))?;
        request.headers_mut().remove(AUTHORIZATION);

        let needed;
        (request, needed) = self.needed_scopes(request).await.map_err(|refusal| self.refuse(&refusal))?;
        self.demands.check(&token.scopes, &needed).map_err(|challenge| Box::new(challenge.into()))?;
        request.extensions_mut().insert(token);
        Ok(request)
    }

    async fn authenticate(&self, headers: &HeaderMap) -> Result<Token, OAuthError> {
        let token = bearer(headers)?;
        let claims = self.verify(token, self.clock.now()).await?;
        Ok(Token::new(claims, Arc::clone(&self.demands)))
    }

    async fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, OAuthError> {
        match &self.verifier {
            Verifier::Introspection(introspection) => introspection.verify(token, now).await,
            Verifier::PublishedKeys(keys) => {
                let unverified = Unverified::parse(token)?;
                let key = keys.find(&unverified.kid).await?;
                unverified.verify(&key, keys.issuer(), &self.identifier, now)
            }
        }
    }

    /// The scopes that this request needs beyond the required ones. The body is read only if a rule wants to see it.
    async fn needed_scopes<B>(&self, request: Request<B>) -> Result<(Request<B>, Scopes), OAuthError>
    where
        B: Body + From<Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        if self.rules.is_empty() {
            return Ok((request, Scopes::default()));
        }
        let (parts, body) = request.into_parts();
        let collected = Limited::new(body, self.body_bytes_max).collect().await;
        let body = collected
            .map_err(|error| if error.is::<LengthLimitError>() { challenge::BODY_TOO_LARGE } else { challenge::BODY_UNREADABLE })?;
        let body = body.to_bytes();
        let needed = self.rules.needed(&parts, &body);
        Ok((Request::from_parts(parts, B::from(body)), needed))
    }

    fn refuse(&self, refusal: &OAuthError) -> Box<Answer> {
        tracing::debug!(reason = refusal.reason, "request refused");
        Box::new(self.demands.refuse(refusal))
    }
}

/// The token of the one `Authorization: Bearer` header; another scheme is not a credential for us.
fn bearer(headers: &HeaderMap) -> Result<&str, OAuthError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(challenge::CREDENTIALS_ABSENT)?;
    if values.next().is_some() {
        return Err(challenge::CREDENTIALS_REPEATED);
    }
    let value = value.to_str().map_err(|_| challenge::MALFORMED)?;
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(challenge::CREDENTIALS_ABSENT);
    }
    let token = token.trim_matches(' ');
    let is_token_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    if token.is_empty() || !token.bytes().all(is_token_byte) {
        return Err(challenge::MALFORMED);
    }
    Ok(token)
}
