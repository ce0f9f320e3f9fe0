//! Segment's SDKs, unmodified: what they are given to send arrives, whatever happens on the way.
//!
//! Each test runs one script against the server as it is shipped, behind a proxy that fails. A script finds in its environment `HOST`,
//! which is also the issuer; `WRITE_KEY`; and, where it is to authenticate with access tokens, `OAUTH_CLIENT_ID`, `OAUTH_KEY_ID` and
//! `OAUTH_KEY_PEM`. It makes every call that its SDK has, with `userId` `ada`, and tracks `Event 0` to `Event 19`; it ends when the SDK
//! says that all is sent. Then the log is read.

/// A bad connection.
mod proxy;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::Path,
};

use aws_lc_rs::{
    encoding::{AsDer as _, Pkcs8V1Der},
    rsa::{KeyPair, KeySize},
    signature::KeyPair as _,
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use deputy::{
    events::ingest::body::BODY_BYTES_MAX,
    log::{disk::RealDisk, embedded::reader::Reader},
    world::memory::INGEST_BYTES_MAX,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt as _, net::TcpStream, process::Command};

use self::proxy::{Fault, Proxy};
use super::{
    processes::{self, Announces, Process},
    surroundings::free_ports,
};
use crate::support::migrated_database;

/// What happens to a source's first requests.
const BAD_WEATHER: [Fault; 5] = [Fault::TooMany, Fault::Lost, Fault::Unavailable, Fault::AnswerLost, Fault::Silence];
const TRACKED: usize = 20;

/// The server, behind its proxy.
struct Tracking {
    folder: TempDir,
    host: String,
    proxy: Proxy,
    /// Where the server itself listens.
    address: SocketAddr,
    server: Process,
}

impl Tracking {
    async fn start() -> Tracking {
        Tracking::start_with(&[]).await
    }

    /// With these variables in the server's environment.
    async fn start_with(environment: &[(&str, String)]) -> Tracking {
        let folder = TempDir::new().expect("a folder for the test");
        let [server, proxy] = free_ports().map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let host = format!("http://{proxy}");
        let proxy = Proxy::start(proxy, server, folder.path().join("data/operator.token")).await;
        let mut serve = deputy(folder.path(), &host);
        serve.arg("serve").env("DEPUTY_LISTEN", server.to_string()).envs(environment.iter().cloned());
        let address = server;
        let server = Process::start(serve, Announces::OnError, "serving").await;
        Tracking { folder, host, proxy, address, server }
    }

    /// Has an operator do something at the command line.
    async fn tell(&self, arguments: &[&str]) -> Value {
        let mut command = deputy(self.folder.path(), &self.host);
        command.args(arguments).arg("--json");
        let answer = processes::run(command, "").await.unwrap_or_else(|failure| panic!("{failure}"));
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error} in {answer}"))
    }

    /// A script for a new source of this kind.
    async fn script(&self, name: &str, arguments: &[&str]) -> Command {
        self.prepared(processes::script(name), arguments).await
    }

    /// A program, told of a new source of this kind.
    async fn prepared(&self, mut script: Command, arguments: &[&str]) -> Command {
        let source = self.tell(&[&["sources", "create", "A source"], arguments].concat()).await;
        script.env("HOST", &self.host).env("WRITE_KEY", source["write_key"].as_str().expect("text"));
        script.env("CHROMIUM", processes::chromium()).env("TMPDIR", self.folder.path());
        for proxy in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            script.env_remove(proxy);
        }
        script
    }

    /// The same, for a source that takes nothing without an access token.
    async fn script_with_tokens(&self, name: &str) -> Command {
        let (pem, jwks) = rsa_key("k1");
        let file = self.folder.path().join("jwks.json");
        std::fs::write(&file, jwks.to_string()).expect("the folder can be written");
        let client = ["clients", "create", "An SDK", "--grant-type", "client_credentials", "--scope", "tracking_api:write"];
        let keys = ["--auth-method", "private_key_jwt", "--jwks", file.to_str().expect("temporary folders have names of text")];
        let client = self.tell(&[&client[..], &keys].concat()).await;
        let client_id = client["client_id"].as_str().expect("text");
        let mut script = self.script(name, &["--require-token", "--client", client_id]).await;
        script.env("OAUTH_CLIENT_ID", client_id).env("OAUTH_KEY_ID", "k1").env("OAUTH_KEY_PEM", pem);
        script
    }

    /// Runs a script to its end while this happens to what it sends. All of that has to be on record.
    async fn run(&self, script: Command, faults: &[Fault], calls: &[&str]) {
        self.proxy.plan(faults);
        if let Err(failure) = processes::run(script, "").await {
            panic!("{failure}\nthe server said:\n{}", self.server.said());
        }
        assert_eq!(self.proxy.left(), [], "all of it happened");
        let messages = messages(self.folder.path());
        let types: BTreeSet<_> = messages.values().filter_map(|message| message["type"].as_str()).collect();
        assert_eq!(types, calls.iter().copied().collect(), "every call is there");
        let tracked: BTreeSet<_> = messages.values().filter_map(|message| message["event"].as_str()).collect();
        let expected: BTreeSet<_> = (0..TRACKED).map(|number| format!("Event {number}")).collect();
        assert_eq!(tracked, expected.iter().map(String::as_str).collect(), "every event is there");
        assert!(messages.values().all(|message| message["userId"] == "ada" || message["type"] == "page"), "{messages:?}");
        assert_eq!(messages.len(), calls.len() - 1 + TRACKED, "what was sent twice says the same id twice");
    }
}

/// Takes all the room that the server has for what comes in at once: promises the largest bodies, and sends nothing of them.
async fn crowd(address: SocketAddr) -> Vec<TcpStream> {
    let mut crowd = Vec::new();
    for _ in 0..INGEST_BYTES_MAX / BODY_BYTES_MAX {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let head = format!("POST /v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: {BODY_BYTES_MAX}\r\n\r\n");
        // All but the last byte: what is only promised takes no room.
        let sent = [head.as_bytes(), &vec![b' '; BODY_BYTES_MAX - 1]].concat();
        stream.write_all(&sent).await.expect("it reads");
        crowd.push(stream);
    }
    crowd
}

/// `deputy` with the settings of this test: the process that serves, and those that ask it.
fn deputy(folder: &Path, issuer: &str) -> Command {
    let mut command = processes::deputy();
    command.current_dir(folder).env("DEPUTY_ISSUER", issuer).env("DEPUTY_DATA_DIR", folder.join("data"));
    command
}

/// What the log holds, by message id: read beside the server.
fn messages(folder: &Path) -> BTreeMap<String, Value> {
    let mut reader = Reader::open(std::sync::Arc::new(RealDisk::at(&folder.join("data/log")))).expect("the log is readable");
    reader.refresh().expect("the log is whole");
    let read = reader.read("received", 0, 0, usize::MAX).expect("the log is whole");
    let facts = read.entries.iter().map(|entry| serde_json::from_slice::<Value>(&entry.payload).expect("facts are JSON"));
    let received = facts.filter(|fact| fact["type"] == "event.received.v1").map(|fact| fact["data"]["message"].clone());
    received.map(|message| (message["messageId"].as_str().expect("every message has an id").to_owned(), message)).collect()
}

/// A new RSA key, as the SDKs want it: private in PEM, public as a JWK Set.
fn rsa_key(kid: &str) -> (String, Value) {
    let key = KeyPair::generate(KeySize::Rsa2048).expect("keys can be made");
    let document: Pkcs8V1Der<'_> = key.as_der().expect("it was just made");
    let part = |number: &[u8]| URL_SAFE_NO_PAD.encode(number);
    let (n, e) = (key.public_key().modulus(), key.public_key().exponent());
    let jwk = json!({"kty": "RSA", "alg": "RS256", "use": "sig", "kid": kid,
        "n": part(n.big_endian_without_leading_zero()), "e": part(e.big_endian_without_leading_zero())});
    let label = ["PRIVATE", "KEY"].join(" ");
    let lines: Vec<_> = STANDARD.encode(document.as_ref()).into_bytes().chunks(64).map(<[u8]>::to_vec).collect();
    let body = String::from_utf8(lines.join(&b'\n')).expect("base64 is ASCII");
    (format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n"), json!({"keys": [jwk]}))
}

const CALLS: [&str; 6] = ["identify", "track", "page", "screen", "group", "alias"];
/// The SDK of browsers has no screens.
const CALLS_OF_A_BROWSER: [&str; 5] = ["identify", "track", "page", "group", "alias"];

#[tokio::test]
async fn segment_node() {
    let tracking = Tracking::start().await;
    tracking.run(tracking.script("segment_node.mjs", &[]).await, &BAD_WEATHER, &CALLS).await;
}

#[tokio::test]
async fn segment_python() {
    let tracking = Tracking::start().await;
    tracking.run(tracking.script("segment_python.py", &[]).await, &BAD_WEATHER, &CALLS).await;
}

#[tokio::test]
async fn segment_crate() {
    let tracking = Tracking::start().await;
    let program = tracking.prepared(processes::rust_client(), &[]).await;
    tracking.run(program, &BAD_WEATHER, &CALLS).await;
}

/// What the server itself says when it has no room, and when its database is away: that it be tried again, and it is.
#[tokio::test]
async fn segment_node_loses_nothing_when_the_server_is_in_trouble() {
    let database = migrated_database().await;
    let tracking = Tracking::start_with(&[("DEPUTY_DATABASE", database.url())]).await;
    let script = tracking.script("segment_node.mjs", &[]).await;
    database.go_away().await;
    let crowd = crowd(tracking.address).await;
    let trouble = async {
        tracking.proxy.answered(429).await;
        drop(crowd);
        tracking.proxy.answered(503).await;
        database.come_back().await;
    };
    tokio::join!(tracking.run(script, &[], &CALLS), trouble);
}

#[tokio::test]
async fn segment_in_chromium() {
    let tracking = Tracking::start().await;
    let script = tracking.script("segment_browser.mjs", &["--kind", "browser"]).await;
    // In a browser the SDK waits for an answer for as long as the connection stands: silence is nothing that it can tell.
    tracking.run(script, &BAD_WEATHER[..4], &CALLS_OF_A_BROWSER).await;
    let messages = messages(tracking.folder.path());
    assert!(messages.values().all(|message| message["context"]["ip"] == "127.0.0.1"), "{messages:?}");
}

#[tokio::test]
async fn segment_node_loses_nothing_when_its_token_dies() {
    let tracking = Tracking::start().await;
    let script = tracking.script_with_tokens("segment_node.mjs").await;
    tracking.run(script, &[Fault::TooMany, Fault::GrantEnded], &CALLS).await;
    assert!(tracking.proxy.statuses().contains(&511), "{:?}", tracking.proxy.statuses());
}

#[tokio::test]
async fn segment_python_loses_nothing_when_its_token_dies() {
    let tracking = Tracking::start().await;
    let script = tracking.script_with_tokens("segment_python.py").await;
    tracking.run(script, &[Fault::TooMany, Fault::GrantEnded], &CALLS).await;
    assert!(tracking.proxy.statuses().contains(&511), "{:?}", tracking.proxy.statuses());
}
