//! One VRL program: compile it with the functions that are allowed, run it on an event, say what came of it.
//!
//! [VRL functions](https://vrl.dev/functions). The event is `.`; what `.` is when the program ends is what becomes of it: an object
//! is one event, an array as many as it holds, `null` none. `abort` drops the event too. A filter is the value of its last
//! expression, which the compiler proves to be a boolean.

use std::{ops::ControlFlow, sync::LazyLock};

use serde_json::value::RawValue;
use vrl::{
    compiler::{
        CompileConfig, Function, Program, TargetValue, TimeZone, compile_with_external,
        runtime::{Runtime, Terminate},
        state::{ExternalEnv, RuntimeState},
    },
    diagnostic::DiagnosticList,
    value::{Kind, Secrets, Value, kind::Collection},
};

use super::{EVENTS_OF_ONE_MAX, frame::Mistake, frame::Reply};
use crate::domain::transformation::Purpose;

/// The expressions that one run may evaluate: a hundred times what an event of the largest size gives to do.
const STEPS_MAX: u32 = 200_000;
/// The largest event that a program may make, in bytes: as large as one that comes in.
const EVENT_BYTES_MAX: usize = 32 * 1024;
/// All events that it makes of one: they go on in one commit, which has a bound.
const EVENTS_BYTES_MAX: usize = 1024 * 1024;
/// Mistakes that are told of one program.
const MISTAKES_MAX: usize = 10;
/// An error in the program's own words, in characters.
const FAILURE_CHARS_MAX: usize = 500;

/// What no program may call, and why.
const REFUSED: [(&str, &str); 21] = [
    ("dns_lookup", NETWORK),
    ("reverse_dns", NETWORK),
    ("http_request", NETWORK),
    ("get_env_var", OUTSIDE),
    ("get_hostname", OUTSIDE),
    ("get_timezone_name", OUTSIDE),
    ("encode_proto", FILES),
    ("parse_proto", FILES),
    ("validate_json_schema", "schemas belong in a tracking plan"),
    ("parse_groks", FILES),
    ("now", SAME),
    ("random_bool", SAME),
    ("random_bytes", SAME),
    ("random_float", SAME),
    ("random_int", SAME),
    ("uuid_v4", SAME),
    ("uuid_v7", SAME),
    ("log", "what is in an event stays out of log lines"),
    ("parse_syslog", YEAR),
    ("parse_klog", YEAR),
    ("parse_linux_authorization", YEAR),
];
const NETWORK: &str = "a program has no network";
const FILES: &str = "a program has no files";
const OUTSIDE: &str = "a program knows nothing of where it runs";
const SAME: &str = "the same event must always become the same; take times from .timestamp or .receivedAt";
const YEAR: &str = "it takes the year from the clock, and the same event must always become the same";

/// Where a time says nothing else; never the machine's own.
static UTC: LazyLock<TimeZone> = LazyLock::new(|| TimeZone::parse("UTC").expect("the zone is known everywhere"));
static FUNCTIONS: LazyLock<Vec<Box<dyn Function>>> = LazyLock::new(|| {
    let mut functions = vrl::stdlib::all();
    functions.retain(|function| refusal(function.identifier()).is_none());
    functions
});

/// A program that compiled.
pub(super) struct Compiled {
    purpose: Purpose,
    program: Program,
    runtime: Runtime,
}

impl Compiled {
    /// Compiles a program, or says what is wrong with it.
    pub(super) fn new(purpose: Purpose, text: &str) -> Result<Compiled, Vec<Mistake>> {
        let environment = ExternalEnv::new_with_kind(Kind::object(Collection::any()), Kind::object(Collection::empty()));
        let mut config = CompileConfig::default();
        if purpose == Purpose::Filter {
            config.set_read_only();
        }
        let program =
            compile_with_external(text, &FUNCTIONS, &environment, config).map_err(|found| mistakes(text, &found))?.program;
        if purpose == Purpose::Filter && !program.final_type_info().result.is_boolean() {
            let message = "a filter ends with true or false, whatever the event is; compare, or give a default with ??".to_owned();
            let (line, column) = place(text, text.trim_end().len());
            return Err(vec![Mistake { line, column, message }]);
        }
        Ok(Compiled { purpose, program, runtime: Runtime::new(RuntimeState::default()) })
    }

    /// Runs it on an event.
    pub(super) fn run(&mut self, event: &RawValue) -> Reply {
        let value: Value = match serde_json::from_str(event.get()) {
            Ok(value) => value,
            Err(error) => return Reply::Failed(format!("the event cannot be read: {error}")),
        };
        let mut target = TargetValue { value, metadata: Value::Object(Default::default()), secrets: Secrets::default() };
        let mut steps = 0;
        let mut control = || {
            steps += 1;
            if steps > STEPS_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let ended = self.runtime.resolve_with_control(&mut target, &self.program, &UTC, &mut control);
        self.runtime.clear();
        match (ended, self.purpose) {
            (Ok(Value::Boolean(passes)), Purpose::Filter) => Reply::Passes(passes),
            (Ok(_), Purpose::Filter) => Reply::Failed("the filter said neither true nor false".to_owned()),
            (Ok(_), Purpose::Transform) => events(target.value),
            (Err(Terminate::Abort(_)), Purpose::Transform) => Reply::Events(Vec::new()),
            (Err(Terminate::Abort(_)), Purpose::Filter) => Reply::Passes(false),
            (Err(Terminate::Interrupted), _) => Reply::Failed(format!("the program took more than {STEPS_MAX} steps")),
            (Err(Terminate::Error(error)), _) => Reply::Failed(error.to_string().chars().take(FAILURE_CHARS_MAX).collect()),
        }
    }
}

/// What a transformation leaves behind, as events.
fn events(value: Value) -> Reply {
    let values = match value {
        Value::Null => Vec::new(),
        Value::Array(values) => values,
        one => vec![one],
    };
    if values.len() > EVENTS_OF_ONE_MAX {
        return Reply::Failed(format!("the program made {} events of one; {EVENTS_OF_ONE_MAX} is the most", values.len()));
    }
    let mut events = Vec::with_capacity(values.len());
    let mut bytes = 0;
    for value in &values {
        match serde_json::value::to_raw_value(value) {
            Ok(event) if event.get().len() <= EVENT_BYTES_MAX => {
                bytes += event.get().len();
                events.push(event);
            }
            Ok(event) => {
                let bytes = event.get().len();
                return Reply::Failed(format!("the program made an event of {bytes} bytes; {EVENT_BYTES_MAX} is the most"));
            }
            Err(error) => return Reply::Failed(format!("the program made something that is no JSON: {error}")),
        }
    }
    if bytes > EVENTS_BYTES_MAX {
        return Reply::Failed(format!("the program made {bytes} bytes of one event; {EVENTS_BYTES_MAX} is the most"));
    }
    Reply::Events(events)
}

fn refusal(function: &str) -> Option<&'static str> {
    REFUSED.iter().find(|(refused, _)| *refused == function).map(|(_, why)| *why)
}

/// The errors of a compilation, each with its place; warnings are no mistakes.
fn mistakes(text: &str, found: &DiagnosticList) -> Vec<Mistake> {
    let problems = found.iter().filter(|diagnostic| diagnostic.is_problem()).take(MISTAKES_MAX);
    let told = problems.map(|diagnostic| {
        let label = diagnostic.labels.iter().find(|label| label.primary).or(diagnostic.labels.first());
        let at = label.map_or(0, |label| label.span.start());
        let (line, column) = place(text, at);
        let word = text.get(at..).unwrap_or_default();
        let word = &word[..word.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(word.len())];
        let message = match refusal(word) {
            Some(why) => format!("{word} is not for transformations: {why}"),
            None => {
                let is_unknown = diagnostic.message.contains("undefined") && !word.is_empty();
                let named = if is_unknown { format!("{} {word}", diagnostic.message) } else { diagnostic.message.clone() };
                diagnostic.labels.iter().fold(named, |told, label| {
                    if told.contains(&label.message) { told } else { format!("{told}; {}", label.message) }
                })
            }
        };
        Mistake { line, column, message }
    });
    told.collect()
}

/// Line and column of a byte of the text, from 1.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}
