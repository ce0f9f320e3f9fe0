//! Tracking plans: which events a source is to send and what is to be in them, as [JSON Schema](https://json-schema.org/specification).
//!
//! A rule is for one call, and for one name where calls have names (`track` by `event`, `page` and `screen` by `name`); without a
//! name it is for all of its call that have no rule of their own. Its schema describes the whole message, as it is kept:
//! `{"properties": {"properties": {"required": ["total"]}}}` demands `properties.total`.
//!
//! A plan decides about a message and nothing else, and always alike: it fetches nothing, and its patterns take linear time.

#[cfg(test)]
mod tests;
/// What a schema may be, so that judging by it is bounded.
mod schema;

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use jsonschema::{
    ValidationError, Validator,
    error::ValidationErrorKind,
    paths::{Location, LocationSegment},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    call::Call,
    id::{Id, SourceKind, TrackingPlanKind},
    time::Timestamp,
};

pub const RULES_MAX: usize = 500;
/// All rules of a plan as JSON.
pub const RULES_BYTES_MAX: usize = 512 * 1024;
/// Violations that are told of one message; a plan that does not fit at all would multiply what it is to keep in order.
const VIOLATIONS_MAX: usize = 10;
/// Names of properties are in it, and those are the source's.
const DESCRIPTION_CHARS_MAX: usize = 300;
/// How often what is left is judged again after something was taken out.
const OMISSIONS_MAX: usize = 8;
/// The members in which a source describes its own world. Only what is in them can be omitted.
const OPEN_MEMBERS: [&str; 3] = ["properties", "traits", "context"];

/// A tracking plan as storage knows it.
#[derive(Debug, Clone)]
pub struct TrackingPlan {
    pub id: Id<TrackingPlanKind>,
    pub name: String,
    pub rules: Vec<Rule>,
    pub on_violation: OnViolation,
    pub on_unplanned: OnUnplanned,
    /// Whose messages it is for; a source has at most one plan.
    pub sources: Vec<Id<SourceKind>>,
    pub version: u32,
    pub created_at: Timestamp,
    pub changed_at: Timestamp,
}

/// What messages of one kind are to look like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    pub call: Call,
    /// The name of the event, page or screen; if absent, every message of this call that no other rule names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A JSON Schema (draft 6 to 2020-12) of the whole message. `$ref` may point inside this schema only.
    #[schema(value_type = Object)]
    pub schema: Value,
}

/// What becomes of a message that violates its rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnViolation {
    /// It goes on, and the violation is told.
    Allow,
    /// It is kept aside.
    Block,
    /// It goes on without the properties, traits and context that violate; one that this cannot mend is kept aside.
    Omit,
}

/// What becomes of a `track` whose event no rule names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnUnplanned {
    Allow,
    Block,
}

impl OnViolation {
    /// The word in storage and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            OnViolation::Allow => "allow",
            OnViolation::Block => "block",
            OnViolation::Omit => "omit",
        }
    }

    /// What this word means.
    pub fn parse(word: &str) -> Option<OnViolation> {
        [OnViolation::Allow, OnViolation::Block, OnViolation::Omit].into_iter().find(|known| known.as_str() == word)
    }
}

impl OnUnplanned {
    /// The word in storage and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            OnUnplanned::Allow => "allow",
            OnUnplanned::Block => "block",
        }
    }

    /// What this word means.
    pub fn parse(word: &str) -> Option<OnUnplanned> {
        [OnUnplanned::Allow, OnUnplanned::Block].into_iter().find(|known| known.as_str() == word)
    }
}

/// What a plan says about a message.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    pub decision: Decision,
    pub violations: Vec<Violation>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// The message goes on as it is.
    Allowed,
    /// It goes on in this form.
    Mended(Value),
    /// It is kept aside.
    Blocked,
}

/// One way in which a message is not as planned. Tells places and rules, never values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Such as `properties.total`.
    pub field: String,
    pub kind: ViolationKind,
    pub description: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ViolationKind {
    UnplannedEvent,
    UnplannedProperty,
    Required,
    Type,
    Value,
}

impl ViolationKind {
    /// As `violationType` says it.
    pub fn as_str(self) -> &'static str {
        match self {
            ViolationKind::UnplannedEvent => "Unplanned Event",
            ViolationKind::UnplannedProperty => "Unplanned Property",
            ViolationKind::Required => "Required Property Missing",
            ViolationKind::Type => "Invalid Type",
            ViolationKind::Value => "Invalid Value",
        }
    }
}

/// A plan that is ready to judge.
#[derive(Debug)]
pub struct CompiledPlan {
    pub plan: Arc<TrackingPlan>,
    /// By call and name.
    validators: HashMap<(Call, Option<String>), Validator>,
}

impl CompiledPlan {
    /// Prepares a plan, or says in a sentence what is wrong with it.
    pub fn new(plan: Arc<TrackingPlan>) -> Result<CompiledPlan, String> {
        let validators = CompiledPlan::validators(&plan.rules)?;
        Ok(CompiledPlan { plan, validators })
    }

    /// Says in a sentence what is wrong with rules, if a plan that has them could not be prepared.
    pub fn check(rules: &[Rule]) -> Result<(), String> {
        CompiledPlan::validators(rules).map(|_| ())
    }

    fn validators(rules: &[Rule]) -> Result<HashMap<(Call, Option<String>), Validator>, String> {
        if rules.len() > RULES_MAX {
            return Err(format!("A plan has at most {RULES_MAX} rules."));
        }
        let mut validators = HashMap::with_capacity(rules.len());
        for rule in rules {
            let named = rule.name.as_ref().map_or_else(String::new, |name| format!(" '{name}'"));
            let told = format!("{}{named}", rule.call.as_str());
            if rule.name.is_some() && rule.call.name_member().is_none() {
                return Err(format!("The rule for {told}: calls of this kind have no names."));
            }
            let validator = schema::compile(&rule.schema).map_err(|wrong| format!("The rule for {told}: {wrong}."))?;
            if validators.insert((rule.call, rule.name.clone()), validator).is_some() {
                return Err(format!("There is more than one rule for {told}."));
            }
        }
        Ok(validators)
    }

    /// Judges a message.
    pub fn judge(&self, message: &Value) -> Judgement {
        let allowed = Judgement { decision: Decision::Allowed, violations: Vec::new() };
        let Some(call) = message["type"].as_str().and_then(Call::parse) else { return allowed };
        let name = call.name_member().and_then(|member| message[member].as_str());
        let of_its_own = name.and_then(|name| self.validators.get(&(call, Some(name.to_owned()))));
        match of_its_own.or_else(|| self.validators.get(&(call, None))) {
            Some(validator) => self.judge_planned(validator, message),
            None if call == Call::Track => self.judge_unplanned(),
            None => allowed,
        }
    }

    fn judge_unplanned(&self) -> Judgement {
        let description = "No rule of the tracking plan names this event.".to_owned();
        let decision = match self.plan.on_unplanned {
            OnUnplanned::Allow => Decision::Allowed,
            OnUnplanned::Block => Decision::Blocked,
        };
        let violation = Violation { field: "event".to_owned(), kind: ViolationKind::UnplannedEvent, description };
        Judgement { decision, violations: vec![violation] }
    }

    fn judge_planned(&self, validator: &Validator, message: &Value) -> Judgement {
        let violations: Vec<_> = validator.iter_errors(message).flat_map(|error| violations(&error)).take(VIOLATIONS_MAX).collect();
        let decision = match self.plan.on_violation {
            _ if violations.is_empty() => Decision::Allowed,
            OnViolation::Allow => Decision::Allowed,
            OnViolation::Block => Decision::Blocked,
            OnViolation::Omit => omit(validator, message.clone()).map_or(Decision::Blocked, Decision::Mended),
        };
        Judgement { decision, violations }
    }
}

/// The message without what violates; `None` if taking out does not mend it.
fn omit(validator: &Validator, mut message: Value) -> Option<Value> {
    for _ in 0..OMISSIONS_MAX {
        let mut places: Vec<Vec<Step>> = validator.iter_errors(&message).flat_map(|error| offenders(&error)).collect();
        if places.is_empty() {
            return Some(message);
        }
        if places.iter().any(|place| !is_open(place)) {
            return None;
        }
        // From the back, so that what is taken out of a list does not move what is still to be taken out.
        places.sort_unstable();
        places.dedup();
        places.iter().rev().for_each(|place| remove(&mut message, place));
    }
    None
}

/// A step from a value to one inside it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Member(String),
    Element(usize),
}

fn steps(location: &Location) -> Vec<Step> {
    let step = |segment: LocationSegment<'_>| match segment {
        LocationSegment::Property(name) => Step::Member(name.into_owned()),
        LocationSegment::Index(index) => Step::Element(index),
    };
    location.iter().map(step).collect()
}

/// Whether this is inside of what a source describes freely.
fn is_open(place: &[Step]) -> bool {
    matches!(place, [Step::Member(first), _, ..] if OPEN_MEMBERS.contains(&first.as_str()))
}

/// The values that an error is about.
fn offenders(error: &ValidationError<'_>) -> Vec<Vec<Step>> {
    let place = steps(error.instance_path());
    match unexpected(error.kind()) {
        Some(names) => names.iter().map(|name| [place.as_slice(), &[Step::Member(name.clone())]].concat()).collect(),
        None => vec![place],
    }
}

fn unexpected(kind: &ValidationErrorKind) -> Option<&[String]> {
    match kind {
        ValidationErrorKind::AdditionalProperties { unexpected } | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            Some(unexpected)
        }
        _ => None,
    }
}

fn remove(value: &mut Value, place: &[Step]) {
    match (value, place) {
        (Value::Object(members), [Step::Member(name)]) => {
            members.remove(name);
        }
        (Value::Array(elements), [Step::Element(index)]) if *index < elements.len() => {
            elements.remove(*index);
        }
        (Value::Object(members), [Step::Member(name), rest @ ..]) => {
            if let Some(inner) = members.get_mut(name) {
                remove(inner, rest);
            }
        }
        (Value::Array(elements), [Step::Element(index), rest @ ..]) => {
            if let Some(inner) = elements.get_mut(*index) {
                remove(inner, rest);
            }
        }
        // What contained it was taken out already.
        _ => {}
    }
}

fn violations(error: &ValidationError<'_>) -> Vec<Violation> {
    let place = steps(error.instance_path());
    let description: String = error.masked().to_string().chars().take(DESCRIPTION_CHARS_MAX).collect();
    let violation = |place: &[Step], kind| Violation { field: field(place), kind, description: description.clone() };
    let with = |name: &str| [place.as_slice(), &[Step::Member(name.to_owned())]].concat();
    match error.kind() {
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().map_or_else(|| Cow::Owned(property.to_string()), Cow::Borrowed);
            vec![violation(&with(&name), ViolationKind::Required)]
        }
        ValidationErrorKind::Type { .. } => vec![violation(&place, ViolationKind::Type)],
        kind => match unexpected(kind) {
            Some(names) => names.iter().map(|name| violation(&with(name), ViolationKind::UnplannedProperty)).collect(),
            None => vec![violation(&place, ViolationKind::Value)],
        },
    }
}

/// A place in words: `properties.items.0.price`.
fn field(place: &[Step]) -> String {
    let words = place.iter().map(|step| match step {
        Step::Member(name) => name.clone(),
        Step::Element(index) => index.to_string(),
    });
    words.collect::<Vec<_>>().join(".").chars().take(DESCRIPTION_CHARS_MAX).collect()
}
