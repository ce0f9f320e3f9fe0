//! `deputy serve` as a process: what it says when it cannot start, how it stops, and what a `kill -9` costs.

use std::{
    io::{BufRead as _, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use deputy::log::lag;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    Answer, Installation, RESOURCE,
    serving::{Running, free_address, http, serve, signal},
};

/// Runs to its end; the exit code and what it said.
fn refusal_to_start(mut command: Command) -> (Option<i32>, String) {
    let output = command.output().expect("the binary runs");
    (output.status.code(), String::from_utf8(output.stderr).expect("its lines are text"))
}

#[test]
fn a_used_port_is_told_in_a_sentence() {
    let folder = TempDir::new().expect("a folder");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound");
    let (code, said) = refusal_to_start(serve(&folder.path().join("data"), address));
    assert_eq!(code, Some(1));
    assert!(said.contains(&address.to_string()) && said.contains("is in use"), "{said}");
    assert!(!folder.path().join("data").exists(), "nothing was made");
}

#[test]
fn a_data_folder_that_cannot_be_used_is_told_in_a_sentence() {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("a file");
    std::fs::write(&file, "not a folder").expect("it is ours");
    let (code, said) = refusal_to_start(serve(&file, free_address()));
    assert_eq!(code, Some(1));
    assert!(said.contains("data folder") && said.contains("a file") && !said.contains("panic"), "{said}");
}

#[test]
fn a_data_folder_that_cannot_be_written_is_told_in_a_sentence() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    std::fs::create_dir(&data).expect("it is ours");
    let only = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("it is ours");
    only(&data, 0o555);
    let mut command = serve(&data, free_address());
    if data.metadata().expect("it was just made").uid() == 0 {
        // Nothing is forbidden to root, so somebody else is to try: with a copy of the binary that others may read.
        let binary = folder.path().join("deputy");
        std::fs::copy(env!("CARGO_BIN_EXE_deputy"), &binary).expect("there is space");
        only(folder.path(), 0o755);
        only(&binary, 0o755);
        let mut as_nobody = Command::new("/usr/bin/setpriv");
        as_nobody.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]).arg(&binary).arg("serve");
        as_nobody.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?)))).stderr(Stdio::piped());
        as_nobody.current_dir(folder.path());
        command = as_nobody;
    }
    let (code, said) = refusal_to_start(command);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("data folder") && said.contains(&*data.to_string_lossy()), "{said}");
    assert!(said.contains("Permission denied") && said.contains("`data_dir`") && !said.contains("panic"), "{said}");
    assert_eq!(std::fs::read_dir(&data).expect("it is ours").count(), 0, "nothing was made");
}

/// Not even root can make a folder there.
#[test]
fn a_data_folder_that_cannot_be_made_is_told_in_a_sentence() {
    let (code, said) = refusal_to_start(serve(Path::new("/proc/deputy-data"), free_address()));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("data folder /proc/deputy-data") && said.contains("`data_dir`") && !said.contains("panic"), "{said}");
}

#[test]
fn data_of_a_newer_version_are_left_alone() {
    let (folder, address) = (TempDir::new().expect("a folder"), free_address());
    Running::start(folder.path(), address).kill();
    let database = rusqlite::Connection::open(folder.path().join("deputy.db")).expect("it is ours");
    database.execute("INSERT INTO deputy_migrations VALUES (9999, 'from_the_future', 'x', 0)", []).expect("the ledger exists");
    drop(database);
    let (code, said) = refusal_to_start(serve(folder.path(), address));
    assert_eq!(code, Some(1));
    assert!(said.contains("9999") && said.contains("newer version"), "{said}");
}

#[test]
fn a_second_server_on_the_same_data_is_refused() {
    let folder = TempDir::new().expect("a folder");
    let _first = Running::start(folder.path(), free_address());
    let (code, said) = refusal_to_start(serve(folder.path(), free_address()));
    assert_eq!(code, Some(1));
    assert!(said.contains("another deputy process"), "{said}");
}

#[test]
fn doctor_examines_beside_a_running_server() {
    let (folder, address) = (TempDir::new().expect("a folder"), free_address());
    let data = folder.path().join("data");
    let running = Running::start(&data, address);
    let mut doctor = Command::new(env!("CARGO_BIN_EXE_deputy"));
    doctor.arg("doctor").env_clear().current_dir(folder.path());
    doctor.envs(serve(&data, address).get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = doctor.output().expect("the binary runs");
    let said = String::from_utf8(output.stdout).expect("it writes text");
    assert!(output.status.success() && said.ends_with("Nothing is wrong.\n"), "{said}");
    for expected in ["this server is running", "has the schema of this version", "can be read", "of disk and"] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    running.stop();
}

#[test]
fn a_lost_master_key_is_never_replaced() {
    let (folder, address) = (TempDir::new().expect("a folder"), free_address());
    Running::start(folder.path(), address).kill();
    let key = folder.path().join("master.key");
    let kept = std::fs::read(&key).expect("the first start wrote it");
    std::fs::remove_file(&key).expect("it is ours");
    let (code, said) = refusal_to_start(serve(folder.path(), address));
    assert_eq!(code, Some(1));
    assert!(said.contains("master key") && said.contains("restore") && !key.exists(), "{said}");
    std::fs::write(&key, kept).expect("it is ours");
    Running::start(folder.path(), address).kill();
}

#[test]
fn secrets_on_disk_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let running = Running::start(&data, free_address());
    for (name, mode) in [("", 0o700), ("operator.token", 0o600), ("master.key", 0o600), ("deputy.db", 0o600)] {
        let permissions = std::fs::metadata(data.join(name)).unwrap_or_else(|error| panic!("{name}: {error}")).permissions();
        assert_eq!(permissions.mode() & 0o777, mode, "{name}");
    }
    running.kill();
}

#[tokio::test]
async fn kill_9_loses_nothing_that_was_answered() {
    let (folder, address) = (TempDir::new().expect("a folder"), free_address());
    let running = Running::start(folder.path(), address);
    let scopes = json!([{"name": "notes:read", "description": "Read your notes"}]);
    let resource =
        running.operate(folder.path(), "/resources", json!({"identifier": RESOURCE, "name": "Notes", "scopes": scopes})).await;
    let service = json!({"client_name": "A service", "grant_types": ["client_credentials"], "scope": "notes:read",
        "token_endpoint_auth_method": "client_secret_basic"});
    let client = running.operate(folder.path(), "/clients", service).await;
    let (kept, revoked) = (running.token(&client).await.text("access_token"), running.token(&client).await.text("access_token"));
    let (id, secret) = (client["client_id"].as_str().expect("text"), client["client_secret"].as_str());
    Answer::of(http().post(format!("{}/revoke", running.issuer)).basic_auth(id, secret).form(&[("token", &revoked)])).await.ok();
    running.kill();

    let running = Running::start(folder.path(), address);
    assert!(running.is_active(&resource, &kept).await, "the key, the grant and the client are there");
    assert!(!running.is_active(&resource, &revoked).await, "what was revoked stays revoked");
    running.token(&client).await.ok();
    let facts = records(folder.path(), "facts");
    let count = |name: &str| facts.iter().filter(|fact| fact["type"] == name).count();
    assert!(count("token.issued.v1") >= 2, "promise 1: {facts:?}");
    running.kill();
}

#[tokio::test]
async fn kill_9_loses_no_event_that_was_taken() {
    let (folder, address) = (TempDir::new().expect("a folder"), free_address());
    let running = Running::start(folder.path(), address);
    let source = running.operate(folder.path(), "/sources", json!({"name": "A source"})).await;
    let (issuer, count) = (running.issuer.clone(), Arc::new(AtomicUsize::new(0)));
    let senders: Vec<_> = (0..8)
        .map(|sender| {
            let (issuer, write_key, count) = (issuer.clone(), source["write_key"].clone(), Arc::clone(&count));
            tokio::spawn(async move {
                let (http, mut taken) = (http(), Vec::new());
                for number in 0..10_000 {
                    let id = format!("{sender}-{number}");
                    let batch = json!([{"type": "track", "event": "E", "userId": "ada", "messageId": id}]);
                    let body = json!({"writeKey": write_key, "batch": batch}).to_string();
                    match http.post(format!("{issuer}/v1/batch")).body(body).send().await {
                        Ok(answer) if answer.status().is_success() => {
                            taken.push(id);
                            count.fetch_add(1, Ordering::Relaxed);
                        }
                        // Whatever was answered otherwise, or not at all, is sent again by its sender.
                        _ => break,
                    }
                }
                taken
            })
        })
        .collect();
    // In the middle of it.
    while count.load(Ordering::Relaxed) < 200 {
        assert!(!senders.iter().all(tokio::task::JoinHandle::is_finished), "they end when the server does");
        tokio::task::yield_now().await;
    }
    running.kill();
    let mut taken = Vec::new();
    for sender in senders {
        taken.extend(sender.await.expect("no sender panics"));
    }
    Running::start(folder.path(), address).kill();
    let kept: std::collections::HashSet<_> = records(folder.path(), "received")
        .into_iter()
        .filter_map(|fact| Some(fact["data"]["message_id"].as_str()?.to_owned()))
        .collect();
    let lost: Vec<_> = taken.iter().filter(|id| !kept.contains(*id)).collect();
    assert!(taken.len() > 100 && lost.is_empty(), "of {} taken these are gone: {lost:?}", taken.len());
}

#[tokio::test]
async fn a_process_runs_programs_in_a_child_of_its_own() {
    let (folder, address) = (TempDir::new().expect("a folder"), free_address());
    let running = Running::start(folder.path(), address);
    let trial = json!({"program": ".n = 2", "event": {"n": 1}});
    let tried = running.operate(folder.path(), "/transformations/test", trial).await;
    assert_eq!(tried, json!({"events": [{"n": 2}]}));
}

#[tokio::test]
async fn sigterm_finishes_what_is_in_flight() {
    let (folder, address) = (TempDir::new().expect("a folder"), free_address());
    let mut running = Running::start(folder.path(), address);
    let body = json!({"client_name": "Agent", "redirect_uris": ["https://agent.example/cb"]}).to_string();
    let (sent, kept_back) = body.split_at(10);
    let mut in_flight = TcpStream::connect(address).expect("it listens");
    let head = format!(
        "POST /register HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         expect: 100-continue\r\nconnection: close\r\n\r\n",
        body.len()
    );
    write!(in_flight, "{head}{sent}").expect("it reads");
    let mut said_first = [0; 12];
    in_flight.read_exact(&mut said_first).expect("it asks for the body when it works on the request");
    assert_eq!(&said_first, b"HTTP/1.1 100");

    signal("-TERM", running.child.id());
    let mut line = String::new();
    while !line.contains("stopping") {
        line.clear();
        assert!(running.lines.read_line(&mut line).expect("its lines are text") > 0, "it ended before it said that it stops");
    }
    while TcpStream::connect(address).is_ok() {
        std::thread::yield_now();
    }
    write!(in_flight, "{kept_back}").expect("it still reads");
    let mut answer = String::new();
    in_flight.read_to_string(&mut answer).expect("it answers");
    assert!(answer.contains("HTTP/1.1 201 Created"), "{answer}");
    let mut said = String::new();
    running.lines.read_to_string(&mut said).expect("its lines are text");
    assert!(running.child.wait().expect("it was ours").success() && !said.contains("cut off"), "{said}");
    let registered = records(folder.path(), "facts").into_iter().filter(|fact| fact["type"] == "client.registered.v1").count();
    assert_eq!(registered, 1, "a stop leaves no fact in the outbox");
}

/// What customers have sent is safe in the log: a stop that worked it off would be taken for one that hangs, and be killed.
#[tokio::test]
async fn a_stop_leaves_the_backlog_to_the_next_start() {
    const REQUESTS: usize = 30;
    const EVENTS_EACH: usize = 100;
    let mut deputy = Installation::start().await;
    let source = deputy.source(json!({})).await;
    let note = "x".repeat(4_000);
    for request in 0..REQUESTS {
        let calls: Vec<_> = (0..EVENTS_EACH)
            .map(|number| {
                json!({"type": "track", "event": "E", "userId": "ada", "messageId": format!("{request}-{number}"),
                    "properties": {"note": note}})
            })
            .collect();
        let body = json!({"writeKey": source["write_key"], "batch": calls}).to_string();
        Answer::of(deputy.http.post(format!("{}/v1/batch", deputy.issuer)).body(body)).await.ok();
    }
    deputy.restart_with_stages().await;
    deputy.restart().await;
    let behind = async || {
        let lags = lag::of(&*deputy.world().log).await.expect("the log answers");
        lags.iter().filter(|lag| lag.topic == "received").map(lag::Lag::behind).sum::<u64>()
    };
    let end = deputy.world().log.bounds("received", 0).await.expect("it is there").1;
    assert_eq!(end, (REQUESTS * EVENTS_EACH) as u64);
    let published = async || deputy.world().log.bounds("events", 0).await.expect("it is there").1;
    assert!(behind().await > 0 || published().await == 0, "it stopped before everything was worked off");
    deputy.settle().await;
    assert_eq!(behind().await, 0);
    let received = deputy.topic("events").await.into_iter().filter(|event| event["type"] == "event.received.v1").count();
    assert_eq!(received, REQUESTS * EVENTS_EACH, "the next start finds the rest");
}

/// The records of a topic in the log of a data folder, read beside the server.
fn records(data: &Path, topic: &str) -> Vec<Value> {
    use deputy::log::{disk::RealDisk, embedded::reader::Reader};
    let mut reader = Reader::open(std::sync::Arc::new(RealDisk::at(&data.join("log")))).expect("the log is readable");
    reader.refresh().expect("the log is whole");
    let entries = reader.read(topic, 0, 0, usize::MAX).expect("the log is whole").entries;
    entries.iter().map(|entry| serde_json::from_slice(&entry.payload).expect("facts are JSON")).collect()
}
