//! Slows guessing, per account and per address: after some failures each further try waits twice as long as the one before
//! ([NIST SP 800-63B-4 §3.2.2](https://pages.nist.gov/800-63-4/sp800-63b.html#throttle)).
//!
//! A try is counted before its outcome is known, in a commit of its own, so that tries side by side, on any node, are all
//! counted. Tries that are told to wait are not: otherwise anybody could keep a person out for ever. An account is counted by
//! what was typed, whether anybody has that login or not. It is counted for each network by itself, so that whoever guesses in one
//! place keeps out nobody elsewhere, and, with far more patience, as a whole. Logins and addresses are kept as keyed digests only.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    domain::{
        network::subscriber_network,
        refusal::{OAuthError, SIGN_IN_SLOWED},
        time::Timestamp,
    },
    keys::secrets::Purpose,
    storage::{
        StorageError, Tx,
        attempts::{self, Count},
    },
    world::World,
};

/// Failures of one account from one network that cost nothing but themselves: people mistype.
const ACCOUNT_AT_NETWORK_FREE: u32 = 5;
/// Failures of one account, wherever they come from, that cost nothing: as many as the specification lets pass in a row.
const ACCOUNT_FREE: u32 = 100;
/// Failures from one address that cost nothing: many people may share it.
const ADDRESS_FREE: u32 = 50;
/// The longest wait, so that the true owner of an account under attack gets a turn.
const WAIT_MAX: Duration = Duration::from_secs(15 * 60);
/// A count that nobody added to for this long starts anew. Longer than the longest wait, or waiting would reset it.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 3600);
/// One failure of an address, or of an account as a whole, is forgotten in this time: people who share an address mistype now and
/// then for ever, and who guesses in one place, once in the longest wait, adds nothing for the others.
const FORGETS_ONE_IN: Duration = Duration::from_secs(10 * 60);
/// The clocks of two nodes differ by less.
const CLOCKS_APART_MAX: Duration = Duration::from_secs(60);

/// A try that was counted.
pub(super) struct Attempt {
    account: Vec<Counted>,
    address: Option<Counted>,
}

/// Whose tries are counted together.
#[derive(Clone, Copy)]
enum Of {
    AccountAtNetwork,
    Account,
    Address,
}

/// A count before and after the try.
struct Counted {
    subject: String,
    before: Count,
    after: Count,
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
        // From where nobody can tell is one place more.
        let place = address.and_then(subscriber_network).map_or_else(String::new, |network| network.to_string());
        let accounts = login.map_or_else(Vec::new, |login| {
            let account = format!("account {}", login.trim().to_lowercase());
            vec![(Of::AccountAtNetwork, subject(format!("{account} at {place}"))), (Of::Account, subject(account))]
        });
        let address = address.and_then(network).map(|network| subject(format!("address {network}")));
        let counted = world.storage.write(move |tx| {
            Box::pin(async move {
                // First: whoever is told to wait by their address learns nothing of an account, and makes no rows of made-up ones.
                let address = match address {
                    Some(address) => Some(add(tx, address, Of::Address, now).await?),
                    None => None,
                };
                let mut account = Vec::new();
                for (of, subject) in accounts {
                    account.push(add(tx, subject, of, now).await?);
                }
                Ok::<_, OAuthError>(Attempt { account, address })
            })
        });
        counted.await
    }

    /// It succeeded: the account's failures are forgotten, but those from other networks there, and the address keeps those of others.
    pub(super) async fn forgive(&self, tx: &mut Tx) -> Result<(), StorageError> {
        // In the order in which they are counted, so that neither waits for the other.
        if let Some(Counted { subject, before, after }) = &self.address {
            attempts::uncount(tx, subject, *before, *after).await?;
        }
        for counted in &self.account {
            attempts::clear(tx, &counted.subject).await?;
        }
        Ok(())
    }
}

/// Counts one more. A refusal undoes the transaction.
async fn add(tx: &mut Tx, subject: String, of: Of, now: Timestamp) -> Result<Counted, OAuthError> {
    let before = attempts::hold(tx, &subject, now).await?;
    let remaining = of.remaining(before, now);
    if !remaining.is_zero() {
        return Err(slowed(remaining));
    }
    let after = Count { failures: of.remembered(before, now).saturating_add(1), last_at: now };
    attempts::set(tx, &subject, after).await?;
    Ok(Counted { subject, before, after })
}

impl Of {
    fn free(self) -> u32 {
        match self {
            Of::AccountAtNetwork => ACCOUNT_AT_NETWORK_FREE,
            Of::Account => ACCOUNT_FREE,
            Of::Address => ADDRESS_FREE,
        }
    }

    /// How many of the failures still count.
    fn remembered(self, count: Count, now: Timestamp) -> u32 {
        let ago = now.since(count.last_at);
        match self {
            _ if ago >= FORGOTTEN_AFTER => 0,
            Of::AccountAtNetwork => count.failures,
            Of::Account | Of::Address => {
                let forgotten = ago.as_secs() / FORGETS_ONE_IN.as_secs();
                count.failures.saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX))
            }
        }
    }

    /// How long the next try has to wait.
    fn remaining(self, count: Count, now: Timestamp) -> Duration {
        // The clock was ahead and is set right. How long ago that was is not known: one try passes, and is counted by this clock.
        if count.last_at.since(now) > CLOCKS_APART_MAX {
            return Duration::ZERO;
        }
        wait(self.remembered(count, now), self.free()).saturating_sub(now.since(count.last_at))
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

/// What one visitor can move about in: an IPv4 address, or an IPv6 network of 64 bits. Who has no subscriber's network has none.
fn network(address: IpAddr) -> Option<IpAddr> {
    subscriber_network(address).map(|_| match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_beyond_the_free_ones_doubles_the_wait() {
        for (failures, seconds) in [(0, 0), (4, 0), (5, 1), (6, 2), (7, 4), (14, 512), (15, 900), (16, 900), (u32::MAX, 900)] {
            assert_eq!(wait(failures, ACCOUNT_AT_NETWORK_FREE), Duration::from_secs(seconds), "{failures}");
        }
        assert!(FORGOTTEN_AFTER > WAIT_MAX);
    }

    #[test]
    fn an_address_forgets_and_an_account_at_a_network_does_not_until_all_is_forgotten() {
        let last = Count { failures: 60, last_at: Timestamp(0) };
        let remembered = |of: Of| [0, 9, 10, 100, 1_439, 1_440].map(|minutes| of.remembered(last, after(minutes * 60)));
        assert_eq!(remembered(Of::Address), [60, 60, 59, 50, 0, 0]);
        assert_eq!(remembered(Of::Account), [60, 60, 59, 50, 0, 0]);
        assert_eq!(remembered(Of::AccountAtNetwork), [60, 60, 60, 60, 60, 0]);
    }

    #[test]
    fn who_guesses_in_one_place_for_ever_never_closes_the_account_elsewhere() {
        let [mut here, mut everywhere] = [Count { failures: 0, last_at: Timestamp(0) }; 2];
        let mut now = Timestamp(0);
        for _ in 0..1_000 {
            now = now.plus(Of::AccountAtNetwork.remaining(here, now));
            assert_eq!(Of::Account.remaining(everywhere, now), Duration::ZERO);
            here = Count { failures: Of::AccountAtNetwork.remembered(here, now) + 1, last_at: now };
            everywhere = Count { failures: Of::Account.remembered(everywhere, now) + 1, last_at: now };
        }
        assert!(everywhere.failures < ACCOUNT_FREE / 2, "{everywhere:?}");
        let many = Count { failures: ACCOUNT_FREE, last_at: now };
        assert_eq!(Of::Account.remaining(many, now), Duration::from_secs(1), "from many places they do");
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_nobody_waiting_until_it_has_caught_up() {
        let slow = |last_at: Timestamp| Of::AccountAtNetwork.remaining(Count { failures: 60, last_at }, after(0));
        assert_eq!(slow(after(3600)), Duration::ZERO);
        assert_eq!(slow(after(60)), WAIT_MAX, "another node's clock may be so far ahead");
        assert_eq!(slow(after(0)), WAIT_MAX);
    }

    fn after(seconds: u64) -> Timestamp {
        Timestamp(0).plus(Duration::from_secs(seconds))
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
