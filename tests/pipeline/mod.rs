//! From a fact to a profile: each stage as it can be seen from outside, under crashes and on every log. Nothing is lost on the way.

/// The contract of the log, on each of its two kinds.
mod log;
/// A server whose log is on Kafka.
mod kafka;
/// The tracking API.
mod ingest;
/// A source, and what becomes of what it sends.
mod shaped;
/// Operators' programs, inside their bounds.
mod sandbox;
/// Operators' programs on a source's events.
mod transformations;
/// What a source is to send.
mod tracking_plan;
/// Other services call us.
mod webhooks;
