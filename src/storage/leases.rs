//! Leases: which node runs a background stage that must run once; and turns, which last for a transaction.

use super::{StorageError, Tx};
use crate::domain::time::Timestamp;

/// Takes or renews a lease until `expires_at`. `false` if another holder's lease is still good.
pub async fn hold(tx: &mut Tx, name: &str, holder: &str, now: Timestamp, expires_at: Timestamp) -> Result<bool, StorageError> {
    let sql = "INSERT INTO leases (name, holder, expires_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO UPDATE SET \
               holder = excluded.holder, expires_at = excluded.expires_at WHERE leases.holder = excluded.holder OR leases.expires_at <= $4";
    Ok(tx.exec(sql, &[name.into(), holder.into(), expires_at.0.into(), now.0.into()]).await? == 1)
}

/// Until the transaction ends, whoever else asks for this turn waits: what is counted in it stays so. One who holds rows asks for none.
pub async fn take_turn(tx: &mut Tx, name: &'static str) -> Result<(), StorageError> {
    let sql = "INSERT INTO leases (name, holder, expires_at) VALUES ($1, '', 0) ON CONFLICT (name) DO UPDATE SET holder = ''";
    tx.exec(sql, &[name.into()]).await?;
    Ok(())
}

/// Lets go of everything that the holder holds: who stops in order keeps nobody waiting.
pub async fn release(tx: &mut Tx, holder: &str) -> Result<(), StorageError> {
    tx.exec("DELETE FROM leases WHERE holder = $1", &[holder.into()]).await?;
    Ok(())
}
