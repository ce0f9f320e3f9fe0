//! Questions about clients.

use super::{Row, StorageError, Tx, columns::to_json, columns::unreadable};
use crate::domain::{
    actor::ActorKind,
    client::{Client, ClientId, Origin},
    secret::Digest,
    time::Timestamp,
};

/// The client of this identifier, disabled or not.
pub async fn find(tx: &mut Tx, id: &ClientId) -> Result<Option<Client>, StorageError> {
    let sql =
        "SELECT id, origin, metadata, secret_digest, created_at, disabled_at, fresh_until, actor_kind FROM clients WHERE id = $1";
    tx.row(sql, &[id.as_str().into()], read).await
}

/// As `find`, and until the transaction ends nobody else changes this client: what is decided here stays true.
pub async fn hold(tx: &mut Tx, id: &ClientId) -> Result<Option<Client>, StorageError> {
    let sql = "UPDATE clients SET id = id WHERE id = $1 \
               RETURNING id, origin, metadata, secret_digest, created_at, disabled_at, fresh_until, actor_kind";
    tx.row(sql, &[id.as_str().into()], read).await
}

/// The client that registered itself with metadata of this hash, and when it last did.
pub async fn find_by_registration(tx: &mut Tx, registration_hash: &str) -> Result<Option<(Client, Timestamp)>, StorageError> {
    let sql = "SELECT id, origin, metadata, secret_digest, created_at, disabled_at, fresh_until, actor_kind, \
               COALESCE(seen_at, created_at) FROM clients WHERE registration_hash = $1";
    tx.row(sql, &[registration_hash.into()], |row| Ok((read(row)?, row.timestamp(8)?))).await
}

/// Notes that a client has registered itself again. `false` if there is no such client.
pub async fn see(tx: &mut Tx, id: &ClientId, now: Timestamp) -> Result<bool, StorageError> {
    Ok(tx.exec("UPDATE clients SET seen_at = $2 WHERE id = $1", &[id.as_str().into(), now.0.into()]).await? == 1)
}

/// A page of clients in the order of their identifiers, after `after`.
pub async fn list(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<Client>, StorageError> {
    let sql = "SELECT id, origin, metadata, secret_digest, created_at, disabled_at, fresh_until, actor_kind FROM clients WHERE id > $1 ORDER BY id LIMIT $2";
    tx.rows(sql, &[after.into(), limit.into()], read).await
}

/// Adds a client. Refused as `Unique("clients_registration_hash")` if an equal registration exists.
pub async fn insert(tx: &mut Tx, client: &Client, registration_hash: Option<&str>) -> Result<(), StorageError> {
    let sql = "INSERT INTO clients (id, origin, metadata, registration_hash, secret_digest, created_at, disabled_at, fresh_until, actor_kind) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    tx.exec(
        sql,
        &[
            client.id.as_str().into(),
            origin_word(client.origin).into(),
            (&to_json(&client.metadata)).into(),
            registration_hash.into(),
            client.secret_digest.as_ref().map(|digest| &digest.0[..]).into(),
            client.created_at.0.into(),
            client.disabled_at.map(|at| at.0).into(),
            client.fresh_until.0.into(),
            client.kind.as_str().into(),
        ],
    )
    .await?;
    tx.forget_client(&client.id);
    Ok(())
}

/// Keeps the latest metadata document of a client, whether it was known before or not.
pub async fn keep_document(tx: &mut Tx, client: &Client) -> Result<(), StorageError> {
    let sql = "INSERT INTO clients (id, origin, metadata, created_at, fresh_until) VALUES ($1, $2, $3, $4, $5) \
               ON CONFLICT (id) DO UPDATE SET metadata = excluded.metadata, fresh_until = excluded.fresh_until";
    tx.exec(
        sql,
        &[
            client.id.as_str().into(),
            origin_word(Origin::MetadataDocument).into(),
            (&to_json(&client.metadata)).into(),
            client.created_at.0.into(),
            client.fresh_until.0.into(),
        ],
    )
    .await?;
    tx.forget_client(&client.id);
    Ok(())
}

/// Disables a client. `false` if there is no such client.
pub async fn disable(tx: &mut Tx, id: &ClientId, now: Timestamp) -> Result<bool, StorageError> {
    let changed = tx.exec("UPDATE clients SET disabled_at = $2 WHERE id = $1", &[id.as_str().into(), now.0.into()]).await?;
    tx.forget_client(id);
    Ok(changed == 1)
}

/// Lets a client act again. `false` if there is no such client.
pub async fn enable(tx: &mut Tx, id: &ClientId, now: Timestamp) -> Result<bool, StorageError> {
    let sql = "UPDATE clients SET disabled_at = NULL, enabled_at = $2 WHERE id = $1";
    let changed = tx.exec(sql, &[id.as_str().into(), now.0.into()]).await?;
    tx.forget_client(id);
    Ok(changed == 1)
}

/// When an operator last let the client act again, if one did.
pub async fn enabled_at(tx: &mut Tx, id: &ClientId) -> Result<Option<Timestamp>, StorageError> {
    let sql = "SELECT enabled_at FROM clients WHERE id = $1";
    Ok(tx.row(sql, &[id.as_str().into()], |row| row.timestamp_or_null(0)).await?.flatten())
}

/// Keeps who the client is taken for. `false` if there is no such client, or if it is so already.
pub async fn set_kind(tx: &mut Tx, id: &ClientId, kind: ActorKind) -> Result<bool, StorageError> {
    let sql = "UPDATE clients SET actor_kind = $2 WHERE id = $1 AND (actor_kind IS NULL OR actor_kind <> $2)";
    let changed = tx.exec(sql, &[id.as_str().into(), kind.as_str().into()]).await?;
    tx.forget_client(id);
    Ok(changed == 1)
}

/// Replaces what an operator said of a client. `false` if there is no such client.
pub async fn set_metadata(tx: &mut Tx, client: &Client) -> Result<bool, StorageError> {
    let changed = tx
        .exec("UPDATE clients SET metadata = $2 WHERE id = $1", &[client.id.as_str().into(), (&to_json(&client.metadata)).into()])
        .await?;
    tx.forget_client(&client.id);
    Ok(changed == 1)
}

/// Replaces the secret. `false` if there is no such client.
pub async fn set_secret(tx: &mut Tx, id: &ClientId, digest: &Digest) -> Result<bool, StorageError> {
    let changed =
        tx.exec("UPDATE clients SET secret_digest = $2 WHERE id = $1", &[id.as_str().into(), (&digest.0[..]).into()]).await?;
    tx.forget_client(id);
    Ok(changed == 1)
}

/// Removes a client. `false` if there is no such client.
pub async fn delete(tx: &mut Tx, id: &ClientId) -> Result<bool, StorageError> {
    let removed = tx.exec("DELETE FROM clients WHERE id = $1", &[id.as_str().into()]).await?;
    tx.forget_client(id);
    Ok(removed == 1)
}

/// Forgets clients that came by themselves before `registered_before`, have not registered again since, and have neither a grant nor
/// a consent of since: a code may be under way. A client with a live refresh token is never among them, and one that is disabled or a
/// rogue neither: it would come back as if nothing had been. Answers which.
pub async fn delete_unused(tx: &mut Tx, registered_before: Timestamp, limit: i64) -> Result<Vec<ClientId>, StorageError> {
    let sql = "SELECT id FROM clients WHERE origin <> 'operator' AND COALESCE(seen_at, created_at) < $1 AND disabled_at IS NULL \
               AND (actor_kind IS NULL OR actor_kind <> 'rogue') AND NOT EXISTS (SELECT 1 FROM grants WHERE grants.client = clients.id) \
               AND NOT EXISTS (SELECT 1 FROM consents WHERE consents.client = clients.id AND consents.given_at >= $1) LIMIT $2";
    let unused = tx.rows(sql, &[registered_before.0.into(), limit.into()], |row| row.client_id(0)).await?;
    let mut removed = Vec::new();
    for id in unused {
        let sql = "DELETE FROM clients WHERE id = $1 AND COALESCE(seen_at, created_at) < $2 AND disabled_at IS NULL \
                   AND NOT EXISTS (SELECT 1 FROM grants WHERE grants.client = clients.id) \
                   AND NOT EXISTS (SELECT 1 FROM consents WHERE consents.client = clients.id AND consents.given_at >= $2)";
        if tx.exec(sql, &[id.as_str().into(), registered_before.0.into()]).await? == 1 {
            tx.exec("DELETE FROM consents WHERE client = $1", &[id.as_str().into()]).await?;
            tx.forget_client(&id);
            removed.push(id);
        }
    }
    Ok(removed)
}

fn origin_word(origin: Origin) -> &'static str {
    match origin {
        Origin::Operator => "operator",
        Origin::Dynamic => "dynamic",
        Origin::MetadataDocument => "metadata_document",
    }
}

fn read(row: &Row<'_>) -> Result<Client, StorageError> {
    let word = row.text(1)?;
    let origin =
        [Origin::Operator, Origin::Dynamic, Origin::MetadataDocument].into_iter().find(|known| origin_word(*known) == word);
    Ok(Client {
        id: row.client_id(0)?,
        origin: origin.ok_or_else(|| unreadable(&word))?,
        metadata: row.json(2)?,
        secret_digest: row.digest_or_null(3)?,
        created_at: row.timestamp(4)?,
        disabled_at: row.timestamp_or_null(5)?,
        kind: match row.text_or_null(7)? {
            Some(word) => ActorKind::parse(&word).ok_or_else(|| unreadable(&word))?,
            None => ActorKind::UnknownAgent,
        },
        fresh_until: row.timestamp(6)?,
    })
}
