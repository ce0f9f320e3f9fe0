//! Deputy as `deputy serve` runs it, with a source that is written to, and a voice that tells how far each stage is.

use std::path::Path;
use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use deputy::{
    config::Settings,
    domain::source::{Producer, Source},
    events::{dedup, profiles, risk, who},
    keys::secrets::Purpose,
    log::Cursor,
    server::{Server, stages::Stage},
    storage::{StorageError, consumers, sources},
    telemetry::Telemetry,
    world::{EVENTS, RECEIVED, World},
};
use serde::{Deserialize, Serialize};

use super::profile_api;
use super::servers::{Failure, process::answer};

/// Half an hour of load writes more than a hundred gigabytes; what is older than this is deleted meanwhile.
const KEPT_BYTES_MAX: u64 = 6 << 30;

/// Where a server is, and who its producer is.
#[derive(Clone, Serialize, Deserialize)]
pub struct Invitation {
    /// Host and port.
    pub address: String,
    /// The Authorization header of a producer.
    pub authorization: String,
    /// The one with which the Profile API is asked.
    pub profiles_authorization: String,
}

/// How far the pipeline is.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Progress {
    /// Events that were taken in.
    pub received: u64,
    /// Of these, how many dedup has judged.
    pub judged: u64,
    /// What it published: these, and our own facts.
    pub published: u64,
    /// How many of that are part of profiles.
    pub profiled: u64,
    /// How many of that risk has seen.
    pub weighed: u64,
    /// How many of that were looked at for who it is.
    pub looked_at: u64,
}

impl Progress {
    /// Nothing that was taken in is on its way.
    pub fn is_done(&self) -> bool {
        self.judged == self.received && self.done() == self.published
    }

    /// Events on their way, where they are most behind.
    pub fn lag(&self) -> u64 {
        (self.received - self.judged) + (self.published - self.done())
    }

    /// How many of what was published all stages are done with.
    pub fn done(&self) -> u64 {
        self.profiled.min(self.weighed).min(self.looked_at)
    }
}

/// Serves with these stages until standard input ends.
pub fn serve(folder: &Path, stages: &'static [Stage]) -> Result<(), Failure> {
    let lines = format!("listen = \"127.0.0.1:0\"\ndata_dir = {folder:?}\nevents_retention_bytes_max = {KEPT_BYTES_MAX}\n");
    let settings = Settings::parse("the benchmark's configuration", &lines)?;
    let _telemetry = Telemetry::start(&settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = deputy::server::listen(settings.listen).await?;
        let world = World::open(settings).await?;
        let (authorization, profiles_authorization) = (source(&world).await?, profile_api::authorization(&world).await?);
        let server = Server::serve(Arc::clone(&world), listener, stages).await?;
        let invitation = Invitation { address: server.address.to_string(), authorization, profiles_authorization };
        println!("{}", serde_json::to_string(&invitation)?);
        let handle = tokio::runtime::Handle::current();
        let said = move || Ok(serde_json::to_string(&handle.block_on(progress(&world))?)?);
        tokio::task::spawn_blocking(move || answer(said)).await??;
        server.stop().await;
        Ok(())
    })
}

/// Makes a source; gives the header with which a producer writes to it.
async fn source(world: &World) -> Result<String, Failure> {
    let (now, write_key) = (world.now(), world.secret());
    let source = Source {
        id: world.id(now),
        name: "The shop's backend".to_owned(),
        producer: Producer::Server,
        write_key_digest: world.secrets.digest(Purpose::WriteKey, write_key.reveal()),
        client: None,
        requires_token: false,
        created_at: now,
        disabled_at: None,
    };
    world.storage.write(move |tx| Box::pin(async move { sources::insert(tx, &source).await })).await?;
    Ok(format!("Basic {}", STANDARD.encode(format!("{}:", write_key.reveal()))))
}

async fn progress(world: &World) -> Result<Progress, Failure> {
    let received = world.log.bounds(RECEIVED, 0).await?.1;
    let judged = world.log.cursor(dedup::CONSUMER, &Cursor::input(RECEIVED, 0)).await?.unwrap_or(0);
    let input = Cursor::input(EVENTS, 0);
    let ask = world.storage.read(move |tx| {
        Box::pin(async move {
            let profiled = consumers::next(tx, profiles::CONSUMER, &input).await?;
            let weighed = consumers::next(tx, risk::CONSUMER, &input).await?;
            Ok::<_, StorageError>((profiled, weighed, consumers::next(tx, who::CONSUMER, &input).await?))
        })
    });
    let (profiled, weighed, looked_at) = ask.await?;
    let published = world.log.bounds(EVENTS, 0).await?.1;
    Ok(Progress { received, judged, published, profiled, weighed, looked_at })
}
