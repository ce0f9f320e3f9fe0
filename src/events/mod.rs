//! What happened: facts leave the transaction that caused them and become the log's.

pub mod relay;
/// Turns at what other servers are asked.
mod turns;
pub mod ingest;
pub mod shaping;
/// A topic by the offsets that storage has of it.
mod topic;
pub mod dedup;
pub mod profiles;
pub mod risk;
pub mod who;
/// A source's events, live.
pub mod watch;
/// Who reads the log, and what operators do to them.
pub mod consumers;
