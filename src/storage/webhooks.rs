//! Questions about webhooks: how the calls of a source's service are checked. Secrets are sealed before they come here.

use super::{Row, StorageError, Tx, columns::unreadable};
use crate::domain::{
    id::{Id, SourceKind},
    time::Timestamp,
    webhook::{Scheme, Webhook},
};

/// How this source's calls are checked; `None` if it takes none.
pub async fn find(tx: &mut Tx, source: Id<SourceKind>) -> Result<Option<Webhook>, StorageError> {
    let sql = "SELECT source, scheme, header, id_header, secret FROM webhooks WHERE source = $1";
    tx.row(sql, &[(&source.to_string()).into()], read).await
}

/// Sets how a source's calls are checked from now on.
pub async fn put(tx: &mut Tx, webhook: &Webhook, now: Timestamp) -> Result<(), StorageError> {
    let sql = "INSERT INTO webhooks (source, scheme, header, id_header, secret, changed_at) VALUES ($1, $2, $3, $4, $5, $6) \
               ON CONFLICT (source) DO UPDATE SET scheme = excluded.scheme, header = excluded.header, \
               id_header = excluded.id_header, secret = excluded.secret, changed_at = excluded.changed_at";
    tx.exec(
        sql,
        &[
            (&webhook.source.to_string()).into(),
            webhook.scheme.as_str().into(),
            (&webhook.header).into(),
            (&webhook.id_header).into(),
            (&webhook.sealed_secret).into(),
            now.0.into(),
        ],
    )
    .await?;
    Ok(())
}

fn read(row: &Row<'_>) -> Result<Webhook, StorageError> {
    let scheme = row.text(1)?;
    Ok(Webhook {
        source: row.id(0)?,
        scheme: Scheme::parse(&scheme).ok_or_else(|| unreadable(&scheme))?,
        header: row.text_or_null(2)?,
        id_header: row.text_or_null(3)?,
        sealed_secret: row.text_or_null(4)?,
    })
}
