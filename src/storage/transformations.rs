//! Questions about transformations.

use super::{Row, StorageError, Tx, columns::unreadable, shapes};
use crate::domain::{
    id::{Id, TransformationKind},
    transformation::{Language, Purpose, Transformation},
};

/// All transformations, in the order in which they were made. An installation has at most some hundred.
pub async fn list(tx: &mut Tx) -> Result<Vec<Transformation>, StorageError> {
    let sql = "SELECT id, name, purpose, language, program, version, created_at, changed_at, disabled_at FROM transformations \
               ORDER BY id";
    let mut all = tx.rows(sql, &[], read).await?;
    let sql = "SELECT transformation, source FROM transformation_sources ORDER BY source";
    let mut sources = shapes::sources_of(tx, sql).await?;
    for transformation in &mut all {
        transformation.sources = sources.remove(&transformation.id).unwrap_or_default();
    }
    Ok(all)
}

/// The transformation of this identifier.
pub async fn find(tx: &mut Tx, id: Id<TransformationKind>) -> Result<Option<Transformation>, StorageError> {
    let sql = "SELECT id, name, purpose, language, program, version, created_at, changed_at, disabled_at FROM transformations \
               WHERE id = $1";
    let Some(mut found) = tx.row(sql, &[(&id.to_string()).into()], read).await? else { return Ok(None) };
    let sql = "SELECT source FROM transformation_sources WHERE transformation = $1 ORDER BY source";
    found.sources = tx.rows(sql, &[(&id.to_string()).into()], |row| row.id(0)).await?;
    Ok(Some(found))
}

/// As `find`, and until the transaction ends nobody else changes it: what is decided here stays true.
pub async fn hold(tx: &mut Tx, id: Id<TransformationKind>) -> Result<Option<Transformation>, StorageError> {
    tx.exec("UPDATE transformations SET id = id WHERE id = $1", &[(&id.to_string()).into()]).await?;
    find(tx, id).await
}

/// Adds a transformation. Refused as `Unique` if one of its sources has another of the same purpose.
pub async fn insert(tx: &mut Tx, transformation: &Transformation) -> Result<(), StorageError> {
    let sql = "INSERT INTO transformations (id, name, purpose, language, program, version, created_at, changed_at, disabled_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    tx.exec(
        sql,
        &[
            (&transformation.id.to_string()).into(),
            (&transformation.name).into(),
            transformation.purpose.as_str().into(),
            transformation.language.as_str().into(),
            (&*transformation.program).into(),
            transformation.version.into(),
            transformation.created_at.0.into(),
            transformation.changed_at.0.into(),
            transformation.disabled_at.map(|at| at.0).into(),
        ],
    )
    .await?;
    attach(tx, transformation).await
}

/// Replaces all that can change. Refused as `Unique` if one of its sources has another of the same purpose.
pub async fn update(tx: &mut Tx, transformation: &Transformation) -> Result<(), StorageError> {
    let sql = "UPDATE transformations SET name = $2, program = $3, version = $4, changed_at = $5, disabled_at = $6 WHERE id = $1";
    let id = transformation.id.to_string();
    tx.exec(
        sql,
        &[
            (&id).into(),
            (&transformation.name).into(),
            (&*transformation.program).into(),
            transformation.version.into(),
            transformation.changed_at.0.into(),
            transformation.disabled_at.map(|at| at.0).into(),
        ],
    )
    .await?;
    tx.exec("DELETE FROM transformation_sources WHERE transformation = $1", &[(&id).into()]).await?;
    attach(tx, transformation).await
}

/// Removes a transformation from wherever it is applied. `false` if there is no such transformation.
pub async fn delete(tx: &mut Tx, id: Id<TransformationKind>) -> Result<bool, StorageError> {
    let removed = tx.exec("DELETE FROM transformations WHERE id = $1", &[(&id.to_string()).into()]).await?;
    shapes::note_change(tx).await?;
    Ok(removed == 1)
}

async fn attach(tx: &mut Tx, transformation: &Transformation) -> Result<(), StorageError> {
    let sql = "INSERT INTO transformation_sources (source, purpose, transformation) VALUES ($1, $2, $3)";
    let (id, purpose) = (transformation.id.to_string(), transformation.purpose.as_str());
    for source in &transformation.sources {
        tx.exec(sql, &[(&source.to_string()).into(), purpose.into(), (&id).into()]).await?;
    }
    shapes::note_change(tx).await
}

fn read(row: &Row<'_>) -> Result<Transformation, StorageError> {
    let (purpose, language) = (row.text(2)?, row.text(3)?);
    Ok(Transformation {
        id: row.id(0)?,
        name: row.text(1)?,
        purpose: Purpose::parse(&purpose).ok_or_else(|| unreadable(&purpose))?,
        language: Language::parse(&language).ok_or_else(|| unreadable(&language))?,
        program: row.text(4)?.into(),
        version: row.u32_or_null(5)?.unwrap_or_default(),
        sources: Vec::new(),
        created_at: row.timestamp(6)?,
        changed_at: row.timestamp(7)?,
        disabled_at: row.timestamp_or_null(8)?,
    })
}
