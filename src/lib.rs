//! Deputy, an authorization server for software that acts for people.
//!
//! The modules stand in import order: a module imports only from those above it. The README draws the map, `tests/house` keeps
//! the order.

/// What an installation may decide: `deputy.toml` and the environment.
pub mod config;
/// Nouns and rules, pure.
pub mod domain;
/// What happened, and how it gets to the log.
pub mod events;
/// Where axum lives: one file for each audience.
pub mod http;
/// The keyring: sign, verify, rotate, publish; and the installation's own secrets.
pub mod keys;
/// The durable log: topics, partitions, offsets.
pub mod log;
/// Outgoing HTTP: every URL is hostile.
pub mod outbound;
/// OAuth and OpenID Connect without HTTP.
pub mod protocol;
/// For resource servers written in Rust: protect an HTTP service with tokens that Deputy issued.
pub mod resource_server;
/// The process: sockets, background stages, a graceful stop.
pub mod server;
/// All SQL, one text for SQLite and PostgreSQL.
pub mod storage;
/// Everything outside our memory, each part with a simulated twin.
pub mod world;
