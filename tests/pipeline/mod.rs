//! From a fact to a profile: each stage as it can be seen from outside, under crashes and on every log. Nothing is lost on the way.

/// The contract of the log, on each of its two kinds.
mod log;
/// The tracking API.
mod ingest;
