//! Computed traits: what the events of a profile add up to, kept up as they arrive.
//!
//! An aggregate is made of parts, one for each day of its window or a single one for all time. Parts of profiles that have become
//! one are put together only when they are read, so that taking a merge back is exact; a window moves by leaving old days out.

/// What has been added up.
mod aggregate;

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    condition::{self, Condition, ConditionError},
    id::{ComputedTraitKind, Id},
    time::Timestamp,
};
use aggregate::Part;
pub use aggregate::{Aggregate, VALUES_MAX};

/// Characters of a value that lists and frequencies keep.
const VALUE_CHARS_MAX: usize = 200;
/// The longest window, in days.
pub const DAYS_MAX: u16 = 366;
const DAY_MS: i64 = 86_400_000;

/// What an operator asks to be computed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ComputedTrait {
    pub id: Id<ComputedTraitKind>,
    /// The name under which the value stands among the profile's traits.
    pub key: String,
    pub over: Selection,
    #[serde(flatten)]
    pub function: Function,
    /// Only the events of so many days, today included, count; all events ever if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<u16>,
}

/// Which events count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Selection {
    /// The name of a track event, or of a page or screen.
    pub event: String,
    /// On the event's properties.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_if: Option<Condition>,
}

/// What is computed of them. A `property` that is missing, or is not a number where one is needed, leaves the event out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "function", rename_all = "snake_case")]
pub enum Function {
    Count,
    Sum {
        property: String,
    },
    Average {
        property: String,
    },
    Minimum {
        property: String,
    },
    Maximum {
        property: String,
    },
    /// The value of the earliest event.
    First {
        property: String,
    },
    /// The value of the latest event.
    Last {
        property: String,
    },
    /// The value that came most often, and at least twice; of two the first in the alphabet.
    MostFrequent {
        property: String,
    },
    /// All values, in the order of the alphabet.
    UniqueList {
        property: String,
    },
    UniqueCount {
        property: String,
    },
}

/// Why a definition is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ComputedTraitError {
    #[error("key must be a name without dots, of at most 200 characters")]
    Key,
    #[error("over.event must name an event, in at most 200 characters")]
    Event,
    #[error("property must be a name, or names joined by dots, of at most 200 characters")]
    Property,
    #[error("days must be from 1 to {DAYS_MAX}")]
    Days,
    #[error("over.only_if: {0}")]
    Condition(ConditionError),
}

/// One event, as far as computed traits look at it.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'e> {
    pub event: &'e str,
    pub properties: &'e Map<String, Value>,
    pub at: Timestamp,
    /// Where the event stands in the log: it decides between two of the same time.
    pub offset: u64,
}

impl ComputedTrait {
    /// Whether it keeps within the limits.
    pub fn check(&self) -> Result<(), ComputedTraitError> {
        if !condition::is_key(&self.key) || self.key.contains('.') {
            return Err(ComputedTraitError::Key);
        }
        if self.over.event.is_empty() || self.over.event.len() > 200 {
            return Err(ComputedTraitError::Event);
        }
        if self.function.property().is_some_and(|property| !condition::is_key(property)) {
            return Err(ComputedTraitError::Property);
        }
        if self.days.is_some_and(|days| days == 0 || days > DAYS_MAX) {
            return Err(ComputedTraitError::Days);
        }
        self.over.only_if.as_ref().map_or(Ok(()), |condition| condition.check().map_err(ComputedTraitError::Condition))
    }

    /// Adds an event to the aggregate, if it counts; says whether it did.
    pub fn observe(&self, aggregate: &mut Aggregate, observed: &Observed<'_>) -> bool {
        if observed.event != self.over.event {
            return false;
        }
        let lookup = |key: &str| condition::at(observed.properties, key).map(Cow::Borrowed);
        if self.over.only_if.as_ref().is_some_and(|condition| !condition.holds(&lookup)) {
            return false;
        }
        let property = self.function.property().map(|property| condition::at(observed.properties, property));
        let value = match property {
            Some(None | Some(Value::Null)) => return false,
            Some(Some(value)) => Some(value),
            None => None,
        };
        let Some(part) = self.function.part_of(value, observed) else { return false };
        let day = self.days.map_or(0, |_| day_of(observed.at));
        let mut room = aggregate.room();
        aggregate.put(day, part, &self.function, &mut room);
        true
    }

    /// The value of the trait at `now`; none if nothing counts.
    pub fn value(&self, aggregate: &Aggregate, now: Timestamp) -> Option<Value> {
        let mut parts = aggregate.0.range(self.first_day(now)..).map(|(_, part)| part);
        let mut whole = parts.next()?.clone();
        let mut room = VALUES_MAX;
        for part in parts {
            whole.add(part.clone(), &self.function, &mut room);
        }
        whole.value(&self.function)
    }

    /// Forgets the days that can no longer count.
    pub fn forget_old(&self, aggregate: &mut Aggregate, now: Timestamp) {
        aggregate.0 = aggregate.0.split_off(&self.first_day(now));
    }

    /// When the value changes without an event, because a day leaves the window.
    pub fn changes_at(&self, aggregate: &Aggregate, now: Timestamp) -> Option<Timestamp> {
        let days = self.days?;
        let (oldest, _) = aggregate.0.range(self.first_day(now)..).next()?;
        Some(Timestamp((oldest + i64::from(days)) * DAY_MS))
    }

    fn first_day(&self, now: Timestamp) -> i64 {
        self.days.map_or(0, |days| day_of(now) - i64::from(days) + 1)
    }
}

impl Function {
    /// What it computes over; a count needs nothing.
    pub fn property(&self) -> Option<&str> {
        match self {
            Function::Count => None,
            Function::Sum { property }
            | Function::Average { property }
            | Function::Minimum { property }
            | Function::Maximum { property }
            | Function::First { property }
            | Function::Last { property }
            | Function::MostFrequent { property }
            | Function::UniqueList { property }
            | Function::UniqueCount { property } => Some(property),
        }
    }

    /// What one event adds.
    fn part_of(&self, value: Option<&Value>, observed: &Observed<'_>) -> Option<Part> {
        match (self, value) {
            (Function::Count, _) => Some(Part::Count(1)),
            (_, None) => None,
            (Function::Sum { .. } | Function::Average { .. }, Some(value)) => Some(Part::Sum(value.as_f64()?, 1)),
            (Function::Minimum { .. } | Function::Maximum { .. }, Some(value)) => Some(Part::Extreme(value.as_f64()?)),
            (Function::First { .. } | Function::Last { .. }, Some(value)) => {
                Some(Part::Edge(observed.at, observed.offset, shortened(value)))
            }
            (Function::MostFrequent { .. } | Function::UniqueList { .. } | Function::UniqueCount { .. }, Some(value)) => {
                Some(Part::Frequencies(BTreeMap::from([(text_of(value)?, 1)])))
            }
        }
    }
}

fn day_of(at: Timestamp) -> i64 {
    at.0.div_euclid(DAY_MS)
}

/// How a value stands in a list: texts as they are, everything else as JSON.
fn text_of(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    (text.chars().count() <= VALUE_CHARS_MAX).then_some(text)
}

/// A first or last value is kept whole unless it is a long text.
fn shortened(value: &Value) -> Value {
    match value {
        Value::String(text) => text.chars().take(VALUE_CHARS_MAX).collect::<String>().into(),
        Value::Array(_) | Value::Object(_) => Value::Null,
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{aggregate::VALUES_OF_DAYS_MAX, *};

    const DAY: i64 = DAY_MS;

    fn definition(function: Value, days: Option<u16>) -> ComputedTrait {
        let mut text = json!({"id": Id::<ComputedTraitKind>::new(Timestamp(1), [1; 10]).to_string(), "key": "k",
            "over": {"event": "Order"}, "days": days});
        text.as_object_mut().expect("an object").extend(function.as_object().expect("an object").clone());
        let definition: ComputedTrait = serde_json::from_value(text).expect("a definition");
        definition.check().expect("within the limits");
        definition
    }

    /// Adds (day, amount, item) in this order.
    fn aggregate(definition: &ComputedTrait, orders: &[(i64, Value)]) -> Aggregate {
        let mut aggregate = Aggregate::default();
        for (offset, (day, properties)) in (0..).zip(orders) {
            let properties = properties.as_object().expect("an object");
            definition.observe(&mut aggregate, &Observed { event: "Order", properties, at: Timestamp(day * DAY), offset });
        }
        aggregate
    }

    #[test]
    fn every_function_computes_what_its_name_says() {
        let orders = [
            (1, json!({"total": 10, "item": "tea"})),
            (3, json!({"total": 2.5, "item": "cup"})),
            (2, json!({"total": 4, "item": "tea"})),
            (3, json!({"item": "cup"})),
            (1, json!({"total": "7"})),
        ];
        for (function, expected) in [
            (json!({"function": "count"}), json!(5)),
            (json!({"function": "sum", "property": "total"}), json!(16.5)),
            (json!({"function": "average", "property": "total"}), json!(5.5)),
            (json!({"function": "minimum", "property": "total"}), json!(2.5)),
            (json!({"function": "maximum", "property": "total"}), json!(10)),
            (json!({"function": "first", "property": "item"}), json!("tea")),
            (json!({"function": "last", "property": "item"}), json!("cup")),
            (json!({"function": "most_frequent", "property": "item"}), json!("cup")),
            (json!({"function": "unique_list", "property": "item"}), json!(["cup", "tea"])),
            (json!({"function": "unique_count", "property": "item"}), json!(2)),
        ] {
            let definition = definition(function.clone(), None);
            assert_eq!(definition.value(&aggregate(&definition, &orders), Timestamp(9 * DAY)), Some(expected), "{function}");
        }
    }

    #[test]
    fn nothing_counted_is_no_value() {
        let most_frequent = definition(json!({"function": "most_frequent", "property": "item"}), None);
        assert_eq!(most_frequent.value(&aggregate(&most_frequent, &[(1, json!({"item": "tea"}))]), Timestamp(DAY)), None);
        let sum = definition(json!({"function": "sum", "property": "total"}), None);
        assert_eq!(sum.value(&aggregate(&sum, &[(1, json!({"total": null})), (1, json!({}))]), Timestamp(DAY)), None);
    }

    #[test]
    fn a_window_moves_with_the_days() {
        let count = definition(json!({"function": "count"}), Some(2));
        let mut counted = aggregate(&count, &[(1, json!({})), (2, json!({})), (2, json!({}))]);
        assert_eq!(count.value(&counted, Timestamp(2 * DAY + 5)), Some(json!(3)));
        assert_eq!(count.changes_at(&counted, Timestamp(2 * DAY + 5)), Some(Timestamp(3 * DAY)));
        assert_eq!(count.value(&counted, Timestamp(3 * DAY)), Some(json!(2)));
        assert_eq!(count.changes_at(&counted, Timestamp(3 * DAY)), Some(Timestamp(4 * DAY)));
        count.forget_old(&mut counted, Timestamp(4 * DAY));
        assert_eq!(counted, Aggregate::default());
        assert_eq!(count.changes_at(&counted, Timestamp(4 * DAY)), None);
    }

    #[test]
    fn parts_of_two_profiles_add_up_to_the_whole() {
        let orders: Vec<_> = (0..60).map(|n| (n % 7, json!({"total": n * 3 % 11, "item": format!("i{}", n * 5 % 9)}))).collect();
        for function in ["count", "sum", "average", "minimum", "maximum", "most_frequent", "unique_list", "unique_count"] {
            let definition = definition(
                json!({"function": function, "property": if function == "most_frequent" { "item" } else { "total" }}),
                Some(5),
            );
            let whole = aggregate(&definition, &orders);
            let (left, right) = orders.split_at(23);
            let mut sum = aggregate(&definition, left);
            sum.add(&aggregate(&definition, right), &definition.function);
            assert_eq!(definition.value(&sum, Timestamp(6 * DAY)), definition.value(&whole, Timestamp(6 * DAY)), "{function}");
        }
    }

    #[test]
    fn only_events_that_are_selected_count() {
        let mut count = definition(json!({"function": "count"}), None);
        count.over.only_if = serde_json::from_value(json!({"key": "total", "at_least": 5})).expect("a condition");
        let counted = aggregate(&count, &[(1, json!({"total": 4})), (1, json!({"total": 5})), (1, json!({}))]);
        assert_eq!(count.value(&counted, Timestamp(DAY)), Some(json!(1)));
        let mut other = Aggregate::default();
        let properties = Map::new();
        assert!(!count.observe(&mut other, &Observed { event: "order", properties: &properties, at: Timestamp(0), offset: 0 }));
    }

    #[test]
    fn values_beyond_the_limit_are_not_told_apart() {
        let list = definition(json!({"function": "unique_count", "property": "item"}), None);
        let orders: Vec<_> = (0..VALUES_MAX + 5).map(|n| (1, json!({"item": n}))).collect();
        assert_eq!(list.value(&aggregate(&list, &orders), Timestamp(DAY)), Some(json!(VALUES_MAX)));
    }

    #[test]
    fn many_days_keep_no_more_values_than_there_is_room_for() {
        let count = definition(json!({"function": "unique_count", "property": "item"}), Some(DAYS_MAX));
        let orders: Vec<_> = (0..VALUES_OF_DAYS_MAX + 50).map(|n| ((n % 300) as i64 + 1, json!({"item": n}))).collect();
        let values = |aggregate: &Aggregate| VALUES_OF_DAYS_MAX - aggregate.room();
        let mut one = aggregate(&count, &orders);
        assert_eq!(values(&one), VALUES_OF_DAYS_MAX);
        one.add(&aggregate(&count, &[(301, json!({"item": "new"})), (1, json!({"item": 0}))]), &count.function);
        assert_eq!((values(&one), one.0.len()), (VALUES_OF_DAYS_MAX, 300));
        count.forget_old(&mut one, Timestamp((i64::from(DAYS_MAX) + 1) * DAY));
        assert!(one.room() > 0, "days that pass make room");
    }

    #[test]
    fn a_sum_beyond_all_numbers_stays_what_it_was() {
        let sum = definition(json!({"function": "sum", "property": "total"}), None);
        let huge = aggregate(&sum, &[(1, json!({"total": 1e308})), (1, json!({"total": 1e308})), (1, json!({"total": -1e308}))]);
        assert_eq!(sum.value(&huge, Timestamp(DAY)), Some(json!(0)));
        let lost = serde_json::from_str::<Aggregate>(r#"{"0":{"s":[null,2]},"3":{"s":[4.0,1]}}"#).expect("it is read");
        assert_eq!(lost, serde_json::from_str(r#"{"3":{"s":[4.0,1]}}"#).expect("it is read"), "it begins anew");
    }

    #[test]
    fn an_aggregate_survives_being_stored() {
        let last = definition(json!({"function": "last", "property": "item"}), Some(30));
        let known = aggregate(&last, &[(1, json!({"item": "tea"})), (2, json!({"item": 3}))]);
        let text = serde_json::to_string(&known).expect("it serialises");
        assert_eq!(serde_json::from_str::<Aggregate>(&text).expect("and back"), known);
    }

    #[test]
    fn definitions_beyond_the_limits_are_refused() {
        let good = definition(json!({"function": "sum", "property": "a.b"}), Some(7));
        let with = |change: fn(&mut ComputedTrait)| {
            let mut definition = good.clone();
            change(&mut definition);
            definition.check()
        };
        assert_eq!(with(|d| d.key = "a.b".into()), Err(ComputedTraitError::Key));
        assert_eq!(with(|d| d.over.event.clear()), Err(ComputedTraitError::Event));
        assert_eq!(with(|d| d.function = Function::Sum { property: String::new() }), Err(ComputedTraitError::Property));
        assert_eq!(with(|d| d.days = Some(0)), Err(ComputedTraitError::Days));
        assert_eq!(with(|d| d.days = Some(DAYS_MAX + 1)), Err(ComputedTraitError::Days));
    }
}
