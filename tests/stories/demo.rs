//! `deputy demo` and `deputy events` as a newcomer meets them: the main job in a terminal, twice on the same data, and what is on
//! record afterwards.

use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::TempDir;

/// The binary, for the data in this folder.
fn deputy(folder: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deputy"));
    command.args(arguments).env_clear().env("PATH", "/usr/bin:/bin").current_dir(folder.path());
    command
}

fn demo(folder: &TempDir, issuer: SocketAddr, mcp: SocketAddr, program: &Path) -> Output {
    let mcp = mcp.to_string();
    let program = program.to_str().expect("its path is text");
    let mut command = deputy(folder, &["demo", "--once", "--mcp-server", program, "--mcp-address", &mcp]);
    command.env("DEPUTY_LISTEN", issuer.to_string()).env("DEPUTY_ISSUER", format!("http://{issuer}"));
    command.output().expect("the binary runs")
}

/// The example MCP server, which `cargo test` builds.
fn program() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_deputy")).with_file_name("examples").join("protected_mcp_server");
    assert!(program.exists(), "{} is missing: cargo build --example protected_mcp_server", program.display());
    program
}

/// An address that was free just now.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

/// What it printed, if it did all it was asked to.
#[track_caller]
fn told(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{}: {said}\n{}", output.status, String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stdout.clone()).expect("it prints text")
}

/// The sentence with which it refused.
#[track_caller]
fn refused(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    said
}

#[test]
fn the_main_job_is_shown_in_ten_steps_and_once_more_on_the_same_data() {
    let folder = TempDir::new().expect("a folder");
    let [issuer, mcp] = [free_address(), free_address()];
    let first = told(&demo(&folder, issuer, mcp, &program()));
    let steps = first.lines().filter_map(|line| line.get(..2)?.trim().parse().ok());
    assert_eq!(steps.collect::<Vec<u8>>(), (1..=10).collect::<Vec<_>>(), "{first}");
    for shown in
        ["401  Bearer scope=\"notes:read\"", "403  Bearer error=\"insufficient_scope\"", "{\"active\":false}", "grant.ended"]
    {
        assert!(first.contains(shown), "{shown} in {first}");
    }
    assert!(!first.contains('\u{1b}'), "no colour where no terminal is");
    let password = std::fs::read_to_string(folder.path().join("deputy-data/demo.person")).expect("the person's password is kept");
    let password = password.lines().find_map(|line| line.strip_prefix("password: ")).expect("it is named");
    assert!(!first.contains(password));

    let client = |told: &str| told.split_whitespace().find(|word| word.starts_with("cli_01")).map(str::to_owned);
    let second = told(&demo(&folder, issuer, mcp, &program()));
    assert!(second.contains("kept from earlier runs") && client(&second) == client(&first), "{second}");
    TcpListener::bind(mcp).expect("nothing of it runs any longer");
    the_facts_can_be_read(&folder);
}

fn the_facts_can_be_read(folder: &TempDir) {
    let events = |arguments: &[&str]| told(&deputy(folder, arguments).output().expect("the binary runs"));
    let json = events(&["events", "tail", "--no-follow", "--json", "--from", "0"]);
    let facts: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).expect("each line is an event")).collect();
    let started = facts.iter().rfind(|fact| fact["type"] == "grant.started.v1").expect("grants were started");
    let grant = started["data"]["grant"].as_str().expect("grants have identifiers");

    let story = events(&["events", "show", grant, "--json"]);
    let types: Vec<Value> =
        story.lines().map(|line| serde_json::from_str::<Value>(line).expect("each line is an event")["type"].clone()).collect();
    // That a token was used is told by the way, and has no place of its own among what was decided.
    let (used, decided): (Vec<_>, Vec<_>) = types.into_iter().partition(|name| name == "token.used.v1");
    assert_eq!(decided, ["grant.started.v1", "token.issued.v1", "token.issued.v1", "grant.ended.v1"]);
    assert_eq!(used.len(), 2, "each of its tokens was used");
    let short = format!("gra_…{}", &grant[grant.len() - 6..]);
    assert_eq!(events(&["events", "show", &short]), events(&["events", "show", grant]));
    assert!(events(&["events", "show", started["id"].as_str().expect("events have identifiers")]).contains(grant));
    assert!(events(&["events", "tail", "--no-follow", "--last", "20"]).contains("refresh.ended at /token"));
    assert_eq!(events(&["events", "tail", "--no-follow", "--last", "1", "--json"]).lines().count(), 1);

    let unknown = deputy(folder, &["events", "show", "gra_01kb6v3q5wf6y8z0c2d4e6g8h0"]).output().expect("the binary runs");
    assert!(refused(&unknown).contains("no fact is about gra_01kb6v3q5wf6y8z0c2d4e6g8h0"));
}

#[test]
fn what_keeps_the_demo_from_starting_is_told_in_a_sentence() {
    let folder = TempDir::new().expect("a folder");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let used = taken.local_addr().expect("it is bound");
    let in_use = format!("{used} is in use");
    assert!(refused(&demo(&folder, used, free_address(), &program())).contains(&in_use));
    assert!(refused(&demo(&folder, free_address(), used, &program())).contains(&in_use));
    let nothing = demo(&folder, free_address(), free_address(), Path::new("nothing"));
    assert!(refused(&nothing).contains("nothing is no program"));
    let broken = demo(&folder, free_address(), free_address(), Path::new("/bin/false"));
    assert!(refused(&broken).contains("the example MCP server ended"));
}

#[test]
fn without_data_there_are_no_facts_and_no_folder_is_made() {
    let folder = TempDir::new().expect("a folder");
    let output = deputy(&folder, &["events", "tail"]).output().expect("the binary runs");
    assert!(refused(&output).contains("no server has run with this data_dir yet"));
    assert_eq!(std::fs::read_dir(folder.path()).expect("it is ours").count(), 0);
}
