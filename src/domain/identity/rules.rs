//! The rules of identity that an operator sets: what names nobody, how many ids of a type one profile may have, and which ids count more.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use regex::{RegexSet, RegexSetBuilder};
use serde::{Deserialize, Serialize};

use super::external_id::{ExternalId, ExternalIdType};
use crate::domain::time::Timestamp;

/// Merges that one profile has at most; an event that would need more finds its profile, and changes nothing.
pub const MERGES_MAX: usize = 100;
/// External ids that one profile has at most; beyond them likewise.
pub const MAPPINGS_MAX: usize = 1_000;
const BLOCKED_MAX: usize = 1_000;
const PATTERN_BYTES_MAX: usize = 500;
/// Compiled patterns larger than this are refused: `(\w{1000}){1000}` is short to write.
const PATTERNS_COMPILED_BYTES_MAX: usize = 4 << 20;
const DAY: Duration = Duration::from_secs(86_400);

/// The rules as an operator writes them. What is left out is as in the default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RuleSettings {
    /// Values that name nobody, whatever their type; capital and small letters are one.
    pub blocked_values: Vec<String>,
    /// Regular expressions for values that name nobody, whatever their type.
    pub blocked_patterns: Vec<String>,
    /// How many values of a type one profile may have.
    pub limits: BTreeMap<ExternalIdType, Limit>,
    /// The limit of each type that `limits` does not name.
    pub other_limit: Limit,
    /// Types in order, the most telling first. Types that are not named follow in alphabetical order.
    pub priority: Vec<ExternalIdType>,
    /// The organisation's own types that are read from traits and properties, where they stand as `crm_id` or as `crmId`.
    pub promoted: Vec<ExternalIdType>,
}

/// How many values of one type a profile may get within a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    pub values_max: u32,
    pub window: Window,
}

/// How far back a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// 7 days.
    Weekly,
    /// 30 days.
    Monthly,
    /// 365 days.
    Annually,
    Ever,
}

impl Window {
    /// What was mapped after this moment counts at `at`. What a clock that went wrong has put into the future counts too.
    pub fn start(self, at: Timestamp) -> Timestamp {
        match self {
            Window::Weekly => at.minus(7 * DAY),
            Window::Monthly => at.minus(30 * DAY),
            Window::Annually => at.minus(365 * DAY),
            Window::Ever => Timestamp(i64::MIN),
        }
    }
}

impl Default for RuleSettings {
    fn default() -> RuleSettings {
        let one = Limit { values_max: 1, window: Window::Ever };
        // An agent runs in many places, and changes its keys now and then.
        let of_agents = [
            (ExternalIdType::AGENT_ID, Limit { values_max: 100, window: Window::Monthly }),
            (ExternalIdType::JKT, Limit { values_max: 12, window: Window::Annually }),
        ];
        RuleSettings {
            blocked_values: ["-1", "null", "anonymous"].map(str::to_owned).to_vec(),
            blocked_patterns: vec!["^[0-]*$".to_owned()],
            limits: [ExternalIdType::USER_ID, ExternalIdType::CLIENT_ID, ExternalIdType::GROUP_ID]
                .map(|name| (name, one))
                .into_iter()
                .chain(of_agents)
                .collect(),
            other_limit: Limit { values_max: 5, window: Window::Ever },
            priority: vec![ExternalIdType::USER_ID, ExternalIdType::CLIENT_ID, ExternalIdType::GROUP_ID, ExternalIdType::EMAIL],
            promoted: Vec::new(),
        }
    }
}

/// Settings that cannot be rules. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RulesError {
    #[error("the blocked pattern {pattern:?} cannot be used: {reason}")]
    Pattern { pattern: String, reason: String },
    #[error("the blocked pattern {pattern:?} would block every value")]
    BlocksEverything { pattern: String },
    #[error("there are more than {BLOCKED_MAX} blocked values and patterns")]
    TooManyBlocked,
    #[error("the limit of {id_type} is {values_max}; it is from 1 to {MAPPINGS_MAX}")]
    Limit { id_type: String, values_max: u32 },
    #[error("{id_type} is named twice in {list}")]
    Twice { id_type: ExternalIdType, list: &'static str },
    #[error("{id_type} is built in, and cannot be promoted from traits")]
    BuiltIn { id_type: ExternalIdType },
}

/// Rules that were checked, ready to be applied.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "RuleSettings", into = "RuleSettings")]
pub struct Rules {
    settings: RuleSettings,
    blocked_values: HashSet<String>,
    blocked_patterns: RegexSet,
    promoted_keys: Vec<(String, ExternalIdType)>,
}

impl Rules {
    /// Checks the settings.
    pub fn new(settings: RuleSettings) -> Result<Rules, RulesError> {
        check_limits(&settings)?;
        check_lists(&settings)?;
        let blocked_patterns = compiled(&settings)?;
        let blocked_values = settings.blocked_values.iter().map(|value| value.trim().to_lowercase()).collect();
        let keys = |id_type: &ExternalIdType| {
            [id_type.as_str().to_owned(), camel_case(id_type.as_str())].map(|key| (key, id_type.clone()))
        };
        let mut promoted_keys: Vec<_> = settings.promoted.iter().flat_map(keys).collect();
        promoted_keys.dedup();
        Ok(Rules { settings, blocked_values, blocked_patterns, promoted_keys })
    }

    pub fn settings(&self) -> &RuleSettings {
        &self.settings
    }

    /// Whether the value names nobody.
    pub fn blocks(&self, id: &ExternalId) -> bool {
        let value = id.value();
        self.blocked_values.contains(value)
            || value.bytes().any(|byte| byte.is_ascii_uppercase() || !byte.is_ascii())
                && self.blocked_values.contains(&value.to_lowercase())
            || self.blocked_patterns.is_match(value)
    }

    /// How many ids of the type a profile may have.
    pub fn limit(&self, id_type: &ExternalIdType) -> Limit {
        self.settings.limits.get(id_type).copied().unwrap_or(self.settings.other_limit)
    }

    /// The more telling id first: by the type's priority, then by value so that the order never depends on how an event is written.
    pub fn order(&self, one: &ExternalId, other: &ExternalId) -> Ordering {
        self.order_of_types(one.id_type(), other.id_type()).then_with(|| one.value().cmp(other.value()))
    }

    /// The more telling type first. A type that is new finds its place among the others by its name.
    pub fn order_of_types(&self, one: &ExternalIdType, other: &ExternalIdType) -> Ordering {
        let place = |id_type| self.settings.priority.iter().position(|named| named == id_type).unwrap_or(usize::MAX);
        place(one).cmp(&place(other)).then_with(|| one.cmp(other))
    }

    /// The keys of traits and properties that hold ids of the organisation's own types.
    pub fn promoted_keys(&self) -> &[(String, ExternalIdType)] {
        &self.promoted_keys
    }
}

impl Default for Rules {
    fn default() -> Rules {
        Rules::new(RuleSettings::default()).expect("the default settings are tested")
    }
}
impl TryFrom<RuleSettings> for Rules {
    type Error = RulesError;

    fn try_from(settings: RuleSettings) -> Result<Rules, RulesError> {
        Rules::new(settings)
    }
}
impl From<Rules> for RuleSettings {
    fn from(rules: Rules) -> RuleSettings {
        rules.settings
    }
}

fn check_limits(settings: &RuleSettings) -> Result<(), RulesError> {
    let named = settings.limits.iter().map(|(id_type, limit)| (id_type.as_str(), limit));
    let mut all = named.chain([("the other types", &settings.other_limit)]);
    let wrong = all.find(|(_, limit)| !(1..=MAPPINGS_MAX as u32).contains(&limit.values_max));
    wrong.map_or(Ok(()), |(id_type, limit)| Err(RulesError::Limit { id_type: id_type.to_owned(), values_max: limit.values_max }))
}

fn check_lists(settings: &RuleSettings) -> Result<(), RulesError> {
    for (list, types) in [("priority", &settings.priority), ("promoted", &settings.promoted)] {
        let mut seen = HashSet::new();
        if let Some(id_type) = types.iter().find(|id_type| !seen.insert(*id_type)) {
            return Err(RulesError::Twice { id_type: id_type.clone(), list });
        }
    }
    // The built-in ones have a place of their own in the event.
    let wrong = settings.promoted.iter().find(|id_type| id_type.is_built_in());
    wrong.map_or(Ok(()), |id_type| Err(RulesError::BuiltIn { id_type: id_type.clone() }))
}

fn compiled(settings: &RuleSettings) -> Result<RegexSet, RulesError> {
    if settings.blocked_values.len() + settings.blocked_patterns.len() > BLOCKED_MAX {
        return Err(RulesError::TooManyBlocked);
    }
    let build = |patterns: &[String]| RegexSetBuilder::new(patterns).size_limit(PATTERNS_COMPILED_BYTES_MAX).build();
    for pattern in &settings.blocked_patterns {
        let refused = |reason: String| RulesError::Pattern { pattern: pattern.clone(), reason };
        if pattern.len() > PATTERN_BYTES_MAX {
            return Err(refused(format!("it is longer than {PATTERN_BYTES_MAX} bytes")));
        }
        let alone = build(std::slice::from_ref(pattern)).map_err(|error| refused(in_a_line(&error)))?;
        // Of such a pattern somebody would hear only from the profiles that are missing.
        if ["jane@example.com", "97980cfea0067", "Zürich 8"].iter().all(|value| alone.is_match(value)) {
            return Err(RulesError::BlocksEverything { pattern: pattern.clone() });
        }
    }
    let all = || settings.blocked_patterns.join(" ");
    build(&settings.blocked_patterns).map_err(|error| RulesError::Pattern { pattern: all(), reason: in_a_line(&error) })
}

/// What is wrong with a pattern, without the drawing that points at it.
fn in_a_line(error: &regex::Error) -> String {
    let told = error.to_string();
    let last = told.lines().last().unwrap_or_default();
    last.trim_start_matches("error: ").to_owned()
}

/// `crm_id` as JavaScript writes it: `crmId`.
fn camel_case(snake_case: &str) -> String {
    let mut words = snake_case.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let (initial, rest) = word.split_at(word.len().min(1));
        name + &initial.to_ascii_uppercase() + rest
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::profile::Collection;

    fn settings(json: &str) -> Result<Rules, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    fn id(text: &str) -> ExternalId {
        ExternalId::parse(Collection::Users, text).expect("the test writes ids")
    }

    #[test]
    fn a_pattern_that_is_none_is_told_in_a_line() {
        let settings = RuleSettings { blocked_patterns: vec!["(".to_owned()], ..RuleSettings::default() };
        let told = Rules::new(settings).expect_err("it is no pattern").to_string();
        assert_eq!(told, "the blocked pattern \"(\" cannot be used: unclosed group");
    }

    #[test]
    fn what_is_left_out_is_as_in_the_default() {
        let rules =
            settings(r#"{"limits": {"email": {"values_max": 2, "window": "monthly"}}, "promoted": ["crm_id"]}"#).expect("valid");
        assert_eq!(rules.limit(&ExternalIdType::EMAIL), Limit { values_max: 2, window: Window::Monthly });
        assert_eq!(rules.limit(&ExternalIdType::PHONE), Limit { values_max: 5, window: Window::Ever });
        let keys: Vec<_> = rules.promoted_keys().iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["crm_id", "crmId"]);
        let again = serde_json::to_string(&rules).expect("settings serialise");
        assert_eq!(settings(&again).expect("valid").settings(), rules.settings());
    }

    #[test]
    fn settings_that_cannot_be_rules_are_refused_in_words() {
        for (json, expected) in [
            (r#"{"blocked_patterns": ["^(0"]}"#, "\"^(0\" cannot be used"),
            (r#"{"blocked_patterns": ["(\\w{1000}){1000}"]}"#, "cannot be used"),
            (r#"{"blocked_patterns": [".*"]}"#, "would block every value"),
            (r#"{"limits": {"email": {"values_max": 0, "window": "ever"}}}"#, "the limit of email is 0"),
            (r#"{"other_limit": {"values_max": 1001, "window": "ever"}}"#, "the limit of the other types is 1001"),
            (r#"{"limits": {"email": {"values_max": 1, "window": "daily"}}}"#, "daily"),
            (r#"{"priority": ["email", "EMAIL"]}"#, "email is named twice in priority"),
            (r#"{"promoted": ["client_id"]}"#, "client_id is built in"),
            (r#"{"promoted": ["email"]}"#, "email is built in"),
            (r#"{"promoted": ["a b"]}"#, "a type of external ids is"),
            (r#"{"blocked": []}"#, "blocked"),
        ] {
            let error = settings(json).expect_err(json);
            assert!(error.contains(expected), "{json}: {error}");
        }
    }

    #[test]
    fn values_that_name_nobody() {
        let rules = Rules::default();
        for text in [
            "user_id:-1",
            "user_id:null",
            "user_id:NULL",
            "anonymous_id:Anonymous",
            "ios.idfa:00000000-0000-0000-0000-000000000000",
        ] {
            assert!(rules.blocks(&id(text)), "{text}");
        }
        for text in ["user_id:1", "user_id:-10", "user_id:nullable", "email:anonymous@example.com"] {
            assert!(!rules.blocks(&id(text)), "{text}");
        }
    }

    #[test]
    fn a_new_type_finds_its_place_by_its_name() {
        let rules = Rules::default();
        let mut ids =
            ["phone:+4930901820", "anonymous_id:a", "email:b@x", "user_id:z", "email:a@x", "zip_id:1", "crm_id:1"].map(id);
        ids.sort_by(|one, other| rules.order(one, other));
        let order = ids.map(|id| id.to_string());
        assert_eq!(order, ["user_id:z", "email:a@x", "email:b@x", "anonymous_id:a", "crm_id:1", "phone:+4930901820", "zip_id:1"]);
    }
}
