//! The server as it is shipped, with everything around it that a client meets: an MCP server, metadata documents, a person with an
//! account, and clients that an operator made.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicU16, Ordering},
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use super::processes::{self, Announces, Process};

pub const LOGIN: &str = "ada@example.com";
pub const PASSWORD: &str = "a long password of Ada";
/// Where web applications are sent back to; nobody follows.
const WEB_CALLBACK: &str = "https://app.example.com/callback";

pub struct Surroundings {
    pub issuer: String,
    pub resource: String,
    pub documents: String,
    pub secret_client: PreRegistered,
    pub key_client: PreRegistered,
    public_client: String,
    invitations: [String; 2],
    resets: [String; 2],
    folder: TempDir,
    server: Process,
    // Both end when they are dropped.
    _beside: [Process; 2],
}

/// A client that an operator made, with its secret or its private key in PEM.
pub struct PreRegistered {
    pub client_id: String,
    pub secret: String,
}

impl Surroundings {
    /// With the defaults.
    pub async fn start() -> Surroundings {
        Surroundings::signing_with("ES256").await
    }

    /// With signing keys for this algorithm.
    pub async fn signing_with(algorithm: &str) -> Surroundings {
        let folder = TempDir::new().expect("a folder for the test");
        let [issuer_port, resource_port] = free_ports();
        let issuer = format!("http://127.0.0.1:{issuer_port}");
        let resource = format!("http://127.0.0.1:{resource_port}/mcp");

        let mut documents = processes::script("documents.py");
        documents.arg(folder.path());
        let documents = Process::start(documents, Announces::OnOutput, "https://").await;
        let mut serve = deputy(&folder, &issuer);
        serve.arg("serve").env("DEPUTY_LISTEN", format!("127.0.0.1:{issuer_port}"));
        serve.env("DEPUTY_SIGNING_ALGORITHM", algorithm).env("DEPUTY_SIGN_UP", "true");
        let server = Process::start(serve, Announces::OnError, "serving").await;
        let mut mcp = processes::example("protected_mcp_server");
        mcp.args(["--address", &format!("127.0.0.1:{resource_port}"), "--issuer", &issuer]);
        let mcp = Process::start(mcp, Announces::OnOutput, "an MCP server").await;

        let operator = Operator { folder: &folder, issuer: &issuer };
        operator.create_resource(&resource).await;
        operator.create_person(LOGIN).await;
        let (secret_client, key_client) = (operator.create_secret_client().await, operator.create_key_client().await);
        let public_client = operator.create_public_client().await;
        let invitations = [operator.invite("grace@example.com").await, operator.invite("edsger@example.com").await];
        let resets = [operator.reset("barbara.liskov@example.com").await, operator.reset("alan.turing@example.com").await];
        let documents_url = documents.announcement.clone();
        Surroundings {
            issuer,
            resource,
            documents: documents_url,
            secret_client,
            key_client,
            public_client,
            invitations,
            resets,
            folder,
            server,
            _beside: [documents, mcp],
        }
    }

    /// Runs a script to its end; fails with all that it and the server said unless every step of it worked.
    pub async fn run(&self, name: &str) -> String {
        self.finish(self.script(name)).await
    }

    /// Has the person open an authorization URL, sign in and allow all of it; where they are sent.
    pub async fn authorize(&self, url: &str) -> String {
        let mut command = self.script("authorize.mjs");
        command.arg(url);
        self.finish(command).await.trim().to_owned()
    }

    async fn finish(&self, command: Command) -> String {
        let ended = processes::run(command, "").await;
        ended.unwrap_or_else(|failure| panic!("{failure}\nthe server said:\n{}", self.server.said()))
    }

    fn operator_token(&self) -> String {
        let token = std::fs::read_to_string(self.folder.path().join("data/operator.token"));
        token.expect("the first start wrote it").trim().to_owned()
    }

    fn script(&self, name: &str) -> Command {
        let [callback_port] = free_ports();
        let mut command = processes::script(name);
        command
            .env("ISSUER", &self.issuer)
            .env("RESOURCE", &self.resource)
            .env("LOGIN", LOGIN)
            .env("PASSWORD", PASSWORD)
            .env("CLIENT_DOCUMENTS", &self.documents)
            .env("SECRET_CLIENT_ID", &self.secret_client.client_id)
            .env("SECRET_CLIENT_SECRET", &self.secret_client.secret)
            .env("KEY_CLIENT_ID", &self.key_client.client_id)
            .env("KEY_CLIENT_PEM", &self.key_client.secret)
            .env("PUBLIC_CLIENT_ID", &self.public_client)
            .env("CALLBACK_PORT", callback_port.to_string())
            .env("CHROMIUM", processes::chromium())
            .env("INVITATION_SCRIPTED", &self.invitations[0])
            .env("INVITATION_UNSCRIPTED", &self.invitations[1])
            .env("RESET_SCRIPTED", &self.resets[0])
            .env("RESET_UNSCRIPTED", &self.resets[1])
            .env("OPERATOR_TOKEN", self.operator_token())
            .env("TMPDIR", self.folder.path());
        for proxy in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            command.env_remove(proxy);
        }
        command
    }
}

/// `deputy` with the settings of this test: the process that serves, and those that ask it.
fn deputy(folder: &TempDir, issuer: &str) -> Command {
    let mut command = processes::deputy();
    command
        .current_dir(folder.path())
        .env("DEPUTY_ISSUER", issuer)
        .env("DEPUTY_DATA_DIR", folder.path().join("data"))
        // For the documents, as a company's own authority would be added.
        .env("SSL_CERT_FILE", folder.path().join("authority.pem"));
    command
}

/// The operator at the command line.
struct Operator<'s> {
    folder: &'s TempDir,
    issuer: &'s str,
}

impl Operator<'_> {
    async fn tell(&self, arguments: &[&str], input: &str) -> Value {
        let mut command = deputy(self.folder, self.issuer);
        command.args(arguments).arg("--json");
        let answer = processes::run(command, input).await.unwrap_or_else(|failure| panic!("{failure}"));
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error} in {answer}"))
    }

    async fn create_resource(&self, identifier: &str) {
        let scopes = ["--scope", "notes:read=Read your notes", "--scope", "notes:write=Write and change your notes"];
        self.tell(&[&["resources", "create", identifier, "--name", "Notes"], &scopes[..]].concat(), "").await;
    }

    async fn create_person(&self, login: &str) {
        let arguments = ["people", "create", login, "--display-name", "Ada Lovelace", "--password-stdin"];
        self.tell(&arguments, &format!("{PASSWORD}\n")).await;
    }

    async fn create_secret_client(&self) -> PreRegistered {
        let mut arguments = vec!["clients", "create", "A service with a secret", "--grant-type", "client_credentials"];
        arguments.extend(["notes:read", "notes:write"].iter().flat_map(|scope| ["--scope", scope]));
        let made = self.tell(&arguments, "").await;
        PreRegistered { client_id: text(&made, "client_id"), secret: text(&made, "client_secret") }
    }

    async fn create_key_client(&self) -> PreRegistered {
        let (pem, jwks) = key_pair();
        let file = self.folder.path().join("jwks.json");
        std::fs::write(&file, jwks.to_string()).expect("the folder can be written");
        let file = file.to_str().expect("temporary folders have names of text");
        let mut arguments = vec!["clients", "create", "A service with a key", "--redirect-uri", WEB_CALLBACK];
        arguments.extend(["--auth-method", "private_key_jwt", "--jwks", file]);
        arguments
            .extend(["authorization_code", "refresh_token", "client_credentials"].iter().flat_map(|grant| ["--grant-type", grant]));
        let scopes = ["openid", "profile", "email", "offline_access", "notes:read", "notes:write"];
        arguments.extend(scopes.iter().flat_map(|scope| ["--scope", scope]));
        PreRegistered { client_id: text(&self.tell(&arguments, "").await, "client_id"), secret: pem }
    }

    async fn create_public_client(&self) -> String {
        let mut arguments = vec!["clients", "create", "An app", "--auth-method", "none", "--application-type", "native"];
        arguments.extend(["--redirect-uri", "http://127.0.0.1/callback"]);
        arguments.extend(["authorization_code", "refresh_token"].iter().flat_map(|grant| ["--grant-type", grant]));
        text(&self.tell(&arguments, "").await, "client_id")
    }

    /// Of a person with an account, who lost their password.
    async fn reset(&self, login: &str) -> String {
        self.create_person(login).await;
        text(&self.tell(&["people", "reset-password", login], "").await, "url")
    }

    async fn invite(&self, login: &str) -> String {
        text(&self.tell(&["people", "invite", login], "").await, "url")
    }
}

fn text(answer: &Value, member: &str) -> String {
    answer[member].as_str().unwrap_or_else(|| panic!("no string {member} in {answer}")).to_owned()
}

/// A new ES256 key: private in PEM, public as a JWK Set.
fn key_pair() -> (String, Value) {
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).expect("keys can be made");
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref()).expect("it was just made");
    let (x, y) = key.public_key().as_ref()[1..].split_at(32);
    let jwk = json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig",
        "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)});
    let label = ["PRIVATE", "KEY"].join(" ");
    let pem = format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(document.as_ref()));
    (pem, json!({"keys": [jwk]}))
}

/// Ports that nothing listens on and that are nobody else's: the programs must be told theirs before they start.
///
/// They lie below those that the system hands out by itself, so that none is taken by a connection in the meantime. Each test process
/// begins at another place.
pub(super) fn free_ports<const COUNT: usize>() -> [u16; COUNT] {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let first = 10_000 + u16::try_from(std::process::id() % 300).expect("it is below 300") * 64;
    std::array::from_fn(|_| {
        let mut candidates = std::iter::repeat_with(|| first + TAKEN.fetch_add(1, Ordering::Relaxed));
        candidates.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("there is always another")
    })
}
