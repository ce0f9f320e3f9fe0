//! Questions about grants, their refresh families, and consents.

use super::{
    Row, StorageError, Tx,
    columns::{to_json, unreadable},
};
use crate::domain::{
    client::ClientId,
    grant::{Consent, EndCause, Ended, Grant, RefreshFamily},
    id::{GrantKind, Id, PersonKind},
    resource::ResourceIdentifier,
    risk::Doubt,
    scope::Scopes,
    time::Timestamp,
};

/// Who acts by a grant, and for whom; `None` if for itself.
pub type Parties = (ClientId, Option<Id<PersonKind>>);

/// The grant of this identifier, ended or not.
pub async fn find(tx: &mut Tx, id: Id<GrantKind>) -> Result<Option<Grant>, StorageError> {
    let sql = "SELECT id, client, person, resource, scopes, created_at, expires_at, used_at, ended_at, end_cause, authenticated_at, \
                      refresh_generation, refresh_rotated_at, refresh_expires_at, refresh_rotated_before_at FROM grants WHERE id = $1";
    tx.row(sql, &[(&id.to_string()).into()], read).await
}

/// The grant of exactly these scopes by which a client acts for itself at a resource, if it has not ended and lasts until
/// `lasts_until`.
pub async fn find_own(
    tx: &mut Tx,
    client: &ClientId,
    resource: &ResourceIdentifier,
    scopes: &Scopes,
    lasts_until: Timestamp,
) -> Result<Option<Grant>, StorageError> {
    let sql = "SELECT id, client, person, resource, scopes, created_at, expires_at, used_at, ended_at, end_cause, authenticated_at, \
                      refresh_generation, refresh_rotated_at, refresh_expires_at, refresh_rotated_before_at FROM grants \
               WHERE person IS NULL AND client = $1 AND resource = $2 AND scopes = $3 AND ended_at IS NULL AND expires_at >= $4 \
               ORDER BY id DESC LIMIT 1";
    let scopes = scopes.to_string();
    tx.row(sql, &[client.as_str().into(), resource.as_str().into(), (&scopes).into(), lasts_until.0.into()], read).await
}

/// A page of a person's live grants in the order of their identifiers, after `after`, of one client if named.
pub async fn live_of_person(
    tx: &mut Tx,
    person: Id<PersonKind>,
    client: Option<&ClientId>,
    after: &str,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<Grant>, StorageError> {
    let sql = "SELECT id, client, person, resource, scopes, created_at, expires_at, used_at, ended_at, end_cause, authenticated_at, \
                      refresh_generation, refresh_rotated_at, refresh_expires_at, refresh_rotated_before_at FROM grants \
               WHERE person = $1 AND ($2 = '' OR client = $2) AND id > $3 AND ended_at IS NULL AND expires_at > $4 \
               ORDER BY id LIMIT $5";
    let (person, client) = (person.to_string(), client.map_or("", ClientId::as_str));
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    tx.rows(sql, &[(&person).into(), client.into(), after.into(), now.0.into(), limit.into()], read).await
}

/// A client at a resource, and all the live grants together by which it acts there for one person.
pub struct App {
    pub client: ClientId,
    pub resource: Option<ResourceIdentifier>,
    pub created_at: Timestamp,
    pub used_at: Timestamp,
    /// Until when one of them can be refreshed, if any can.
    pub refresh_expires_at: Option<Timestamp>,
    /// When the last of those that can be refreshed ends by itself.
    pub ends_at: Option<Timestamp>,
}

/// The apps that hold live grants of a person, the last used first. A person allows each by hand, so they stay few.
pub async fn apps_of(tx: &mut Tx, person: Id<PersonKind>, now: Timestamp) -> Result<Vec<App>, StorageError> {
    let sql = "SELECT client, resource, MIN(created_at), MAX(used_at), MAX(refresh_expires_at), \
                      MAX(CASE WHEN refresh_expires_at > $2 THEN expires_at END) FROM grants \
               WHERE person = $1 AND ended_at IS NULL AND expires_at > $2 \
               GROUP BY client, resource ORDER BY MAX(used_at) DESC LIMIT 500";
    let read = |row: &Row<'_>| {
        Ok(App {
            client: row.client_id(0)?,
            resource: row.resource_identifier_or_null(1)?,
            created_at: row.timestamp(2)?,
            used_at: row.timestamp(3)?,
            refresh_expires_at: row.timestamp_or_null(4)?,
            ends_at: row.timestamp_or_null(5)?,
        })
    };
    tx.rows(sql, &[(&person.to_string()).into(), now.0.into()], read).await
}

/// What an app may do by those of its live grants that can be refreshed, or were used after `used_after`.
pub async fn scopes_of_app(
    tx: &mut Tx,
    person: Id<PersonKind>,
    client: &ClientId,
    resource: Option<&ResourceIdentifier>,
    used_after: Timestamp,
    now: Timestamp,
) -> Result<Scopes, StorageError> {
    let sql = "SELECT DISTINCT scopes FROM grants WHERE person = $1 AND client = $2 AND COALESCE(resource, '') = $3 \
               AND ended_at IS NULL AND expires_at > $4 AND (refresh_expires_at > $4 OR used_at > $5) LIMIT 500";
    let (person, resource) = (person.to_string(), resource.map_or("", ResourceIdentifier::as_str));
    let values = [(&person).into(), client.as_str().into(), resource.into(), now.0.into(), used_after.0.into()];
    let all = tx.rows(sql, &values, |row| row.scopes(0)).await?;
    Ok(all.iter().fold(Scopes::default(), |sum, scopes| sum.union(scopes)))
}

/// What a person allowed after `given_after` and nothing has put in doubt since, by client and resource; the last given first.
pub async fn consents_of(
    tx: &mut Tx,
    person: Id<PersonKind>,
    given_after: Timestamp,
) -> Result<Vec<(ClientId, Option<ResourceIdentifier>, Consent)>, StorageError> {
    let sql = "SELECT scopes, given_at, client_hash, doubt, client, NULLIF(resource, '') FROM consents \
               WHERE person = $1 AND given_at > $2 AND doubt IS NULL ORDER BY given_at DESC LIMIT 500";
    let read = |row: &Row<'_>| Ok((row.client_id(4)?, row.resource_identifier_or_null(5)?, read_consent(row)?));
    tx.rows(sql, &[(&person.to_string()).into(), given_after.0.into()], read).await
}

/// Some of the live grants by which a client acts for a person at a resource, at most `limit`, to be ended one by one.
pub async fn live_of_app(
    tx: &mut Tx,
    person: Id<PersonKind>,
    client: &ClientId,
    resource: Option<&ResourceIdentifier>,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<Id<GrantKind>>, StorageError> {
    let sql = "SELECT id FROM grants WHERE person = $1 AND client = $2 AND COALESCE(resource, '') = $3 \
               AND ended_at IS NULL AND expires_at > $4 LIMIT $5";
    let (person, resource) = (person.to_string(), resource.map_or("", ResourceIdentifier::as_str));
    let values =
        [(&person).into(), client.as_str().into(), resource.into(), now.0.into(), i64::try_from(limit).unwrap_or(i64::MAX).into()];
    tx.rows(sql, &values, |row| row.id(0)).await
}

/// A page of grants in the order of their identifiers, after `after`, of one person or client if named ('' names none).
pub async fn list(tx: &mut Tx, person: &str, client: &str, after: &str, limit: i64) -> Result<Vec<Grant>, StorageError> {
    let sql = "SELECT id, client, person, resource, scopes, created_at, expires_at, used_at, ended_at, end_cause, authenticated_at, \
                      refresh_generation, refresh_rotated_at, refresh_expires_at, refresh_rotated_before_at FROM grants \
               WHERE id > $3 AND ($1 = '' OR person = $1) AND ($2 = '' OR client = $2) ORDER BY id LIMIT $4";
    tx.rows(sql, &[person.into(), client.into(), after.into(), limit.into()], read).await
}

/// Adds a grant.
pub async fn insert(tx: &mut Tx, grant: &Grant) -> Result<(), StorageError> {
    let sql = "INSERT INTO grants (id, client, person, resource, scopes, created_at, expires_at, used_at, authenticated_at, \
                                   refresh_generation, refresh_rotated_at, refresh_expires_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
    let person = grant.person.map(|person| person.to_string());
    tx.exec(
        sql,
        &[
            (&grant.id.to_string()).into(),
            grant.client.as_str().into(),
            person.as_deref().into(),
            grant.resource.as_ref().map(ResourceIdentifier::as_str).into(),
            (&grant.scopes.to_string()).into(),
            grant.created_at.0.into(),
            grant.expires_at.0.into(),
            grant.used_at.0.into(),
            grant.authenticated_at.map(|at| at.0).into(),
            grant.refresh.map(|family| i64::from(family.generation)).into(),
            grant.refresh.map(|family| family.rotated_at.0).into(),
            grant.refresh.map(|family| family.expires_at.0).into(),
        ],
    )
    .await?;
    if grant.person.is_none() {
        // It takes the place of one that is kept in memory and does no longer.
        tx.forget_own_grants(&grant.client);
    }
    Ok(())
}

/// Moves a refresh family from `generation` to the next, if nobody else did: compare and swap. `false` if somebody did, or the
/// grant has ended.
pub async fn rotate(
    tx: &mut Tx,
    id: Id<GrantKind>,
    generation: u32,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<bool, StorageError> {
    let sql = "UPDATE grants SET refresh_generation = refresh_generation + 1, refresh_rotated_before_at = refresh_rotated_at, \
                                refresh_rotated_at = $3, refresh_expires_at = $4, used_at = $3 \
               WHERE id = $1 AND refresh_generation = $2 AND refresh_expires_at > $3 AND ended_at IS NULL";
    Ok(tx.exec(sql, &[(&id.to_string()).into(), i64::from(generation).into(), now.0.into(), expires_at.0.into()]).await? == 1)
}

/// Ends a grant and kills every token issued under it. `None` if it had ended before or never was.
pub async fn end(tx: &mut Tx, id: Id<GrantKind>, cause: EndCause, now: Timestamp) -> Result<Option<Parties>, StorageError> {
    let sql = "UPDATE grants SET ended_at = $2, end_cause = $3 WHERE id = $1 AND ended_at IS NULL RETURNING client, person";
    let text = id.to_string();
    let values = [(&text).into(), now.0.into(), cause.as_str().into()];
    let parties = tx.row(sql, &values, |row| Ok((row.client_id(0)?, row.id_or_null(1)?))).await?;
    if let Some((client, _)) = &parties {
        tx.forget_own_grants(client);
        super::revocations::revoke(tx, &id.to_string(), Timestamp(i64::MAX), now).await?;
    }
    Ok(parties)
}

/// Some of the grants of a client that have not ended, at most `limit`, to be ended one by one.
pub async fn live_of_client(tx: &mut Tx, client: &ClientId, limit: i64) -> Result<Vec<Id<GrantKind>>, StorageError> {
    let sql = "SELECT id FROM grants WHERE client = $1 AND ended_at IS NULL LIMIT $2";
    tx.rows(sql, &[client.as_str().into(), limit.into()], |row| row.id(0)).await
}

/// Forgets grants that ended, expired or were last refreshable before a moment; their tokens have long expired too.
pub async fn delete_dead(tx: &mut Tx, dead_before: Timestamp, limit: i64) -> Result<u64, StorageError> {
    let sql = "DELETE FROM grants WHERE id IN (SELECT id FROM grants WHERE ended_at < $1 OR expires_at < $1 OR refresh_expires_at < $1 LIMIT $2)";
    tx.exec(sql, &[dead_before.0.into(), limit.into()]).await
}

/// What the person allowed this client at this resource.
pub async fn find_consent(
    tx: &mut Tx,
    person: Id<PersonKind>,
    client: &ClientId,
    resource: Option<&ResourceIdentifier>,
) -> Result<Option<Consent>, StorageError> {
    let sql = "SELECT scopes, given_at, client_hash, doubt FROM consents WHERE person = $1 AND client = $2 AND resource = $3";
    let resource = resource.map_or("", ResourceIdentifier::as_str);
    tx.row(sql, &[(&person.to_string()).into(), client.as_str().into(), resource.into()], read_consent).await
}

/// As `find_consent`, and until the transaction ends nobody else changes or withdraws it: a grant that begins under it is seen by
/// whoever ends what it allows. Held before any grant.
pub async fn hold_consent(
    tx: &mut Tx,
    person: Id<PersonKind>,
    client: &ClientId,
    resource: Option<&ResourceIdentifier>,
) -> Result<Option<Consent>, StorageError> {
    let sql = "UPDATE consents SET scopes = scopes WHERE person = $1 AND client = $2 AND resource = $3 \
               RETURNING scopes, given_at, client_hash, doubt";
    let resource = resource.map_or("", ResourceIdentifier::as_str);
    tx.row(sql, &[(&person.to_string()).into(), client.as_str().into(), resource.into()], read_consent).await
}

/// Remembers what the person allows now, in place of what they allowed before. Whatever was in doubt no longer is.
pub async fn put_consent(
    tx: &mut Tx,
    person: Id<PersonKind>,
    client: &ClientId,
    resource: Option<&ResourceIdentifier>,
    consent: &Consent,
) -> Result<(), StorageError> {
    let sql = "INSERT INTO consents (person, client, resource, scopes, given_at, client_hash) VALUES ($1, $2, $3, $4, $5, $6) \
               ON CONFLICT (person, client, resource) \
               DO UPDATE SET scopes = excluded.scopes, given_at = excluded.given_at, client_hash = excluded.client_hash, \
                             doubt = NULL";
    tx.exec(
        sql,
        &[
            (&person.to_string()).into(),
            client.as_str().into(),
            resource.map_or("", ResourceIdentifier::as_str).into(),
            (&consent.scopes.to_string()).into(),
            consent.given_at.0.into(),
            (&consent.client_hash).into(),
        ],
    )
    .await?;
    Ok(())
}

/// Forgets what the person allowed this client at this resource.
pub async fn delete_consent(
    tx: &mut Tx,
    person: Id<PersonKind>,
    client: &ClientId,
    resource: Option<&ResourceIdentifier>,
) -> Result<(), StorageError> {
    let sql = "DELETE FROM consents WHERE person = $1 AND client = $2 AND resource = $3";
    let resource = resource.map_or("", ResourceIdentifier::as_str);
    tx.exec(sql, &[(&person.to_string()).into(), client.as_str().into(), resource.into()]).await?;
    Ok(())
}

/// Puts in doubt what the person allowed before `given_before`, this client or, without one, anybody; what is in doubt already stays as it
/// is. Tells how many consents that were.
pub async fn doubt_consents(
    tx: &mut Tx,
    person: Id<PersonKind>,
    client: Option<&ClientId>,
    given_before: Timestamp,
    doubt: &Doubt,
) -> Result<u64, StorageError> {
    let sql = "UPDATE consents SET doubt = $3 WHERE person = $1 AND ($2 = '' OR client = $2) AND given_at < $4 AND doubt IS NULL";
    let client = client.map_or("", ClientId::as_str);
    tx.exec(sql, &[(&person.to_string()).into(), client.into(), (&to_json(doubt)).into(), given_before.0.into()]).await
}

/// Forgets what the person allowed until `given_until`, this client or, without one, anybody. Tells how many consents that were.
pub async fn delete_consents(
    tx: &mut Tx,
    person: Id<PersonKind>,
    client: Option<&ClientId>,
    given_until: Timestamp,
) -> Result<u64, StorageError> {
    let sql = "DELETE FROM consents WHERE person = $1 AND ($2 = '' OR client = $2) AND given_at <= $3";
    tx.exec(sql, &[(&person.to_string()).into(), client.map_or("", ClientId::as_str).into(), given_until.0.into()]).await
}

/// Forgets what anybody allowed this client. Whoever redeems a code holds the consent behind it: what began before is there to be ended
/// after this, and nothing begins any more.
pub async fn delete_consents_of_client(tx: &mut Tx, client: &ClientId) -> Result<(), StorageError> {
    tx.exec("DELETE FROM consents WHERE client = $1", &[client.as_str().into()]).await?;
    Ok(())
}

fn read_consent(row: &Row<'_>) -> Result<Consent, StorageError> {
    let doubt = row.json_or_null(3)?;
    Ok(Consent { scopes: row.scopes(0)?, given_at: row.timestamp(1)?, client_hash: row.text(2)?, doubt })
}

fn read(row: &Row<'_>) -> Result<Grant, StorageError> {
    let ended = match (row.timestamp_or_null(8)?, row.text_or_null(9)?) {
        (Some(at), Some(word)) => Some(Ended { at, cause: EndCause::parse(&word).ok_or_else(|| unreadable(&word))? }),
        _ => None,
    };
    let refresh = match (row.u32_or_null(11)?, row.timestamp_or_null(12)?, row.timestamp_or_null(13)?) {
        (Some(generation), Some(rotated_at), Some(expires_at)) => {
            Some(RefreshFamily { generation, rotated_at, rotated_before_at: row.timestamp_or_null(14)?, expires_at })
        }
        _ => None,
    };
    Ok(Grant {
        id: row.id(0)?,
        client: row.client_id(1)?,
        person: row.id_or_null(2)?,
        resource: row.resource_identifier_or_null(3)?,
        scopes: row.scopes(4)?,
        created_at: row.timestamp(5)?,
        expires_at: row.timestamp(6)?,
        used_at: row.timestamp(7)?,
        ended,
        authenticated_at: row.timestamp_or_null(10)?,
        refresh,
    })
}
