//! Calls of other services: checked, and taken in as they are. What they mean, the source's transformation says later.
//!
//! The message that is kept is of the type `webhook`: the headers that tell of the event, and the body, byte for byte (`body` if it is
//! JSON, else `text`). It is durable before the answer, like any other; the service tries again until it has heard so.

/// Whether the service signed it.
mod signature;

use http::{HeaderMap, HeaderName};
use serde_json::value::RawValue;

use super::soundness;
use crate::{
    domain::{
        event::{Actor, Event, Fact},
        id::{EventKind, Id, SourceKind},
        json::Json,
        refusal::{OAuthError, WEBHOOK_MALFORMED, WEBHOOK_SIGNATURE, WEBHOOK_UNKNOWN},
        sighting::Sighting,
        time::Timestamp,
        webhook::{Scheme, Webhook},
    },
    keys::secrets::Purpose,
    storage::{sources, webhooks},
    world::{World, record},
};

/// The largest call that is taken, in bytes.
pub const BODY_BYTES_MAX: usize = 256 * 1024;
/// As for any message.
const MESSAGE_ID_CHARS_MAX: usize = 99;
/// Headers that are kept, and the characters of each.
const HEADERS_MAX: usize = 24;
const HEADER_CHARS_MAX: usize = 256;
/// The header that names a delivery in the [Standard Webhooks](https://www.standardwebhooks.com) specification.
const STANDARD_ID: &str = "webhook-id";
/// What must not stand in an event, wherever it stands in a header's name.
const NOT_KEPT: [&str; 7] = ["signature", "token", "secret", "key", "auth", "forwarded", "real-ip"];

/// Takes a call in. When it is answered, it is durable.
pub async fn accept(
    world: &World,
    source: Id<SourceKind>,
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> Result<(), OAuthError> {
    let find = world.storage.read(move |tx| {
        Box::pin(async move { Ok::<_, OAuthError>((sources::find(tx, source).await?, webhooks::find(tx, source).await?)) })
    });
    let (Some(known), Some(webhook)) = find.await? else { return Err(WEBHOOK_UNKNOWN) };
    if known.is_disabled() {
        return Err(WEBHOOK_UNKNOWN);
    }
    let taken = take(world, &webhook, headers, body, now).await;
    if let Err(refusal) = &taken
        && let Some(watched) = world.memory.viewers.of(source)
    {
        watched.show(now, || Some(Sighting::refused(now, refusal)));
    }
    taken
}

async fn take(world: &World, webhook: &Webhook, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<(), OAuthError> {
    check(world, webhook, headers, body, now)?;
    let source = webhook.source;
    let text = std::str::from_utf8(body).map_err(|_| WEBHOOK_MALFORMED)?;
    let event_id: Id<EventKind> = world.id(now);
    let message_id = message_id(webhook, headers, text)?.unwrap_or_else(|| event_id.to_string());
    let message = message(&message_id, headers, text, now)?;
    let fact = Fact::EventReceived { source, message_id, message };
    let event = Event { id: event_id, at: now, actor: Actor::Source(source), fact };
    super::append(world, vec![record(&event)], source, now).await.map_err(super::untaken)
}

fn check(world: &World, webhook: &Webhook, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<(), OAuthError> {
    let name = webhook.scheme.header().or(webhook.header.as_deref());
    let Some(name) = name else {
        return if webhook.scheme == Scheme::None { Ok(()) } else { Err(WEBHOOK_SIGNATURE) };
    };
    let sealed = webhook.sealed_secret.as_deref().ok_or(WEBHOOK_SIGNATURE)?;
    let context = webhook.source.to_string();
    let secret: String = world.secrets.open(Purpose::WebhookSecret, &context, now, sealed).ok_or(WEBHOOK_SIGNATURE)?;
    // More than one of them would be for us to choose from.
    let mut signatures = headers.get_all(name).iter();
    let (Some(signature), None) = (signatures.next(), signatures.next()) else { return Err(WEBHOOK_SIGNATURE) };
    let signature = signature.to_str().map_err(|_| WEBHOOK_SIGNATURE)?;
    signature::verify(webhook.scheme, secret.as_bytes(), signature, body, now)
}

/// What the service calls this delivery, if it says.
fn message_id(webhook: &Webhook, headers: &HeaderMap, body: &str) -> Result<Option<String>, OAuthError> {
    #[derive(serde::Deserialize)]
    struct Named {
        id: String,
    }
    let id = match webhook.scheme {
        Scheme::Stripe => serde_json::from_str(body).ok().map(|Named { id }| id),
        scheme => {
            let name = webhook.id_header.as_deref().or(scheme.id_header()).unwrap_or(STANDARD_ID);
            headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        }
    };
    match id {
        Some(id) if id.chars().count() > MESSAGE_ID_CHARS_MAX => Err(WEBHOOK_MALFORMED),
        id => Ok(id.filter(|id| !id.is_empty())),
    }
}

fn message(message_id: &str, headers: &HeaderMap, body: &str, now: Timestamp) -> Result<Json, OAuthError> {
    #[derive(serde::Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Message<'m> {
        message_id: &'m str,
        r#type: &'static str,
        timestamp: String,
        received_at: String,
        headers: serde_json::Map<String, serde_json::Value>,
        #[serde(skip_serializing_if = "Option::is_none")]
        body: Option<&'m RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        text: Option<&'m str>,
    }
    let json: Option<&RawValue> = serde_json::from_str(body).ok();
    if json.is_some() && !soundness::is_plain(body) && !soundness::is_readable(body.as_bytes()) {
        return Err(WEBHOOK_MALFORMED);
    }
    let received_at = now.to_iso_8601();
    let kept = headers.iter().filter(|(name, _)| is_kept(name)).take(HEADERS_MAX);
    let kept = kept.filter_map(|(name, value)| {
        let text: String = value.to_str().ok()?.chars().take(HEADER_CHARS_MAX).collect();
        Some((name.as_str().to_owned(), text.into()))
    });
    let text = if json.is_none() { Some(body) } else { None };
    let headers = kept.collect();
    Ok(Json::of(&Message { message_id, r#type: "webhook", timestamp: received_at.clone(), received_at, headers, body: json, text }))
}

/// Whether a header tells of the event, and not of the way that it took or of who may send it.
fn is_kept(name: &HeaderName) -> bool {
    let name = name.as_str();
    let tells = name == "content-type" || name == "user-agent" || name.starts_with("x-") || name.starts_with("webhook-");
    tells && !NOT_KEPT.iter().any(|part| name.contains(part))
}
