//! What the benchmarks of servers share: each server a process, and the load that is put on it.

/// The servers as processes: where they are, what they use.
pub mod process;
/// Requests over connections that stay open.
pub mod load;

/// What can go wrong here; whoever runs a benchmark only wants to read it.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
