//! Client ID Metadata Documents: a client_id that is the URL of what the client says about itself.
//! [draft-ietf-oauth-client-id-metadata-document](https://datatracker.ietf.org/doc/draft-ietf-oauth-client-id-metadata-document/)
//!
//! The document is fetched without following redirects, at most 5 kB, and kept as long as HTTP allows within our bounds. Errors
//! and invalid documents are never kept. Fields that we do not know, and grant types that do not exist here, are ignored.

use std::{net::IpAddr, sync::Arc, time::Duration};

use serde::Deserialize;
use tokio::sync::OwnedMutexGuard;
use tracing::Instrument as _;
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
    outbound::{Fetched, KeptFor, Limits, Outbound, OutboundError},
    protocol::{registration::check_address, witness::Witness},
    storage::{StorageError, clients},
    world::{
        World,
        memory::{Asked, SaidByDocument, WAITING_FOR_ONE_MAX},
    },
};

const LIMITS: Limits = Limits { timeout: Duration::from_secs(5), body_bytes_max: 5 * 1024 };
/// Without a word from HTTP a document is kept this long; what HTTP says counts within the bounds below.
const FRESH_DEFAULT: Duration = Duration::from_secs(3600);
const FRESH_MIN: Duration = Duration::from_secs(60);
const FRESH_MAX: Duration = Duration::from_secs(86_400);

/// How soon a document is asked for again, whatever HTTP says of the one that is known.
const ASKED_AGAIN: Duration = Duration::from_secs(10);
/// The same for requests that need not know.
const ASKED_AGAIN_FOR_TOKENS: Duration = Duration::from_secs(60);
/// How long such a request waits for the answer.
const WAIT_FOR_TOKENS: Duration = Duration::from_secs(1);

/// Refusals that cost nobody their tokens.
const PASSING: [OAuthError; 5] = [DOCUMENT_UNAVAILABLE, DOCUMENT_INVALID, DOCUMENT_REFUSED, REGISTRATION_LIMIT, BUSY];

/// The right to ask for a document, with what came of it the last time.
type Asking = OwnedMutexGuard<Option<Asked>>;

/// The client of a document that is as fresh as HTTP demands: for the authorization endpoint, where consent depends on it. One
/// that is new here counts as a registration from `address`, and so does one that has changed.
pub async fn resolve(world: &World, id: &ClientId, address: IpAddr, now: Timestamp) -> Result<Arc<Client>, OAuthError> {
    let url = check_served(world, id)?;
    let Some(known) = world.storage.client(id).await? else {
        if !world.memory.registrations.admit(address) {
            return Err(REGISTRATION_LIMIT);
        }
        let _permit = world.memory.fetch_permit(&world.memory.fetch_permits, &url).ok_or(BUSY)?;
        let said = read_at(&world.outbound, id, &url, now).await?;
        return keep(world, None, id, said, now).await;
    };
    if known.fresh_until > now {
        return Ok(known);
    }
    let asking = world.memory.documents_asked.get_with(id.clone(), Arc::default);
    // The cache has one of these, and so has each request that waits.
    if Arc::strong_count(&asking) > WAITING_FOR_ONE_MAX {
        return Err(BUSY);
    }
    let asked = ask(world, id, &url, asking.lock_owned().await, ASKED_AGAIN, now).await?;
    take_over(world, id, asked, || world.memory.registrations.admit(address), now).await
}

/// The client of a document at the token endpoint: if the document cannot be had now, or is not what it should be, what we know
/// of it still counts, so that the trouble of another host costs nobody their tokens (promise 12). One that is new here has
/// nothing to ask for there, so nothing is fetched for it.
pub async fn resolve_known(world: &World, id: &ClientId, now: Timestamp) -> Result<Arc<Client>, OAuthError> {
    let url = check_served(world, id)?;
    let known = world.storage.client(id).await?.ok_or(CLIENT_UNKNOWN)?;
    if known.fresh_until > now {
        return Ok(known);
    }
    let asking = world.memory.documents_asked.get_with(id.clone(), Arc::default);
    // Whoever asks already has others wait for it, but nobody here.
    let Ok(asked) = asking.try_lock_owned() else { return Ok(known) };
    let asking = ask(world, id, &url, asked, ASKED_AGAIN_FOR_TOKENS, now);
    let Ok(Ok(asked)) = tokio::time::timeout(WAIT_FOR_TOKENS, asking).await else { return Ok(known) };
    match take_over(world, id, asked, || world.memory.document_changes.check().is_ok(), now).await {
        Err(refusal) if PASSING.iter().any(|passing| passing.reason == refusal.reason) => Ok(known),
        resolved => resolved,
    }
}

fn check_served(world: &World, id: &ClientId) -> Result<Url, OAuthError> {
    if world.settings.client_metadata_documents { parse_url(id, world.settings.issuer.is_loopback()) } else { Err(DOCUMENTS_OFF) }
}

/// Asks for the document of a client that is known, unless that was done lately. It goes on when whoever waits for it has gone: hanging
/// up gets nobody another try.
async fn ask(
    world: &World,
    id: &ClientId,
    url: &Url,
    mut asked: Asking,
    age_max: Duration,
    now: Timestamp,
) -> Result<Asking, OAuthError> {
    if asked.as_ref().is_some_and(|asked| now.apart_from(asked.at) < age_max) {
        return Ok(asked);
    }
    let permit = world.memory.fetch_permit(&world.memory.fetch_permits, url).ok_or(BUSY)?;
    let (outbound, id, url) = (world.outbound.clone(), id.clone(), url.clone());
    let asking = async move {
        *asked = Some(Asked { at: now, said: read_at(&outbound, &id, &url, now).await });
        drop(permit);
        asked
    };
    // The task ends badly only with the process.
    tokio::spawn(asking.in_current_span()).await.map_err(|_| BUSY)
}

/// What the document says now.
async fn read_at(outbound: &Outbound, id: &ClientId, url: &Url, now: Timestamp) -> Result<SaidByDocument, OAuthError> {
    let fetched = fetch(outbound, id, url).await?;
    let metadata = read(id, &fetched.body)?;
    check_address(outbound, metadata.jwks_uri.as_ref()).map_err(invalid)?;
    let fresh_for = match fetched.kept_for(now) {
        KeptFor::NotSaid => FRESH_DEFAULT,
        KeptFor::Nothing => Duration::ZERO,
        KeptFor::Time(time) => time.clamp(FRESH_MIN, FRESH_MAX),
    };
    Ok(SaidByDocument { metadata, fresh_until: now.plus(fresh_for) })
}

/// The client as its document has it now; others who ask wait meanwhile. `admits` is asked where that is something new, which leaves a
/// fact behind.
async fn take_over(
    world: &World,
    id: &ClientId,
    asked: Asking,
    admits: impl FnOnce() -> bool,
    now: Timestamp,
) -> Result<Arc<Client>, OAuthError> {
    let said = asked.as_ref().map_or(Err(BUSY), |asked| asked.said.clone())?;
    // Whoever waited for the same answer may have taken it over already, and another node a later one.
    match world.storage.client(id).await? {
        Some(known) if known.fresh_until > said.fresh_until => Ok(known),
        Some(known) if known.metadata == said.metadata && known.fresh_until == said.fresh_until => Ok(known),
        Some(known) if known.metadata == said.metadata => keep(world, Some(&known), id, said, now).await,
        known if admits() => keep(world, known.as_deref(), id, said, now).await,
        _ => Err(REGISTRATION_LIMIT),
    }
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

async fn fetch(outbound: &Outbound, id: &ClientId, url: &Url) -> Result<Fetched, OAuthError> {
    let fetched = outbound.get(url, LIMITS).await.map_err(|error| {
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

async fn keep(
    world: &World,
    known: Option<&Client>,
    id: &ClientId,
    said: SaidByDocument,
    now: Timestamp,
) -> Result<Arc<Client>, OAuthError> {
    let client = Client {
        id: id.clone(),
        origin: Origin::MetadataDocument,
        metadata: said.metadata,
        secret_digest: None,
        created_at: known.map_or(now, |known| known.created_at),
        disabled_at: known.and_then(|known| known.disabled_at),
        kind: known.map_or(ActorKind::UnknownAgent, |known| known.kind),
        fresh_until: said.fresh_until,
    };
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
