//! What operators ask of profiles: computed and predicted traits, audiences, and the rules of identity.

use super::{
    StorageError, Tx,
    columns::{to_json, unreadable},
};
use crate::domain::{
    audience::Audience,
    computed_trait::ComputedTrait,
    id::{ComputedTraitKind, Id},
    identity::rules::{RuleSettings, Rules},
    predicted_trait::PredictedTrait,
    profile::Definitions,
    time::Timestamp,
};

const COMPUTED_TRAIT: &str = "computed_trait";
const AUDIENCE: &str = "audience";
const PREDICTED_TRAIT: &str = "predicted_trait";

/// The rules of identity by which profiles are made.
const IN_FORCE: i64 = 1;
/// Those that an operator set last; no row, if none did since rules have their place in the log.
const AS_SET: i64 = 2;

/// All of them, in the order in which they were made.
pub async fn all(tx: &mut Tx) -> Result<Definitions, StorageError> {
    let sql = "SELECT kind, definition, counted_from FROM definitions ORDER BY id";
    let mut all = Definitions::default();
    for (kind, text, from) in tx.rows(sql, &[], |row| Ok((row.text(0)?, row.text(1)?, row.int_or_null(2)?))).await? {
        let broken = |error: serde_json::Error| unreadable(&error.to_string());
        match kind.as_str() {
            COMPUTED_TRAIT => {
                let definition: ComputedTrait = serde_json::from_str(&text).map_err(broken)?;
                all.counted_from.extend(from.map(|from| (definition.id, from.cast_unsigned())));
                all.computed_traits.push(definition);
            }
            PREDICTED_TRAIT => all.predicted_traits.push(serde_json::from_str(&text).map_err(broken)?),
            AUDIENCE => all.audiences.push(serde_json::from_str(&text).map_err(broken)?),
            other => return Err(unreadable(other)),
        }
    }
    Ok(all)
}

/// Adds a computed trait; `false` if its key is taken.
pub async fn insert_computed_trait(tx: &mut Tx, definition: &ComputedTrait, now: Timestamp) -> Result<bool, StorageError> {
    insert(tx, &definition.id.to_string(), COMPUTED_TRAIT, &definition.key, &to_json(definition), now).await
}

/// Adds an audience; `false` if its key is taken.
pub async fn insert_audience(tx: &mut Tx, definition: &Audience, now: Timestamp) -> Result<bool, StorageError> {
    insert(tx, &definition.id.to_string(), AUDIENCE, &definition.key, &to_json(definition), now).await
}

/// Adds a predicted trait; `false` if its key is taken.
pub async fn insert_predicted_trait(tx: &mut Tx, definition: &PredictedTrait, now: Timestamp) -> Result<bool, StorageError> {
    insert(tx, &definition.id.to_string(), PREDICTED_TRAIT, &definition.key, &to_json(definition), now).await
}

/// Takes a definition away; `false` if there was none. What was computed is not shown any longer.
pub async fn delete(tx: &mut Tx, id: &str) -> Result<bool, StorageError> {
    Ok(tx.exec("DELETE FROM definitions WHERE id = $1", &[id.into()]).await? == 1)
}

/// Notes the offset from which on these computed traits count all events, where it is not known yet.
pub async fn begin_counting(tx: &mut Tx, computed_traits: &[Id<ComputedTraitKind>], offset: u64) -> Result<(), StorageError> {
    for id in computed_traits {
        let sql = "UPDATE definitions SET counted_from = $2 WHERE id = $1 AND counted_from IS NULL";
        tx.exec(sql, &[(&id.to_string()).into(), offset.cast_signed().into()]).await?;
    }
    Ok(())
}

/// Notes that whatever counted all events from some offset on has counted those from this one on, too.
pub async fn count_from(tx: &mut Tx, offset: u64) -> Result<(), StorageError> {
    tx.exec("UPDATE definitions SET counted_from = $1 WHERE counted_from > $1", &[offset.cast_signed().into()]).await?;
    Ok(())
}

/// The rules of identity that are in force where profiles are.
pub async fn rules(tx: &mut Tx) -> Result<Rules, StorageError> {
    let settings = rules_at(tx, IN_FORCE).await?.unwrap_or_default();
    Rules::new(settings).map_err(|error| unreadable(&error.to_string()))
}

/// The rules of identity as they were last set, in force or on their way to it.
pub async fn rules_as_set(tx: &mut Tx) -> Result<RuleSettings, StorageError> {
    match rules_at(tx, AS_SET).await? {
        Some(settings) => Ok(settings),
        None => Ok(rules_at(tx, IN_FORCE).await?.unwrap_or_default()),
    }
}

async fn rules_at(tx: &mut Tx, id: i64) -> Result<Option<RuleSettings>, StorageError> {
    tx.row("SELECT settings FROM identity_rules WHERE id = $1", &[id.into()], |row| row.json::<RuleSettings>(0)).await
}

/// Puts these rules in force: the stage that makes profiles does, at their place in the log.
pub async fn put_rules_in_force(tx: &mut Tx, rules: &Rules) -> Result<(), StorageError> {
    put_rules(tx, IN_FORCE, rules).await
}

/// Notes that these rules were set; they are in force when profiles have come to the place in the log.
pub async fn set_rules(tx: &mut Tx, rules: &Rules) -> Result<(), StorageError> {
    put_rules(tx, AS_SET, rules).await
}

async fn put_rules(tx: &mut Tx, id: i64, rules: &Rules) -> Result<(), StorageError> {
    let sql =
        "INSERT INTO identity_rules (id, settings) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET settings = excluded.settings";
    tx.exec(sql, &[id.into(), (&to_json(rules)).into()]).await?;
    Ok(())
}

async fn insert(tx: &mut Tx, id: &str, kind: &str, key: &str, definition: &str, now: Timestamp) -> Result<bool, StorageError> {
    let sql =
        "INSERT INTO definitions (id, kind, key, definition, created_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (key) DO NOTHING";
    Ok(tx.exec(sql, &[id.into(), kind.into(), key.into(), definition.into(), now.0.into()]).await? == 1)
}
