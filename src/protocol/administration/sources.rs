//! Sources of customer events as operators make and change them.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::{
    clients::present,
    paging::{Page, PageRequest, Window},
    plain_text,
};
use crate::{
    domain::{
        client::ClientId,
        event::{Actor, Fact},
        id::{Id, OperatorKind, SourceKind},
        refusal::{ADMIN_CONFLICT, ADMIN_NOT_FOUND, ADMIN_VALUE, OAuthError},
        source::{Producer, Source},
        time::Timestamp,
    },
    keys::secrets::Purpose,
    protocol::witness::Witness,
    storage::{StorageError, Tx, clients, leases, sources},
    world::World,
};

/// More could not be kept in memory, where every event looks for its source.
const SOURCES_MAX: u64 = 10_000;
/// Sources to which one thing is applied.
const ATTACHED_MAX: usize = 1_000;

/// A source to be made.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSource {
    /// Says in lists what this is.
    name: String,
    /// `server` if absent.
    kind: Option<Producer>,
    /// The client whose access tokens write to it, with or without the write key; any client's if absent.
    client_id: Option<String>,
    /// Whether the write key alone is not enough; `false` if absent.
    #[serde(default)]
    requires_token: bool,
}

/// What is to become different. What is absent stays; a client of `null` is any.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceChange {
    name: Option<String>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    client_id: Option<Option<String>>,
    requires_token: Option<bool>,
    /// A disabled source is refused all it sends.
    disabled: Option<bool>,
}

/// A source as operators see it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct SourceRecord {
    #[schema(value_type = String)]
    source_id: Id<SourceKind>,
    name: String,
    kind: Producer,
    #[schema(value_type = Option<String>)]
    client_id: Option<ClientId>,
    requires_token: bool,
    /// RFC 3339.
    created_at: String,
    /// RFC 3339.
    disabled_at: Option<String>,
}

/// A source with the write key that is told only now.
#[derive(Serialize, utoipa::ToSchema)]
pub struct SourceWithKey {
    #[serde(flatten)]
    source: SourceRecord,
    /// What names the source to us; SDKs call it so too.
    write_key: String,
}

/// A page of all sources.
pub async fn list(world: &World, request: PageRequest, now: Timestamp) -> Result<Page<SourceRecord>, OAuthError> {
    let window = Window::read(world, "sources".to_owned(), &request, now)?;
    let all = world.storage.sources().await?;
    let rows = all.all().iter().filter(|source| source.id.to_string() > window.after);
    let rows = rows.map(|source| Source::clone(source)).collect();
    Ok(window.page(world, rows, |source: &Source| source.id.to_string(), record, now))
}

/// All that is known of a source.
pub async fn show(world: &World, id: Id<SourceKind>) -> Result<SourceRecord, OAuthError> {
    let found = world.storage.read(move |tx| Box::pin(async move { sources::find(tx, id).await })).await?;
    found.map(record).ok_or(ADMIN_NOT_FOUND)
}

/// Makes a source.
pub async fn create(
    world: &World,
    operator: Id<OperatorKind>,
    new: NewSource,
    now: Timestamp,
) -> Result<SourceWithKey, OAuthError> {
    let write_key = world.secret();
    let source = Source {
        id: world.id(now),
        name: plain_text("name", new.name)?,
        producer: new.kind.unwrap_or(Producer::Server),
        write_key_digest: world.secrets.digest(Purpose::WriteKey, write_key.reveal()),
        client: new.client_id.as_deref().map(client_id).transpose()?,
        requires_token: new.requires_token,
        created_at: now,
        disabled_at: None,
    };
    let fact = Fact::SourceCreated { source: source.id, name: source.name.clone(), kind: source.producer };
    let (witness, written) = (Witness::new(world, Actor::Operator(operator), now), source.clone());
    let write = world.storage.write(move |tx| {
        Box::pin(async move {
            leases::take_turn(tx, "new source").await?;
            if sources::count(tx).await? >= SOURCES_MAX {
                return Err(ADMIN_VALUE.because(format!("There are {SOURCES_MAX} sources already; delete one first.")));
            }
            check(tx, &written).await?;
            sources::insert(tx, &written).await?;
            Ok::<_, OAuthError>(witness.record(tx, fact).await?)
        })
    });
    write.await?;
    world.forget_sources();
    Ok(SourceWithKey { source: record(source), write_key: write_key.reveal().clone() })
}

/// Changes name, client or demands; disables or enables.
pub async fn change(
    world: &World,
    operator: Id<OperatorKind>,
    id: Id<SourceKind>,
    change: SourceChange,
    now: Timestamp,
) -> Result<SourceRecord, OAuthError> {
    let witness = Witness::new(world, Actor::Operator(operator), now);
    let write = world.storage.write(move |tx| {
        Box::pin(async move {
            let known = sources::hold(tx, id).await?.ok_or(ADMIN_NOT_FOUND)?;
            let mut source = known.clone();
            if let Some(name) = change.name {
                source.name = plain_text("name", name)?;
            }
            if let Some(client) = change.client_id {
                source.client = client.as_deref().map(client_id).transpose()?;
                check(tx, &source).await?;
            }
            source.requires_token = change.requires_token.unwrap_or(source.requires_token);
            source.disabled_at = match change.disabled {
                Some(true) => source.disabled_at.or(Some(now)),
                Some(false) => None,
                None => source.disabled_at,
            };
            sources::update(tx, &source).await?;
            if source.disabled_at != known.disabled_at {
                witness.record(tx, changed(id, if source.disabled_at.is_some() { "disabled" } else { "enabled" })).await?;
            }
            if (&source.name, &source.client, source.requires_token) != (&known.name, &known.client, known.requires_token) {
                witness.record(tx, changed(id, "settings")).await?;
            }
            Ok::<_, OAuthError>(source)
        })
    });
    let changed = write.await?;
    world.forget_sources();
    Ok(record(changed))
}

/// Gives a source a new write key; the one before is unknown at once.
pub async fn renew_write_key(
    world: &World,
    operator: Id<OperatorKind>,
    id: Id<SourceKind>,
    now: Timestamp,
) -> Result<SourceWithKey, OAuthError> {
    let write_key = world.secret();
    let write_key_digest = world.secrets.digest(Purpose::WriteKey, write_key.reveal());
    let witness = Witness::new(world, Actor::Operator(operator), now);
    let write = world.storage.write(move |tx| {
        Box::pin(async move {
            let source = Source { write_key_digest, ..sources::hold(tx, id).await?.ok_or(ADMIN_NOT_FOUND)? };
            sources::update(tx, &source).await?;
            witness.record(tx, changed(id, "write_key")).await?;
            Ok::<_, OAuthError>(source)
        })
    });
    let source = record(write.await?);
    world.forget_sources();
    Ok(SourceWithKey { source, write_key: write_key.reveal().clone() })
}

/// Forgets a source. What it sent stays.
pub async fn delete(world: &World, operator: Id<OperatorKind>, id: Id<SourceKind>, now: Timestamp) -> Result<(), OAuthError> {
    let witness = Witness::new(world, Actor::Operator(operator), now);
    let write = world.storage.write(move |tx| {
        Box::pin(async move {
            if !sources::delete(tx, id).await? {
                return Err(ADMIN_NOT_FOUND);
            }
            Ok::<_, OAuthError>(witness.record(tx, Fact::SourceDeleted { source: id }).await?)
        })
    });
    write.await?;
    world.forget_sources();
    Ok(())
}

fn changed(id: Id<SourceKind>, change: &str) -> Fact {
    Fact::SourceChanged { source: id, change: change.to_owned() }
}

fn client_id(text: &str) -> Result<ClientId, OAuthError> {
    ClientId::parse(text).ok_or_else(|| ADMIN_VALUE.because("client_id is not the identifier of a client."))
}

/// Refuses to apply something to a source that does not exist, or to one twice.
pub(super) async fn check_attachments(tx: &mut Tx, attached: &[Id<SourceKind>]) -> Result<(), OAuthError> {
    if attached.len() > ATTACHED_MAX {
        return Err(ADMIN_VALUE.because(format!("sources must be at most {ATTACHED_MAX}.")));
    }
    let mut seen = HashSet::new();
    for source in attached {
        if !seen.insert(source) {
            return Err(ADMIN_VALUE.because(format!("The source {source} is named more than once.")));
        }
        if sources::find(tx, *source).await?.is_none() {
            return Err(ADMIN_VALUE.because(format!("There is no source {source}.")));
        }
    }
    Ok(())
}

/// A source that has one already is a conflict; any other error is trouble.
pub(super) fn conflict(error: StorageError, already: &'static str) -> OAuthError {
    match error {
        StorageError::Unique(_) => ADMIN_CONFLICT.because(already),
        error => error.into(),
    }
}

/// What a source is bound to has to exist.
async fn check(tx: &mut Tx, source: &Source) -> Result<(), OAuthError> {
    let Some(client) = &source.client else { return Ok(()) };
    match clients::find(tx, client).await? {
        Some(_) => Ok(()),
        None => Err(ADMIN_VALUE.because(format!("There is no client {client}; register it first."))),
    }
}

fn record(source: Source) -> SourceRecord {
    SourceRecord {
        source_id: source.id,
        name: source.name,
        kind: source.producer,
        client_id: source.client,
        requires_token: source.requires_token,
        created_at: source.created_at.to_rfc3339(),
        disabled_at: source.disabled_at.map(Timestamp::to_rfc3339),
    }
}
