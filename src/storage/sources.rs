//! Questions about sources.

use std::{collections::HashMap, sync::Arc};

use super::{Row, StorageError, Tx, columns::unreadable, shapes};
use crate::domain::{
    client::ClientId,
    id::{Id, SourceKind},
    secret::Digest,
    source::{Producer, Source},
};

/// All sources, by what a request may name them.
#[derive(Debug, Default)]
pub struct Sources {
    all: Vec<Arc<Source>>,
    by_write_key: HashMap<[u8; 32], usize>,
}

/// How many there are.
pub async fn count(tx: &mut Tx) -> Result<u64, StorageError> {
    let found = tx.row("SELECT count(*) FROM sources", &[], |row| row.int(0)).await?;
    found.and_then(|count| u64::try_from(count).ok()).ok_or_else(|| unreadable("a count"))
}

impl Sources {
    pub(super) fn new(all: Vec<Source>) -> Sources {
        let by_write_key = all.iter().enumerate().map(|(place, source)| (source.write_key_digest.0, place)).collect();
        Sources { all: all.into_iter().map(Arc::new).collect(), by_write_key }
    }

    /// The source whose write key has this digest. Finding by a keyed digest tells nothing of the key by its time.
    pub fn find(&self, write_key: &Digest) -> Option<&Arc<Source>> {
        self.by_write_key.get(&write_key.0).map(|place| &self.all[*place])
    }

    /// The sources that are bound to this client.
    pub fn of_client<'s>(&'s self, client: &'s ClientId) -> impl Iterator<Item = &'s Arc<Source>> {
        self.all.iter().filter(move |source| source.client.as_ref() == Some(client))
    }

    /// In the order in which they were made.
    pub fn all(&self) -> &[Arc<Source>] {
        &self.all
    }
}

/// All sources, in the order in which they were made. An installation has some hundred.
pub async fn list(tx: &mut Tx) -> Result<Vec<Source>, StorageError> {
    let sql =
        "SELECT id, name, producer, write_key_digest, client, requires_token, created_at, disabled_at FROM sources ORDER BY id";
    tx.rows(sql, &[], read).await
}

/// The source of this identifier.
pub async fn find(tx: &mut Tx, id: Id<SourceKind>) -> Result<Option<Source>, StorageError> {
    let sql =
        "SELECT id, name, producer, write_key_digest, client, requires_token, created_at, disabled_at FROM sources WHERE id = $1";
    tx.row(sql, &[(&id.to_string()).into()], read).await
}

/// As `find`, and until the transaction ends nobody else changes this source: what is decided here stays true.
pub async fn hold(tx: &mut Tx, id: Id<SourceKind>) -> Result<Option<Source>, StorageError> {
    let sql = "UPDATE sources SET id = id WHERE id = $1 \
               RETURNING id, name, producer, write_key_digest, client, requires_token, created_at, disabled_at";
    tx.row(sql, &[(&id.to_string()).into()], read).await
}

/// Adds a source.
pub async fn insert(tx: &mut Tx, source: &Source) -> Result<(), StorageError> {
    shapes::note_change(tx).await?;
    let sql = "INSERT INTO sources (id, name, producer, write_key_digest, client, requires_token, created_at, disabled_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    tx.exec(
        sql,
        &[
            (&source.id.to_string()).into(),
            (&source.name).into(),
            source.producer.as_str().into(),
            (&source.write_key_digest.0[..]).into(),
            source.client.as_ref().map(ClientId::as_str).into(),
            source.requires_token.into(),
            source.created_at.0.into(),
            source.disabled_at.map(|at| at.0).into(),
        ],
    )
    .await?;
    tx.forget_sources();
    Ok(())
}

/// Replaces all that can change.
pub async fn update(tx: &mut Tx, source: &Source) -> Result<(), StorageError> {
    let sql =
        "UPDATE sources SET name = $2, write_key_digest = $3, client = $4, requires_token = $5, disabled_at = $6 WHERE id = $1";
    tx.exec(
        sql,
        &[
            (&source.id.to_string()).into(),
            (&source.name).into(),
            (&source.write_key_digest.0[..]).into(),
            source.client.as_ref().map(ClientId::as_str).into(),
            source.requires_token.into(),
            source.disabled_at.map(|at| at.0).into(),
        ],
    )
    .await?;
    tx.forget_sources();
    Ok(())
}

/// Removes a source. `false` if there is no such source.
pub async fn delete(tx: &mut Tx, id: Id<SourceKind>) -> Result<bool, StorageError> {
    let removed = tx.exec("DELETE FROM sources WHERE id = $1", &[(&id.to_string()).into()]).await?;
    tx.forget_sources();
    Ok(removed == 1)
}

fn read(row: &Row<'_>) -> Result<Source, StorageError> {
    let (producer, client) = (row.text(2)?, row.text_or_null(4)?);
    Ok(Source {
        id: row.id(0)?,
        name: row.text(1)?,
        producer: Producer::parse(&producer).ok_or_else(|| unreadable(&producer))?,
        write_key_digest: row.digest(3)?,
        client: client.map(|client| ClientId::parse(&client).ok_or_else(|| unreadable(&client))).transpose()?,
        requires_token: row.int(5)? != 0,
        created_at: row.timestamp(6)?,
        disabled_at: row.timestamp_or_null(7)?,
    })
}
