//! The command line beside a running server: who reads the log, and what a source sends.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Output, Stdio};

use serde_json::json;

use super::shaped::Sender;
use crate::support::{Answer, Installation};

/// `deputy events …`, for this installation.
fn events(deputy: &Installation, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deputy"));
    command.env_clear().env("DEPUTY_ISSUER", &deputy.issuer).env("DEPUTY_OPERATOR_TOKEN", deputy.operator_token());
    command.arg("events").args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it to its end; the server is on this thread.
async fn run(deputy: &Installation, arguments: &[&str]) -> (bool, String) {
    let mut command = events(deputy, arguments);
    let Output { status, stdout, stderr } =
        tokio::task::spawn_blocking(move || command.output()).await.expect("it ends").expect("the binary runs");
    (status.success(), String::from_utf8([stdout, stderr].concat()).expect("it prints text"))
}

#[tokio::test]
async fn operators_see_to_consumers_by_command_line() {
    let deputy = Installation::start().await;
    let shop = Sender::new(&deputy).await;
    shop.send(&[json!({"type": "track", "userId": "ada", "event": "Visit"})]).await;
    deputy.settle().await;
    assert_eq!(
        run(&deputy, &["pause", "risk"]).await,
        (true, "risk stands still; what comes meanwhile waits in the log.\n".to_owned())
    );
    let (_, table) = run(&deputy, &["consumers"]).await;
    let row = |name: &str| {
        let line = table.lines().find(|line| line.starts_with(name));
        line.unwrap_or_else(|| panic!("no {name} in {table}")).split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(row("CONSUMER"), ["CONSUMER", "TOPIC", "PARTITION", "NEXT", "END", "LAG", "SECONDS", "LOST", "STATE"]);
    assert_eq!(
        (&row("profiles")[1..3], row("profiles").last().map(String::as_str)),
        (&["events".to_owned(), "0".to_owned()][..], Some("runs"))
    );
    assert!(row("risk").contains(&"paused".to_owned()), "{table}");
    assert_eq!(run(&deputy, &["resume", "risk"]).await, (true, "risk goes on.\n".to_owned()));
    let (is_done, told) = run(&deputy, &["replay", "profiles", "--from", "0"]).await;
    assert!(is_done && told.contains("reads again"), "{told}");
    let (is_done, told) = run(&deputy, &["replay", "dedup", "--from", "2026-11-01T00:00:00Z"]).await;
    assert!(!is_done && told.contains("publish events twice"), "{told}");
    let (is_done, told) = run(&deputy, &["pause", "nobody"]).await;
    assert!(!is_done && told.contains("There is no such thing"), "{told}");
}

#[tokio::test]
async fn operators_watch_a_source_by_command_line() {
    let deputy = Installation::start().await;
    let shop = Sender::new(&deputy).await;
    shop.send(&[json!({"type": "track", "userId": "ada", "event": "Visit", "messageId": "m1"})]).await;
    deputy.settle().await;
    let mut child = events(&deputy, &["watch", &shop.id, "--last", "5"]).spawn().expect("the binary runs");
    let mut lines = Some(BufReader::new(child.stdout.take().expect("it was asked for")).lines());
    let mut next = async || {
        let mut taken = lines.take().expect("it was put back");
        let (line, taken) = tokio::task::spawn_blocking(move || (taken.next(), taken)).await.expect("it ends");
        lines = Some(taken);
        line.expect("it goes on").expect("it prints text")
    };
    // What was before says that it looks on by now.
    assert!(next().await.ends_with("published   m1  track Visit"));
    let body =
        json!({"writeKey": shop.write_key, "batch": [{"type": "page", "name": "Home", "anonymousId": "x", "messageId": "m2"}]});
    Answer::of(deputy.http.post(format!("{}/v1/batch", deputy.issuer)).json(&body)).await.ok();
    assert!(next().await.ends_with("accepted    m2  page Home"));
    deputy.settle().await;
    assert!(next().await.ends_with("published   m2"));
    child.kill().expect("it is ours to kill");
    child.wait().expect("it was ours");

    let (is_done, told) = run(&deputy, &["watch", "src_nobody"]).await;
    assert!(!is_done && told.contains("There is no such thing"), "{told}");
}
