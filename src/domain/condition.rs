//! Conditions on JSON values: which events a computed trait counts, and who belongs to an audience.
//!
//! What is missing or of another type fulfils no comparison; only `is_set: false` and `not` hold without a value.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// More comparisons than this in one condition are refused.
pub const COMPARISONS_MAX: usize = 100;
/// Conditions inside conditions go this deep at most.
pub const DEPTH_MAX: usize = 8;
const KEY_CHARS_MAX: usize = 200;

/// `{"all": [{"key": "plan", "equals": "pro"}, {"not": {"key": "orders", "at_least": 3}}]}`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// Holds also if there is none.
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    #[serde(untagged)]
    Of(Comparison),
}

/// One value, compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Where the value is: `plan`, or `address.city` for a member of a member.
    pub key: String,
    #[serde(flatten)]
    pub is: Operator,
}

/// How a value is compared. Numbers compare as numbers, texts with respect to case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    IsSet(bool),
    Equals(Value),
    /// The value is there, and is another.
    Differs(Value),
    OneOf(Vec<Value>),
    AtLeast(f64),
    AtMost(f64),
    MoreThan(f64),
    LessThan(f64),
    /// A text that has this part, or a list that has this element.
    Contains(Value),
    StartsWith(String),
    EndsWith(String),
}

/// Why a condition is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    #[error("a condition has at most {COMPARISONS_MAX} comparisons")]
    TooMany,
    #[error("conditions are nested at most {DEPTH_MAX} deep")]
    TooDeep,
    #[error("a key is a name, or names joined by dots, of at most {KEY_CHARS_MAX} characters")]
    Key,
}

impl Condition {
    /// Whether it holds for what `lookup` finds at each key.
    pub fn holds<'v>(&self, lookup: &impl Fn(&str) -> Option<Cow<'v, Value>>) -> bool {
        match self {
            Condition::All(all) => all.iter().all(|condition| condition.holds(lookup)),
            Condition::Any(any) => any.iter().any(|condition| condition.holds(lookup)),
            Condition::Not(condition) => !condition.holds(lookup),
            Condition::Of(comparison) => comparison.is.holds(lookup(&comparison.key).as_deref()),
        }
    }

    /// Every key that the condition looks at.
    pub fn keys(&self) -> Vec<&str> {
        match self {
            Condition::All(inner) | Condition::Any(inner) => inner.iter().flat_map(Condition::keys).collect(),
            Condition::Not(inner) => inner.keys(),
            Condition::Of(comparison) => vec![&comparison.key],
        }
    }

    /// Whether it keeps within the limits.
    pub fn check(&self) -> Result<(), ConditionError> {
        if self.depth() > DEPTH_MAX {
            return Err(ConditionError::TooDeep);
        }
        let keys = self.keys();
        if keys.len() > COMPARISONS_MAX {
            return Err(ConditionError::TooMany);
        }
        if keys.iter().any(|key| !is_key(key)) {
            return Err(ConditionError::Key);
        }
        Ok(())
    }

    fn depth(&self) -> usize {
        match self {
            Condition::All(inner) | Condition::Any(inner) => 1 + inner.iter().map(Condition::depth).max().unwrap_or(0),
            Condition::Not(inner) => 1 + inner.depth(),
            Condition::Of(_) => 1,
        }
    }
}

impl Operator {
    fn holds(&self, value: Option<&Value>) -> bool {
        let value = value.filter(|value| !value.is_null());
        if let Operator::IsSet(wanted) = self {
            return value.is_some() == *wanted;
        }
        let Some(value) = value else { return false };
        let number = |holds: fn(f64, f64) -> bool, bound: &f64| value.as_f64().is_some_and(|number| holds(number, *bound));
        let text = |holds: fn(&str, &str) -> bool, part: &str| value.as_str().is_some_and(|text| holds(text, part));
        match self {
            Operator::IsSet(_) => true,
            Operator::Equals(wanted) => is_equal(value, wanted),
            Operator::Differs(unwanted) => !is_equal(value, unwanted),
            Operator::OneOf(wanted) => wanted.iter().any(|wanted| is_equal(value, wanted)),
            Operator::AtLeast(bound) => number(|number, bound| number >= bound, bound),
            Operator::AtMost(bound) => number(|number, bound| number <= bound, bound),
            Operator::MoreThan(bound) => number(|number, bound| number > bound, bound),
            Operator::LessThan(bound) => number(|number, bound| number < bound, bound),
            Operator::Contains(part) => match (value, part) {
                (Value::Array(elements), part) => elements.iter().any(|element| is_equal(element, part)),
                (Value::String(text), Value::String(part)) => text.contains(part.as_str()),
                _ => false,
            },
            Operator::StartsWith(part) => text(|text, part| text.starts_with(part), part),
            Operator::EndsWith(part) => text(|text, part| text.ends_with(part), part),
        }
    }
}

/// The value at a key such as `address.city`; a member whose own name has the dot comes first.
pub fn at<'v>(object: &'v serde_json::Map<String, Value>, key: &str) -> Option<&'v Value> {
    if let Some(value) = object.get(key) {
        return Some(value);
    }
    let (first, rest) = key.split_once('.')?;
    at(object.get(first)?.as_object()?, rest)
}

/// Whether a key could name something.
pub fn is_key(key: &str) -> bool {
    key.len() <= KEY_CHARS_MAX && key.split('.').all(|part| !part.is_empty())
}

/// `1` and `1.0` are the same number.
fn is_equal(one: &Value, other: &Value) -> bool {
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn holds(condition: Value, of: &Value) -> bool {
        let condition: Condition = serde_json::from_value(condition).expect("a condition");
        condition.check().expect("within the limits");
        condition.holds(&|key| at(of.as_object().expect("an object"), key).map(Cow::Borrowed))
    }

    #[test]
    fn comparisons_hold_as_they_read() {
        let of = json!({"plan": "pro", "orders": 3, "tags": ["a", "b"], "address": {"city": "Oslo"}, "gone": null, "a.b": 1});
        for condition in [
            json!({"key": "plan", "equals": "pro"}),
            json!({"key": "orders", "equals": 3.0}),
            json!({"key": "orders", "at_least": 3}),
            json!({"key": "orders", "less_than": 4}),
            json!({"key": "tags", "contains": "a"}),
            json!({"key": "plan", "contains": "r"}),
            json!({"key": "address.city", "starts_with": "Os"}),
            json!({"key": "a.b", "equals": 1}),
            json!({"key": "gone", "is_set": false}),
            json!({"key": "plan", "one_of": ["free", "pro"]}),
            json!({"not": {"key": "plan", "equals": "free"}}),
            json!({"all": []}),
            json!({"all": [{"key": "plan", "is_set": true}, {"any": [{"key": "orders", "more_than": 9}, {"key": "orders", "at_most": 3}]}]}),
        ] {
            assert!(holds(condition.clone(), &of), "{condition}");
        }
        for condition in [
            json!({"key": "plan", "equals": "Pro"}),
            json!({"key": "plan", "at_least": 1}),
            json!({"key": "missing", "differs": 1}),
            json!({"key": "gone", "differs": 1}),
            json!({"key": "address.zip", "is_set": true}),
            json!({"any": []}),
        ] {
            assert!(!holds(condition.clone(), &of), "{condition}");
        }
    }

    #[test]
    fn limits_are_kept() {
        let one = || Condition::Of(Comparison { key: "a".into(), is: Operator::IsSet(true) });
        let deep = (0..DEPTH_MAX).fold(one(), |inner, _| Condition::Not(Box::new(inner)));
        assert_eq!(deep.check(), Err(ConditionError::TooDeep));
        assert_eq!(Condition::Any(vec![one(); COMPARISONS_MAX + 1]).check(), Err(ConditionError::TooMany));
        let empty = Condition::Of(Comparison { key: "a..b".into(), is: Operator::IsSet(true) });
        assert_eq!(empty.check(), Err(ConditionError::Key));
        assert_eq!(Condition::All(vec![one(); COMPARISONS_MAX]).check(), Ok(()));
    }

    #[test]
    fn an_unknown_comparison_is_refused() {
        assert!(serde_json::from_value::<Condition>(json!({"key": "plan", "is_like": "pro"})).is_err());
        assert!(serde_json::from_value::<Condition>(json!({"key": "plan"})).is_err());
    }
}
