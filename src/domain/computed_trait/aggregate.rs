//! What events have added up to: parts, one for each day of a window or a single one for all time.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::Function;
use crate::domain::time::Timestamp;

/// Different values that a list or a frequency keeps; more are not told apart any longer.
pub const VALUES_MAX: usize = 1_000;
/// Values that are kept over all days together, one that came on several days once for each; others are left out while those are there.
pub(super) const VALUES_OF_DAYS_MAX: usize = 5_000;

/// What has been added up so far, by day, or all under day 0.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Aggregate(#[serde(deserialize_with = "known_parts")] pub(super) BTreeMap<i64, Part>);

/// What some events add up to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Part {
    #[serde(rename = "n")]
    Count(u64),
    /// The sum, and of how many.
    #[serde(rename = "s")]
    Sum(#[serde(deserialize_with = "known_or_infinite")] f64, u64),
    #[serde(rename = "x")]
    Extreme(f64),
    #[serde(rename = "e")]
    Edge(Timestamp, u64, Value),
    #[serde(rename = "f")]
    Frequencies(BTreeMap<String, u64>),
}

impl Aggregate {
    /// Whether nothing counts.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts the parts of another profile's aggregate to these.
    pub fn add(&mut self, other: &Aggregate, function: &Function) {
        let mut room = self.room();
        for (day, part) in &other.0 {
            self.put(*day, part.clone(), function, &mut room);
        }
    }

    /// How many more values there is room for.
    pub(super) fn room(&self) -> usize {
        let values = self.0.values().map(|part| if let Part::Frequencies(known) = part { known.len() } else { 0 });
        VALUES_OF_DAYS_MAX.saturating_sub(values.sum())
    }

    /// Adds to a day. Of values that are new as many as there is room for.
    pub(super) fn put(&mut self, day: i64, part: Part, function: &Function, room: &mut usize) {
        match (self.0.get_mut(&day), part) {
            (Some(known), part) => known.add(part, function, room),
            (None, part @ Part::Frequencies(_)) if *room > 0 => {
                let mut new = Part::Frequencies(BTreeMap::new());
                new.add(part, function, room);
                self.0.insert(day, new);
            }
            (None, Part::Frequencies(_)) => {}
            (None, part) => {
                self.0.insert(day, part);
            }
        }
    }
}

impl Part {
    /// Of values that are new as many are added as there is room for.
    pub(super) fn add(&mut self, other: Part, function: &Function, room: &mut usize) {
        match (self, other) {
            (Part::Count(count), Part::Count(more)) => *count += more,
            // A sum beyond all numbers could be written, but not read again: it stays what it was.
            (Part::Sum(sum, count), Part::Sum(more, more_count)) if (*sum + more).is_finite() => {
                *sum += more;
                *count += more_count;
            }
            (Part::Extreme(extreme), Part::Extreme(other)) => {
                *extreme = if matches!(function, Function::Minimum { .. }) { extreme.min(other) } else { extreme.max(other) };
            }
            (Part::Edge(at, offset, value), Part::Edge(other_at, other_offset, other)) => {
                let is_later = (other_at, other_offset) > (*at, *offset);
                if is_later != matches!(function, Function::First { .. }) {
                    (*at, *offset, *value) = (other_at, other_offset, other);
                }
            }
            (Part::Frequencies(known), Part::Frequencies(more)) => {
                for (value, count) in more {
                    if let Some(known) = known.get_mut(&value) {
                        *known += count;
                    } else if known.len() < VALUES_MAX && *room > 0 {
                        known.insert(value, count);
                        *room -= 1;
                    }
                }
            }
            // Parts of one definition are of one kind: its function never changes.
            (_, _) => {}
        }
    }

    pub(super) fn value(self, function: &Function) -> Option<Value> {
        match (self, function) {
            (Part::Count(count), _) => Some(count.into()),
            (Part::Sum(sum, count), Function::Average { .. }) => Some(number(sum / count as f64)),
            (Part::Sum(sum, _), _) => Some(number(sum)),
            (Part::Extreme(extreme), _) => Some(number(extreme)),
            (Part::Edge(_, _, value), _) => Some(value),
            (Part::Frequencies(known), Function::UniqueCount { .. }) => Some(known.len().into()),
            (Part::Frequencies(known), Function::UniqueList { .. }) => Some(known.into_keys().collect()),
            (Part::Frequencies(known), _) => {
                let most = known.into_iter().rev().max_by_key(|(_, count)| *count)?;
                (most.1 >= 2).then(|| most.0.into())
            }
        }
    }
}

/// What was written of a sum that had become infinite; an earlier version let it.
fn known_or_infinite<'de, D: Deserializer<'de>>(stored: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(stored)?.unwrap_or(f64::INFINITY))
}

/// A sum that had become infinite begins anew.
fn known_parts<'de, D: Deserializer<'de>>(stored: D) -> Result<BTreeMap<i64, Part>, D::Error> {
    let mut parts: BTreeMap<i64, Part> = BTreeMap::deserialize(stored)?;
    parts.retain(|_, part| !matches!(part, Part::Sum(sum, _) if sum.is_infinite()));
    Ok(parts)
}

/// A whole number is written as one.
fn number(value: f64) -> Value {
    let whole = value as i64;
    if whole as f64 == value { whole.into() } else { value.into() }
}
