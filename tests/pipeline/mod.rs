//! From a fact to a profile: each stage as it can be seen from outside, under crashes and on every log. Nothing is lost on the way.

/// The contract of the log, on each of its two kinds.
mod log;
/// A server on Kafka.
mod kafka;
/// The process, killed again and again.
mod kills;
/// Each event once.
mod dedup;
/// The same where several nodes share the work.
mod workers;
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
/// What speaks against agents and people, and what is done about it.
mod risk;
/// Who is who.
mod who;
/// What nobody waits for.
mod remarks;
/// Other services call us.
mod webhooks;
/// A database is asked.
mod warehouses;

/// An organisation that sends and asks.
mod space;
/// Whose the events are, and what they add up to.
mod profiles;
/// Who belongs together by what is known of them.
mod audiences;
/// How profiles are asked for.
mod profile_api;
/// The same by command line.
mod console;
/// Who looks on at a source.
mod watch;
/// Who reads the log, and what operators do to them.
mod consumers;
/// Another log takes the place of the one that was read.
mod another_log;
/// Who asks to be forgotten.
mod privacy;
/// What models predict.
mod predictions;
