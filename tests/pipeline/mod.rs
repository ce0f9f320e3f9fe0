//! From a fact to a profile: each stage as it can be seen from outside, under crashes and on every log.

/// The contract of the log, on each of its two kinds.
mod log;
