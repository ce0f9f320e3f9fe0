//! Client ID Metadata Documents: a client_id that is the URL of what the client says about itself.
//! [draft-ietf-oauth-client-id-metadata-document](https://datatracker.ietf.org/doc/draft-ietf-oauth-client-id-metadata-document/)
//!
//! The document is fetched without following redirects, at most 5 kB, and kept as long as HTTP allows within our bounds. Errors
//! and invalid documents are never kept. Fields that we do not know, and grant types that do not exist here, are ignored.

use std::{net::IpAddr, sync::Arc, time::Duration};

use serde::Deserialize;
use url::Url;

use crate::{
    domain::{
        actor::ActorKind,
        client::{ApplicationType, AuthMethod, Client, ClientId, ClientMetadata, GrantType, Origin},
        client_metadata::{REDIRECT_URIS_MAX, check_client_uri, check_keys, check_name},
        event::{Actor, Fact},
        redirect_uri::RedirectUri,
        refusal::{
            BUSY, CLIENT_UNKNOWN, DOCUMENT_INVALID, DOCUMENT_REFUSED, DOCUMENT_UNAVAILABLE, DOCUMENT_URL, DOCUMENTS_OFF,
            OAuthError, REGISTRATION_LIMIT,
        },
        time::Timestamp,
    },
    outbound::{Fetched, Limits, OutboundError},
    protocol::{registration::check_address, witness::Witness},
    storage::{StorageError, clients},
    world::{World, memory::Asked},
};

const LIMITS: Limits = Limits { timeout: Duration::from_secs(5), body_bytes_max: 5 * 1024 };
/// Without a word from HTTP a document is kept this long.
const FRESH_DEFAULT: Duration = Duration::from_secs(3600);
const FRESH_MIN: Duration = Duration::from_secs(60);
const FRESH_MAX: Duration = Duration::from_secs(86_400);

/// How soon a document is asked for again, whatever HTTP says of the one that is known.
const ASKED_AGAIN: Duration = Duration::from_secs(10);
/// The same for requests that need not know: each may wait for as long as the host takes.
const ASKED_AGAIN_FOR_TOKENS: Duration = Duration::from_secs(60);

/// The client of a document that is as fresh as HTTP demands: for the authorization endpoint, where consent depends on it. One
/// that is new here counts as a registration from `address`.
pub async fn resolve(world: &World, id: &ClientId, address: IpAddr, now: Timestamp) -> Result<Arc<Client>, OAuthError> {
    let url = check_served(world, id)?;
    let known = world.storage.client(id).await?;
    if known.is_none() && !world.memory.registrations.admit(address) {
        return Err(REGISTRATION_LIMIT);
    }
    let Some(client) = &known else { return ask(world, id, &url, None, now).await };
    if client.fresh_until > now {
        return Ok(Arc::clone(client));
    }
    // Whatever HTTP says: who sends strangers here, or lets documents change all the time, has us ask now and then only.
    match lately_asked(world, id, ASKED_AGAIN, now) {
        Some(Asked::Answered) => Ok(Arc::clone(client)),
        Some(Asked::Refused(refusal)) => Err(refusal),
        Some(Asked::UnderWay) | None => ask(world, id, &url, known, now).await,
    }
}

/// The client of a document at the token endpoint: if the document cannot be had now, or is not what it should be, what we know
/// of it still counts, so that the trouble of another host costs nobody their tokens (promise 12). One that is new here has
/// nothing to ask for there, so nothing is fetched for it.
pub async fn resolve_known(world: &World, id: &ClientId, now: Timestamp) -> Result<Arc<Client>, OAuthError> {
    let url = check_served(world, id)?;
    let known = world.storage.client(id).await?.ok_or(CLIENT_UNKNOWN)?;
    if known.fresh_until > now || lately_asked(world, id, ASKED_AGAIN_FOR_TOKENS, now).is_some() {
        return Ok(known);
    }
    match ask(world, id, &url, Some(Arc::clone(&known)), now).await {
        Err(refusal)
            if [DOCUMENT_UNAVAILABLE, DOCUMENT_INVALID, DOCUMENT_REFUSED, BUSY]
                .iter()
                .any(|passing| passing.reason == refusal.reason) =>
        {
            Ok(known)
        }
        resolved => resolved,
    }
}

fn check_served(world: &World, id: &ClientId) -> Result<Url, OAuthError> {
    if world.settings.client_metadata_documents { parse_url(id, world.settings.issuer.is_loopback()) } else { Err(DOCUMENTS_OFF) }
}

/// What came of asking for the document, if that was so lately.
fn lately_asked(world: &World, id: &ClientId, age_max: Duration, now: Timestamp) -> Option<Asked> {
    let (asked_at, asked) = world.memory.documents_asked.get(id)?;
    (now.since(asked_at) < age_max).then_some(asked)
}

/// What the document says now, noted as asked for.
async fn ask(
    world: &World,
    id: &ClientId,
    url: &Url,
    known: Option<Arc<Client>>,
    now: Timestamp,
) -> Result<Arc<Client>, OAuthError> {
    let is_known = known.is_some();
    let note = |asked| {
        if is_known {
            world.memory.documents_asked.insert(id.clone(), (now, asked));
        }
    };
    note(Asked::UnderWay);
    let said = said_now(world, id, url, known, now).await;
    match &said {
        Ok(_) => note(Asked::Answered),
        Err(refusal) => note(Asked::Refused(refusal.clone())),
    }
    said
}

async fn said_now(
    world: &World,
    id: &ClientId,
    url: &Url,
    known: Option<Arc<Client>>,
    now: Timestamp,
) -> Result<Arc<Client>, OAuthError> {
    let fetched = fetch(world, id, url).await?;
    let metadata = read(id, &fetched.body)?;
    check_address(world, metadata.jwks_uri.as_ref()).map_err(invalid)?;
    let fresh_until = now.plus(freshness(&fetched));
    let client = Client {
        id: id.clone(),
        origin: Origin::MetadataDocument,
        metadata,
        secret_digest: None,
        created_at: known.as_ref().map_or(now, |known| known.created_at),
        disabled_at: known.as_ref().and_then(|known| known.disabled_at),
        kind: known.as_ref().map_or(ActorKind::UnknownAgent, |known| known.kind),
        fresh_until,
    };
    keep(world, known.as_deref(), client, now).await
}

fn parse_url(id: &ClientId, is_loopback_allowed: bool) -> Result<Url, OAuthError> {
    let url = Url::parse(id.as_str()).map_err(|_| DOCUMENT_URL)?;
    let is_local = is_loopback_allowed && url.scheme() == "http";
    let is_clean = (url.scheme() == "https" || is_local)
        && url.has_host()
        && url.path() != "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none()
        // Anything that the parser would rewrite (dot segments, case, default port) is another spelling of the same place.
        && url.as_str() == id.as_str();
    if is_clean { Ok(url) } else { Err(DOCUMENT_URL) }
}

async fn fetch(world: &World, id: &ClientId, url: &Url) -> Result<Fetched, OAuthError> {
    let _permit = world.memory.fetch_permits.try_acquire().map_err(|_| BUSY)?;
    let fetched = world.outbound.get(url, LIMITS).await.map_err(|error| {
        tracing::warn!(client = %id, %error, "a client ID metadata document cannot be fetched");
        match error {
            OutboundError::Refused(_) => DOCUMENT_REFUSED,
            OutboundError::TooLarge { .. } => DOCUMENT_INVALID.because("The client ID metadata document is larger than 5 kB."),
            OutboundError::Unavailable(_) | OutboundError::TimedOut { .. } => DOCUMENT_UNAVAILABLE,
        }
    })?;
    match fetched.status.as_u16() {
        200 => Ok(fetched),
        408 | 429 | 500..=599 => Err(DOCUMENT_UNAVAILABLE),
        status => {
            Err(DOCUMENT_INVALID.because(format!("The client ID metadata document answers with status {status}; it must be 200.")))
        }
    }
}

/// The document, as far as it concerns us.
#[derive(Deserialize)]
struct Document {
    client_id: String,
    client_name: String,
    redirect_uris: Vec<String>,
    #[serde(default)]
    client_uri: Option<String>,
    #[serde(default)]
    grant_types: Option<Vec<String>>,
    #[serde(default)]
    token_endpoint_auth_method: Option<String>,
    /// [OpenID Connect RP Metadata Choices](https://openid.net/specs/openid-connect-rp-metadata-choices-1_0.html): some clients list what they can do.
    #[serde(default)]
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    application_type: Option<String>,
    #[serde(default)]
    jwks: Option<serde_json::Value>,
    #[serde(default)]
    jwks_uri: Option<Url>,
    #[serde(default)]
    client_secret: Option<serde_json::Value>,
    #[serde(default)]
    client_secret_expires_at: Option<serde_json::Value>,
}

fn invalid(what: &str) -> OAuthError {
    DOCUMENT_INVALID.because(format!("The client ID metadata document is not valid: {what}."))
}

fn read(id: &ClientId, body: &[u8]) -> Result<ClientMetadata, OAuthError> {
    let document: Document = serde_json::from_slice(body).map_err(|error| invalid(&error.to_string()))?;
    if document.client_id != id.as_str() {
        return Err(invalid("its client_id is not the URL that it was fetched from"));
    }
    if document.client_secret.is_some() || document.client_secret_expires_at.is_some() {
        return Err(invalid("it must not hold a client secret"));
    }
    // A URI that we do not redirect to is ignored; the document serves other servers too.
    let redirect_uris: Vec<_> = document.redirect_uris.iter().filter_map(|text| RedirectUri::parse(text).ok()).collect();
    if redirect_uris.is_empty() || document.redirect_uris.len() > REDIRECT_URIS_MAX {
        return Err(invalid("it must have 1 to 32 redirect_uris, one of them acceptable here"));
    }
    check_name(&document.client_name).map_err(invalid)?;
    check_client_uri(document.client_uri.as_ref()).map_err(invalid)?;
    let has_keys = document.jwks.is_some() || document.jwks_uri.is_some();
    let offered =
        document.token_endpoint_auth_method.into_iter().chain(document.token_endpoint_auth_methods_supported.into_iter().flatten());
    let method = match offered.into_iter().find(|method| method == "none" || (method == "private_key_jwt" && has_keys)).as_deref() {
        Some("private_key_jwt") => AuthMethod::PrivateKeyJwt,
        _ => AuthMethod::None,
    };
    if method == AuthMethod::PrivateKeyJwt {
        check_keys(document.jwks.as_ref(), document.jwks_uri.as_ref()).map_err(invalid)?;
    }
    let asked = document.grant_types.unwrap_or_else(|| vec!["authorization_code".to_owned(), "refresh_token".to_owned()]);
    let grant_types = [GrantType::AuthorizationCode, GrantType::RefreshToken]
        .into_iter()
        .filter(|known| asked.iter().any(|word| word == known.as_str()));
    Ok(ClientMetadata {
        client_name: document.client_name,
        redirect_uris,
        grant_types: grant_types.collect(),
        token_endpoint_auth_method: method,
        auth_method_chosen: true,
        application_type: if document.application_type.as_deref() == Some("native") {
            ApplicationType::Native
        } else {
            ApplicationType::Web
        },
        client_uri: document.client_uri,
        // What a document lists is a wish, as at registration: the person decides.
        scope: None,
        resources: None,
        jwks: document.jwks,
        jwks_uri: document.jwks_uri,
        software_id: None,
        software_version: None,
    })
}

/// How long HTTP lets us keep the answer ([RFC 9111 §4.2](https://www.rfc-editor.org/rfc/rfc9111#section-4.2)), within our bounds.
fn freshness(fetched: &Fetched) -> Duration {
    let directives = fetched
        .headers
        .get(http::header::CACHE_CONTROL)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_ascii_lowercase();
    if directives.contains("no-store") || directives.contains("no-cache") {
        return Duration::ZERO;
    }
    let max_age = directives.split(',').find_map(|directive| directive.trim().strip_prefix("max-age=")?.parse().ok());
    max_age.map_or(FRESH_DEFAULT, Duration::from_secs).clamp(FRESH_MIN, FRESH_MAX)
}

async fn keep(world: &World, known: Option<&Client>, client: Client, now: Timestamp) -> Result<Arc<Client>, OAuthError> {
    let fact = match known {
        None => Some(Fact::ClientRegistered {
            client: client.id.clone(),
            origin: Origin::MetadataDocument,
            name: client.metadata.client_name.clone(),
            auth_method: Some(client.metadata.token_endpoint_auth_method),
        }),
        Some(known) if known.metadata != client.metadata => {
            Some(Fact::ClientChanged { client: client.id.clone(), change: "metadata document".to_owned() })
        }
        Some(_) => None,
    };
    let (witness, kept) = (Witness::new(world, Actor::Client(client.id.clone()), now), client.clone());
    world
        .storage
        .write(move |tx| {
            Box::pin(async move {
                clients::keep_document(tx, &kept).await?;
                if let Some(fact) = fact {
                    witness.record(tx, fact).await?;
                }
                Ok::<_, StorageError>(())
            })
        })
        .await?;
    Ok(Arc::new(client))
}
