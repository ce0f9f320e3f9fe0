//! What a schema of a tracking plan may be, so that judging a message by it fetches nothing and takes bounded time.
//!
//! [JSON Schema 2020-12](https://json-schema.org/draft/2020-12). `$ref` points inside the same schema and never at itself, and what a
//! schema amounts to, with every reference written out, is bounded: references to references double quickly.

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

/// Values in a schema, each reference counted as what it stands for.
const PARTS_MAX: usize = 10_000;
const DEPTH_MAX: usize = 64;
/// A compiled pattern.
const PATTERN_BYTES_MAX: usize = 1 << 20;
const DRAFTS: [&str; 4] = ["draft-06/", "draft-07/", "draft/2019-09/", "draft/2020-12/"];

/// Prepares a schema, or says what is wrong with it.
pub(super) fn compile(schema: &Value) -> Result<Validator, String> {
    if !schema.is_object() {
        return Err("the schema must be an object".to_owned());
    }
    if let Some(draft) = schema.get("$schema") {
        let name = draft.as_str().and_then(|url| url.split_once("://json-schema.org/")).map(|(_, name)| name);
        if !name.is_some_and(|name| DRAFTS.iter().any(|known| name.starts_with(known))) {
            return Err("$schema must be draft 6, draft 7, 2019-09 or 2020-12 of json-schema.org".to_owned());
        }
    }
    Walk { root: schema, parts: 0, under: vec![String::new()] }.part(schema, 0)?;
    let patterns = PatternOptions::regex().size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX);
    let options = jsonschema::options().with_pattern_options(patterns).should_validate_formats(true);
    options.build(schema).map_err(|error| error.to_string())
}

/// A walk through all that a schema amounts to.
struct Walk<'s> {
    root: &'s Value,
    parts: usize,
    /// The references inside of which we are.
    under: Vec<String>,
}

impl<'s> Walk<'s> {
    fn part(&mut self, value: &'s Value, depth: usize) -> Result<(), String> {
        self.parts += 1;
        if self.parts > PARTS_MAX {
            return Err(format!("the schema has more than {PARTS_MAX} parts, counting what it refers to each time"));
        }
        if depth > DEPTH_MAX {
            return Err(format!("the schema is nested deeper than {DEPTH_MAX}"));
        }
        match value {
            Value::Array(elements) => elements.iter().try_for_each(|element| self.part(element, depth + 1)),
            Value::Object(members) => members.iter().try_for_each(|(name, member)| match (name.as_str(), member) {
                ("$ref", Value::String(target)) => self.reference(target, depth),
                ("$dynamicRef" | "$recursiveRef", Value::String(_)) => {
                    Err(format!("{name} is not supported; write the part out, or use $ref"))
                }
                // They would give `$ref` another meaning.
                ("$id" | "$schema", Value::String(_)) if depth > 0 => Err(format!("{name} may stand only at the top")),
                _ => self.part(member, depth + 1),
            }),
            _ => Ok(()),
        }
    }

    fn reference(&mut self, target: &str, depth: usize) -> Result<(), String> {
        let pointer = target.strip_prefix('#').ok_or_else(|| format!("$ref may point only inside the schema, not to {target}"))?;
        let found = self.root.pointer(pointer).ok_or_else(|| format!("$ref points to {target}, which is not there"))?;
        if self.under.iter().any(|under| under == pointer) {
            return Err(format!("the part that $ref calls {target} contains itself"));
        }
        self.under.push(pointer.to_owned());
        self.part(found, depth + 1)?;
        self.under.pop();
        Ok(())
    }
}
