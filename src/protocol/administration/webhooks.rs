//! How the calls of other services are checked, as operators say it. A secret is told to us and never told again.

use http::HeaderName;
use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        event::{Actor, Fact},
        id::{Id, OperatorKind, SourceKind},
        refusal::{ADMIN_NOT_FOUND, ADMIN_VALUE, OAuthError},
        secret::Secret,
        source::Producer,
        time::Timestamp,
        webhook::{Scheme, Webhook},
    },
    keys::secrets::Purpose,
    protocol::witness::Witness,
    storage::{sources, webhooks},
    world::World,
};

const SECRET_BYTES: std::ops::RangeInclusive<usize> = 8..=512;
/// It is sealed for storage, where it stays until it is replaced.
const NEVER: Timestamp = Timestamp(i64::MAX);

/// How the calls of a service are checked from now on.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWebhook {
    scheme: Scheme,
    /// What the service signs with, as it shows it. For every scheme but `none`.
    #[schema(value_type = Option<String>)]
    secret: Option<Secret<String>>,
    /// Where the signature stands; for `hmac_sha256` only.
    header: Option<String>,
    /// Where the service names a delivery, so that one that comes again is the same event. `Webhook-Id` if absent; with `stripe` it is
    /// the event's own id, with `github` `X-GitHub-Delivery`.
    id_header: Option<String>,
}

/// How the calls of a service are checked, without the secret.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct WebhookRecord {
    /// What the service is to call.
    url: String,
    scheme: Scheme,
    header: Option<String>,
    id_header: Option<String>,
}

/// How this source's calls are checked.
pub async fn show(world: &World, source: Id<SourceKind>) -> Result<WebhookRecord, OAuthError> {
    let found = world.storage.read(move |tx| Box::pin(async move { webhooks::find(tx, source).await })).await?;
    found.map(|webhook| record(world, webhook)).ok_or(ADMIN_NOT_FOUND)
}

/// Sets how this source's calls are checked; the secret before is good for nothing at once.
pub async fn put(
    world: &World,
    operator: Id<OperatorKind>,
    source: Id<SourceKind>,
    new: NewWebhook,
    now: Timestamp,
) -> Result<WebhookRecord, OAuthError> {
    let refuse = |sentence: &str| ADMIN_VALUE.because(sentence);
    let secret = match (new.scheme, new.secret) {
        (Scheme::None, None) => None,
        (Scheme::None, Some(_)) => return Err(refuse("The scheme none has no secret.")),
        (_, Some(secret)) if SECRET_BYTES.contains(&secret.reveal().len()) => Some(secret),
        _ => return Err(refuse("secret must have 8 to 512 bytes.")),
    };
    if new.header.is_some() != (new.scheme == Scheme::HmacSha256) {
        return Err(refuse("header belongs to the scheme hmac_sha256, and that one needs it."));
    }
    if new.id_header.is_some() && new.scheme == Scheme::Stripe {
        return Err(refuse("With the scheme stripe, the event's own id names it."));
    }
    let seal = |secret: Secret<String>| world.secrets.seal(Purpose::WebhookSecret, &source.to_string(), NEVER, secret.reveal());
    let webhook = Webhook {
        source,
        scheme: new.scheme,
        header: new.header.as_deref().map(header).transpose()?,
        id_header: new.id_header.as_deref().map(header).transpose()?,
        sealed_secret: secret.map(seal),
    };
    let fact = Fact::SourceChanged { source, change: "webhook".to_owned() };
    let (witness, written) = (Witness::new(world, Actor::Operator(operator), now), webhook.clone());
    let write = world.storage.write(move |tx| {
        Box::pin(async move {
            let known = sources::hold(tx, source).await?.ok_or(ADMIN_NOT_FOUND)?;
            if known.producer != Producer::Webhook {
                return Err(ADMIN_VALUE.because("This source is no webhook; make one of the kind webhook."));
            }
            webhooks::put(tx, &written, now).await?;
            Ok::<_, OAuthError>(witness.record(tx, fact).await?)
        })
    });
    write.await?;
    Ok(record(world, webhook))
}

/// A header's name in lower case.
fn header(text: &str) -> Result<String, OAuthError> {
    let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| ADMIN_VALUE.because("This is no name of a header."))?;
    Ok(name.as_str().to_owned())
}

fn record(world: &World, webhook: Webhook) -> WebhookRecord {
    WebhookRecord {
        url: format!("{}/v1/webhooks/{}", world.settings.issuer.as_str(), webhook.source),
        scheme: webhook.scheme,
        header: webhook.header,
        id_header: webhook.id_header,
    }
}
