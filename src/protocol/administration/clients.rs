//! Clients as operators see and change them, in the words of [RFC 7591 §2](https://www.rfc-editor.org/rfc/rfc7591#section-2).
//!
//! What an operator registers may have any grant type and any authentication method that exists here. A client that came by itself
//! can be disabled and deleted, but what it says of itself is its own.

use serde::{Deserialize, Deserializer, Serialize};
use url::Url;

use super::{
    client_metadata, dead_until,
    paging::{Page, PageRequest, Window},
};
use crate::{
    domain::{
        actor::ActorKind,
        client::{ApplicationType, AuthMethod, Client, ClientId, GrantType, Origin},
        event::{Actor, Fact},
        grant::EndCause,
        id::{ClientKind, Id, OperatorKind},
        redirect_uri::RedirectUri,
        refusal::{ADMIN_CONFLICT, ADMIN_NOT_FOUND, ADMIN_VALUE, BUSY, OAuthError},
        resource::ResourceIdentifier,
        scope::Scopes,
        time::Timestamp,
    },
    keys::secrets::Purpose,
    protocol::witness::Witness,
    storage::{StorageError, Tx, clients, grants, revocations},
    world::World,
};

/// Grants that one transaction ends at most.
const GRANTS_AT_ONCE: i64 = 500;
/// Transactions that one deletion takes at most; a client with more grants is disabled, and deleted by asking again.
const DELETION_STEPS_MAX: usize = 200;

/// A client to be registered.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewClient {
    /// 3 to 64 of `A-Z a-z 0-9 _ -`; one is made if it is absent.
    pub(super) client_id: Option<String>,
    /// What people read on the consent page.
    pub(super) client_name: String,
    #[serde(default)]
    pub(super) redirect_uris: Vec<String>,
    /// `authorization_code` if absent.
    pub(super) grant_types: Option<Vec<GrantType>>,
    /// `client_secret_basic` if absent.
    pub(super) token_endpoint_auth_method: Option<AuthMethod>,
    /// `native` if absent and every redirect URI is a loopback address, else `web`.
    pub(super) application_type: Option<ApplicationType>,
    pub(super) client_uri: Option<String>,
    /// The scopes that it may ask for; any if absent.
    pub(super) scope: Option<String>,
    /// The identifiers of the resources that it may ask for; any if absent.
    pub(super) resources: Option<Vec<String>>,
    pub(super) jwks: Option<serde_json::Value>,
    #[schema(value_type = Option<String>)]
    pub(super) jwks_uri: Option<Url>,
}

/// What is to become different. What is absent stays; `null` lifts a bound.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientChange {
    /// Whether it is refused everything.
    pub(super) disabled: Option<bool>,
    pub(super) client_name: Option<String>,
    pub(super) redirect_uris: Option<Vec<String>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub(super) scope: Option<Option<String>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Vec<String>>)]
    pub(super) resources: Option<Option<Vec<String>>>,
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
    let chosen = new.client_id.as_deref().map(client_metadata::chosen_id).transpose()?;
    let metadata = client_metadata::metadata(&*world.storage.resources().await?, new)?;
    let secret = metadata.token_endpoint_auth_method.has_secret().then(|| world.secret());
    let client = Client {
        id: chosen.unwrap_or_else(|| world.id::<ClientKind>(now).into()),
        origin: Origin::Operator,
        secret_digest: secret.as_ref().map(|secret| world.secrets.digest(Purpose::ClientSecret, secret.reveal())),
        created_at: now,
        disabled_at: None,
        kind: ActorKind::TrustedAgent,
        fresh_until: now,
        metadata,
    };
    let fact = Fact::ClientRegistered {
        client: client.id.clone(),
        origin: client.origin,
        name: client.metadata.client_name.clone(),
        auth_method: Some(client.metadata.token_endpoint_auth_method),
    };
    let (witness, written) = (Witness::new(world, Actor::Operator(operator), now), client.clone());
    let insert = world.storage.write(move |tx| {
        Box::pin(async move {
            clients::insert(tx, &written, None).await?;
            // If a client of this name was deleted, what was issued to it stays dead.
            revocations::switch_on(tx, written.id.as_str(), dead_until(Timestamp(0), now)).await?;
            witness.record(tx, fact).await
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
    let witness = Witness::new(world, Actor::Operator(operator), now);
    world
        .storage
        .write(move |tx| {
            Box::pin(async move {
                let mut client = clients::hold(tx, &id).await?.ok_or(ADMIN_NOT_FOUND)?;
                let metadata = client_metadata::edit(&resources, &client, &change)?;
                if metadata != client.metadata {
                    client.metadata = metadata;
                    clients::set_metadata(tx, &client).await?;
                    witness.record(tx, changed(&id, "metadata")).await?;
                }
                match (change.disabled, client.disabled_at) {
                    (Some(true), None) => {
                        switch_off(tx, &witness, &mut client, now).await?;
                    }
                    (Some(false), Some(since)) => {
                        clients::enable(tx, &client.id, now).await?;
                        revocations::switch_on(tx, client.id.as_str(), dead_until(since, now)).await?;
                        client.disabled_at = None;
                        witness.record(tx, changed(&id, "enabled")).await?;
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
    let witness = Witness::new(world, Actor::Operator(operator), now);
    let renew = world.storage.write(move |tx| {
        Box::pin(async move {
            let client = clients::hold(tx, &id).await?.ok_or(ADMIN_NOT_FOUND)?;
            if !client.metadata.token_endpoint_auth_method.has_secret() {
                return Err(ADMIN_VALUE.because("This client does not authenticate with a secret."));
            }
            clients::set_secret(tx, &id, &digest).await?;
            witness.record(tx, changed(&id, "secret")).await?;
            Ok::<_, OAuthError>(client)
        })
    });
    Ok(ClientWithSecret { client: record(renew.await?), client_secret: Some(secret.reveal().clone()) })
}

/// Forgets a client and ends all that was granted to it. The client of a metadata document may come back by itself, with nothing;
/// only one that is disabled stays away.
pub async fn delete(world: &World, operator: Id<OperatorKind>, id: ClientId, now: Timestamp) -> Result<(), OAuthError> {
    let witness = Witness::new(world, Actor::Operator(operator), now);
    for _ in 0..DELETION_STEPS_MAX {
        let (witness, id) = (witness.clone(), id.clone());
        let write = world.storage.write(move |tx| Box::pin(async move { delete_some(tx, &witness, &id, now).await }));
        if write.await? == Left::Nothing {
            return Ok(());
        }
    }
    Err(BUSY.because("The client is disabled, but not all of its many grants are ended yet; delete it again."))
}

#[derive(PartialEq, Eq)]
enum Left {
    Nothing,
    Grants,
}

/// As much of a deletion as one transaction may hold.
async fn delete_some(tx: &mut Tx, witness: &Witness, id: &ClientId, now: Timestamp) -> Result<Left, OAuthError> {
    let mut client = clients::hold(tx, id).await?.ok_or(ADMIN_NOT_FOUND)?;
    grants::delete_consents_of_client(tx, id).await?;
    for grant in grants::live_of_client(tx, id, GRANTS_AT_ONCE).await? {
        if let Some((client, person)) = grants::end(tx, grant, EndCause::ClientDeleted, now).await? {
            witness.record(tx, Fact::GrantEnded { grant, client, person, cause: EndCause::ClientDeleted }).await?;
        }
    }
    if !grants::live_of_client(tx, id, 1).await?.is_empty() {
        // So that it gets no new grants while the others are ended.
        if client.disabled_at.is_none() {
            switch_off(tx, witness, &mut client, now).await?;
        }
        return Ok(Left::Grants);
    }
    clients::delete(tx, id).await?;
    // Also for what a client is being given for itself at this moment. Only the client of a document, which acts for people alone, may
    // come back under its name by itself, and what it gets then lives, be it in the same second: what it had has ended with its grants.
    let issued_until = if id.is_url() { dead_until(Timestamp(0), now) } else { Timestamp(i64::MAX) };
    revocations::revoke(tx, id.as_str(), issued_until, now).await?;
    witness.record(tx, Fact::ClientDeleted { client: id.clone() }).await?;
    Ok(Left::Nothing)
}

async fn switch_off(tx: &mut Tx, witness: &Witness, client: &mut Client, now: Timestamp) -> Result<(), StorageError> {
    clients::disable(tx, &client.id, now).await?;
    revocations::switch_off(tx, client.id.as_str()).await?;
    client.disabled_at = Some(now);
    witness.record(tx, changed(&client.id, "disabled")).await
}

fn changed(id: &ClientId, change: &str) -> Fact {
    Fact::ClientChanged { client: id.clone(), change: change.to_owned() }
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
