//! From a fact to a profile: what comes in, what becomes of it, and what is lost: nothing.

/// A source, and what becomes of what it sends.
mod shaped;
/// Operators' programs, inside their bounds.
mod sandbox;
/// Operators' programs on a source's events.
mod transformations;
/// What a source is to send.
mod tracking_plan;
