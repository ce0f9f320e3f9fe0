//! From a fact to a profile: what comes in, what becomes of it, and what is lost: nothing.

/// The contract of the log, on each of its two kinds.
mod log;
/// A server on Kafka.
mod kafka;
/// The tracking API.
mod ingest;
