//! Questions about what becomes of a source's events as a whole: whether it changed, and to which sources a thing applies.

use std::collections::HashMap;

use super::{StorageError, Tx, columns::unreadable};
use crate::domain::{
    id::{Id, Kind, SourceKind},
    source::Producer,
};

/// Counts every change of a transformation, a tracking plan or their sources, and every new source.
pub async fn revision(tx: &mut Tx) -> Result<i64, StorageError> {
    let found = tx.row("SELECT revision FROM revisions WHERE name = 'shapes'", &[], |row| row.int(0)).await?;
    found.ok_or_else(|| unreadable("the revision of shapes is missing"))
}

/// The sources of which what comes is no message yet, and of which kind they are.
pub async fn foreign_sources(tx: &mut Tx) -> Result<Vec<(Id<SourceKind>, Producer)>, StorageError> {
    let sql = "SELECT id, producer FROM sources WHERE producer IN ('webhook', 'warehouse') ORDER BY id";
    tx.rows(sql, &[], |row| {
        let producer = row.text(1)?;
        Ok((row.id(0)?, Producer::parse(&producer).ok_or_else(|| unreadable(&producer))?))
    })
    .await
}

/// Notes a change; part of each.
pub(super) async fn note_change(tx: &mut Tx) -> Result<(), StorageError> {
    tx.exec("UPDATE revisions SET revision = revision + 1 WHERE name = 'shapes'", &[]).await?;
    Ok(())
}

/// The sources of each thing, from rows of thing and source.
pub(super) async fn sources_of<K: Kind>(
    tx: &mut Tx,
    sql: &'static str,
) -> Result<HashMap<Id<K>, Vec<Id<SourceKind>>>, StorageError> {
    let rows = tx.rows(sql, &[], |row| Ok((row.id::<K>(0)?, row.id::<SourceKind>(1)?))).await?;
    let mut sources: HashMap<Id<K>, Vec<Id<SourceKind>>> = HashMap::new();
    for (thing, source) in rows {
        sources.entry(thing).or_default().push(source);
    }
    Ok(sources)
}
