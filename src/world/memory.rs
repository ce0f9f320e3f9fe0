//! What one process remembers for a while, each with a bound: nothing here decides alone, and all of it may be forgotten.

use std::{num::NonZeroU32, sync::Arc};

use jsonwebtoken::jwk::JwkSet;
use tokio::sync::Semaphore;
use url::Url;

use crate::{
    config::Settings,
    domain::{time::Timestamp, token::VerifiedToken},
    world::lately::Lately,
    world::sources::KnownSources,
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

/// Customer events that are taken in at once, as they were sent: more only wait longer for the same disk. In memory they may be some
/// times as much.
pub const INGEST_BYTES_MAX: usize = 16 << 20;

/// Rates and caches of one process.
pub struct Memory {
    /// Claims by the SHA-256 of the token. Time, audience and revocation are judged anew each time.
    pub verified_tokens: Lately<Arc<VerifiedToken>>,
    /// The keys at clients' `jwks_uri`, and when they were asked for; `None` where they could not be read then.
    pub client_keys: moka::sync::Cache<Url, (Timestamp, Option<Arc<JwkSet>>)>,
    /// New registrations, for the whole installation: hosted clients share an address.
    pub registrations: governor::DefaultDirectRateLimiter,
    pub recorded_refusals: governor::DefaultDirectRateLimiter,
    /// Passwords that are hashed at once: each takes 19 MiB and a core. Held by the hashing itself, which goes on when whoever
    /// asked for it goes away.
    pub password_permits: Arc<Semaphore>,
    /// Passwords that are hashed or wait to be.
    pub password_places: Semaphore,
    pub fetch_permits: Semaphore,
    /// The sources where others write to the database too.
    pub sources: KnownSources,
    /// Bytes of customer events that are read, checked and made durable at once.
    pub ingest_bytes: Semaphore,
}

impl Memory {
    pub fn new(settings: &Settings) -> Memory {
        let per_minute = NonZeroU32::new(settings.registrations_per_minute_max).unwrap_or(NonZeroU32::MIN);
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        Memory {
            verified_tokens: Lately::new(VERIFIED_TOKENS_MAX),
            client_keys: moka::sync::Cache::new(CLIENT_KEYS_MAX),
            registrations: governor::RateLimiter::direct(governor::Quota::per_minute(per_minute)),
            recorded_refusals: governor::RateLimiter::direct(governor::Quota::per_second(RECORDED_REFUSALS_PER_SECOND)),
            password_permits: Arc::new(Semaphore::new(cores)),
            password_places: Semaphore::new(cores + PASSWORDS_WAITING_MAX),
            fetch_permits: Semaphore::new(FETCHES_MAX),
            sources: KnownSources::default(),
            ingest_bytes: Semaphore::new(INGEST_BYTES_MAX),
        }
    }
}
