//! How far it has come that all profiles are looked at for who belongs to which audience.

use super::{StorageError, Tx};
use crate::domain::identity::graph::ProfileId;

/// A walk that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walk {
    /// Changes when it begins anew.
    pub number: i64,
    /// The profile that was looked at last; none before the first.
    pub after: Option<ProfileId>,
}

/// Has all profiles looked at from now on. One that is under way begins anew.
pub async fn begin(tx: &mut Tx) -> Result<(), StorageError> {
    let sql = "INSERT INTO audience_walk (id, number, after) VALUES (1, 1, '') \
               ON CONFLICT (id) DO UPDATE SET number = audience_walk.number + 1, after = ''";
    tx.exec(sql, &[]).await?;
    Ok(())
}

/// The walk that is under way, if one is.
pub async fn under_way(tx: &mut Tx) -> Result<Option<Walk>, StorageError> {
    let sql = "SELECT number, after FROM audience_walk WHERE id = 1";
    let found = tx.row(sql, &[], |row| {
        let after = if row.text(1)?.is_empty() { None } else { Some(row.id(1)?) };
        Ok(Walk { number: row.int(0)?, after })
    });
    found.await
}

/// Notes how far the walk of this number has come. One that begins anew at the same moment stays where it is.
pub async fn go_on(tx: &mut Tx, number: i64, after: ProfileId) -> Result<(), StorageError> {
    let sql = "UPDATE audience_walk SET after = $2 WHERE id = 1 AND number = $1";
    tx.exec(sql, &[number.into(), (&after.to_string()).into()]).await?;
    Ok(())
}

/// Ends the walk of this number.
pub async fn end(tx: &mut Tx, number: i64) -> Result<(), StorageError> {
    tx.exec("DELETE FROM audience_walk WHERE id = 1 AND number = $1", &[number.into()]).await?;
    Ok(())
}
