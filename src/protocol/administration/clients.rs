//! Clients as operators see and change them, in the words of [RFC 7591 §2](https://www.rfc-editor.org/rfc/rfc7591#section-2).
//!
//! What an operator registers may have any grant type and any authentication method that exists here. A client that came by itself
//! can be disabled and deleted, but what it says of itself is its own.

use serde::{Deserialize, Deserializer, Serialize};
use url::Url;

use super::{
    dead_until,
    paging::{Page, PageRequest, Window},
    plain_text,
};
use crate::{
    domain::{
        client::{ApplicationType, AuthMethod, Client, ClientId, ClientMetadata, GrantType, Origin},
        event::{Actor, Event, Fact},
        grant::EndCause,
        id::{ClientKind, GrantKind, Id, OperatorKind},
        redirect_uri::RedirectUri,
        refusal::{ADMIN_CONFLICT, ADMIN_NOT_FOUND, ADMIN_VALUE, BUSY, OAuthError},
        resource::ResourceIdentifier,
        scope::{self, Scopes},
        time::Timestamp,
    },
    keys::secrets::Purpose,
    protocol::registration::check_keys,
    storage::{Resources, StorageError, Tx, clients, grants, outbox, revocations},
    world::World,
};

const REDIRECT_URIS_MAX: usize = 32;
const RESOURCES_MAX: usize = 100;
/// Grants that one transaction ends at most.
const GRANTS_AT_ONCE: i64 = 500;
/// Transactions that one deletion takes at most; a client with more grants is disabled, and deleted by asking again.
const DELETION_STEPS_MAX: usize = 200;

/// A client to be registered.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewClient {
    /// 3 to 64 of `A-Z a-z 0-9 _ -`; one is made if it is absent.
    client_id: Option<String>,
    /// What people read on the consent page.
    client_name: String,
    #[serde(default)]
    redirect_uris: Vec<String>,
    /// `authorization_code` if absent.
    grant_types: Option<Vec<GrantType>>,
    /// `client_secret_basic` if absent.
    token_endpoint_auth_method: Option<AuthMethod>,
    /// `native` if absent and every redirect URI is a loopback address, else `web`.
    application_type: Option<ApplicationType>,
    client_uri: Option<String>,
    /// The scopes that it may ask for; any if absent.
    scope: Option<String>,
    /// The identifiers of the resources that it may ask for; any if absent.
    resources: Option<Vec<String>>,
    jwks: Option<serde_json::Value>,
    #[schema(value_type = Option<String>)]
    jwks_uri: Option<Url>,
}

/// What is to become different. What is absent stays; `null` lifts a bound.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientChange {
    /// Whether it is refused everything.
    disabled: Option<bool>,
    client_name: Option<String>,
    redirect_uris: Option<Vec<String>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    scope: Option<Option<String>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Vec<String>>)]
    resources: Option<Option<Vec<String>>>,
}

/// A client as operators see it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ClientRecord {
    #[schema(value_type = String)]
    client_id: ClientId,
    client_name: String,
    origin: Origin,
    token_endpoint_auth_method: AuthMethod,
    grant_types: Vec<GrantType>,
    #[schema(value_type = Vec<String>)]
    redirect_uris: Vec<RedirectUri>,
    application_type: ApplicationType,
    client_uri: Option<String>,
    #[schema(value_type = Option<String>)]
    scope: Option<Scopes>,
    #[schema(value_type = Option<Vec<String>>)]
    resources: Option<Vec<ResourceIdentifier>>,
    jwks: Option<serde_json::Value>,
    #[schema(value_type = Option<String>)]
    jwks_uri: Option<Url>,
    software_id: Option<String>,
    software_version: Option<String>,
    /// RFC 3339.
    created_at: String,
    /// RFC 3339; absent while it may act.
    disabled_at: Option<String>,
}

/// A client with the secret that is told only now.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ClientWithSecret {
    #[serde(flatten)]
    client: ClientRecord,
    /// Absent if it does not authenticate with a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<String>,
}

/// A page of all clients.
pub async fn list(world: &World, request: PageRequest, now: Timestamp) -> Result<Page<ClientRecord>, OAuthError> {
    let window = Window::read(world, "clients".to_owned(), &request, now)?;
    let (after, rows_max) = (window.after.clone(), window.rows_max());
    let rows = world.storage.read(move |tx| Box::pin(async move { clients::list(tx, &after, rows_max).await })).await?;
    Ok(window.page(world, rows, |client| client.id.to_string(), record, now))
}

/// One client.
pub async fn show(world: &World, id: ClientId) -> Result<ClientRecord, OAuthError> {
    let found = world.storage.read(move |tx| Box::pin(async move { clients::find(tx, &id).await })).await?;
    found.map(record).ok_or(ADMIN_NOT_FOUND)
}

/// Registers a client.
pub async fn create(
    world: &World,
    operator: Id<OperatorKind>,
    new: NewClient,
    now: Timestamp,
) -> Result<ClientWithSecret, OAuthError> {
    let chosen = new.client_id.as_deref().map(chosen_id).transpose()?;
    let metadata = metadata(&*world.storage.resources().await?, new)?;
    let secret = has_secret(metadata.token_endpoint_auth_method).then(|| world.secret());
    let client = Client {
        id: chosen.unwrap_or_else(|| world.id::<ClientKind>(now).into()),
        origin: Origin::Operator,
        secret_digest: secret.as_ref().map(|secret| world.secrets.digest(Purpose::ClientSecret, secret.reveal())),
        created_at: now,
        disabled_at: None,
        fresh_until: now,
        metadata,
    };
    let name = client.metadata.client_name.clone();
    let fact = Fact::ClientRegistered { client: client.id.clone(), origin: client.origin, name };
    let event = world.event(now, Actor::Operator(operator), fact);
    let written = client.clone();
    let insert = world.storage.write(move |tx| {
        Box::pin(async move {
            clients::insert(tx, &written, None).await?;
            // If a client of this name was deleted, what was issued to it stays dead.
            revocations::switch_on(tx, written.id.as_str(), now).await?;
            outbox::put(tx, &event).await
        })
    });
    match insert.await {
        Ok(()) => Ok(ClientWithSecret { client: record(client), client_secret: secret.map(|secret| secret.reveal().clone()) }),
        Err(StorageError::Unique(_)) => Err(ADMIN_CONFLICT.because("A client with this client_id exists already.")),
        Err(error) => Err(error.into()),
    }
}

/// Disables, enables, or changes what an operator registered.
pub async fn change(
    world: &World,
    operator: Id<OperatorKind>,
    id: ClientId,
    change: ClientChange,
    now: Timestamp,
) -> Result<ClientRecord, OAuthError> {
    let resources = world.storage.resources().await?;
    let event = |change: &str| {
        let fact = Fact::ClientChanged { client: id.clone(), change: change.to_owned() };
        world.event(now, Actor::Operator(operator), fact)
    };
    let (switched, edited) = (event(if change.disabled == Some(true) { "disabled" } else { "enabled" }), event("metadata"));
    let id = id.clone();
    world
        .storage
        .write(move |tx| {
            Box::pin(async move {
                let mut client = clients::find(tx, &id).await?.ok_or(ADMIN_NOT_FOUND)?;
                let metadata = edit(&resources, &client, &change)?;
                if metadata != client.metadata {
                    client.metadata = metadata;
                    clients::set_metadata(tx, &client).await?;
                    outbox::put(tx, &edited).await?;
                }
                match (change.disabled, client.disabled_at) {
                    (Some(true), None) => {
                        switch_off(tx, &mut client, now).await?;
                        outbox::put(tx, &switched).await?;
                    }
                    (Some(false), Some(since)) => {
                        clients::set_disabled(tx, &client.id, None).await?;
                        revocations::switch_on(tx, client.id.as_str(), dead_until(since, now)).await?;
                        client.disabled_at = None;
                        outbox::put(tx, &switched).await?;
                    }
                    _ => {}
                }
                Ok::<_, OAuthError>(record(client))
            })
        })
        .await
}

/// Gives a client a new secret; the one before is dead at once.
pub async fn renew_secret(
    world: &World,
    operator: Id<OperatorKind>,
    id: ClientId,
    now: Timestamp,
) -> Result<ClientWithSecret, OAuthError> {
    let secret = world.secret();
    let digest = world.secrets.digest(Purpose::ClientSecret, secret.reveal());
    let fact = Fact::ClientChanged { client: id.clone(), change: "secret".to_owned() };
    let event = world.event(now, Actor::Operator(operator), fact);
    let renew = world.storage.write(move |tx| {
        Box::pin(async move {
            let client = clients::find(tx, &id).await?.ok_or(ADMIN_NOT_FOUND)?;
            if !has_secret(client.metadata.token_endpoint_auth_method) {
                return Err(ADMIN_VALUE.because("This client does not authenticate with a secret."));
            }
            clients::set_secret(tx, &id, &digest).await?;
            outbox::put(tx, &event).await?;
            Ok::<_, OAuthError>(client)
        })
    });
    Ok(ClientWithSecret { client: record(renew.await?), client_secret: Some(secret.reveal().clone()) })
}

/// Forgets a client and ends all that was granted to it. The client of a metadata document may come back by itself, with nothing;
/// only one that is disabled stays away.
pub async fn delete(world: &World, operator: Id<OperatorKind>, id: ClientId, now: Timestamp) -> Result<(), OAuthError> {
    let event = |fact: Fact| world.event(now, Actor::Operator(operator), fact);
    for _ in 0..DELETION_STEPS_MAX {
        let client = id.clone();
        let find = world.storage.read(move |tx| Box::pin(async move { grants::live_of_client(tx, &client, GRANTS_AT_ONCE).await }));
        let end = |grant| event(Fact::GrantEnded { grant, client: id.clone(), cause: EndCause::ClientDeleted });
        let deletion = Deletion {
            client: id.clone(),
            grants: find.await?.into_iter().map(|grant| (grant, end(grant))).collect(),
            disabled: event(Fact::ClientChanged { client: id.clone(), change: "disabled".to_owned() }),
            deleted: event(Fact::ClientDeleted { client: id.clone() }),
        };
        if world.storage.write(move |tx| Box::pin(async move { delete_some(tx, deletion, now).await })).await? == Left::Nothing {
            return Ok(());
        }
    }
    Err(BUSY.because("The client is disabled, but not all of its many grants are ended yet; delete it again."))
}

/// What one transaction of a deletion ends, with the events that go with it.
struct Deletion {
    client: ClientId,
    grants: Vec<(Id<GrantKind>, Event)>,
    disabled: Event,
    deleted: Event,
}

#[derive(PartialEq, Eq)]
enum Left {
    Nothing,
    Grants,
}

async fn delete_some(tx: &mut Tx, deletion: Deletion, now: Timestamp) -> Result<Left, OAuthError> {
    let id = &deletion.client;
    let mut client = clients::find(tx, id).await?.ok_or(ADMIN_NOT_FOUND)?;
    for (grant, ended) in &deletion.grants {
        if grants::end(tx, *grant, EndCause::ClientDeleted, now).await?.is_some() {
            outbox::put(tx, ended).await?;
        }
    }
    if !grants::live_of_client(tx, id, 1).await?.is_empty() {
        // So that it gets no new grants while the others are ended.
        if client.disabled_at.is_none() {
            switch_off(tx, &mut client, now).await?;
            outbox::put(tx, &deletion.disabled).await?;
        }
        return Ok(Left::Grants);
    }
    clients::delete(tx, id).await?;
    // Also for what is being issued at this moment. Only the client of a document may come back under its name by itself.
    let issued_until = if id.is_url() { now } else { Timestamp(i64::MAX) };
    revocations::revoke(tx, id.as_str(), issued_until, now).await?;
    outbox::put(tx, &deletion.deleted).await?;
    Ok(Left::Nothing)
}

async fn switch_off(tx: &mut Tx, client: &mut Client, now: Timestamp) -> Result<(), StorageError> {
    clients::set_disabled(tx, &client.id, Some(now)).await?;
    revocations::switch_off(tx, client.id.as_str()).await?;
    client.disabled_at = Some(now);
    Ok(())
}

/// A name that no identifier of ours, now or later, can be mistaken for: clients stand beside people and grants in the delegation
/// tree, and a client that acts for itself is the `sub` of its tokens.
fn chosen_id(text: &str) -> Result<ClientId, OAuthError> {
    let is_plain = (3..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    let is_like_ours = text.starts_with("cli_") || text.rsplit_once('_').is_some_and(|(_, rest)| rest.len() == 26);
    match ClientId::parse(text) {
        Some(id) if is_plain && !is_like_ours => Ok(id),
        _ => Err(ADMIN_VALUE.because(
            "client_id must be 3 to 64 letters, digits, hyphens and underscores, unlike the identifiers that this server makes.",
        )),
    }
}

fn has_secret(method: AuthMethod) -> bool {
    matches!(method, AuthMethod::ClientSecretBasic | AuthMethod::ClientSecretPost)
}

fn metadata(resources: &Resources, new: NewClient) -> Result<ClientMetadata, OAuthError> {
    let redirect_uris = redirect_uris(&new.redirect_uris)?;
    let all_loopback = !redirect_uris.is_empty() && redirect_uris.iter().all(RedirectUri::is_loopback);
    let usual_type = if all_loopback { ApplicationType::Native } else { ApplicationType::Web };
    let metadata = ClientMetadata {
        client_name: plain_text("client_name", new.client_name)?,
        redirect_uris,
        grant_types: new.grant_types.unwrap_or_else(|| vec![GrantType::AuthorizationCode]),
        auth_method_chosen: new.token_endpoint_auth_method.is_some(),
        token_endpoint_auth_method: new.token_endpoint_auth_method.unwrap_or(AuthMethod::ClientSecretBasic),
        application_type: new.application_type.unwrap_or(usual_type),
        client_uri: new.client_uri,
        scope: new.scope.as_deref().map(scopes).transpose()?,
        resources: new.resources.as_deref().map(|named| registered(resources, named)).transpose()?,
        jwks: new.jwks,
        jwks_uri: new.jwks_uri,
        software_id: None,
        software_version: None,
    };
    check(resources, &metadata)?;
    Ok(metadata)
}

fn edit(resources: &Resources, client: &Client, change: &ClientChange) -> Result<ClientMetadata, OAuthError> {
    let mut metadata = client.metadata.clone();
    if let Some(name) = &change.client_name {
        metadata.client_name = plain_text("client_name", name.clone())?;
    }
    if let Some(uris) = &change.redirect_uris {
        metadata.redirect_uris = redirect_uris(uris)?;
    }
    if let Some(scope) = &change.scope {
        metadata.scope = scope.as_deref().map(scopes).transpose()?;
    }
    if let Some(named) = &change.resources {
        metadata.resources = named.as_deref().map(|named| registered(resources, named)).transpose()?;
    }
    if metadata == client.metadata {
        return Ok(metadata);
    }
    if client.origin != Origin::Operator {
        return Err(ADMIN_VALUE.because("This client came by itself: it can be disabled or deleted, not changed."));
    }
    check(resources, &metadata)?;
    Ok(metadata)
}

/// What must fit together.
fn check(resources: &Resources, metadata: &ClientMetadata) -> Result<(), OAuthError> {
    let refuse = |sentence: &str| Err(ADMIN_VALUE.because(sentence));
    let has = |grant_type| metadata.grant_types.contains(&grant_type);
    if !has(GrantType::AuthorizationCode) && !has(GrantType::ClientCredentials) {
        return refuse("grant_types must hold authorization_code or client_credentials.");
    }
    if has(GrantType::RefreshToken) && !has(GrantType::AuthorizationCode) {
        return refuse("refresh_token needs authorization_code.");
    }
    if has(GrantType::AuthorizationCode) && metadata.redirect_uris.is_empty() {
        return refuse("authorization_code needs 1 to 32 redirect_uris.");
    }
    if has(GrantType::ClientCredentials) && metadata.token_endpoint_auth_method == AuthMethod::None {
        return refuse("client_credentials needs a client that authenticates, so not the method none.");
    }
    if has(GrantType::ClientCredentials) && metadata.scope.as_ref().is_none_or(Scopes::is_empty) {
        return refuse("client_credentials needs scope: the client gets for itself only what is registered for it.");
    }
    if metadata.token_endpoint_auth_method == AuthMethod::PrivateKeyJwt {
        check_keys(metadata.jwks.as_ref(), metadata.jwks_uri.as_ref()).or_else(refuse)?;
    } else if metadata.jwks.is_some() || metadata.jwks_uri.is_some() {
        return refuse("jwks and jwks_uri are for token_endpoint_auth_method private_key_jwt.");
    }
    let is_web = |text: &String| Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "https" | "http"));
    if metadata.client_uri.as_ref().is_some_and(|uri| !is_web(uri)) {
        return refuse("client_uri must be an http or https URL.");
    }
    let may_ask = |identifier: &ResourceIdentifier| metadata.resources.as_ref().is_none_or(|named| named.contains(identifier));
    let exists = |word: &str| {
        let at_resource = resources.all().iter().filter(|resource| may_ask(&resource.identifier));
        // The tracking API is for clients that act for themselves.
        let is_tracking = word == scope::TRACKING_WRITE && has(GrantType::ClientCredentials) && metadata.resources.is_none();
        is_tracking
            || scope::BUILT_IN.contains(&word)
            || at_resource.into_iter().any(|resource| resource.definition(word).is_some())
    };
    match metadata.scope.iter().flat_map(Scopes::iter).find(|word| !exists(word)) {
        Some(word) => refuse(&format!("The scope {word} exists at no resource that this client may ask for; register that first.")),
        None => Ok(()),
    }
}

fn redirect_uris(texts: &[String]) -> Result<Vec<RedirectUri>, OAuthError> {
    if texts.len() > REDIRECT_URIS_MAX {
        return Err(ADMIN_VALUE.because(format!("At most {REDIRECT_URIS_MAX} redirect_uris can be registered.")));
    }
    let parse = |text: &String| {
        RedirectUri::parse(text).map_err(|what| ADMIN_VALUE.because(format!("The redirect URI {text} is refused: {what}.")))
    };
    texts.iter().map(parse).collect()
}

fn scopes(text: &str) -> Result<Scopes, OAuthError> {
    Scopes::parse(text).map_err(|refusal| ADMIN_VALUE.because(refusal.description))
}

/// Spelled as they were registered: that is how they are compared.
fn registered(resources: &Resources, named: &[String]) -> Result<Vec<ResourceIdentifier>, OAuthError> {
    if named.is_empty() || named.len() > RESOURCES_MAX {
        return Err(ADMIN_VALUE.because(format!("resources must name 1 to {RESOURCES_MAX}, or be absent for any.")));
    }
    let find = |text: &String| {
        let found = ResourceIdentifier::parse(text).ok().and_then(|identifier| resources.find(&identifier));
        found.map(|resource| resource.identifier.clone())
    };
    let unknown = |text: &String| ADMIN_VALUE.because(format!("The resource {text} is not registered here."));
    named.iter().map(|text| find(text).ok_or_else(|| unknown(text))).collect()
}

fn record(client: Client) -> ClientRecord {
    let metadata = client.metadata;
    ClientRecord {
        client_id: client.id,
        client_name: metadata.client_name,
        origin: client.origin,
        token_endpoint_auth_method: metadata.token_endpoint_auth_method,
        grant_types: metadata.grant_types,
        redirect_uris: metadata.redirect_uris,
        application_type: metadata.application_type,
        client_uri: metadata.client_uri,
        scope: metadata.scope,
        resources: metadata.resources,
        jwks: metadata.jwks,
        jwks_uri: metadata.jwks_uri,
        software_id: metadata.software_id,
        software_version: metadata.software_version,
        created_at: client.created_at.to_rfc3339(),
        disabled_at: client.disabled_at.map(Timestamp::to_rfc3339),
    }
}

/// Tells a field that is `null` from one that is absent.
pub(super) fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chosen_name_is_never_mistaken_for_an_identifier_of_ours() {
        for good in ["abc", "nightly-report", "MY_app", "x_y_z"] {
            assert!(chosen_id(good).is_ok(), "{good}");
        }
        let person = Id::<crate::domain::id::PersonKind>::new(Timestamp(1), [3; 10]).to_string();
        for bad in ["ab", "cli_mine", "https://app.example/client", "a b c", "a/b", "ä-client", person.as_str(), &"x".repeat(65)] {
            assert!(chosen_id(bad).is_err(), "{bad}");
        }
    }
}
