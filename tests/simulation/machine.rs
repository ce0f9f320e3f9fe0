//! The whole server without sockets: its router is called directly, its disk, clock, entropy and web are simulated, and its
//! stages run when they are stepped. Its database is a file, which dies with it, or a PostgreSQL, which survives it.

use std::{future::Future, net::SocketAddr, ops::Range, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo, http};
use deputy::{
    config::Settings,
    domain::time::Timestamp,
    log::disk::simulated::SimulatedDisk,
    outbound::{Outbound, OutboundPolicy},
    protocol::administration::operators,
    sandbox::Sandbox,
    server::STAGES,
    storage::StorageError,
    world::{FACTS, Progress, World, clock::SimulatedClock, entropy::SeededEntropy, open::Outside},
};
use futures_util::future::join_all;
use http_body_util::BodyExt as _;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::Barrier;
use tower::ServiceExt as _;

use super::{random::Random, request::Request};
use crate::support::{Answer, migrated_database, postgres::PrivateDatabase};

const CONFIGURATION: &str = "
    issuer = \"https://deputy.example\"
    access_token_ttl_s = 300
    refresh_token_idle_ttl_s = 3600
    refresh_grace_s = 30
    grant_ttl_s = 3600
    facts_retention_s = 864000
    registrations_per_minute_max = 100000
";
/// Where all requests come from.
const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 50_000);
/// When simulations begin: 2027-01-15T08:00:00Z.
const START: Timestamp = Timestamp(1_800_000_000_000);
/// How often a batch is polled before what holds it up ends: enough for its requests to come to where they must wait.
const POLLS: usize = 300;
/// Connections to PostgreSQL: one lets the seed decide everything, several let transactions meet.
const CONNECTIONS: [u32; 2] = [4, 1];
/// About as many commits as all stages make in a step.
const COMMITS_OF_STAGES: u32 = 5;
/// How often a request is sent at most.
const TRIES_MAX: usize = 10;
/// Steps of one stage that a simulation's facts could need at most.
const STEPS_MAX: usize = 1000;

/// Where the state is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// A server on a machine that has misfortunes.
pub struct Machine {
    pub clock: Arc<SimulatedClock>,
    pub disk: SimulatedDisk,
    /// The disk of the index of seen ids: it loses its power with the other one.
    pub seen_disk: SimulatedDisk,
    settings: Settings,
    entropy: Arc<SeededEntropy>,
    outbound: Outbound,
    running: Option<Running>,
    /// How often the stages were stepped.
    steps: u32,
    // Kept as long as the machine.
    _folder: TempDir,
    /// PostgreSQL, if it is not SQLite.
    database: Option<PrivateDatabase>,
}

struct Running {
    world: Arc<World>,
    router: Router,
}

/// What befalls the machine while it serves.
#[derive(Debug, Clone)]
pub enum Fault {
    /// So many commits find the disk full.
    FullStorage(u32),
    SlowStorage,
    CrashBeforeCommit,
    CrashAfterCommit,
    /// These operations of the log's disk fail.
    FailingLog(Range<u64>),
    /// The log has to begin a new file, and there is no space for one.
    FullLog,
    /// No sync of the log ends until everybody has waited for it.
    SlowLog,
    /// The power fails at this operation of the log's disk.
    PowerFailure(u64),
    /// The callers hang up.
    Impatience,
    /// Every connection to PostgreSQL breaks, some of them in the middle of a transaction or of a commit.
    LostConnections,
    /// PostgreSQL knows no such database.
    DatabaseAway,
}

impl Fault {
    /// Whether who is answered with trouble cannot know what was done.
    pub fn ends_the_process(&self) -> bool {
        matches!(self, Fault::CrashBeforeCommit | Fault::CrashAfterCommit | Fault::PowerFailure(_))
    }

    /// Whether an answer that is missing, or that tells of trouble, may hide a success.
    pub fn may_hide_success(&self) -> bool {
        self.ends_the_process() || matches!(self, Fault::Impatience | Fault::LostConnections)
    }
}

impl Machine {
    pub async fn start(engine: Engine, seed: u64) -> Machine {
        let folder = TempDir::new().expect("a folder for the database");
        let mut lines = format!("data_dir = {:?}\n{CONFIGURATION}", folder.path());
        let database = match engine {
            Engine::Sqlite => None,
            Engine::Postgres => Some(migrated_database().await),
        };
        if let Some(database) = &database {
            lines += &format!("database = {:?}\n", database.url());
        }
        let mut settings = Settings::parse("the simulation's configuration", &lines).expect("the configuration is good");
        // One is fewer than an installation may have.
        settings.database_connections_max = CONNECTIONS[(seed % 2) as usize];
        let mut machine = Machine {
            clock: Arc::new(SimulatedClock::at(START)),
            disk: SimulatedDisk::new(seed),
            seen_disk: SimulatedDisk::new(!seed),
            settings,
            entropy: Arc::new(SeededEntropy::new(seed)),
            outbound: Outbound::simulated(OutboundPolicy::PublicOnly).0,
            running: None,
            steps: 0,
            _folder: folder,
            database,
        };
        machine.open().await.expect("a new installation opens");
        machine
    }

    /// Which fault befalls it, if any.
    pub fn fault(&self, random: &mut Random) -> Option<Fault> {
        Some(match random.within(0..20) {
            0 => Fault::FullStorage(random.within(1..4) as u32),
            1 => Fault::SlowStorage,
            2 => Fault::CrashBeforeCommit,
            3 => Fault::CrashAfterCommit,
            4 => {
                let from = random.within(0..3);
                Fault::FailingLog(from..from + random.within(1..6))
            }
            5 => Fault::FullLog,
            6 => Fault::SlowLog,
            7 => Fault::PowerFailure(random.within(0..6)),
            8 => Fault::Impatience,
            9 | 10 if self.database.is_some() => Fault::LostConnections,
            11 if self.database.is_some() => Fault::DatabaseAway,
            _ => return None,
        })
    }

    /// The token that the first start wrote.
    pub fn operator_token(&self) -> String {
        let token = std::fs::read_to_string(self.settings.operator_token_path()).expect("the first start wrote a token");
        token.trim().to_owned()
    }

    pub fn world(&self) -> &Arc<World> {
        &self.running.as_ref().expect("the server runs").world
    }

    pub fn now(&self) -> Timestamp {
        self.world().now()
    }

    /// Sends one request, again while it is told to come again in vain.
    pub async fn call(&self, request: &Request) -> Answer {
        for _ in 1..TRIES_MAX {
            let answer = self.calling(request).await;
            if answer.status.as_u16() != 503 || !self.may_be_crowded() {
                return answer;
            }
        }
        self.calling(request).await
    }

    /// Whether it may be in trouble without a misfortune: PostgreSQL and the patience with it go by real time, which runs out when
    /// the tests' machine is crowded.
    pub fn may_be_crowded(&self) -> bool {
        self.database.is_some()
    }

    /// Sends requests side by side, the first one first, while a fault befalls the machine; then the machine heals. Who hung up
    /// has no answer.
    pub async fn serve(&mut self, requests: &[Request], fault: Option<&Fault>) -> Vec<Option<Answer>> {
        self.order(fault, 0).await;
        let mut answers: Vec<Option<Answer>> = requests.iter().map(|_| None).collect();
        let mut serving = Box::pin(join_all(
            requests.iter().zip(&mut answers).map(|(request, answer)| async { *answer = Some(self.calling(request).await) }),
        ));
        let is_over = self.befall(fault, &mut serving).await;
        if is_over || matches!(fault, Some(Fault::Impatience)) {
            drop(serving);
        } else {
            self.disk.release_syncs();
            serving.await;
        }
        self.heal(fault).await;
        answers
    }

    /// Loses the process, and the power: what was not durable meets its fate.
    pub async fn crash(&mut self) {
        self.die().await;
        self.open().await.expect("what a crash left opens again");
    }

    /// Crashes, and loses the power again while it starts.
    pub async fn crash_twice(&mut self, operations: u64) {
        self.die().await;
        self.disk.power_off_after(operations);
        if self.open().await.is_ok() {
            self.die().await;
        } else {
            self.disk.power_off();
            self.seen_disk.power_off();
            self.disk.restart();
            self.seen_disk.restart();
        }
        let mut opened = self.open().await;
        // A start that failed has ended when its process has, and here it goes on for a moment.
        while opened.as_ref().is_err_and(|error| error.contains("another deputy process")) {
            std::thread::yield_now();
            opened = self.open().await;
        }
        opened.expect("what two crashes left opens again");
    }

    /// Stops as a good process does, and starts again.
    pub async fn restart(&mut self) {
        let running = self.running.take().expect("the server runs");
        running.world.close().await;
        drop(running);
        self.open().await.expect("what a stop left opens again");
    }

    /// Runs every stage until it rests.
    pub async fn settle(&self) -> Result<(), String> {
        let world = self.world();
        for stage in STAGES {
            for step in 0.. {
                match (stage.step)(world, world.now()).await {
                    Ok(Progress::Advanced | Progress::CaughtUp) if step < STEPS_MAX => {}
                    Ok(Progress::Advanced | Progress::CaughtUp) => return Err(format!("the stage {} never rests", stage.name)),
                    Ok(Progress::Idle) => break,
                    Err(_) if step < TRIES_MAX && self.may_be_crowded() => {}
                    Err(error) => return Err(format!("the stage {} fails on a healthy machine: {error}", stage.name)),
                }
            }
        }
        Ok(())
    }

    /// Steps every stage once while a fault befalls the machine.
    pub async fn step(&mut self, fault: Option<&Fault>) {
        // A stage commits several times: each of them is the last one in its turn.
        self.steps += 1;
        self.order(fault, self.steps % COMMITS_OF_STAGES).await;
        let world = Arc::clone(self.world());
        let mut stepping = Box::pin(async {
            for stage in STAGES {
                // It stands still and tries again; what it must not do is lose or double a fact.
                let _ = (stage.step)(&world, world.now()).await;
            }
        });
        self.befall(fault, &mut stepping).await;
        drop(stepping);
        drop(world);
        self.heal(fault).await;
    }

    /// The facts on record from the given offset on, and where they end.
    pub async fn facts(&self, mut from: u64) -> Result<(Vec<Value>, u64), String> {
        let log = &self.world().log;
        let (start, end) = log.bounds(FACTS, 0).await.map_err(|error| error.to_string())?;
        if end < from {
            return Err(format!("the log of facts ended at {from} and now ends at {end}"));
        }
        let mut facts = Vec::new();
        from = from.max(start);
        while from < end {
            let batch = log.read(FACTS, 0, from, 1 << 20).await.map_err(|error| error.to_string())?;
            for entry in batch.entries {
                facts.push(serde_json::from_slice(&entry.payload).map_err(|error| error.to_string())?);
            }
            from = batch.next;
        }
        Ok((facts, from))
    }

    fn calling(&self, request: &Request) -> impl Future<Output = Answer> + use<> {
        let router = self.running.as_ref().expect("the server runs").router.clone();
        let Request { method, path, headers, body } = request.clone();
        let mut builder = http::Request::builder().method(method).uri(path).extension(ConnectInfo(PEER));
        for (name, value) in headers {
            builder = builder.header(name, value);
        }
        let request = builder.body(Body::from(body)).expect("the request is well-formed");
        async move {
            let (head, body) = router.oneshot(request).await.expect("the router never fails").into_parts();
            let body = body.collect().await.expect("answers are whole").to_bytes();
            Answer { status: head.status, headers: head.headers, body: String::from_utf8_lossy(&body).into_owned() }
        }
    }

    /// What befalls the machine before anybody asks for anything; a crash, after so many commits.
    async fn order(&self, fault: Option<&Fault>, commits_spared: u32) {
        let storage = self.world().storage.faults();
        match fault {
            None | Some(Fault::Impatience | Fault::LostConnections) => {}
            Some(Fault::FullStorage(commits)) => storage.fail_commits(*commits),
            Some(Fault::SlowStorage) => storage.slow_commits(3, Duration::from_millis(1)),
            Some(Fault::CrashBeforeCommit) => storage.crash_before_commit(commits_spared),
            Some(Fault::CrashAfterCommit) => storage.crash_after_commit(commits_spared),
            Some(Fault::FailingLog(operations)) => self.disk.fail(operations.clone()),
            Some(Fault::FullLog) => {
                self.disk.fail(0..1);
                self.disk.set_capacity(self.disk.bytes_used());
            }
            Some(Fault::SlowLog) => self.disk.hold_syncs(),
            Some(Fault::PowerFailure(operations)) => self.disk.power_off_after(*operations),
            Some(Fault::DatabaseAway) => self.postgres().go_away().await,
        }
    }

    /// Goes on with `doing` until it is done, or until what befalls the machine in the middle has held it up long enough. Tells
    /// whether it is done.
    async fn befall(&self, fault: Option<&Fault>, doing: &mut (impl Future + Unpin)) -> bool {
        match fault {
            Some(Fault::SlowLog | Fault::Impatience) => tokio::select! {
                biased;
                _ = doing => true,
                () = polls(POLLS) => false,
            },
            Some(Fault::LostConnections) => {
                // To its end: the server would go on breaking them by itself.
                tokio::join!(doing, self.postgres().break_connections());
                true
            }
            _ => {
                doing.await;
                true
            }
        }
    }

    async fn heal(&mut self, fault: Option<&Fault>) {
        if fault.is_some_and(Fault::ends_the_process) {
            return self.crash().await;
        }
        let storage = &self.world().storage;
        storage.faults().fail_commits(0);
        storage.faults().slow_commits(0, Duration::ZERO);
        self.disk.fail(0..0);
        self.disk.set_capacity(u64::MAX);
        self.disk.release_syncs();
        match fault {
            Some(Fault::Impatience) => self.quiesce().await,
            Some(Fault::LostConnections) => self.replace_connections().await,
            Some(Fault::DatabaseAway) => {
                self.postgres().come_back().await;
                self.replace_connections().await;
            }
            _ => {}
        }
    }

    /// Whoever hung up is not waited for: what they asked for is done when what comes after them is. SQLite's writer is one; at
    /// PostgreSQL whoever holds every connection at once is alone.
    async fn quiesce(&self) {
        let healthy = "a healthy machine's storage answers";
        let storage = &self.world().storage;
        if self.database.is_none() {
            return storage.ping().await.expect(healthy);
        }
        let connections = self.settings.database_connections_max as usize;
        let all = Arc::new(Barrier::new(connections));
        let held = (0..connections).map(|_| {
            let all = Arc::clone(&all);
            storage.write(move |_| Box::pin(async move { Ok::<_, StorageError>(all.wait().await.is_leader()) }))
        });
        join_all(held).await.into_iter().for_each(|held| assert!(held.is_ok(), "{healthy}: {held:?}"));
    }

    /// Each connection of the pool is found broken once.
    async fn replace_connections(&self) {
        for _ in 0..self.settings.database_connections_max {
            let _ = self.world().storage.ping().await;
        }
        self.quiesce().await;
    }

    fn postgres(&self) -> &PrivateDatabase {
        self.database.as_ref().expect("only machines on PostgreSQL have such faults")
    }

    async fn die(&mut self) {
        let running = self.running.take().expect("the server runs");
        running.world.storage.crash().await;
        self.disk.power_off();
        self.seen_disk.power_off();
        drop(running);
        self.disk.restart();
        self.seen_disk.restart();
    }

    async fn open(&mut self) -> Result<(), String> {
        let outside = Outside {
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
            disk: Arc::new(self.disk.clone()),
            seen_disk: Arc::new(self.seen_disk.clone()),
            outbound: self.outbound.clone(),
            sandbox: Sandbox::new(env!("CARGO_BIN_EXE_deputy").into()),
        };
        let world = World::open_with(self.settings.clone(), outside).await.map_err(|error| error.to_string())?;
        if let Err(error) = operators::first(&world).await {
            // As the process does: it ends, and somebody starts it again.
            return Err(error.to_string());
        }
        let router = deputy::http::router(&world);
        self.running = Some(Running { world, router });
        Ok(())
    }
}

/// Lets everybody else go on so often.
async fn polls(count: usize) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}
