//! From a fact to a profile: what comes in, what becomes of it, and what is lost: nothing.

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
