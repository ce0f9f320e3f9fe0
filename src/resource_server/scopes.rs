//! Which scopes a request needs, and which scopes cover them.
//! [RFC 6749 §3.3](https://www.rfc-editor.org/rfc/rfc6749#section-3.3)

use std::collections::{BTreeMap, BTreeSet};

use http::request::Parts;
use serde::Deserialize;
use serde_json::Value;

use crate::domain::scope::Scopes;

/// The scope hierarchy, closed over its own steps.
#[derive(Debug)]
pub(super) struct Implied(BTreeMap<String, BTreeSet<String>>);

impl Implied {
    pub(super) fn new(stated: BTreeMap<String, Vec<String>>) -> Self {
        let closure = |scope: &String| {
            let mut reached = BTreeSet::from([scope.clone()]);
            let mut open = vec![scope];
            while let Some(scope) = open.pop() {
                open.extend(stated.get(scope).into_iter().flatten().filter(|implied| reached.insert((*implied).clone())));
            }
            reached
        };
        Self(stated.keys().map(|scope| (scope.clone(), closure(scope))).collect())
    }

    /// Whether each of the `needed` scopes is granted, or implied by one that is.
    pub(super) fn covers(&self, granted: &Scopes, needed: &Scopes) -> bool {
        let implies = |scope: &str, needed: &str| self.0.get(scope).is_some_and(|implied| implied.contains(needed));
        needed.iter().all(|needed| granted.contains(needed) || granted.iter().any(|scope| implies(scope, needed)))
    }
}

type CustomRule = Box<dyn Fn(&Parts, &[u8]) -> Scopes + Send + Sync>;

/// What a request needs beyond the scopes that every request needs.
#[derive(Default)]
pub(super) struct ScopeRules {
    /// By the name of the MCP tool.
    pub(super) tools: BTreeMap<String, Vec<String>>,
    pub(super) custom: Option<CustomRule>,
}

impl ScopeRules {
    /// Without rules the body is never held up.
    pub(super) fn is_empty(&self) -> bool {
        self.tools.is_empty() && self.custom.is_none()
    }

    pub(super) fn needed(&self, parts: &Parts, body: &[u8]) -> Scopes {
        let by_custom_rule = self.custom.as_ref().map(|rule| rule(parts, body)).unwrap_or_default();
        self.needed_by_tools(body).union(&by_custom_rule)
    }

    fn needed_by_tools(&self, body: &[u8]) -> Scopes {
        // The streams and session ends of MCP come without a body and call nothing.
        if self.tools.is_empty() || body.is_empty() {
            return Scopes::default();
        }
        let words = match tools_called(body) {
            Some(called) => called.iter().filter_map(|tool| self.tools.get(tool)).flatten().collect::<Vec<_>>(),
            // What we read differently from the server behind us could call a tool unseen: then the caller needs the scopes of all.
            None => self.tools.values().flatten().collect(),
        };
        Scopes::of(words.into_iter().map(String::as_str))
    }
}

impl std::fmt::Debug for ScopeRules {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ScopeRules").field("tools", &self.tools).finish_non_exhaustive()
    }
}

/// The tools that a JSON-RPC message or batch calls, or `None` for anything that is not plainly one. Repeated keys are not plain.
fn tools_called(body: &[u8]) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    struct Message {
        method: Option<String>,
        params: Option<Params>,
    }
    #[derive(Deserialize)]
    struct Params {
        name: Option<Value>,
    }

    let messages: Vec<Message> = match body.trim_ascii_start().first()? {
        b'[' => serde_json::from_slice(body).ok()?,
        _ => vec![serde_json::from_slice(body).ok()?],
    };
    let calls = messages.into_iter().filter(|message| message.method.as_deref() == Some("tools/call"));
    calls.map(|call| call.params?.name?.as_str().map(ToOwned::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchy_is_followed_through_and_loops_end() {
        let stated = [("admin", vec!["write"]), ("write", vec!["read"]), ("a", vec!["b"]), ("b", vec!["a"])];
        let stated = stated.map(|(scope, implied)| (scope.to_owned(), implied.into_iter().map(ToOwned::to_owned).collect()));
        let implied = Implied::new(stated.into());
        let table = [
            ("admin", "read", true),
            ("write", "read", true),
            ("read", "write", false),
            ("b", "b", true),
            ("a", "b", true),
            ("a", "read", false),
            ("other", "other", true),
            ("write:all", "write", false),
        ];
        for (granted, needed, expected) in table {
            assert_eq!(implied.covers(&Scopes::of([granted]), &Scopes::of([needed])), expected, "{granted} covers {needed}");
        }
    }

    #[test]
    fn tools_are_found_in_plain_messages_and_anything_else_needs_all() {
        let tools = [("read", vec!["r".to_owned()]), ("write", vec!["w".to_owned()])];
        let rules = ScopeRules { tools: tools.map(|(tool, scopes)| (tool.to_owned(), scopes)).into(), custom: None };
        let table = [
            (r#"{"method":"tools/call","params":{"name":"write"}}"#, "w"),
            (r#" {"method":"tools/call","params":{"name":"\u0077rite"}}"#, "w"),
            (r#"{"method":"tools/call","params":{"name":"free"}}"#, ""),
            (r#"{"method":"prompts/get","params":{"name":"write"}}"#, ""),
            (r#"{"id":7,"result":{}}"#, ""),
            ("", ""),
            (r#"[{"method":"ping"},{"method":"tools/call","params":{"name":"read"}}]"#, "r"),
            (r#"{"method":"tools/call","params":{"name":"read","name":"write"}}"#, "r w"),
            (r#"{"method":"ping","method":"tools/call","params":{"name":"write"}}"#, "r w"),
            (r#"{"method":"tools/call","params":{"name":["write"]}}"#, "r w"),
            (r#"{"method":"tools/call"}"#, "r w"),
            (r#"{"method":"tools/call","params":{"name":"read"}} {}"#, "r w"),
            ("not json", "r w"),
            ("\u{feff}{}", "r w"),
        ];
        for (body, expected) in table {
            assert_eq!(rules.needed_by_tools(body.as_bytes()).to_string(), expected, "{body}");
        }
    }
}
