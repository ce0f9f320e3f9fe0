//! Predicted traits: what an operator's own model, behind HTTP, says of a profile when it is asked.
//!
//! The model is sent `{"trait", "collection", "profiles": [{"profile_id", "traits"}]}` and answers
//! `{"predictions": [{"profile_id", "value", "confidence"}]}`, with a confidence from 0 to 1. What it does not say leaves the trait as it
//! is; a value of `null` takes it away.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::Url;

use super::{
    condition,
    id::{Id, PredictedTraitKind, ProfileKind},
    profile::{Collection, TRAIT_BYTES_MAX},
};

/// The longest that a profile may wait after a change for its next prediction: 30 days.
const INTERVAL_S_MAX: u32 = 30 * 86_400;
const DEADLINES_MS: std::ops::RangeInclusive<u32> = 100..=30_000;
const BATCH_MAX: u16 = 100;
/// Traits that are named to be sent.
const INPUTS_MAX: usize = 100;

/// What an operator asks to be predicted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PredictedTrait {
    pub id: Id<PredictedTraitKind>,
    /// The name under which the value stands among the profile's traits.
    pub key: String,
    pub collection: Collection,
    /// Where the model is asked, with `POST`.
    pub url: Url,
    /// The traits that it is told; all if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Vec<String>>,
    /// A profile that keeps changing is asked about only so often.
    #[serde(default = "interval_s")]
    pub interval_s: u32,
    /// Profiles that are asked about in one request.
    #[serde(default = "batch_max")]
    pub batch_max: u16,
    /// For the whole exchange.
    #[serde(default = "deadline_ms")]
    pub deadline_ms: u32,
    /// What the model knows us by, sealed under the installation's master key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed_token: Option<String>,
}

fn interval_s() -> u32 {
    3_600
}

fn batch_max() -> u16 {
    50
}

fn deadline_ms() -> u32 {
    5_000
}

/// Why a definition is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PredictedTraitError {
    #[error("key must be a name without dots, of at most 200 characters")]
    Key,
    #[error("inputs must be 1 to {INPUTS_MAX} names of traits, none of them the key itself")]
    Inputs,
    #[error("interval_s must be from 1 to {INTERVAL_S_MAX}")]
    Interval,
    #[error("batch_max must be from 1 to {BATCH_MAX}")]
    Batch,
    #[error("deadline_ms must be from 100 to 30000")]
    Deadline,
}

/// How sure a model is, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Confidence(u32);

impl Confidence {
    /// From 0 to 1; `None` for what is outside.
    pub fn new(share: f64) -> Option<Confidence> {
        (0.0..=1.0).contains(&share).then(|| Confidence((share * 1e6).round() as u32))
    }

    /// From 0 to 1.
    pub fn share(self) -> f64 {
        f64::from(self.0) / 1e6
    }
}

/// What a model says of one profile.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    pub profile: Id<ProfileKind>,
    pub value: Value,
    pub confidence: Confidence,
}

impl PredictedTrait {
    /// Whether it keeps within the limits.
    pub fn check(&self) -> Result<(), PredictedTraitError> {
        if !condition::is_key(&self.key) || self.key.contains('.') {
            return Err(PredictedTraitError::Key);
        }
        let is_input = |name: &String| !name.is_empty() && name.len() <= 200 && *name != self.key;
        if self.inputs.as_ref().is_some_and(|inputs| !(1..=INPUTS_MAX).contains(&inputs.len()) || !inputs.iter().all(is_input)) {
            return Err(PredictedTraitError::Inputs);
        }
        if !(1..=INTERVAL_S_MAX).contains(&self.interval_s) {
            return Err(PredictedTraitError::Interval);
        }
        if !(1..=BATCH_MAX).contains(&self.batch_max) {
            return Err(PredictedTraitError::Batch);
        }
        if DEADLINES_MS.contains(&self.deadline_ms) { Ok(()) } else { Err(PredictedTraitError::Deadline) }
    }

    /// Whether the model is told this trait. What it said before is not its own input.
    pub fn takes(&self, name: &str) -> bool {
        name != self.key && self.inputs.as_ref().is_none_or(|inputs| inputs.iter().any(|input| input == name))
    }

    /// What the model is sent.
    pub fn question(&self, profiles: &[(Id<ProfileKind>, Map<String, Value>)]) -> Value {
        let asked = profiles.iter().map(|(profile, traits)| serde_json::json!({"profile_id": profile, "traits": traits}));
        serde_json::json!({"trait": self.key, "collection": self.collection, "profiles": asked.collect::<Vec<_>>()})
    }
}

/// What the model answered of the profiles that it was asked about: of each the first prediction that makes sense.
///
/// # Errors
/// It is no answer at all.
pub fn predictions(answer: &[u8], asked: &[Id<ProfileKind>]) -> Result<Vec<Prediction>, String> {
    #[derive(Deserialize)]
    struct Answer {
        predictions: Vec<Said>,
    }
    #[derive(Deserialize)]
    struct Said {
        profile_id: String,
        #[serde(default)]
        value: Option<Value>,
        confidence: f64,
    }
    let answer: Answer = serde_json::from_slice(answer).map_err(|_| "its answer is not of the form of predictions".to_owned())?;
    let mut waiting: HashSet<Id<ProfileKind>> = asked.iter().copied().collect();
    let sensible = answer.predictions.into_iter().filter_map(|said| {
        let profile: Id<ProfileKind> = said.profile_id.parse().ok().filter(|profile| waiting.contains(profile))?;
        let value = said.value.unwrap_or_default();
        let confidence = Confidence::new(said.confidence).filter(|_| value.to_string().len() <= TRAIT_BYTES_MAX)?;
        waiting.remove(&profile);
        Some(Prediction { profile, value, confidence })
    });
    Ok(sensible.collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn definition(changes: Value) -> PredictedTrait {
        let mut text = json!({"id": Id::<PredictedTraitKind>::from_bytes([1; 16]), "key": "churn", "collection": "users",
            "url": "https://model.example/churn"});
        text.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
        serde_json::from_value(text).expect("it is a definition")
    }

    #[test]
    fn a_definition_keeps_within_its_limits() {
        for (changes, expected) in [
            (json!({}), Ok(())),
            (json!({"inputs": ["plan", "a.b"]}), Ok(())),
            (json!({"key": "a.b"}), Err(PredictedTraitError::Key)),
            (json!({"inputs": []}), Err(PredictedTraitError::Inputs)),
            (json!({"inputs": ["churn"]}), Err(PredictedTraitError::Inputs)),
            (json!({"interval_s": 0}), Err(PredictedTraitError::Interval)),
            (json!({"batch_max": 101}), Err(PredictedTraitError::Batch)),
            (json!({"deadline_ms": 99}), Err(PredictedTraitError::Deadline)),
        ] {
            assert_eq!(definition(changes.clone()).check(), expected, "{changes}");
        }
    }

    #[test]
    fn a_model_is_told_what_was_named_and_never_what_it_said() {
        let (all, some) = (definition(json!({})), definition(json!({"inputs": ["plan"]})));
        assert_eq!(["plan", "city", "churn"].map(|name| all.takes(name)), [true, true, false]);
        assert_eq!(["plan", "city", "churn"].map(|name| some.takes(name)), [true, false, false]);
    }

    #[test]
    fn of_an_answer_only_what_makes_sense_is_believed() {
        let [one, two, other] = [1, 2, 3].map(|byte| Id::<ProfileKind>::from_bytes([byte; 16]));
        let answer = json!({"predictions": [
            {"profile_id": one, "value": 0.25, "confidence": 1.5},
            {"profile_id": one, "value": 0.5, "confidence": 0.9},
            {"profile_id": one, "value": 0.75, "confidence": 0.9},
            {"profile_id": other, "value": 1, "confidence": 1},
            {"profile_id": two, "value": "x".repeat(TRAIT_BYTES_MAX), "confidence": 1},
            {"profile_id": "nobody", "value": 1, "confidence": 1},
        ]});
        let confidence = Confidence::new(0.9).expect("it is a share");
        let believed = predictions(answer.to_string().as_bytes(), &[one, two]);
        assert_eq!(believed, Ok(vec![Prediction { profile: one, value: json!(0.5), confidence }]));
        for text in ["", "[]", "{\"predictions\": 1}", "{\"predictions\": [{\"value\": 1}]}"] {
            assert!(predictions(text.as_bytes(), &[one]).is_err(), "{text}");
        }
        assert_eq!((confidence.share(), Confidence::new(-0.1), Confidence::new(f64::NAN)), (0.9, None, None));
    }
}
