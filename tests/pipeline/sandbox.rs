//! Programs run in a process of their own: what they may do, what stops them, and that the next one runs as if nothing had been.

use std::{sync::Arc, time::Duration};

use deputy::{
    domain::{
        id::{Id, TransformationKind},
        time::Timestamp,
        transformation::{Language, Purpose, Transformation},
    },
    sandbox::{MEMORY_BYTES_MAX, Outcome, Program, Sandbox, Trial},
};
use serde_json::value::RawValue;

const NOW: Timestamp = Timestamp(1_800_000_000_000);

fn sandbox() -> Sandbox {
    Sandbox::new(env!("CARGO_BIN_EXE_deputy").into())
}

fn program(number: u8, purpose: Purpose, text: &str) -> Program {
    Program::of(&Transformation {
        id: Id::<TransformationKind>::from_bytes([number; 16]),
        name: "a program".to_owned(),
        purpose,
        language: Language::Vrl,
        program: Arc::from(text),
        version: 1,
        sources: Vec::new(),
        created_at: NOW,
        changed_at: NOW,
        disabled_at: None,
    })
}

fn event(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).expect("it is JSON")
}

/// The events that came out, as text; or what went wrong.
fn told(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Events(events) => format!("[{}]", events.iter().map(|event| event.get()).collect::<Vec<_>>().join(",")),
        Outcome::Passes(passes) => passes.to_string(),
        Outcome::Failed(message) => format!("failed: {message}"),
        Outcome::Stopped(stop) => format!("stopped: {stop:?}"),
    }
}

async fn mistakes(purpose: Purpose, text: &str) -> String {
    match sandbox().try_out(purpose, text, None).await.expect("a child starts") {
        Trial::Mistakes(mistakes) => {
            mistakes.iter().map(|m| format!("{}:{} {}", m.line, m.column, m.message)).collect::<Vec<_>>().join("\n")
        }
        other => panic!("it compiles: {other:?}"),
    }
}

async fn tried(purpose: Purpose, text: &str, sample: &str) -> String {
    match sandbox().try_out(purpose, text, Some(&event(sample))).await.expect("a child starts") {
        Trial::Ran(outcome) => told(&outcome),
        other => panic!("it ran: {other:?}"),
    }
}

/// What the kernel says of the bounds of each child that runs; those of other tests are bounded alike.
fn limits_of_children() -> Vec<String> {
    let processes = std::fs::read_dir("/proc").expect("this is Linux").filter_map(|entry| Some(entry.ok()?.path()));
    let children = processes.filter(|process| {
        let status = std::fs::read_to_string(process.join("status")).unwrap_or_default();
        let command = std::fs::read_to_string(process.join("cmdline")).unwrap_or_default();
        status.contains(&format!("\nPPid:\t{}\n", std::process::id())) && command.ends_with("\0sandbox\0")
    });
    let limits = children.filter_map(|child| std::fs::read_to_string(child.join("limits")).ok());
    // One that has only begun is not confined yet, and runs nothing.
    let is_confined = |limits: &String| {
        limits.lines().any(|line| line.starts_with("Max processes") && line.split_whitespace().nth(2) == Some("0"))
    };
    limits.filter(is_confined).collect()
}

/// A string of two to the power of `times` letters.
fn doubled(times: usize) -> String {
    let mut text = "s = \"ab\"\n".to_owned();
    for _ in 0..times {
        text += "s = s + s\n";
    }
    text
}

#[tokio::test]
async fn an_event_becomes_one_none_or_several() {
    let sample = "{\"type\":\"track\",\n \"n\":1.0,\"name\":\"\u{e9}\"}";
    for (text, expected) in [
        (".n = 2", "[{\"n\":2,\"name\":\"\u{e9}\",\"type\":\"track\"}]"),
        (". = null", "[]"),
        (". = []", "[]"),
        ("if .type == \"track\" { abort }", "[]"),
        (". = [{\"a\": 1}, {\"b\": .n}]", "[{\"a\":1},{\"b\":1.0}]"),
        (
            ".n = to_int!(.name)",
            "failed: function call error for \"to_int\" at (5:19): Invalid integer \"\u{e9}\": invalid digit found in string",
        ),
        (". = 7", "[7]"),
    ] {
        assert_eq!(tried(Purpose::Transform, text, sample).await, expected, "{text}");
    }
    assert_eq!(tried(Purpose::Filter, ".type == \"track\"", sample).await, "true");
    assert_eq!(tried(Purpose::Filter, "exists(.email)", sample).await, "false");
}

#[tokio::test]
async fn a_mistake_is_told_with_its_place() {
    assert_eq!(mistakes(Purpose::Transform, ".a = 1\n.b = x").await, "2:6 call to undefined variable x; did you mean \"null\"?");
    let told = mistakes(Purpose::Transform, ".a = to_int(.b)").await;
    assert!(told.starts_with("1:6 unhandled fallible assignment"), "{told}");
    let told = mistakes(Purpose::Transform, "if {").await;
    assert!(told.starts_with("1:5 syntax error"), "{told}");
    // A filter must be true or false whatever comes, and changes nothing.
    let told = mistakes(Purpose::Filter, ".properties.paid").await;
    assert!(told.starts_with("1:17 a filter ends with true or false"), "{told}");
    let told = mistakes(Purpose::Filter, ".a = 1\ntrue").await;
    assert!(told.contains("read-only"), "{told}");
}

#[tokio::test]
async fn a_program_has_no_clock_no_chance_no_files_and_no_network() {
    for call in [
        "now()",
        "random_int(0, 9)",
        "uuid_v4()",
        "get_env_var!(\"HOME\")",
        "get_hostname!()",
        "dns_lookup!(\"example.com\")",
        "http_request!(\"https://example.com\")",
        "parse_proto!(\"\", \"/etc/passwd\", \"x\")",
        "parse_syslog!(\"x\")",
        "log(\"x\")",
    ] {
        let told = mistakes(Purpose::Transform, &format!(".x = {call}")).await;
        assert!(told.starts_with("1:6 ") && told.contains(" is not for transformations: "), "{call}: {told}");
    }
    // Were there a call that we do not know of, the process could still open nothing and start nothing.
    let sandbox = sandbox();
    sandbox.run(&[(&program(1, Purpose::Transform, ".n = 2"), &event("{}"))], NOW).await.expect("a child starts");
    let limits = limits_of_children();
    assert!(!limits.is_empty(), "the child is there");
    for limits in limits {
        for (name, bound) in [
            ("Max address space", MEMORY_BYTES_MAX.to_string().as_str()),
            ("Max open files", "0"),
            ("Max file size", "0"),
            ("Max core file size", "0"),
            ("Max processes", "0"),
        ] {
            let line = limits.lines().find(|line| line.starts_with(name)).expect("the kernel tells it");
            let mut words = line[name.len()..].split_whitespace();
            assert_eq!((words.next(), words.next()), (Some(bound), Some(bound)), "{line}");
        }
    }
}

#[tokio::test]
async fn memory_is_bounded_and_the_next_program_runs() {
    let (sandbox, sample) = (sandbox(), event("{\"n\":1}"));
    let greedy = program(1, Purpose::Transform, &(doubled(60) + ".s = s"));
    let good = program(2, Purpose::Transform, ".n = 2");
    let jobs = [(&good, &*sample), (&greedy, &*sample), (&good, &*sample)];
    let outcomes = sandbox.run(&jobs, NOW).await.expect("a child starts");
    assert_eq!(outcomes.iter().map(told).collect::<Vec<_>>(), ["[{\"n\":2}]", "stopped: Crash", "[{\"n\":2}]"]);
}

#[tokio::test]
async fn a_slow_program_is_killed_and_the_next_program_runs() {
    let (sandbox, sample) = (sandbox(), event("{\"n\":1}"));
    // Few steps, each of them long.
    let slow = program(1, Purpose::Transform, &(doubled(24) + &".n = length(encode_gzip(s, compression_level: 9))\n".repeat(500)));
    let good = program(2, Purpose::Transform, ".n = 2");
    let outcomes = sandbox.run(&[(&slow, &*sample), (&good, &*sample)], NOW).await.expect("a child starts");
    assert_eq!(outcomes.iter().map(told).collect::<Vec<_>>(), ["stopped: Time", "[{\"n\":2}]"]);
}

#[tokio::test]
async fn a_program_that_keeps_crashing_rests_and_the_next_program_runs() {
    let (sandbox, sample) = (sandbox(), event("{\"n\":1}"));
    let greedy = program(1, Purpose::Transform, &(doubled(60) + ".s = s"));
    let good = program(2, Purpose::Transform, ".n = 2");
    let jobs = [(&greedy, &*sample), (&greedy, &*sample), (&good, &*sample), (&greedy, &*sample), (&greedy, &*sample)];
    let outcomes = sandbox.run(&jobs, NOW).await.expect("a child starts");
    // Where others work too, it may run out of time before it runs out of memory.
    let told = |outcome: &Outcome| told(outcome).replace("Time", "Crash");
    let all: Vec<_> = outcomes.iter().map(told).collect();
    assert_eq!(all, ["stopped: Crash", "stopped: Crash", "[{\"n\":2}]", "stopped: Crash", "stopped: Resting"]);
    // After a minute it is tried again.
    let jobs = [(&greedy, &*sample), (&good, &*sample)];
    let outcomes = sandbox.run(&jobs, NOW.plus(Duration::from_secs(61))).await.expect("a child starts");
    assert_eq!(outcomes.iter().map(told).collect::<Vec<_>>(), ["stopped: Crash", "[{\"n\":2}]"]);
}

/// Takes some hundredths of a second, far from every bound of one answer.
pub const LONG_PROGRAM: &str = "items = split(\"a,\" * 100, \",\")\nn = 0\n\
    for_each(items) -> |_i, _a| { for_each(items) -> |_j, _b| { n = n + 1 } }\n.properties.n = n";

#[tokio::test]
async fn a_program_that_takes_long_each_time_rests_and_the_next_program_runs() {
    let (sandbox, sample) = (sandbox(), event("{}"));
    let (long, good) = (program(1, Purpose::Transform, LONG_PROGRAM), program(2, Purpose::Transform, ".n = 2"));
    let mut jobs = vec![(&long, &*sample); 2_000];
    jobs.push((&good, &sample));
    let outcomes: Vec<_> = sandbox.run(&jobs, NOW).await.expect("a child starts").iter().map(told).collect();
    let made = outcomes.iter().take_while(|told| *told == "[{\"properties\":{\"n\":10201}}]").count();
    assert!(made > 1, "{:?}", outcomes.first());
    let spent = outcomes[made..].iter().take_while(|told| *told == "stopped: Spent").count();
    assert_eq!((made + spent, outcomes[2_000].as_str()), (2_000, "[{\"n\":2}]"));
    assert!(spent > 0, "it never rests");
    // It has its time again when the period is over.
    let outcomes = sandbox.run(&jobs[..1], NOW.plus(Duration::from_secs(11))).await.expect("a child starts");
    assert_eq!(told(&outcomes[0]), "[{\"properties\":{\"n\":10201}}]");
}

#[tokio::test]
async fn steps_are_counted_so_that_the_same_event_always_ends_alike() {
    let text = "items = split(\"a,\" * 2000, \",\")\nn = 0\nfor_each(items) -> |_i, _a| { for_each(items) -> |_j, _b| { n = n + 1 } }\n.n = n";
    let told = tried(Purpose::Transform, text, "{}").await;
    assert_eq!(told, "failed: the program took more than 200000 steps");
}

#[tokio::test]
async fn what_a_program_makes_is_bounded() {
    let told = tried(Purpose::Transform, ". = split(\"a,\" * 150, \",\")", "{}").await;
    assert_eq!(told, "failed: the program made 151 events of one; 100 is the most");
    let told = tried(Purpose::Transform, &(doubled(15) + ".s = s"), "{}").await;
    assert_eq!(told, "failed: the program made an event of 65544 bytes; 32768 is the most");
}

#[tokio::test]
async fn a_program_that_cannot_be_compiled_inside_the_bounds_is_a_mistake() {
    let deep = format!(".x = {}1{}", "(".repeat(15_000), ")".repeat(15_000));
    let told = mistakes(Purpose::Transform, &deep).await;
    assert!(told.starts_with("1:1 the program "), "{told}");
}

#[tokio::test]
async fn many_events_of_many_programs_keep_their_order() {
    let sandbox = sandbox();
    let programs: Vec<_> = (0..20).map(|number| program(number, Purpose::Transform, &format!(".by = {number}"))).collect();
    let events: Vec<_> = (0..3_000).map(|number| event(&format!("{{\"n\":{number},\"pad\":\"{}\"}}", "x".repeat(700)))).collect();
    let jobs: Vec<_> = events.iter().enumerate().map(|(number, event)| (&programs[number % 20], &**event)).collect();
    let outcomes = sandbox.run(&jobs, NOW).await.expect("a child starts");
    for (number, outcome) in outcomes.iter().enumerate() {
        let told = told(outcome);
        assert!(told.starts_with(&format!("[{{\"by\":{},\"n\":{number},", number % 20)), "{told}");
    }
}
