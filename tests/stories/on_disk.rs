//! What is answered is on the disk: the kernel tells which files were synced, and before which answer.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use serde_json::json;
use tempfile::TempDir;

use crate::support::{
    Answer,
    serving::{Running, free_address, http, serve},
};

const STRACE: &str = "/usr/bin/strace";

/// The server, watched at its syncs. It stays our own child: who watches stands aside.
fn watched(served: &Command, calls: &Path) -> Command {
    assert!(Path::new(STRACE).exists(), "strace is missing: run tests/setup.sh, which installs it");
    let mut command = Command::new(STRACE);
    command.args(["-D", "-f", "-y", "-qq", "-e", "trace=fsync,fdatasync", "-e", "signal=none", "-o"]).arg(calls);
    command.arg(served.get_program()).args(served.get_args());
    command.env_clear().envs(served.get_envs().filter_map(|(name, value)| Some((name, value?)))).stderr(Stdio::piped());
    command.current_dir(calls.parent().unwrap_or(calls));
    command
}

/// How often a file whose path has this in it was synced.
fn syncs(calls: &Path, name: &str) -> usize {
    let calls = std::fs::read_to_string(calls).expect("it is written");
    calls.lines().filter(|line| line.contains("sync(") && line.contains(name)).count()
}

#[tokio::test]
async fn what_is_answered_was_synced_before() {
    let (folder, address) = (TempDir::new().expect("a folder"), free_address());
    let (data, calls) = (folder.path().join("data"), folder.path().join("calls"));
    let running = Running::of(watched(&serve(&data, address), &calls), address);
    let mut write_key = json!(null);
    for number in 0..5 {
        let before = syncs(&calls, "/deputy.db-wal>");
        write_key = running.operate(&data, "/sources", json!({"name": format!("Source {number}")})).await["write_key"].take();
        assert!(syncs(&calls, "/deputy.db-wal>") > before, "what an operator was told of is in storage");
    }
    for number in 0..5 {
        let before = syncs(&calls, "/log/received.");
        let page = json!({"type": "page", "userId": "ada", "messageId": format!("m{number}")});
        let body = json!({"writeKey": write_key, "batch": [page]}).to_string();
        Answer::of(http().post(format!("{}/v1/batch", running.issuer)).body(body)).await.ok();
        assert!(syncs(&calls, "/log/received.") > before, "an event that was taken is in the log");
    }
}
