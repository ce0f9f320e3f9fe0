//! Deputy, an authorization server for software that acts for people.
//!
//! The modules stand in import order: a module imports only from those above it. The README draws the map, `tests/house` keeps
//! the order.

/// Nouns and rules, pure.
pub mod domain;
/// What an installation may decide: `deputy.toml` and the environment.
pub mod config;
/// What the process shows of itself: log lines, traces, metrics.
pub mod telemetry;
/// All SQL about our own state, one text for SQLite and PostgreSQL.
pub mod storage;
/// The durable log: topics, partitions, offsets.
pub mod log;
/// The keyring: sign, verify, rotate, publish; and the installation's own secrets.
pub mod keys;
/// All that is called outside: HTTP, where every URL is hostile, and the queries to an organisation's warehouse.
pub mod outbound;
/// Operators' programs, run in a bounded child process.
pub mod sandbox;
/// Everything outside our memory, each part with a simulated twin.
pub mod world;
/// OAuth and OpenID Connect without HTTP.
pub mod protocol;
/// What happened, and how it gets to the log.
pub mod events;
/// For resource servers written in Rust: protect an HTTP service with tokens that Deputy issued.
pub mod resource_server;
/// Where axum lives: one file for each audience.
pub mod http;
/// The process: sockets, background stages, a graceful stop.
pub mod server;
