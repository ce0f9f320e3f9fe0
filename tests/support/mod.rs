//! The actors of the tests: an installation of Deputy, and those who deal with it over HTTP as anybody would.

/// A private PostgreSQL.
pub mod postgres;
/// A private Apache Kafka.
pub mod kafka;
/// An installation: start it, restart it, read its facts.
pub mod installation;
/// The server in a process of its own.
pub mod serving;
/// A person with a browser.
pub mod person;
/// Software that asks for tokens.
pub mod agent;
/// Software that proves itself by signature.
pub mod workload;
/// A resource server in Rust.
pub mod protected;
/// What is kept in storage.
pub mod state;
/// What an answer was.
pub mod answer;

pub use agent::Agent;
pub use answer::Answer;
pub use installation::{Installation, PANIC, each_engine, each_engine_calling_out, each_engine_with, migrated_database};
pub use person::Person;
pub use protected::Protected;
pub use workload::{Signer, Workload};

/// How long to look for something that is about to happen.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// Waits for something that happens by itself.
pub async fn until(has_happened: impl Fn() -> bool) {
    let looking = async {
        while !has_happened() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.expect("it happens");
}

/// The resource that tests protect, as it spells itself.
pub const RESOURCE: &str = "https://notes.example/mcp";
/// A redirect URI that is not loopback, so that consent may be silent.
pub const CALLBACK: &str = "https://agent.example/callback";
