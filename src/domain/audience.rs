//! Audiences: the profiles of which a condition holds, told when one enters or leaves.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize};

use super::{
    condition::{self, Condition, ConditionError},
    id::{AudienceKind, Id},
    profile::{Collection, Definitions, ProfileState},
    time::Timestamp,
};

/// What an operator asks to be told about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Audience {
    pub id: Id<AudienceKind>,
    /// The name under which membership stands among the traits, as `true`.
    pub key: String,
    pub collection: Collection,
    /// On traits, computed ones too.
    pub condition: Condition,
}

/// Why a definition is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AudienceError {
    #[error("key must be a name without dots, of at most 200 characters")]
    Key,
    #[error("condition: {0}")]
    Condition(#[from] ConditionError),
}

/// How a membership changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    Entered,
    Left,
}

impl Audience {
    /// Whether it keeps within the limits.
    pub fn check(&self) -> Result<(), AudienceError> {
        if !condition::is_key(&self.key) || self.key.contains('.') {
            return Err(AudienceError::Key);
        }
        Ok(self.condition.check()?)
    }

    /// Whether the profile belongs to it at `now`.
    pub fn includes(&self, state: &ProfileState, definitions: &Definitions, now: Timestamp) -> bool {
        self.condition.holds(&|key| {
            let (first, rest) = key.split_once('.').map_or((key, None), |(first, rest)| (first, Some(rest)));
            let whole = || state.value(key, definitions, now);
            let member = || condition::at(state.value(first, definitions, now)?.as_object()?, rest?).cloned();
            whole().or_else(member).map(Cow::Owned)
        })
    }
}

/// The audiences that a profile belongs to, and since when. They are of the whole profile, whatever it was put together from.
pub type Memberships = BTreeMap<Id<AudienceKind>, Timestamp>;

/// Brings the memberships up to what holds for the whole profile; says what changed.
pub fn moves(
    memberships: &mut Memberships,
    whole: &ProfileState,
    collection: Collection,
    definitions: &Definitions,
    now: Timestamp,
) -> Vec<(Id<AudienceKind>, Move)> {
    let mut moves = Vec::new();
    for audience in definitions.audiences.iter().filter(|audience| audience.collection == collection) {
        match (memberships.contains_key(&audience.id), audience.includes(whole, definitions, now)) {
            (false, true) => {
                memberships.insert(audience.id, now);
                moves.push((audience.id, Move::Entered));
            }
            (true, false) => {
                memberships.remove(&audience.id);
                moves.push((audience.id, Move::Left));
            }
            _ => {}
        }
    }
    moves
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::domain::{computed_trait::ComputedTrait, id::ComputedTraitKind, profile::Impression};

    const DAY_MS: i64 = 86_400_000;

    fn definitions() -> Definitions {
        let id = Id::<ComputedTraitKind>::new(Timestamp(1), [1; 10]);
        let orders: ComputedTrait =
            serde_json::from_value(json!({"id": id, "key": "orders", "over": {"event": "Order"}, "function": "count", "days": 2}))
                .expect("a computed trait");
        let audience: Audience = serde_json::from_value(json!({
            "id": Id::<AudienceKind>::new(Timestamp(1), [2; 10]),
            "key": "busy",
            "collection": "users",
            "condition": {"all": [{"key": "orders", "at_least": 2}, {"key": "address.city", "equals": "Oslo"}]},
        }))
        .expect("an audience");
        audience.check().expect("within the limits");
        Definitions { computed_traits: vec![orders], audiences: vec![audience], ..Definitions::default() }
    }

    #[test]
    fn who_enters_and_leaves_is_told_once() {
        let definitions = definitions();
        let mut state = ProfileState::default();
        let oslo = json!({"address": {"city": "Oslo"}});
        let nothing = Map::<String, Value>::new();
        let order = |offset, state: &mut ProfileState| {
            let impression = Impression {
                message_id: "m",
                source: "src",
                at: Timestamp(DAY_MS),
                received_at: Timestamp(DAY_MS),
                offset,
                traits: oslo.as_object(),
                event: Some(("Order", &nothing)),
            };
            state.apply(&impression, &definitions);
        };
        let mut memberships = Memberships::new();
        let mut told = |state: &ProfileState, now| -> Vec<Move> {
            moves(&mut memberships, state, Collection::Users, &definitions, Timestamp(now))
                .into_iter()
                .map(|(_, told)| told)
                .collect()
        };
        order(1, &mut state);
        assert_eq!(told(&state, DAY_MS), []);
        order(2, &mut state);
        assert_eq!(told(&state, DAY_MS), [Move::Entered]);
        assert_eq!(told(&state, DAY_MS), []);
        // No event, but the orders leave the window.
        assert_eq!(state.changes_at(&definitions, Timestamp(DAY_MS)), Some(Timestamp(3 * DAY_MS)));
        assert_eq!(told(&state, 3 * DAY_MS - 1), []);
        assert_eq!(told(&state, 3 * DAY_MS), [Move::Left]);
    }
}
