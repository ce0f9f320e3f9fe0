//! Everything outside our memory: clock, entropy, storage, log, keys, outgoing HTTP, the sandbox, settings. Each has a simulated twin,
//! so the whole server runs under a seed.

pub mod clock;
pub mod entropy;
pub mod lately;
pub mod memory;
pub mod refusals;
pub mod remarks;
pub mod seen;
pub mod profiles;
pub mod actors;
pub mod footing;
pub mod shapes;
pub mod sources;
pub mod viewers;
pub mod open;

use std::{net::IpAddr, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use url::Url;

use crate::{
    config::Settings,
    domain::{
        event::{Actor, Event, Fact},
        id::{Id, Kind},
        network::{Network, subscriber_network},
        secret::{Secret, secret_text},
        time::Timestamp,
    },
    keys::{
        KeyError, Keyring,
        secrets::{Purpose, Secrets},
    },
    log::{Log, LogError, Record, seen::SeenError},
    outbound::Outbound,
    sandbox::{Sandbox, SandboxError},
    storage::{Storage, StorageError},
};
use actors::KnownActors;
use clock::Clock;
use entropy::Entropy;
use footing::Footing;
use memory::Memory;
use profiles::{Forgetting, KnownProfiles};
use seen::SeenIndex;

/// The topic to which our own facts go, in the order of their subjects.
pub const FACTS: &str = "facts";
/// The topic to which customer events come in, each beside those of the same id.
pub const RECEIVED: &str = "received";
/// The topic that has every fact once, in the one order that profiles are made in.
pub const EVENTS: &str = "events";
/// Whose events these are. An installation has one organisation so far; ids count within it.
pub const ORGANIZATION: &str = "deputy";
/// The source of the facts that are our own.
pub const OWN_SOURCE: &str = "deputy";

/// Room for an event, so that it need not grow; most are half as long.
const EVENT_BYTES: usize = 1024;
/// How much of a network's digest facts hold.
const NETWORK_BYTES: usize = 9;

/// What a background stage found to do, so that its loop knows whether to go on at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// There is more.
    Advanced,
    /// All that was there is done. What comes next may gather for a while: together it costs less.
    CaughtUp,
    /// Nothing was there.
    Idle,
}

/// Why a background stage stood still; nothing was lost, and the next step tries again.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Keys(#[from] KeyError),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error(transparent)]
    Seen(#[from] SeenError),
}

/// What a server works with. Shared by every request and every background stage.
pub struct World {
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub storage: Storage,
    pub log: Arc<dyn Log>,
    /// Which ids were there before.
    pub seen: Arc<SeenIndex>,
    /// What the profiles stage knows; held while a batch is under way.
    pub profiles: tokio::sync::Mutex<KnownProfiles>,
    /// What the stage knows that finds out who is who; held while a batch is under way.
    pub actors: tokio::sync::Mutex<KnownActors>,
    pub forgetting: tokio::sync::Mutex<Forgetting>,
    /// Which log is read, and by which offsets.
    pub footing: tokio::sync::Mutex<Footing>,
    /// The number that the log has under its own name, once somebody needed it.
    pub log_number: tokio::sync::OnceCell<i64>,
    pub secrets: Arc<Secrets>,
    pub keys: Keyring,
    pub outbound: Outbound,
    /// To hosts inside our own network that this process was told operators may name.
    pub internal: Outbound,
    pub sandbox: Sandbox,
    pub settings: Settings,
    pub memory: Memory,
    /// Names this process among the nodes that share a database.
    pub node: String,
}

impl World {
    /// The time now; asked once per request or step.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A new identifier.
    pub fn id<K: Kind>(&self, now: Timestamp) -> Id<K> {
        Id::new(now, self.entropy.bytes())
    }

    /// A new secret of 256 random bits, as text.
    pub fn secret(&self) -> Secret<String> {
        secret_text(self.entropy.bytes())
    }

    /// The network of an address, as facts name it; `None` where the address says nothing of it.
    pub fn network(&self, address: IpAddr) -> Option<Network> {
        let network = subscriber_network(address)?;
        let digest = self.secrets.digest(Purpose::Network, &network.to_string());
        // Enough that two never meet by chance, and short in every fact.
        Some(Network(URL_SAFE_NO_PAD.encode(&digest.0[..NETWORK_BYTES])))
    }

    /// The event of a fact, to be written with the decision that caused it.
    pub fn event(&self, now: Timestamp, actor: Actor, fact: Fact) -> Event {
        Event { id: self.id(now), at: now, actor, fact }
    }

    /// Writes an event straight to the log: for decisions that change nothing in storage. Answers when it is durable.
    pub async fn record(&self, event: &Event) -> Result<(), LogError> {
        self.log.append(FACTS, vec![record(event)]).await.map(|_| ())
    }

    /// The way out to a URL that an operator named.
    pub fn outbound_for(&self, url: &Url) -> &Outbound {
        if url.host().is_some_and(|host| self.settings.is_internal(&host)) { &self.internal } else { &self.outbound }
    }

    /// A duration of the settings, in seconds there.
    pub fn seconds(seconds: u32) -> Duration {
        Duration::from_secs(u64::from(seconds))
    }
}

/// An event as the log carries it: the events of one subject keep their order.
pub fn record(event: &Event) -> Record {
    let mut payload = Vec::with_capacity(EVENT_BYTES);
    serde_json::to_writer(&mut payload, event).expect("our own events serialise to JSON");
    Record::new(event.fact.subject().as_bytes(), payload, event.at)
}
