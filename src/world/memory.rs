//! What one process remembers for a while, each with a bound: nothing here decides alone, and all of it may be forgotten.

use std::{
    net::IpAddr,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
};

use jsonwebtoken::jwk::JwkSet;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;

use crate::{
    config::Settings,
    domain::{
        client::{ClientId, ClientMetadata},
        network::subscriber_network,
        refusal::OAuthError,
        time::Timestamp,
        token::VerifiedToken,
    },
    world::{
        lately::Lately, refusals::RefusalsOnRecord, remarks::Remarks, shapes::KnownShapes, sources::KnownSources, viewers::Viewers,
    },
};

/// Tokens whose signature was verified already, at about a kilobyte each.
const VERIFIED_TOKENS_MAX: usize = 16_384;
/// Key sets of clients, at some kilobytes each.
const CLIENT_KEYS_MAX: u64 = 1_024;
/// Metadata documents whose last fetch is remembered, at some kilobytes each.
const DOCUMENTS_MAX: u64 = 2_048;
/// Passwords that wait for their turn to be hashed; whoever comes then is told to come again.
const PASSWORDS_WAITING_MAX: usize = 64;
/// Metadata documents that are fetched at once: each ties up a connection to somebody else's server.
const FETCHES_MAX: usize = 16;
/// Those of one host among them, which may be slow.
const FETCHES_OF_HOST_MAX: usize = 4;
/// Hosts whose fetches are counted, at some hundred bytes each.
const HOSTS_MAX: u64 = 1_024;
/// Requests that wait for what another one has asked for at most; whoever comes then is told to come again.
pub const WAITING_FOR_ONE_MAX: usize = 32;

/// Networks whose share is counted, at some hundred bytes each. A network that is forgotten has its whole share again.
const NETWORKS_MAX: u64 = 10_000;
/// One network may have this part of what there is for all. Whoever has an IPv4 and an IPv6 network leaves half of it.
const NETWORK_SHARE: u32 = 4;
/// Customer events that are taken in at once, as they were sent: more only wait longer for the same disk. In memory they may be some
/// times as much.
pub const INGEST_BYTES_MAX: usize = 16 << 20;

/// Rates and caches of one process.
pub struct Memory {
    /// Claims by the SHA-256 of the token. Time, audience and revocation are judged anew each time.
    pub verified_tokens: Lately<Arc<VerifiedToken>>,
    /// The keys at clients' `jwks_uri`.
    pub client_keys: moka::sync::Cache<Url, ClientKeys>,
    /// Held by whoever asks for the keys at a `jwks_uri`; others wait for the answer.
    pub client_keys_asked: moka::sync::Cache<Url, Arc<tokio::sync::Mutex<()>>>,
    /// When a client's metadata document was asked for, and what came of it: nobody can make us ask all the time. Held by whoever
    /// asks; others wait for the answer.
    pub documents_asked: moka::sync::Cache<ClientId, Arc<tokio::sync::Mutex<Option<Asked>>>>,
    /// New registrations.
    pub registrations: Shares,
    /// Metadata documents that turn out to have changed when their clients ask for tokens.
    pub document_changes: governor::DefaultDirectRateLimiter,
    pub refusals: RefusalsOnRecord,
    pub remarks: Remarks,
    /// Passwords that are hashed at once: each takes 19 MiB and a core. Held by the hashing itself, which goes on when whoever
    /// asked for it goes away.
    pub password_permits: Arc<Semaphore>,
    /// Passwords that are hashed or wait to be.
    pub password_places: Semaphore,
    pub fetch_permits: Arc<Semaphore>,
    /// Key sets of clients that are fetched at once: apart, so that no document keeps them from being had.
    pub key_fetch_permits: Arc<Semaphore>,
    /// What of both each host may have.
    fetches_of_host: moka::sync::Cache<String, Arc<Semaphore>>,
    /// The sources where others write to the database too.
    pub sources: KnownSources,
    /// What becomes of each source's messages.
    pub shapes: KnownShapes,
    /// Questions to the Profile API.
    pub profile_requests: Rate,
    /// Bytes of customer events that are read, checked and made durable at once.
    pub ingest_bytes: Semaphore,
    /// What of it each network may have.
    ingest_shares: moka::sync::Cache<IpAddr, Arc<Semaphore>>,
    /// Who looks on as events come in.
    pub viewers: Arc<Viewers>,
    /// What was missing to serve requests, if anything, and when that was found out. Whoever asks meanwhile waits for the same answer.
    pub readiness: tokio::sync::Mutex<Option<(Timestamp, Option<&'static str>)>>,
}

/// The keys at a client's `jwks_uri`.
#[derive(Clone)]
pub struct ClientKeys {
    /// When they were asked for last.
    pub asked_at: Timestamp,
    /// When they could last be read, and what they were then.
    pub read: Option<(Timestamp, Arc<JwkSet>)>,
}

/// What came of asking for a metadata document.
pub struct Asked {
    pub at: Timestamp,
    pub said: Result<SaidByDocument, OAuthError>,
}

/// What a metadata document says, and until when.
#[derive(Clone)]
pub struct SaidByDocument {
    pub metadata: ClientMetadata,
    pub fresh_until: Timestamp,
}

/// What strangers may have us do: bounded for the whole installation, because no address says who somebody is and hosted clients
/// share theirs; and within that for each network, so that no single caller keeps everybody else out.
pub struct Shares {
    all: governor::DefaultDirectRateLimiter,
    of_network: moka::sync::Cache<IpAddr, Arc<governor::DefaultDirectRateLimiter>>,
    share: governor::Quota,
}

impl Shares {
    /// So many for all, as this quota has it for a number.
    pub(super) fn new(count: u32, quota: fn(NonZeroU32) -> governor::Quota) -> Shares {
        Shares {
            all: governor::RateLimiter::direct(quota(at_least_one(count))),
            of_network: moka::sync::Cache::new(NETWORKS_MAX),
            share: quota(at_least_one(count.div_ceil(NETWORK_SHARE))),
        }
    }

    /// Counts one more from an address. `false` if there were too many.
    pub fn admit(&self, address: IpAddr) -> bool {
        let is_within_share = subscriber_network(address).is_none_or(|network| {
            let counted = self.of_network.get_with(network, || Arc::new(governor::RateLimiter::direct(self.share)));
            counted.check().is_ok()
        });
        is_within_share && self.all.check().is_ok()
    }
}

fn at_least_one(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN)
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
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        Memory {
            verified_tokens: Lately::new(VERIFIED_TOKENS_MAX),
            client_keys: moka::sync::Cache::new(CLIENT_KEYS_MAX),
            registrations: Shares::new(settings.registrations_per_minute_max, governor::Quota::per_minute),
            document_changes: governor::RateLimiter::direct(governor::Quota::per_minute(at_least_one(
                settings.registrations_per_minute_max,
            ))),
            refusals: RefusalsOnRecord::new(settings.recorded_refusals_per_second_max),
            remarks: Remarks::default(),
            password_permits: Arc::new(Semaphore::new(cores)),
            password_places: Semaphore::new(cores + PASSWORDS_WAITING_MAX),
            client_keys_asked: moka::sync::Cache::new(CLIENT_KEYS_MAX),
            documents_asked: moka::sync::Cache::new(DOCUMENTS_MAX),
            fetch_permits: Arc::new(Semaphore::new(FETCHES_MAX)),
            key_fetch_permits: Arc::new(Semaphore::new(FETCHES_MAX)),
            fetches_of_host: moka::sync::Cache::new(HOSTS_MAX),
            sources: KnownSources::default(),
            shapes: KnownShapes::default(),
            profile_requests: Rate::default(),
            ingest_bytes: Semaphore::new(INGEST_BYTES_MAX),
            ingest_shares: moka::sync::Cache::new(NETWORKS_MAX),
            viewers: Arc::default(),
            readiness: tokio::sync::Mutex::default(),
        }
    }

    /// One of these permits to fetch, within the share of the URL's host; `None` if either is used up. Held while it is fetched.
    pub fn fetch_permit(&self, permits: &Arc<Semaphore>, url: &Url) -> Option<[OwnedSemaphorePermit; 2]> {
        let share = || Arc::new(Semaphore::new(FETCHES_OF_HOST_MAX));
        let of_host = self.fetches_of_host.get_with(url.host_str().unwrap_or_default().to_owned(), share);
        Some([of_host.try_acquire_owned().ok()?, Arc::clone(permits).try_acquire_owned().ok()?])
    }

    /// What the network of an address may have taken in at once; `None` where the address says nothing of a network.
    pub fn ingest_share(&self, address: IpAddr) -> Option<Arc<Semaphore>> {
        let share = || Arc::new(Semaphore::new(INGEST_BYTES_MAX / NETWORK_SHARE as usize));
        subscriber_network(address).map(|network| self.ingest_shares.get_with(network, share))
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
        let registrations = Shares::new(8, governor::Quota::per_minute);
        let admitted = |address: &str| (0..10).filter(|_| registrations.admit(parse(address))).count();
        assert_eq!(["192.0.2.1", "192.0.2.9", "2001:db8::1", "127.0.0.1"].map(admitted), [2, 0, 2, 4]);
        assert_eq!(admitted("198.51.100.1"), 0, "all are spent");
    }
}
