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

/// One failure of an address is forgotten in this time: people who share it mistype now and then for ever.
const ADDRESS_FORGETS_ONE_IN: Duration = Duration::from_secs(10 * 60);

/// A try that was counted.
pub(super) struct Attempt {
    at: Timestamp,
    account: Option<String>,
    /// With when the one before it was counted.
    address: Option<(String, Timestamp)>,
}

/// Whose tries are counted together.
#[derive(Clone, Copy)]
enum Counted {
    Account,
    Address,
}

impl Attempt {
    /// Counts a try against an account, an address, or both.
    ///
    /// # Errors
    /// `sign_in.slowed`, with how long to wait, if the try comes too early; then it is not counted, and leaves nothing.
    pub(super) async fn count(
        world: &World,
        login: Option<&str>,
        address: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Attempt, OAuthError> {
        let subject = |text: String| URL_SAFE_NO_PAD.encode(world.secrets.digest(Purpose::Attempt, &text).0);
        let account = login.map(|login| subject(format!("account {}", login.trim().to_lowercase())));
        let address = address.and_then(network).map(|network| subject(format!("address {network}")));
        let counted = world.storage.write(move |tx| {
            Box::pin(async move {
                // First: whoever is told to wait by their address learns nothing of an account, and makes no rows of made-up ones.
                let before = match &address {
                    Some(address) => Some(add(tx, address, Counted::Address, now).await?),
                    None => None,
                };
                if let Some(account) = &account {
                    add(tx, account, Counted::Account, now).await?;
                }
                Ok::<_, OAuthError>(Attempt { at: now, account, address: address.zip(before) })
            })
        });
        counted.await
    }

    /// It succeeded: the account's failures are forgotten, and the address keeps those of others.
    pub(super) async fn forgive(&self, tx: &mut Tx) -> Result<(), StorageError> {
        if let Some(account) = &self.account {
            attempts::clear(tx, account).await?;
        }
        if let Some((address, before)) = &self.address {
            attempts::uncount(tx, address, self.at, *before).await?;
        }
        Ok(())
    }
}

/// Counts one more, and answers when the last one was. A refusal undoes the transaction.
async fn add(tx: &mut Tx, subject: &str, counted: Counted, now: Timestamp) -> Result<Timestamp, OAuthError> {
    let (failures, last_at) = attempts::hold(tx, subject, now).await?;
    // A clock that was ahead keeps nobody waiting until it is passed.
    let last_at = last_at.min(now);
    let failures = counted.remembered(failures, now.since(last_at));
    let remaining = wait(failures, counted.free()).saturating_sub(now.since(last_at));
    if !remaining.is_zero() {
        return Err(slowed(remaining));
    }
    attempts::count(tx, subject, failures.saturating_add(1), now).await?;
    Ok(last_at)
}

impl Counted {
    fn free(self) -> u32 {
        match self {
            Counted::Account => ACCOUNT_FREE,
            Counted::Address => ADDRESS_FREE,
        }
    }

    /// What is left of so many failures, the last of which is so long ago.
    fn remembered(self, failures: u32, ago: Duration) -> u32 {
        match self {
            _ if ago >= FORGOTTEN_AFTER => 0,
            Counted::Account => failures,
            Counted::Address => {
                let forgotten = ago.as_secs() / ADDRESS_FORGETS_ONE_IN.as_secs();
                failures.saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX))
            }
        }
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

/// What one subscriber can move about in: an IPv4 address, or an IPv6 network of 64 bits. Our own machine is none: behind a proxy there,
/// everybody may be.
fn network(address: IpAddr) -> Option<IpAddr> {
    match address.to_canonical() {
        address if address.is_loopback() || address.is_unspecified() => None,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Some(IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)))
        }
        address => Some(address),
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
    fn an_address_forgets_and_an_account_does_not_until_all_is_forgotten() {
        let remembered = |counted: Counted, minutes: u64| counted.remembered(60, Duration::from_secs(minutes * 60));
        assert_eq!([0, 9, 10, 100, 1_439, 1_440].map(|minutes| remembered(Counted::Address, minutes)), [60, 60, 59, 50, 0, 0]);
        assert_eq!([0, 100, 1_439, 1_440].map(|minutes| remembered(Counted::Account, minutes)), [60, 60, 60, 0]);
    }

    #[test]
    fn a_subscriber_cannot_hop_within_their_own_network() {
        let parse = |text: &str| network(text.parse().expect("an address"));
        assert_eq!(parse("2001:db8:1:2:aaaa::1"), parse("2001:db8:1:2:bbbb::9"));
        assert_ne!(parse("2001:db8:1:2::1"), parse("2001:db8:1:3::1"));
        assert_eq!(parse("::ffff:192.0.2.7"), parse("192.0.2.7"));
        assert_ne!(parse("192.0.2.7"), parse("192.0.2.8"));
        assert_eq!([parse("127.0.0.1"), parse("::1"), parse("::ffff:127.0.0.1")], [None; 3]);
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
