//! What is known of profiles: states, events, links and audiences, read and written for whole batches.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use super::{
    Row, StorageError, Tx, Value,
    batch::Batch,
    columns::{texts, to_json, unreadable, values},
};
use crate::domain::{audience::Memberships, identity::graph::ProfileId, profile::ProfileState, time::Timestamp};

/// A state as it is stored.
#[derive(Debug)]
pub struct Stored {
    pub profile: ProfileId,
    pub state: ProfileState,
    /// How long its text is.
    pub bytes: usize,
}

/// A state as it is to be stored.
pub fn text_of(state: &ProfileState) -> String {
    to_json(state)
}

/// The states of these profiles; one that has none yet is left out.
pub async fn load(tx: &mut Tx, profiles: &BTreeSet<ProfileId>) -> Result<Vec<Stored>, StorageError> {
    static LOAD: LazyLock<Batch> =
        LazyLock::new(|| Batch::new("SELECT profile, state FROM profile_states WHERE profile IN (VALUES ", 1, ")"));
    let keys = texts(profiles);
    tx.rows_batch(&LOAD, &values(&keys), read_state).await
}

/// Puts states, as texts, in place of what was there.
pub async fn put(tx: &mut Tx, states: &[(ProfileId, String)]) -> Result<(), StorageError> {
    static PUT: LazyLock<Batch> = LazyLock::new(|| {
        Batch::new(
            "INSERT INTO profile_states (profile, state) VALUES ",
            2,
            " ON CONFLICT (profile) DO UPDATE SET state = excluded.state",
        )
    });
    let keys: Vec<String> = states.iter().map(|(profile, _)| profile.to_string()).collect();
    let values: Vec<Value<'_>> = keys.iter().zip(states).flat_map(|(key, (_, text))| [key.into(), text.into()]).collect();
    tx.exec_batch(&PUT, &values).await?;
    Ok(())
}

/// An event of a profile: the offset and the partition at which the log has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventPlace {
    pub offset: u64,
    pub partition: u16,
}

/// Notes which events are whose.
pub async fn note_events(tx: &mut Tx, events: &[(ProfileId, EventPlace)]) -> Result<(), StorageError> {
    static NOTE: LazyLock<Batch> = LazyLock::new(|| {
        Batch::new("INSERT INTO profile_events (profile, event_offset, part) VALUES ", 3, " ON CONFLICT DO NOTHING")
    });
    let mut sorted = events.to_vec();
    sorted.sort_unstable();
    let keys: Vec<String> = sorted.iter().map(|(profile, _)| profile.to_string()).collect();
    let mut values: Vec<Value<'_>> = Vec::with_capacity(sorted.len() * 3);
    for (key, (_, place)) in keys.iter().zip(&sorted) {
        values.extend_from_slice(&[key.into(), place.offset.cast_signed().into(), i64::from(place.partition).into()]);
    }
    tx.exec_batch(&NOTE, &values).await?;
    Ok(())
}

/// Which of these events are noted as these profiles'.
pub async fn noted(tx: &mut Tx, events: &[(ProfileId, EventPlace)]) -> Result<BTreeSet<(ProfileId, EventPlace)>, StorageError> {
    static NOTED: LazyLock<Batch> = LazyLock::new(|| {
        Batch::new(
            "WITH asked (profile, event_offset, part) AS (VALUES ",
            3,
            ") SELECT e.profile, e.event_offset, e.part FROM asked a CROSS JOIN profile_events e \
               WHERE e.profile = a.profile AND e.event_offset = a.event_offset AND e.part = a.part",
        )
    });
    let keys: Vec<String> = events.iter().map(|(profile, _)| profile.to_string()).collect();
    let mut values: Vec<Value<'_>> = Vec::with_capacity(events.len() * 3);
    for (key, (_, place)) in keys.iter().zip(events) {
        values.extend_from_slice(&[key.into(), place.offset.cast_signed().into(), i64::from(place.partition).into()]);
    }
    let found = tx.rows_batch(&NOTED, &values, |row| Ok((row.id(0)?, read_place(row, 1)?))).await?;
    Ok(found.into_iter().collect())
}

/// The latest events of a profile before a place in the log, the last first.
pub async fn events_before(tx: &mut Tx, profile: ProfileId, before: u64, limit: i64) -> Result<Vec<EventPlace>, StorageError> {
    let sql = "SELECT event_offset, part FROM profile_events WHERE profile = $1 AND event_offset < $2 \
               ORDER BY event_offset DESC LIMIT $3";
    let before = i64::try_from(before).unwrap_or(i64::MAX);
    tx.rows(sql, &[(&profile.to_string()).into(), before.into(), limit.into()], |row| read_place(row, 0)).await
}

/// The first events of a profile from a place in the log on.
pub async fn events_from(tx: &mut Tx, profile: ProfileId, from: u64, limit: i64) -> Result<Vec<EventPlace>, StorageError> {
    let sql = "SELECT event_offset, part FROM profile_events WHERE profile = $1 AND event_offset >= $2 \
               ORDER BY event_offset LIMIT $3";
    let from = i64::try_from(from).unwrap_or(i64::MAX);
    tx.rows(sql, &[(&profile.to_string()).into(), from.into(), limit.into()], |row| read_place(row, 0)).await
}

/// Forgets the first events of a profile before a place in the log, about so many of them; tells how many.
pub async fn forget_events(tx: &mut Tx, profile: ProfileId, before: EventPlace, limit: i64) -> Result<u64, StorageError> {
    let sql = "DELETE FROM profile_events WHERE profile = $1 AND part = $2 AND event_offset < $3 AND event_offset <= \
               (SELECT max(event_offset) FROM (SELECT event_offset FROM profile_events WHERE profile = $1 ORDER BY event_offset LIMIT $4) e)";
    let (profile, part, offset) = (profile.to_string(), i64::from(before.partition), before.offset.cast_signed());
    tx.exec(sql, &[(&profile).into(), part.into(), offset.into(), limit.into()]).await
}

/// Profiles in the order of their ids, after one: those that came into being first come first.
pub async fn profiles_after(tx: &mut Tx, after: Option<ProfileId>, limit: i64) -> Result<Vec<ProfileId>, StorageError> {
    let after = after.map(|profile| profile.to_string()).unwrap_or_default();
    tx.rows("SELECT id FROM profiles WHERE id > $1 ORDER BY id LIMIT $2", &[(&after).into(), limit.into()], |row| row.id(0)).await
}

/// That two profiles have to do with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link {
    pub profile: ProfileId,
    pub other: ProfileId,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
}

/// Notes links in both directions, in the order of the log.
pub async fn note_links(tx: &mut Tx, links: &[(ProfileId, ProfileId, Timestamp)]) -> Result<(), StorageError> {
    static NOTE: LazyLock<Batch> = LazyLock::new(|| {
        Batch::new(
            "INSERT INTO profile_links (profile, other, first_at, last_at) VALUES ",
            4,
            " ON CONFLICT (profile, other) DO UPDATE SET last_at = excluded.last_at WHERE profile_links.last_at < excluded.last_at",
        )
    });
    // A statement may not touch a row twice; and what a link becomes must not depend on where a batch ends.
    let mut spans: BTreeMap<(ProfileId, ProfileId), (Timestamp, Timestamp)> = BTreeMap::new();
    for (one, other, at) in links {
        for direction in [(*one, *other), (*other, *one)] {
            let (_, last_at) = spans.entry(direction).or_insert((*at, *at));
            *last_at = (*last_at).max(*at);
        }
    }
    let texts: Vec<[String; 2]> = spans.keys().map(|(one, other)| [one.to_string(), other.to_string()]).collect();
    let mut values: Vec<Value<'_>> = Vec::with_capacity(texts.len() * 4);
    for ([one, other], (first_at, last_at)) in texts.iter().zip(spans.values()) {
        values.extend_from_slice(&[one.into(), other.into(), first_at.0.into(), last_at.0.into()]);
    }
    tx.exec_batch(&NOTE, &values).await?;
    Ok(())
}

/// With whom these profiles have to do, the latest first. Of a million links of one profile no more than so many are read.
pub async fn links(tx: &mut Tx, profiles: &BTreeSet<ProfileId>, limit: usize) -> Result<Vec<Link>, StorageError> {
    let sql = "SELECT profile, other, first_at, last_at FROM profile_links WHERE profile = $1 \
               ORDER BY last_at DESC, other DESC LIMIT $2";
    let limit_of_each = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut found = Vec::new();
    for profile in profiles {
        let read = |row: &Row<'_>| {
            Ok(Link { profile: row.id(0)?, other: row.id(1)?, first_at: row.timestamp(2)?, last_at: row.timestamp(3)? })
        };
        found.extend(tx.rows(sql, &[(&profile.to_string()).into(), limit_of_each.into()], read).await?);
    }
    found.sort_unstable_by_key(|link| std::cmp::Reverse((link.last_at, link.other)));
    found.truncate(limit);
    Ok(found)
}

/// The audiences that these profiles belong to; one that belongs to none is there only if it must be looked at again.
pub async fn load_memberships(tx: &mut Tx, profiles: &BTreeSet<ProfileId>) -> Result<Vec<(ProfileId, Memberships)>, StorageError> {
    static LOAD: LazyLock<Batch> = LazyLock::new(|| {
        let before = "SELECT profile, memberships FROM profile_audiences \
                      WHERE (memberships <> '{}' OR changes_at IS NOT NULL) AND profile IN (VALUES ";
        Batch::new(before, 1, ")")
    });
    let keys = texts(profiles);
    tx.rows_batch(&LOAD, &values(&keys), |row| Ok((row.id(0)?, row.json(1)?))).await
}

/// Puts memberships in place of what was there, and when they must be looked at again.
pub async fn put_memberships(tx: &mut Tx, rows: &[(ProfileId, Memberships, Option<Timestamp>)]) -> Result<(), StorageError> {
    static PUT: LazyLock<Batch> = LazyLock::new(|| {
        Batch::new(
            "INSERT INTO profile_audiences (profile, memberships, changes_at) VALUES ",
            3,
            " ON CONFLICT (profile) DO UPDATE SET memberships = excluded.memberships, changes_at = excluded.changes_at",
        )
    });
    let texts: Vec<[String; 2]> = rows.iter().map(|(profile, held, _)| [profile.to_string(), to_json(held)]).collect();
    let mut values: Vec<Value<'_>> = Vec::with_capacity(rows.len() * 3);
    for ([profile, held], (_, _, changes_at)) in texts.iter().zip(rows) {
        values.extend_from_slice(&[profile.into(), held.into(), changes_at.map(|at| at.0).into()]);
    }
    tx.exec_batch(&PUT, &values).await?;
    Ok(())
}

/// Has the audiences of this profile looked at as if a day had passed.
pub async fn look_again(tx: &mut Tx, profile: ProfileId, now: Timestamp) -> Result<(), StorageError> {
    let sql = "INSERT INTO profile_audiences (profile, memberships, changes_at) VALUES ($1, '{}', $2) \
               ON CONFLICT (profile) DO UPDATE SET changes_at = excluded.changes_at";
    tx.exec(sql, &[(&profile.to_string()).into(), now.0.into()]).await?;
    Ok(())
}

/// Profiles that something has changed for without an event, because a day has passed.
pub async fn due(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<BTreeSet<ProfileId>, StorageError> {
    let sql =
        "SELECT profile FROM profile_audiences WHERE changes_at IS NOT NULL AND changes_at <= $1 ORDER BY changes_at LIMIT $2";
    Ok(tx.rows(sql, &[now.0.into(), limit.into()], |row| row.id(0)).await?.into_iter().collect())
}

/// Has these profiles not looked at again, until something says when.
pub async fn look_no_more(tx: &mut Tx, profiles: &BTreeSet<ProfileId>) -> Result<(), StorageError> {
    static REST: LazyLock<Batch> =
        LazyLock::new(|| Batch::new("UPDATE profile_audiences SET changes_at = NULL WHERE profile IN (VALUES ", 1, ")"));
    let keys = texts(profiles);
    tx.exec_batch(&REST, &values(&keys)).await?;
    Ok(())
}

fn read_state(row: &Row<'_>) -> Result<Stored, StorageError> {
    let text = row.text(1)?;
    let state = serde_json::from_str(&text).map_err(|error| unreadable(&error.to_string()))?;
    Ok(Stored { profile: row.id(0)?, state, bytes: text.len() })
}

/// From two columns, offset and partition.
fn read_place(row: &Row<'_>, column: usize) -> Result<EventPlace, StorageError> {
    let partition = u16::try_from(row.int(column + 1)?).map_err(|_| unreadable("a partition"))?;
    Ok(EventPlace { offset: row.int(column)?.cast_unsigned(), partition })
}
