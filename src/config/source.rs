//! Where values come from, and what is said about those that are wrong.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Tag, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::reference::{self, ENVIRONMENT_ONLY, Form, KEYS, Key, VARIABLE_PREFIX};

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{0}")]
    NotToml(String),
    /// One line for each problem, in the order of the reference, unknown names first.
    #[error("{}", lines(.0))]
    Wrong(Vec<Problem>),
}

/// One thing that is wrong: one sentence, without its full stop, that names key, value, origin and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem(String);

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

/// What was given, and the problems met so far.
#[derive(Default)]
pub(super) struct Given {
    layers: Figment,
    problems: Vec<Problem>,
}

impl Given {
    pub(super) fn read_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        self.read_text(&path.display().to_string(), &text)
    }

    pub(super) fn read_text(&mut self, name: &str, text: &str) -> Result<(), ConfigError> {
        let mut layer = Layer::parse(name, text)?;
        if layer.values.remove("master_key").is_some() {
            self.problems.push(Problem(format!(
                "{name}: master_key belongs in the environment (DEPUTY_MASTER_KEY) or in the file that master_key_file names"
            )));
        }
        for name_given in layer.values.keys() {
            if !KEYS.iter().any(|key| key.name == name_given) {
                self.problems.push(Problem(match reference::nearest(name_given, KEYS.iter()) {
                    Some(key) => format!("{name}: unknown key {name_given}; the nearest known one is {}", key.name),
                    None => format!("{name}: unknown key {name_given}; `deputy doctor --reference` lists all known ones"),
                }));
            }
        }
        self.merge(layer);
        Ok(())
    }

    pub(super) fn read_environment(&mut self, variables: impl IntoIterator<Item = (String, String)>) {
        let mut values = Dict::new();
        for (variable, value) in variables {
            let Some(name) = variable.strip_prefix(VARIABLE_PREFIX).map(str::to_ascii_lowercase) else { continue };
            if reference::find(&name).is_none() {
                self.problems.push(Problem(match reference::nearest(&name, KEYS.iter().chain(ENVIRONMENT_ONLY)) {
                    Some(key) => format!("environment: unknown variable {variable}; the nearest known one is {}", key.variable()),
                    None => format!("environment: unknown variable {variable}; `deputy doctor --reference` lists all known ones"),
                }));
            } else if !value.is_empty() {
                values.insert(name, Value::String(Tag::Default, value));
            }
        }
        self.merge(Layer { name: ENVIRONMENT.to_owned(), values });
    }

    /// The value of a key that has a default.
    pub(super) fn one<T: FromStr<Err: fmt::Debug>>(&mut self, name: &'static str) -> T {
        let given = self.optional(name, str::parse);
        given.unwrap_or_else(|| key(name).default.parse().expect("a test reads the default of every key"))
    }

    /// The value of a key that may be absent; a wrong value is noted and counts as absent.
    pub(super) fn optional<T, E>(&mut self, name: &'static str, parse: impl Fn(&str) -> Result<T, E>) -> Option<T> {
        let value = self.layers.find_value(name).ok()?;
        match scalar(&value) {
            Some(text) => self.check(key(name), &value, &text, parse),
            None => {
                let shown = if matches!(value, Value::Array(..)) { "[..]" } else { "{..}" };
                self.refuse(key(name), &value, shown, "one value, not a list or a table");
                None
            }
        }
    }

    /// The values of a key that takes several; wrong ones are noted and left out.
    pub(super) fn list<T, E>(&mut self, name: &'static str, parse: impl Fn(&str) -> Result<T, E>) -> Vec<T> {
        let Ok(value) = self.layers.find_value(name) else { return Vec::new() };
        let texts: Vec<String> = match &value {
            Value::Array(_, items) => items.iter().map(|item| scalar(item).unwrap_or_else(|| "[..]".to_owned())).collect(),
            other => scalar(other).unwrap_or_default().split(',').map(|text| text.trim().to_owned()).collect(),
        };
        texts.iter().filter_map(|text| self.check(key(name), &value, text, &parse)).collect()
    }

    pub(super) fn finish<T>(self, settings: T) -> Result<T, ConfigError> {
        if self.problems.is_empty() { Ok(settings) } else { Err(ConfigError::Wrong(self.problems)) }
    }

    fn merge(&mut self, layer: Layer) {
        self.layers = std::mem::take(&mut self.layers).merge(layer);
    }

    fn check<T, E>(&mut self, key: &Key, value: &Value, text: &str, parse: impl Fn(&str) -> Result<T, E>) -> Option<T> {
        let is_in_range = match key.form {
            Form::Whole { min, max } => text.parse().is_ok_and(|number: u64| (min..=max).contains(&number)),
            _ => true,
        };
        let parsed = parse(text).ok().filter(|_| is_in_range);
        if parsed.is_none() {
            self.refuse(key, value, text, &key.allowed());
        }
        parsed
    }

    fn refuse(&mut self, key: &Key, value: &Value, shown: &str, expected: &str) {
        let origin = self.layers.get_metadata(value.tag()).map_or("configuration", |metadata| metadata.name.as_ref());
        let name = if origin == ENVIRONMENT { key.variable() } else { key.name.to_owned() };
        self.problems.push(Problem(match key.form {
            Form::Secret(_) => format!("{origin}: the value of {name} is not allowed: expected {expected}"),
            _ => format!("{origin}: {name} = {} is not allowed: expected {expected}", shown.escape_debug()),
        }));
    }
}

/// One source of values, named as it is told to people.
struct Layer {
    name: String,
    values: Dict,
}

const ENVIRONMENT: &str = "environment";

impl Layer {
    fn parse(name: &str, text: &str) -> Result<Layer, ConfigError> {
        match Toml::from_str::<Dict>(text) {
            Ok(values) => Ok(Layer { name: name.to_owned(), values }),
            Err(error) => {
                let line = error.span().map_or(1, |span| text[..span.start].lines().count().max(1));
                Err(ConfigError::NotToml(format!(
                    "{name}: line {line}: {}",
                    error.message().lines().collect::<Vec<_>>().join(", ")
                )))
            }
        }
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

fn key(name: &'static str) -> &'static Key {
    reference::find(name).expect("the loader asks for keys of the reference only: a test compares them")
}

/// A single value as text, so that numbers and switches read the same from a file and from the environment.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(_, text) => Some(text.clone()),
        Value::Char(_, character) => Some(character.to_string()),
        Value::Bool(_, is_on) => Some(is_on.to_string()),
        Value::Num(_, number) => {
            let signed = number.to_i128().map(|number| number.to_string());
            signed
                .or_else(|| number.to_u128().map(|number| number.to_string()))
                .or_else(|| number.to_f64().map(|number| number.to_string()))
        }
        Value::Empty(..) | Value::Dict(..) | Value::Array(..) => None,
    }
}
