//! Questions about people and their sessions.

use super::{Row, StorageError, Tx};
use crate::domain::{
    id::{Id, PersonKind, SessionKind},
    person::{Person, Session},
    secret::Digest,
    time::Timestamp,
};

/// The person of this identifier, locked or not.
pub async fn find(tx: &mut Tx, id: Id<PersonKind>) -> Result<Option<Person>, StorageError> {
    let sql = "SELECT id, login, display_name, created_at, locked_at FROM people WHERE id = $1";
    tx.row(sql, &[(&id.to_string()).into()], read).await
}

/// The person with this login, and the hash of their password.
pub async fn find_by_login(tx: &mut Tx, login: &str) -> Result<Option<(Person, String)>, StorageError> {
    let sql = "SELECT id, login, display_name, created_at, locked_at, password_hash FROM people WHERE login = $1";
    tx.row(sql, &[login.into()], |row| Ok((read(row)?, row.text(5)?))).await
}

/// As `find_by_login`, and until the transaction ends nobody else changes this account: what is decided here stays true.
pub async fn hold_by_login(tx: &mut Tx, login: &str) -> Result<Option<(Person, String)>, StorageError> {
    let sql =
        "UPDATE people SET login = login WHERE login = $1 RETURNING id, login, display_name, created_at, locked_at, password_hash";
    tx.row(sql, &[login.into()], |row| Ok((read(row)?, row.text(5)?))).await
}

/// As `find`, with the hash of their password.
pub async fn find_with_password(tx: &mut Tx, id: Id<PersonKind>) -> Result<Option<(Person, String)>, StorageError> {
    let sql = "SELECT id, login, display_name, created_at, locked_at, password_hash FROM people WHERE id = $1";
    tx.row(sql, &[(&id.to_string()).into()], |row| Ok((read(row)?, row.text(5)?))).await
}

/// As `find_with_password`, and until the transaction ends nobody else changes this account: what is decided here stays true.
pub async fn hold(tx: &mut Tx, id: Id<PersonKind>) -> Result<Option<(Person, String)>, StorageError> {
    let sql = "UPDATE people SET id = id WHERE id = $1 RETURNING id, login, display_name, created_at, locked_at, password_hash";
    tx.row(sql, &[(&id.to_string()).into()], |row| Ok((read(row)?, row.text(5)?))).await
}

/// A page of people in the order of their identifiers, after `after`.
pub async fn list(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<Person>, StorageError> {
    let sql = "SELECT id, login, display_name, created_at, locked_at FROM people WHERE id > $1 ORDER BY id LIMIT $2";
    tx.rows(sql, &[after.into(), limit.into()], read).await
}

/// Adds a person. Refused as `Unique("people_login")` if the login is taken.
pub async fn insert(tx: &mut Tx, person: &Person, password_hash: &str) -> Result<(), StorageError> {
    let sql = "INSERT INTO people (id, login, display_name, password_hash, created_at) VALUES ($1, $2, $3, $4, $5)";
    let id = person.id.to_string();
    tx.exec(
        sql,
        &[(&id).into(), (&person.login).into(), (&person.display_name).into(), password_hash.into(), person.created_at.0.into()],
    )
    .await?;
    Ok(())
}

/// Replaces the password's hash.
pub async fn set_password(tx: &mut Tx, id: Id<PersonKind>, password_hash: &str) -> Result<(), StorageError> {
    tx.exec("UPDATE people SET password_hash = $2 WHERE id = $1", &[(&id.to_string()).into(), password_hash.into()]).await?;
    Ok(())
}

/// Replaces the name by which the person is greeted.
pub async fn set_display_name(tx: &mut Tx, id: Id<PersonKind>, display_name: &str) -> Result<(), StorageError> {
    tx.exec("UPDATE people SET display_name = $2 WHERE id = $1", &[(&id.to_string()).into(), display_name.into()]).await?;
    Ok(())
}

/// Locks or unlocks. `false` if there is no such person.
pub async fn set_locked(tx: &mut Tx, id: Id<PersonKind>, locked_at: Option<Timestamp>) -> Result<bool, StorageError> {
    let changed = tx
        .exec("UPDATE people SET locked_at = $2 WHERE id = $1", &[(&id.to_string()).into(), locked_at.map(|at| at.0).into()])
        .await?;
    Ok(changed == 1)
}

/// Remembers a session by the digest of its cookie.
pub async fn insert_session(tx: &mut Tx, session: &Session, digest: &Digest) -> Result<(), StorageError> {
    let sql = "INSERT INTO sessions (id, digest, person, started_at, authenticated_at, seen_at, user_agent) VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let (id, person) = (session.id.to_string(), session.person.to_string());
    tx.exec(
        sql,
        &[
            (&id).into(),
            (&digest.0[..]).into(),
            (&person).into(),
            session.started_at.0.into(),
            session.authenticated_at.0.into(),
            session.seen_at.0.into(),
            (&session.user_agent).into(),
        ],
    )
    .await?;
    Ok(())
}

/// The session of this cookie and its person, if it was seen and started after these moments and the person is not locked.
pub async fn find_session(
    tx: &mut Tx,
    digest: &Digest,
    seen_after: Timestamp,
    started_after: Timestamp,
) -> Result<Option<(Session, Person)>, StorageError> {
    let sql = "SELECT s.id, s.person, s.started_at, s.authenticated_at, s.seen_at, s.user_agent, \
                      p.id, p.login, p.display_name, p.created_at, p.locked_at \
               FROM sessions s JOIN people p ON p.id = s.person WHERE s.digest = $1 AND s.seen_at > $2 AND s.started_at > $3 AND p.locked_at IS NULL";
    tx.row(sql, &[(&digest.0[..]).into(), seen_after.0.into(), started_after.0.into()], |row| {
        Ok((read_session(row)?, read_at(row, 6)?))
    })
    .await
}

/// Notes that a session was used.
pub async fn touch_session(tx: &mut Tx, id: Id<SessionKind>, seen_at: Timestamp) -> Result<(), StorageError> {
    tx.exec("UPDATE sessions SET seen_at = $2 WHERE id = $1", &[(&id.to_string()).into(), seen_at.0.into()]).await?;
    Ok(())
}

/// The sessions of a person that were seen and started after these moments, the last seen first.
pub async fn sessions(
    tx: &mut Tx,
    person: Id<PersonKind>,
    seen_after: Timestamp,
    started_after: Timestamp,
) -> Result<Vec<Session>, StorageError> {
    let sql = "SELECT id, person, started_at, authenticated_at, seen_at, user_agent FROM sessions \
               WHERE person = $1 AND seen_at > $2 AND started_at > $3 ORDER BY seen_at DESC LIMIT 200";
    tx.rows(sql, &[(&person.to_string()).into(), seen_after.0.into(), started_after.0.into()], read_session).await
}

/// Ends one session of this person. `false` if they have no such session.
pub async fn end_session(tx: &mut Tx, person: Id<PersonKind>, id: Id<SessionKind>) -> Result<bool, StorageError> {
    let ended = tx
        .exec("DELETE FROM sessions WHERE id = $1 AND person = $2", &[(&id.to_string()).into(), (&person.to_string()).into()])
        .await?;
    Ok(ended == 1)
}

/// Ends the sessions of a person, but for `kept`. Answers those that ended.
pub async fn end_sessions(
    tx: &mut Tx,
    person: Id<PersonKind>,
    kept: Option<Id<SessionKind>>,
) -> Result<Vec<Id<SessionKind>>, StorageError> {
    let kept = kept.map_or_else(String::new, |id| id.to_string());
    let sql = "DELETE FROM sessions WHERE person = $1 AND id <> $2 RETURNING id";
    tx.rows(sql, &[(&person.to_string()).into(), (&kept).into()], |row| row.id(0)).await
}

/// Forgets sessions that nobody used since `seen_before`.
pub async fn delete_idle_sessions(tx: &mut Tx, seen_before: Timestamp, limit: i64) -> Result<u64, StorageError> {
    let sql = "DELETE FROM sessions WHERE seen_at <= $1 AND id IN (SELECT id FROM sessions WHERE seen_at <= $1 LIMIT $2)";
    tx.exec(sql, &[seen_before.0.into(), limit.into()]).await
}

fn read(row: &Row<'_>) -> Result<Person, StorageError> {
    read_at(row, 0)
}

fn read_at(row: &Row<'_>, first: usize) -> Result<Person, StorageError> {
    Ok(Person {
        id: row.id(first)?,
        login: row.text(first + 1)?,
        display_name: row.text(first + 2)?,
        created_at: row.timestamp(first + 3)?,
        locked_at: row.timestamp_or_null(first + 4)?,
    })
}

fn read_session(row: &Row<'_>) -> Result<Session, StorageError> {
    Ok(Session {
        id: row.id(0)?,
        person: row.id(1)?,
        started_at: row.timestamp(2)?,
        authenticated_at: row.timestamp(3)?,
        seen_at: row.timestamp(4)?,
        user_agent: row.text(5)?,
    })
}
