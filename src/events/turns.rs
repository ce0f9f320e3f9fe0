//! Turns at what is asked of other servers, such as warehouses and models: one node has each at a time, and one that fails is asked again
//! after longer and longer.

use std::time::Duration;

/// A node that stops without a word keeps a turn from the others for so long: longer than any turn takes.
pub(super) const CLAIM: Duration = Duration::from_secs(60);
/// The first wait after a failure; each further one is twice as long, up to the last.
const FIRST_WAIT: Duration = Duration::from_secs(5);
const LAST_WAIT: Duration = Duration::from_secs(15 * 60);

/// How long what has failed so often before rests when it has failed again.
pub(super) fn wait(failures_before: u32) -> Duration {
    FIRST_WAIT.saturating_mul(1 << failures_before.min(16)).min(LAST_WAIT)
}
