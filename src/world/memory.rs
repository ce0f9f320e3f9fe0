//! What one process remembers for a while, each with a bound: nothing here decides alone, and all of it may be forgotten.

use std::{
    net::IpAddr,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
};

use jsonwebtoken::jwk::JwkSet;
use tokio::sync::Semaphore;
use url::Url;

use crate::{
    config::Settings,
    domain::{network::subscriber_network, time::Timestamp, token::VerifiedToken},
    world::{lately::Lately, shapes::KnownShapes, sources::KnownSources, viewers::Viewers},
};

/// Tokens whose signature was verified already, at about a kilobyte each.
const VERIFIED_TOKENS_MAX: usize = 16_384;
/// Key sets of clients, at some kilobytes each.
const CLIENT_KEYS_MAX: u64 = 1_024;
/// Refusals that are put on record in a second at most; the rest are counted.
const RECORDED_REFUSALS_PER_SECOND: NonZeroU32 = NonZeroU32::new(500).expect("500 is not zero");
/// Passwords that wait for their turn to be hashed; whoever comes then is told to come again.
const PASSWORDS_WAITING_MAX: usize = 64;
/// Metadata documents that are fetched at once: each ties up a connection to somebody else's server.
const FETCHES_MAX: usize = 16;

/// Networks whose registrations are counted, at some hundred bytes each. A network that is forgotten has its whole share again.
const NETWORKS_MAX: u64 = 10_000;
/// One network may have this part of the registrations of a minute. Whoever has an IPv4 and an IPv6 network leaves half of them.
const NETWORK_SHARE: u32 = 4;
/// Customer events that are taken in at once, as they were sent: more only wait longer for the same disk. In memory they may be some
/// times as much.
pub const INGEST_BYTES_MAX: usize = 16 << 20;

/// Rates and caches of one process.
pub struct Memory {
    /// Claims by the SHA-256 of the token. Time, audience and revocation are judged anew each time.
    pub verified_tokens: Lately<Arc<VerifiedToken>>,
    /// The keys at clients' `jwks_uri`, and when they were asked for; `None` where they could not be read then.
    pub client_keys: moka::sync::Cache<Url, (Timestamp, Option<Arc<JwkSet>>)>,
    pub registrations: Registrations,
    pub recorded_refusals: governor::DefaultDirectRateLimiter,
    /// Passwords that are hashed at once: each takes 19 MiB and a core. Held by the hashing itself, which goes on when whoever
    /// asked for it goes away.
    pub password_permits: Arc<Semaphore>,
    /// Passwords that are hashed or wait to be.
    pub password_places: Semaphore,
    pub fetch_permits: Semaphore,
    /// The sources where others write to the database too.
    pub sources: KnownSources,
    /// What becomes of each source's messages.
    pub shapes: KnownShapes,
    /// Questions to the Profile API.
    pub profile_requests: Rate,
    /// Bytes of customer events that are read, checked and made durable at once.
    pub ingest_bytes: Semaphore,
    /// Who looks on as events come in.
    pub viewers: Arc<Viewers>,
    /// Whether a transaction could be had, and when that was found out. Whoever asks meanwhile waits for the same answer.
    pub readiness: tokio::sync::Mutex<Option<(Timestamp, bool)>>,
}

/// New registrations: bounded for the whole installation, because no address says who somebody is and hosted clients share
/// theirs; and within that for each network, so that no single caller keeps everybody else out.
pub struct Registrations {
    all: governor::DefaultDirectRateLimiter,
    of_network: moka::sync::Cache<IpAddr, Arc<governor::DefaultDirectRateLimiter>>,
    share: governor::Quota,
}

impl Registrations {
    fn new(per_minute: NonZeroU32) -> Registrations {
        let share = NonZeroU32::new(per_minute.get().div_ceil(NETWORK_SHARE)).unwrap_or(NonZeroU32::MIN);
        Registrations {
            all: governor::RateLimiter::direct(governor::Quota::per_minute(per_minute)),
            of_network: moka::sync::Cache::new(NETWORKS_MAX),
            share: governor::Quota::per_minute(share),
        }
    }

    /// Counts a new registration from an address. `false` if there were too many.
    pub fn admit(&self, address: IpAddr) -> bool {
        let is_within_share = subscriber_network(address).is_none_or(|network| {
            let counted = self.of_network.get_with(network, || Arc::new(governor::RateLimiter::direct(self.share)));
            counted.check().is_ok()
        });
        is_within_share && self.all.check().is_ok()
    }
}

/// What has come within the second that is running, by the world's clock.
#[derive(Default)]
pub struct Rate(Mutex<(i64, u32)>);

impl Rate {
    /// Counts one more. `false` if so many have come in this second already.
    pub fn admit(&self, per_second_max: u32, now: Timestamp) -> bool {
        // Nothing panics while it holds the lock, so a poisoned one is still whole.
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counted.0 != now.seconds() {
            *counted = (now.seconds(), 0);
        }
        counted.1 = counted.1.saturating_add(1);
        counted.1 <= per_second_max
    }
}

impl Memory {
    pub fn new(settings: &Settings) -> Memory {
        let per_minute = NonZeroU32::new(settings.registrations_per_minute_max).unwrap_or(NonZeroU32::MIN);
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        Memory {
            verified_tokens: Lately::new(VERIFIED_TOKENS_MAX),
            client_keys: moka::sync::Cache::new(CLIENT_KEYS_MAX),
            registrations: Registrations::new(per_minute),
            recorded_refusals: governor::RateLimiter::direct(governor::Quota::per_second(RECORDED_REFUSALS_PER_SECOND)),
            password_permits: Arc::new(Semaphore::new(cores)),
            password_places: Semaphore::new(cores + PASSWORDS_WAITING_MAX),
            fetch_permits: Semaphore::new(FETCHES_MAX),
            sources: KnownSources::default(),
            shapes: KnownShapes::default(),
            profile_requests: Rate::default(),
            ingest_bytes: Semaphore::new(INGEST_BYTES_MAX),
            viewers: Arc::default(),
            readiness: tokio::sync::Mutex::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_network_has_its_share_and_the_installation_its_bound() {
        let registrations = Registrations::new(NonZeroU32::new(8).expect("8 is not zero"));
        let admitted = |address: &str| (0..10).filter(|_| registrations.admit(parse(address))).count();
        assert_eq!(["192.0.2.1", "192.0.2.9", "2001:db8::1", "127.0.0.1"].map(admitted), [2, 0, 2, 4]);
        assert_eq!(admitted("198.51.100.1"), 0, "all are spent");
    }
}
