//! From a fact to a profile: what comes in, what becomes of it, and what is lost: nothing.

/// The tracking API.
mod ingest;
