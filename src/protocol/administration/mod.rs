//! Administration: what operators may do through `/admin/v1`, and what the server does by itself to stay tidy.
//!
//! This API is ours; no specification describes it. Every change is one transaction with the event that says who did it. A secret is
//! told once, when it is made, and never again. An operator authenticates with a bearer token
//! ([RFC 6750 §2.1](https://www.rfc-editor.org/rfc/rfc6750#section-2.1)) that we know by its digest only.

pub mod operators;
pub mod paging;
pub mod clients;
mod client_metadata;
pub mod people;
pub mod resources;
pub mod sources;
pub mod webhooks;
pub mod warehouses;
pub mod transformations;
pub mod tracking_plans;
pub mod grants;
pub mod keys;
pub mod tokens;
pub mod facts;
pub mod definitions;
pub mod predicted_traits;
pub mod profile_tokens;
pub mod risk;
pub mod actors;
pub mod upkeep;

use crate::domain::{
    refusal::{ADMIN_VALUE, OAuthError},
    time::Timestamp,
};

const NAME_CHARS_MAX: usize = 200;

/// Text that people read in lists and on pages: not empty, not long, without control characters.
fn plain_text(field: &str, text: String) -> Result<String, OAuthError> {
    let is_plain = !text.trim().is_empty() && text.chars().count() <= NAME_CHARS_MAX && !text.chars().any(char::is_control);
    if is_plain {
        return Ok(text);
    }
    Err(ADMIN_VALUE.because(format!("{field} must have 1 to {NAME_CHARS_MAX} characters and no control characters.")))
}

/// Until when what was issued to a node stays dead once the node may act again. Tokens tell whole seconds, so `now` itself would
/// also kill what is issued next.
fn dead_until(off_since: Timestamp, now: Timestamp) -> Timestamp {
    off_since.max(Timestamp(Timestamp::from_seconds(now.seconds()).0.saturating_sub(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_issued_while_a_node_was_off_stays_dead_and_what_comes_next_lives() {
        let issued_at = |moment: Timestamp| Timestamp::from_seconds(moment.seconds());
        for (off_since, now, next) in [(900_200, 1_000_500, 1_000_700), (1_000_000, 1_001_000, 1_001_000)] {
            let until = dead_until(Timestamp(off_since), Timestamp(now));
            assert!(issued_at(Timestamp(off_since)) <= until && issued_at(Timestamp(next)) > until, "{off_since} {now}");
        }
        // Off and on within one second: what is dead cannot be told from what comes next.
        assert_eq!(dead_until(Timestamp(1_000_200), Timestamp(1_000_500)), Timestamp(1_000_200));
    }
}
