//! Dynamic client registration: [RFC 7591 §3](https://www.rfc-editor.org/rfc/rfc7591#section-3).
//!
//! Registrations with equal metadata are one registration, so that a client which forgets itself at every start does not fill
//! the table; the port of a loopback redirect does not count, as it is free anyway. A client that is to have a secret gets a
//! record of its own each time, because a secret must not be told twice.
//!
//! What is new is limited for the whole installation, with a share for each network; what is known already costs nothing.

use std::{net::IpAddr, time::Duration};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::{
    config::Registration,
    domain::{
        actor::ActorKind,
        client::{ApplicationType, AuthMethod, Client, ClientMetadata, GrantType, Origin},
        client_metadata::{NAME_CHARS_MAX, check_client_uri, check_keys, check_name, parse_redirect_uris, usual_application_type},
        event::{Actor, Fact},
        id::ClientKind,
        redirect_uri::RedirectUri,
        refusal::{
            OAuthError, REGISTRATION_GRANT_TYPE, REGISTRATION_KEYS, REGISTRATION_LIMIT, REGISTRATION_METADATA, REGISTRATION_OFF,
            REGISTRATION_REDIRECT_URI, REGISTRATION_TOKEN,
        },
        scope::Scopes,
        time::Timestamp,
    },
    keys::secrets::Purpose,
    outbound::Outbound,
    protocol::witness::Witness,
    storage::{StorageError, clients, one_time},
    world::World,
};

/// How long it takes until a registration that is asked for again is noted as in use anew: much less than what is unused is kept.
const SEEN_AGAIN: Duration = Duration::from_secs(86_400);

/// What a client asks for; unknown fields are ignored.
#[derive(Debug, Deserialize)]
pub struct Request {
    /// Read apart: what is wrong with them has a code of its own.
    #[serde(default)]
    redirect_uris: serde_json::Value,
    #[serde(default)]
    client_name: Option<String>,
    #[serde(default)]
    token_endpoint_auth_method: Option<String>,
    #[serde(default)]
    grant_types: Option<Vec<String>>,
    #[serde(default)]
    response_types: Option<Vec<String>>,
    #[serde(default)]
    application_type: Option<ApplicationType>,
    #[serde(default)]
    scope: Option<String>,
    #[serde(default)]
    client_uri: Option<String>,
    #[serde(default)]
    jwks: Option<serde_json::Value>,
    #[serde(default)]
    jwks_uri: Option<Url>,
    #[serde(default)]
    software_id: Option<String>,
    #[serde(default)]
    software_version: Option<String>,
}

/// The client information response. Keys that have no value are left out: some clients refuse a `null`.
#[derive(Debug, Serialize)]
pub struct Response {
    client_id: String,
    client_id_issued_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret_expires_at: Option<i64>,
    redirect_uris: Vec<RedirectUri>,
    client_name: String,
    token_endpoint_auth_method: AuthMethod,
    grant_types: Vec<GrantType>,
    response_types: [&'static str; 1],
    application_type: ApplicationType,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<Scopes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwks: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwks_uri: Option<Url>,
    #[serde(skip_serializing_if = "Option::is_none")]
    software_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    software_version: Option<String>,
}

/// Registers a client that asks from `address`, or tells it the registration that it has.
pub async fn respond(
    world: &World,
    authorization: Option<&[u8]>,
    request: Request,
    address: IpAddr,
    now: Timestamp,
) -> Result<Response, OAuthError> {
    check_allowed(world, authorization, now).await?;
    let metadata = judge(request)?;
    check_address(&world.outbound, metadata.jwks_uri.as_ref()).map_err(|what| REGISTRATION_KEYS.because(what))?;
    let has_secret = metadata.token_endpoint_auth_method.has_secret();
    let hash = (!has_secret).then(|| registration_hash(&metadata));
    if let Some((known, seen_at)) = find(world, hash.as_deref()).await?
        && (now.since(seen_at) < SEEN_AGAIN || see(world, &known, now).await?)
    {
        return Ok(response(&known, metadata.redirect_uris, None));
    }
    if !world.memory.registrations.admit(address) {
        return Err(REGISTRATION_LIMIT);
    }
    let secret = has_secret.then(|| world.secret());
    let client = Client {
        id: world.id::<ClientKind>(now).into(),
        origin: Origin::Dynamic,
        secret_digest: secret.as_ref().map(|secret| world.secrets.digest(Purpose::ClientSecret, secret.reveal())),
        created_at: now,
        disabled_at: None,
        kind: ActorKind::UnknownAgent,
        fresh_until: now,
        metadata,
    };
    match insert(world, &client, hash.clone(), now).await {
        Ok(()) => Ok(response(&client, client.metadata.redirect_uris.clone(), secret.map(|secret| secret.reveal().clone()))),
        // Somebody registered the same at the same moment: theirs is ours.
        Err(StorageError::Unique(_)) => {
            let (known, _) = find(world, hash.as_deref()).await?.ok_or(REGISTRATION_LIMIT)?;
            Ok(response(&known, client.metadata.redirect_uris, None))
        }
        Err(error) => Err(error.into()),
    }
}

async fn check_allowed(world: &World, authorization: Option<&[u8]>, now: Timestamp) -> Result<(), OAuthError> {
    match world.settings.registration {
        Registration::Open => Ok(()),
        Registration::Off => Err(REGISTRATION_OFF),
        Registration::Token => {
            let token = authorization.and_then(super::bearer).ok_or(REGISTRATION_TOKEN)?;
            let digest = world.secrets.digest(Purpose::InitialAccessToken, &token);
            let known = world
                .storage
                .read(move |tx| Box::pin(async move { one_time::peek::<serde_json::Value>(tx, &digest, now).await }))
                .await?;
            known.map(|_| ()).ok_or(REGISTRATION_TOKEN)
        }
    }
}

fn judge(request: Request) -> Result<ClientMetadata, OAuthError> {
    let redirect_uris = redirect_uris(request.redirect_uris)?;
    if request.response_types.is_some_and(|types| !types.iter().any(|word| word == "code")) {
        return Err(REGISTRATION_METADATA.because("response_types must include code."));
    }
    let grant_types = grant_types(request.grant_types)?;
    // A client that names no method gets no secret: what it would not have asked for it would not keep.
    let method = match request.token_endpoint_auth_method.as_deref() {
        None | Some("none") => AuthMethod::None,
        Some("client_secret_basic") => AuthMethod::ClientSecretBasic,
        Some("client_secret_post") => AuthMethod::ClientSecretPost,
        Some("private_key_jwt") => AuthMethod::PrivateKeyJwt,
        Some(other) => {
            return Err(REGISTRATION_METADATA.because(format!("token_endpoint_auth_method {other} is not supported here.")));
        }
    };
    if method == AuthMethod::PrivateKeyJwt {
        check_keys(request.jwks.as_ref(), request.jwks_uri.as_ref()).map_err(|what| REGISTRATION_KEYS.because(what))?;
    }
    let client_name = request.client_name.filter(|name| !name.trim().is_empty()).unwrap_or_else(|| redirect_uris[0].host());
    let refuse = |what: &str| REGISTRATION_METADATA.because(format!("{what}."));
    check_name(&client_name).map_err(refuse)?;
    check_client_uri(request.client_uri.as_ref()).map_err(refuse)?;
    if let Some(Err(refusal)) = request.scope.as_deref().map(Scopes::parse) {
        return Err(REGISTRATION_METADATA.because(refusal.description));
    }
    Ok(ClientMetadata {
        client_name,
        grant_types,
        token_endpoint_auth_method: method,
        auth_method_chosen: true,
        application_type: request.application_type.unwrap_or_else(|| usual_application_type(&redirect_uris)),
        redirect_uris,
        client_uri: request.client_uri,
        // What is asked for at registration is a wish; the person decides each time. So it bounds nothing.
        scope: None,
        resources: None,
        jwks: request.jwks.filter(|_| method == AuthMethod::PrivateKeyJwt),
        jwks_uri: request.jwks_uri.filter(|_| method == AuthMethod::PrivateKeyJwt),
        software_id: request.software_id.map(|text| text.chars().take(NAME_CHARS_MAX).collect()),
        software_version: request.software_version.map(|text| text.chars().take(NAME_CHARS_MAX).collect()),
    })
}

fn redirect_uris(said: serde_json::Value) -> Result<Vec<RedirectUri>, OAuthError> {
    let refuse = |what: &str| REGISTRATION_REDIRECT_URI.because(what);
    let texts: Option<Vec<String>> =
        serde_json::from_value(said).map_err(|_| refuse("redirect_uris must be an array of strings."))?;
    let texts = texts.filter(|texts| !texts.is_empty()).ok_or_else(|| refuse("Register 1 to 32 redirect_uris."))?;
    parse_redirect_uris(&texts).map_err(|what| REGISTRATION_REDIRECT_URI.because(format!("It cannot be registered: {what}.")))
}

fn grant_types(words: Option<Vec<String>>) -> Result<Vec<GrantType>, OAuthError> {
    let Some(words) = words else { return Ok(vec![GrantType::AuthorizationCode]) };
    let allowed = [GrantType::AuthorizationCode, GrantType::RefreshToken];
    let chosen: Option<Vec<_>> = words.iter().map(|word| GrantType::parse(word).filter(|known| allowed.contains(known))).collect();
    match chosen {
        Some(chosen) if chosen.contains(&GrantType::AuthorizationCode) => {
            Ok(allowed.into_iter().filter(|known| chosen.contains(known)).collect())
        }
        _ => Err(REGISTRATION_GRANT_TYPE),
    }
}

/// Whether keys may be fetched from there, as far as the URL itself tells. The error says what is wrong.
pub fn check_address(outbound: &Outbound, jwks_uri: Option<&Url>) -> Result<(), &'static str> {
    let is_refused = jwks_uri.is_some_and(|uri| outbound.check(uri).is_err());
    if is_refused { Err("jwks_uri is at an address that this server does not call") } else { Ok(()) }
}

/// Equal for registrations that differ in nothing but the ports of loopback redirects.
fn registration_hash(metadata: &ClientMetadata) -> String {
    let text_of = |uri: &RedirectUri| uri.loopback_without_port().unwrap_or_else(|| uri.as_str().to_owned());
    let mut redirect_uris: Vec<_> = metadata.redirect_uris.iter().map(text_of).collect();
    redirect_uris.sort();
    let rest = ClientMetadata { redirect_uris: Vec::new(), ..metadata.clone() };
    let text = serde_json::to_string(&(redirect_uris, rest)).expect("our own types serialise to JSON");
    URL_SAFE_NO_PAD.encode(digest(&SHA256, text.as_bytes()))
}

/// The registration that is known, and when it was last asked for.
async fn find(world: &World, hash: Option<&str>) -> Result<Option<(Client, Timestamp)>, StorageError> {
    let Some(hash) = hash.map(str::to_owned) else { return Ok(None) };
    world.storage.read(move |tx| Box::pin(async move { clients::find_by_registration(tx, &hash).await })).await
}

/// Notes that a registration is in use, so that it is not forgotten while its person makes up their mind. `false` if it has just been.
async fn see(world: &World, known: &Client, now: Timestamp) -> Result<bool, StorageError> {
    let id = known.id.clone();
    world.storage.write(move |tx| Box::pin(async move { clients::see(tx, &id, now).await })).await
}

async fn insert(world: &World, client: &Client, hash: Option<String>, now: Timestamp) -> Result<(), StorageError> {
    let fact = Fact::ClientRegistered {
        client: client.id.clone(),
        origin: client.origin,
        name: client.metadata.client_name.clone(),
        auth_method: Some(client.metadata.token_endpoint_auth_method),
    };
    let (witness, client) = (Witness::new(world, Actor::Anonymous, now), client.clone());
    world
        .storage
        .write(move |tx| {
            Box::pin(async move {
                clients::insert(tx, &client, hash.as_deref()).await?;
                witness.record(tx, fact).await
            })
        })
        .await
}

/// The redirect URIs are told as they were asked for: a known registration admits them, as only loopback ports differ.
fn response(client: &Client, redirect_uris: Vec<RedirectUri>, secret: Option<String>) -> Response {
    let metadata = client.metadata.clone();
    Response {
        client_id: client.id.as_str().to_owned(),
        client_id_issued_at: client.created_at.seconds(),
        client_secret_expires_at: secret.as_ref().map(|_| 0),
        client_secret: secret,
        redirect_uris,
        client_name: metadata.client_name,
        token_endpoint_auth_method: metadata.token_endpoint_auth_method,
        grant_types: metadata.grant_types,
        response_types: ["code"],
        application_type: metadata.application_type,
        scope: metadata.scope,
        client_uri: metadata.client_uri,
        jwks: metadata.jwks,
        jwks_uri: metadata.jwks_uri,
        software_id: metadata.software_id,
        software_version: metadata.software_version,
    }
}
