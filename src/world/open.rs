//! How a world comes to be: the real one from settings, a simulated one from its twins.

use std::{
    collections::HashMap,
    fs::{DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    EVENTS, FACTS, RECEIVED, World, clock::Clock, clock::SystemClock, entropy::Entropy, entropy::SystemEntropy, footing::Footing,
    memory::Memory, seen::SeenIndex,
};
use crate::{
    config::{self, LogAddress, Settings},
    domain::{
        id::{Id, RequestKind},
        secret::Secret,
    },
    keys::{KeyError, Keyring, secrets::Secrets},
    log::{
        Log, LogError, Replication, Retention, TopicSettings,
        disk::{Disk, RealDisk},
        embedded::{Embedded, Settings as LogSettings},
        seen::{self, Fingerprints},
    },
    outbound::{Outbound, OutboundPolicy},
    sandbox::Sandbox,
    storage::{Database, MIGRATIONS, Storage, StorageError, leases, signing_keys},
};

#[cfg(not(feature = "kafka"))]
const WITHOUT_KAFKA: LogError = LogError::Invalid("this binary was built without the feature `kafka`");

/// Why a server could not be opened. Each is one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the data folder {} cannot be used: {source}; name one that this user may write to by the setting `data_dir`", path.display())]
    DataFolder { path: PathBuf, source: io::Error },
    #[error("{0}")]
    Storage(#[from] StorageError),
    #[error("the log in {place}: {source}")]
    Log { place: String, source: LogError },
    #[error("{0}")]
    Keys(#[from] KeyError),
    #[error("the master key file {} is missing, but this data was made with one: restore it, or set DEPUTY_MASTER_KEY", path.display())]
    MasterKeyMissing { path: PathBuf },
    #[error("the master key file {} does not hold the base64url of 32 bytes", path.display())]
    MasterKeyMalformed { path: PathBuf },
}

/// What lies outside: each part real or simulated.
pub struct Outside {
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    /// Where the log's segments are.
    pub disk: Arc<dyn Disk>,
    /// Where the index of seen ids is.
    pub seen_disk: Arc<dyn Disk>,
    pub outbound: Outbound,
    /// Where operators' programs run.
    pub sandbox: Sandbox,
}

/// The executable that runs, as it was when it was started: also when an update has put another one in its place.
const RUNNING: &str = "/proc/self/exe";

impl Outside {
    /// The operating system's clock, randomness and disk, and the network.
    pub fn real(settings: &Settings) -> Result<Outside, OpenError> {
        let folder = |path: PathBuf| RealDisk::create(&path).map_err(|source| OpenError::DataFolder { path, source });
        let (disk, seen_disk) = (folder(log_path(settings))?, folder(seen_path(settings))?);
        // A server that only this machine can reach may fetch from this machine; any other may not.
        let policy = if settings.issuer.is_loopback() { OutboundPolicy::AllowLoopback } else { OutboundPolicy::PublicOnly };
        Ok(Outside {
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            disk: Arc::new(disk),
            seen_disk: Arc::new(seen_disk),
            outbound: Outbound::new(policy),
            sandbox: Sandbox::new(RUNNING.into()),
        })
    }
}

/// Where the embedded log keeps its segments.
pub fn log_path(settings: &Settings) -> PathBuf {
    settings.data_dir.join("log")
}

/// Where the log is, for operators.
pub fn log_place(settings: &Settings) -> String {
    match settings.log {
        LogAddress::Embedded => log_path(settings).display().to_string(),
        LogAddress::Kafka { .. } => settings.log.to_string(),
    }
}

impl World {
    /// Opens storage, log and keys; on the first start, makes them.
    pub async fn open(settings: Settings) -> Result<Arc<World>, OpenError> {
        create_data_folder(&settings.data_dir)?;
        let outside = Outside::real(&settings)?;
        World::open_with(settings, outside).await
    }

    /// Opens a world around these parts.
    pub async fn open_with(settings: Settings, outside: Outside) -> Result<Arc<World>, OpenError> {
        create_data_folder(&settings.data_dir)?;
        let now = outside.clock.now();
        let storage = Storage::open(&Database::of(&settings), MIGRATIONS).await?;
        storage.load().await?;
        let master_key = master_key(&settings, &storage).await?;
        let secrets = Arc::new(Secrets::derive(master_key.reveal()));
        let rotation_interval = World::seconds(settings.key_rotation_interval_s);
        let keys = Keyring::open(&storage, Arc::clone(&secrets), settings.signing_algorithm, rotation_interval, now).await?;
        let log = match shared_log(&settings).await? {
            Some(log) => log,
            None => embedded_log(&settings, outside.disk, &*outside.entropy)?,
        };
        let footing = Footing::on(&*log, EVENTS).await;
        let footing = footing.map_err(|source| OpenError::Log { place: settings.log.to_string(), source })?;
        let seen = SeenIndex::new(outside.seen_disk, seen_settings(&settings), Fingerprints::new(secrets.seen_ids()));
        Ok(Arc::new(World {
            node: Id::<RequestKind>::new(now, outside.entropy.bytes()).to_string(),
            clock: outside.clock,
            entropy: outside.entropy,
            storage,
            log,
            seen: Arc::new(seen),
            profiles: Default::default(),
            actors: Default::default(),
            forgetting: Default::default(),
            footing: tokio::sync::Mutex::new(footing),
            log_number: tokio::sync::OnceCell::new(),
            secrets,
            keys,
            internal: outside.outbound.to_named(),
            outbound: outside.outbound,
            sandbox: outside.sandbox,
            memory: Memory::new(&settings),
            settings,
        }))
    }

    /// Finishes what is queued and lets go of log and database.
    pub async fn close(&self) {
        let seen = Arc::clone(&self.seen);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || seen.close()).await {
            tracing::warn!(%error, "the index of seen ids could not write what it has in memory; it reads it again at the next start");
        }
        if let Err(error) = self.log.close().await {
            tracing::error!(%error, "the log could not be closed");
        }
        if !self.storage.is_exclusive() {
            let node = self.node.clone();
            let release = self.storage.write(move |tx| Box::pin(async move { leases::release(tx, &node).await }));
            if let Err(error) = release.await {
                tracing::warn!(%error, "other nodes wait until this one's leases have run out");
            }
        }
        self.storage.close().await;
    }
}

/// Makes the data folder if it is missing, for its owner only.
pub fn create_data_folder(path: &Path) -> Result<(), OpenError> {
    // Keys and people's data: nobody else's business on this machine.
    let created = DirBuilder::new().recursive(true).mode(0o700).create(path);
    created.map_err(|source| OpenError::DataFolder { path: path.to_owned(), source })
}

/// The log that processes share, if the settings name one.
pub async fn shared_log(settings: &Settings) -> Result<Option<Arc<dyn Log>>, OpenError> {
    let LogAddress::Kafka { brokers, prefix } = &settings.log else { return Ok(None) };
    match kafka(brokers.clone(), prefix.clone(), topics(settings)).await {
        Ok(log) => Ok(Some(log)),
        Err(source) => Err(OpenError::Log { place: settings.log.to_string(), source }),
    }
}

#[cfg(feature = "kafka")]
async fn kafka(brokers: String, prefix: String, topics: HashMap<String, TopicSettings>) -> Result<Arc<dyn Log>, LogError> {
    Ok(Arc::new(crate::log::kafka::Kafka::open(kafka_settings(brokers, prefix, topics)).await?))
}

#[cfg(feature = "kafka")]
fn kafka_settings(brokers: String, prefix: String, topics: HashMap<String, TopicSettings>) -> crate::log::kafka::Settings {
    crate::log::kafka::Settings { brokers, prefix, topics, queue_bytes_max: LogSettings::default().queue_bytes_max }
}

#[cfg(not(feature = "kafka"))]
async fn kafka(_brokers: String, _prefix: String, _topics: HashMap<String, TopicSettings>) -> Result<Arc<dyn Log>, LogError> {
    Err(WITHOUT_KAFKA)
}

/// Whether the brokers of a shared log answer, and how they keep its topics, or would; nothing is made or changed there.
///
/// # Errors
/// `Unavailable`, or `Invalid` if this binary knows no shared logs.
pub async fn probe_log(settings: &Settings) -> Result<Vec<Replication>, LogError> {
    match &settings.log {
        LogAddress::Embedded => Ok(Vec::new()),
        #[cfg(feature = "kafka")]
        LogAddress::Kafka { brokers, prefix } => {
            crate::log::kafka::Kafka::probe(kafka_settings(brokers.clone(), prefix.clone(), topics(settings))).await
        }
        #[cfg(not(feature = "kafka"))]
        LogAddress::Kafka { .. } => Err(WITHOUT_KAFKA),
    }
}

fn embedded_log(settings: &Settings, disk: Arc<dyn Disk>, entropy: &dyn Entropy) -> Result<Arc<dyn Log>, OpenError> {
    let salt = u32::from_be_bytes(entropy.bytes());
    match Embedded::open(disk, LogSettings { topics: topics(settings), salt, ..LogSettings::default() }) {
        Ok(log) => Ok(Arc::new(log)),
        Err(source) => Err(OpenError::Log { place: log_path(settings).display().to_string(), source }),
    }
}

fn topics(settings: &Settings) -> HashMap<String, TopicSettings> {
    let topic = |partitions: u16, seconds: u32, bytes_max: u64| {
        let retention = Retention { age: Some(World::seconds(seconds)), bytes_max: (bytes_max > 0).then_some(bytes_max) };
        TopicSettings { partitions, retention }
    };
    let (partitions, facts_bytes_max) = (settings.log_partitions, settings.facts_retention_bytes_max);
    let events = |partitions| topic(partitions, settings.events_retention_s, settings.events_retention_bytes_max);
    HashMap::from([
        (FACTS.to_owned(), topic(partitions, settings.facts_retention_s, facts_bytes_max)),
        (RECEIVED.to_owned(), events(partitions)),
        // One for each organisation would have something to do, and there is one.
        (EVENTS.to_owned(), events(1)),
    ])
}

/// Where the index of seen ids keeps its runs.
pub fn seen_path(settings: &Settings) -> PathBuf {
    settings.data_dir.join("seen")
}

/// How the index of seen ids is kept.
pub fn seen_settings(settings: &Settings) -> seen::Settings {
    let (window, keys_max) = (World::seconds(settings.dedup_window_s), settings.dedup_keys_max);
    seen::Settings { window, keys_max, ..seen::Settings::default() }
}

/// The master key of the environment or of its file; a new one only if nothing was made with one before.
async fn master_key(settings: &Settings, storage: &Storage) -> Result<Secret<[u8; 32]>, OpenError> {
    if let Some(key) = &settings.master_key {
        return Ok(key.clone());
    }
    let path = settings.master_key_path();
    match std::fs::read_to_string(&path) {
        Ok(text) => config::master_key(&text).map_err(|_| OpenError::MasterKeyMalformed { path }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let is_used = !storage.read(|tx| Box::pin(async move { signing_keys::list(tx).await })).await?.is_empty();
            if is_used { Err(OpenError::MasterKeyMissing { path }) } else { new_master_key(path) }
        }
        Err(source) => Err(OpenError::DataFolder { path, source }),
    }
}

fn new_master_key(path: PathBuf) -> Result<Secret<[u8; 32]>, OpenError> {
    // Not the world's entropy: this key outlives every simulation.
    let key = Secret::new(crate::keys::secrets::random::<32>());
    let text = Secret::new(URL_SAFE_NO_PAD.encode(key.reveal()));
    match write_whole(&path, text.reveal()) {
        Ok(()) => Ok(key),
        Err(source) => Err(OpenError::DataFolder { path, source }),
    }
}

/// Writes a new private file whole or not at all: what a crash leaves is under another name. Of several processes
/// that do this at once one succeeds, and nobody's file is ever replaced.
fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let draft = path.with_extension(format!("{}.draft", std::process::id()));
    remove_if_there(&draft)?;
    let written = write_private(&draft, text).and_then(|()| std::fs::hard_link(&draft, path));
    remove_if_there(&draft)?;
    written?;
    sync_folder_of(path)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Writes a new file that only its owner can read, durably.
pub fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    sync_folder_of(path)
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_whose_writing_broke_off_is_made_anew() {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        let path = folder.path().join("master.key");
        let draft = path.with_extension(format!("{}.draft", std::process::id()));
        std::fs::write(&draft, "").expect("it is ours");
        let key = new_master_key(path.clone()).expect("what a crash left stands in nobody's way");
        let written = config::master_key(&std::fs::read_to_string(&path).expect("it is there")).expect("it is whole");
        assert!(written.reveal() == key.reveal() && !draft.exists());
    }

    #[test]
    fn a_key_that_cannot_be_written_whole_is_not_there() {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        let path = folder.path().join("master.key");
        // What stands in the way of the draft does so as a full disk would.
        std::fs::create_dir(path.with_extension(format!("{}.draft", std::process::id()))).expect("it is ours");
        assert!(new_master_key(path.clone()).is_err() && !path.exists());
    }

    #[test]
    fn a_key_that_another_node_has_made_meanwhile_stays() {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        let path = folder.path().join("master.key");
        let key = new_master_key(path.clone()).expect("it is written");
        assert!(new_master_key(path.clone()).is_err(), "the next start reads the other's");
        let written = config::master_key(&std::fs::read_to_string(&path).expect("it is there")).expect("it is whole");
        assert!(written.reveal() == key.reveal());
    }
}
