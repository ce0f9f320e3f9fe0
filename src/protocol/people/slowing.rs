//! Slows guessing, per account and per address: after some failures each further try waits twice as long as the one before
//! ([NIST SP 800-63B-4 §3.2.2](https://pages.nist.gov/800-63-4/sp800-63b.html#throttle)).
//!
//! A try is counted before its outcome is known, in a commit of its own, so that tries side by side, on any node, are all
//! counted. Tries that are told to wait are not: otherwise anybody could keep a person out for ever. An account is counted by
//! what was typed, whether anybody has that login or not. Logins and addresses are kept as keyed digests only.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    domain::{
        refusal::{OAuthError, SIGN_IN_SLOWED},
        time::Timestamp,
    },
    keys::secrets::Purpose,
    storage::{StorageError, Tx, attempts},
    world::World,
};

/// Failures of one account that cost nothing but themselves: people mistype.
const ACCOUNT_FREE: u32 = 5;
/// Failures from one address that cost nothing: many people may share it.
const ADDRESS_FREE: u32 = 50;
/// The longest wait, so that the true owner of an account under attack gets a turn.
const WAIT_MAX: Duration = Duration::from_secs(15 * 60);
/// A count that nobody added to for this long starts anew. Longer than the longest wait, or waiting would reset it.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 3600);

/// A try that was counted.
pub(super) struct Attempt {
    account: Option<String>,
    address: Option<String>,
}

impl Attempt {
    /// Counts a try against an account, an address, or both.
    ///
    /// # Errors
    /// `sign_in.slowed`, with how long to wait, if the try comes too early; then it is not counted.
    pub(super) async fn count(
        world: &World,
        login: Option<&str>,
        address: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Attempt, OAuthError> {
        let subject = |text: String| URL_SAFE_NO_PAD.encode(world.secrets.digest(Purpose::Attempt, &text).0);
        let account = login.map(|login| subject(format!("account {}", login.trim().to_lowercase())));
        let address = address.map(|address| subject(format!("address {}", network(address))));
        let limits = [(account.clone(), ACCOUNT_FREE), (address.clone(), ADDRESS_FREE)];
        let counted = world.storage.write(move |tx| {
            Box::pin(async move {
                let mut longest = Duration::ZERO;
                for (subject, free) in limits.iter().filter_map(|(subject, free)| Some((subject.as_deref()?, free))) {
                    let (failures, last_at) = attempts::hold(tx, subject, now).await?;
                    longest = longest.max(wait(failures, *free).saturating_sub(now.since(last_at)));
                }
                if longest.is_zero() {
                    for (subject, _) in &limits {
                        let Some(subject) = subject else { continue };
                        attempts::count(tx, subject, now, now.minus(FORGOTTEN_AFTER)).await?;
                    }
                }
                Ok::<_, StorageError>(longest)
            })
        });
        let remaining = counted.await?;
        if remaining.is_zero() { Ok(Attempt { account, address }) } else { Err(slowed(remaining)) }
    }

    /// It succeeded: the account's failures are forgotten, and the address keeps those of others.
    pub(super) async fn forgive(&self, tx: &mut Tx) -> Result<(), StorageError> {
        if let Some(account) = &self.account {
            attempts::clear(tx, account).await?;
        }
        if let Some(address) = &self.address {
            attempts::uncount(tx, address).await?;
        }
        Ok(())
    }
}

fn slowed(remaining: Duration) -> OAuthError {
    let seconds = remaining.as_millis().div_ceil(1000);
    let wait = match seconds {
        1 => "a second".to_owned(),
        2..=90 => format!("{seconds} seconds"),
        _ => format!("{} minutes", seconds.div_ceil(60)),
    };
    SIGN_IN_SLOWED.because(format!("Too many attempts. Wait {wait} and try again.")).retry_after(remaining)
}

/// How long after the last of so many failures the next try may come.
fn wait(failures: u32, free: u32) -> Duration {
    match failures.checked_sub(free) {
        None => Duration::ZERO,
        Some(excess) => Duration::from_secs(1 << excess.min(20)).min(WAIT_MAX),
    }
}

/// What one subscriber can move about in: an IPv4 address, or an IPv6 network of 64 bits.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_beyond_the_free_ones_doubles_the_wait() {
        for (failures, seconds) in [(0, 0), (4, 0), (5, 1), (6, 2), (7, 4), (14, 512), (15, 900), (16, 900), (u32::MAX, 900)] {
            assert_eq!(wait(failures, ACCOUNT_FREE), Duration::from_secs(seconds), "{failures}");
        }
        assert!(FORGOTTEN_AFTER > WAIT_MAX);
    }

    #[test]
    fn a_subscriber_cannot_hop_within_their_own_network() {
        let parse = |text: &str| network(text.parse().expect("an address"));
        assert_eq!(parse("2001:db8:1:2:aaaa::1"), parse("2001:db8:1:2:bbbb::9"));
        assert_ne!(parse("2001:db8:1:2::1"), parse("2001:db8:1:3::1"));
        assert_eq!(parse("::ffff:192.0.2.7"), parse("192.0.2.7"));
        assert_ne!(parse("192.0.2.7"), parse("192.0.2.8"));
    }

    #[test]
    fn the_wait_is_told_in_words_and_as_a_duration() {
        for (milliseconds, words) in [(1, "a second"), (1_001, "2 seconds"), (90_000, "90 seconds"), (91_000, "2 minutes")] {
            let refusal = slowed(Duration::from_millis(milliseconds));
            assert_eq!(refusal.description, format!("Too many attempts. Wait {words} and try again."));
            assert_eq!(refusal.retry_after, Some(Duration::from_millis(milliseconds)));
        }
    }
}
