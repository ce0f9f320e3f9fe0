//! Questions about resources.

use super::{Row, StorageError, Tx, columns::to_json, columns::unreadable};
use crate::domain::{
    id::{Id, ResourceKind},
    resource::{Resource, ResourceIdentifier},
};

/// All resources, in the order in which they were registered. An installation has few.
pub async fn list(tx: &mut Tx) -> Result<Vec<Resource>, StorageError> {
    let sql = "SELECT id, identifier, name, scopes, access_token_ttl_s, secret_digest, created_at FROM resources ORDER BY id";
    tx.rows(sql, &[], read).await
}

/// The resource of this identifier. Until the transaction ends nobody else changes it: what is decided here stays true.
pub async fn hold(tx: &mut Tx, id: Id<ResourceKind>) -> Result<Option<Resource>, StorageError> {
    let sql = "UPDATE resources SET id = id WHERE id = $1 \
               RETURNING id, identifier, name, scopes, access_token_ttl_s, secret_digest, created_at";
    tx.row(sql, &[(&id.to_string()).into()], read).await
}

/// Adds a resource. Refused as `Unique("resources_canonical")` if it is registered in any spelling.
pub async fn insert(tx: &mut Tx, resource: &Resource) -> Result<(), StorageError> {
    let sql = "INSERT INTO resources (id, identifier, canonical, name, scopes, access_token_ttl_s, secret_digest, created_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    tx.exec(
        sql,
        &[
            (&resource.id.to_string()).into(),
            resource.identifier.as_str().into(),
            (&resource.identifier.canonical()).into(),
            (&resource.name).into(),
            (&to_json(&resource.scopes)).into(),
            resource.access_token_ttl_s.map(i64::from).into(),
            (&resource.secret_digest.0[..]).into(),
            resource.created_at.0.into(),
        ],
    )
    .await?;
    tx.forget_resources();
    Ok(())
}

/// Replaces name, scopes, token lifetime and secret. `false` if there is no such resource.
pub async fn update(tx: &mut Tx, resource: &Resource) -> Result<bool, StorageError> {
    let sql = "UPDATE resources SET name = $2, scopes = $3, access_token_ttl_s = $4, secret_digest = $5 WHERE id = $1";
    let changed = tx
        .exec(
            sql,
            &[
                (&resource.id.to_string()).into(),
                (&resource.name).into(),
                (&to_json(&resource.scopes)).into(),
                resource.access_token_ttl_s.map(i64::from).into(),
                (&resource.secret_digest.0[..]).into(),
            ],
        )
        .await?;
    tx.forget_resources();
    Ok(changed == 1)
}

/// Removes a resource. `false` if there is no such resource.
pub async fn delete(tx: &mut Tx, id: Id<ResourceKind>) -> Result<bool, StorageError> {
    let removed = tx.exec("DELETE FROM resources WHERE id = $1", &[(&id.to_string()).into()]).await?;
    tx.forget_resources();
    Ok(removed == 1)
}

fn read(row: &Row<'_>) -> Result<Resource, StorageError> {
    let identifier = row.text(1)?;
    Ok(Resource {
        id: row.id(0)?,
        identifier: ResourceIdentifier::parse(&identifier).map_err(|_| unreadable(&identifier))?,
        name: row.text(2)?,
        scopes: row.json(3)?,
        access_token_ttl_s: row.u32_or_null(4)?,
        secret_digest: row.digest(5)?,
        created_at: row.timestamp(6)?,
    })
}
