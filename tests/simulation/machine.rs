//! The whole server without sockets: its router is called directly, its disk, clock, entropy and web are simulated, and its
//! stages run when they are stepped. Its database is a file, which dies with it, or a PostgreSQL, which survives it.

use std::{collections::BTreeMap, fmt::Display, future::Future, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo, http};
use deputy::{
    config::Settings,
    domain::time::Timestamp,
    log::{
        Entry,
        disk::{Disk as _, simulated::SimulatedDisk},
        seen::SeenError,
    },
    outbound::{Outbound, OutboundPolicy},
    protocol::administration::operators,
    sandbox::Sandbox,
    server::stages::{STAGES, Stage},
    storage::StorageError,
    world::{Progress, StageError, World, clock::SimulatedClock, entropy::SeededEntropy, open::Outside},
};
use futures_util::future::join_all;
use http_body_util::BodyExt as _;
use tempfile::TempDir;
use tokio::sync::Barrier;
use tower::ServiceExt as _;

use super::{faults::Fault, random::Random, request::Request};
use crate::support::{Answer, migrated_database, postgres::PrivateDatabase};

const CONFIGURATION: &str = "
    issuer = \"https://deputy.example\"
    access_token_ttl_s = 300
    refresh_token_idle_ttl_s = 3600
    refresh_grace_s = 30
    grant_ttl_s = 3600
    facts_retention_s = 864000
    dedup_window_s = 3600
    registrations_per_minute_max = 100000
    recorded_refusals_per_second_max = 100000
";
/// Where all requests come from.
const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 50_000);
/// When simulations begin: 2027-01-15T08:00:00Z.
const START: Timestamp = Timestamp(1_800_000_000_000);
/// How often a batch is polled before what holds it up ends: enough for its requests to come to where they must wait.
pub const POLLS: usize = 300;
/// Connections to PostgreSQL: one lets the seed decide everything, several let transactions meet.
const CONNECTIONS: [u32; 2] = [4, 1];
/// Partitions of the topics that have several.
const PARTITIONS: [u16; 2] = [1, 3];
/// About as many commits as all stages make in a step.
const COMMITS_OF_STAGES: u32 = 5;
/// How often a request is sent at most.
const TRIES_MAX: usize = 10;
/// How often a machine whose locks are still held is opened again at most.
const OPENINGS_MAX: usize = 100_000;
/// Steps of one stage that a simulation's facts could need at most.
const STEPS_MAX: usize = 1000;

/// Of each partition of a topic, the offset that is read next.
pub type Reached = BTreeMap<(&'static str, u16), u64>;

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
        settings.log_partitions = PARTITIONS[(seed / 2 % 2) as usize];
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

    /// Looks at what is stored past the server, again while the tests' machine is crowded.
    pub async fn look<T, E: Display>(&self, mut look: impl AsyncFnMut(&World) -> Result<T, E>) -> Result<T, String> {
        let mut seen = look(self.world()).await;
        for _ in 1..TRIES_MAX {
            if seen.is_ok() || !self.may_be_crowded() {
                break;
            }
            seen = look(self.world()).await;
        }
        seen.map_err(|error| format!("a healthy machine cannot be looked at: {error}"))
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
        self.open_again().await.expect("what a crash left opens again");
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
        self.open_again().await.expect("what two crashes left opens again");
    }

    /// Stops as a good process does, and starts again.
    pub async fn restart(&mut self) {
        let running = self.running.take().expect("the server runs");
        running.world.close().await;
        drop(running);
        self.open_again().await.expect("what a stop left opens again");
    }

    /// Starts again after a crash, with less of the index of seen ids than there was, or with none of it.
    pub async fn lose_index(&mut self, random: &mut Random) {
        self.die().await;
        let names = self.seen_disk.list().expect("the power is on");
        let written = |name: &&String| self.seen_disk.contents(name).is_some_and(|bytes| !bytes.is_empty());
        let written: Vec<&String> = names.iter().filter(written).collect();
        match random.pick(&written) {
            Some(name) if random.chance(60) => {
                let mut bytes = self.seen_disk.contents(name).expect("it was there just now");
                let place = random.within(0..bytes.len() as u64) as usize;
                bytes[place] ^= 1 << random.within(0..8);
                self.seen_disk.put(name, bytes);
            }
            _ => self.seen_disk = SimulatedDisk::new(random.number()),
        }
        self.open_again().await.expect("a cache is not missed");
    }

    /// Runs every stage until all of them rest: what a later one writes may be for an earlier one.
    pub async fn settle(&self) -> Result<(), String> {
        let world = self.world();
        for round in 0.. {
            let mut is_moving = false;
            for stage in STAGES {
                for step in 0.. {
                    match (stage.step)(world, world.now()).await {
                        Ok(Progress::Advanced | Progress::CaughtUp) if step < STEPS_MAX && round < STEPS_MAX => is_moving = true,
                        Ok(Progress::Advanced | Progress::CaughtUp) => return Err(format!("the stage {} never rests", stage.name)),
                        Ok(Progress::Idle) => break,
                        // It is told of once for each damaged file.
                        Err(StageError::Seen(SeenError::Damaged { .. })) if step < TRIES_MAX => is_moving = true,
                        Err(_) if step < TRIES_MAX && self.may_be_crowded() => {}
                        Err(error) => return Err(format!("the stage {} fails on a healthy machine: {error}", stage.name)),
                    }
                }
            }
            if !is_moving {
                break;
            }
        }
        Ok(())
    }

    /// Steps every stage once while a fault befalls the machine.
    pub async fn step(&mut self, fault: Option<&Fault>) {
        // A stage commits several times: each of them is the last one in its turn.
        self.steps += 1;
        let stages: Vec<&Stage> = STAGES.iter().collect();
        self.step_these(&stages, fault, self.steps % COMMITS_OF_STAGES).await;
    }

    /// Steps these stages, one after the other, while a fault befalls the machine; a crash, after so many commits.
    pub async fn step_these(&mut self, stages: &[&Stage], fault: Option<&Fault>, commits_spared: u32) {
        // Nobody hangs up on a stage: it ends when its process does.
        let killed = Fault::Killed(POLLS);
        let fault = fault.map(|fault| if matches!(fault, Fault::Impatience) { &killed } else { fault });
        self.order(fault, commits_spared).await;
        let world = Arc::clone(self.world());
        let mut stepping = Box::pin(async {
            for stage in stages {
                // It stands still and tries again; what it must not do is lose or double a fact.
                let _ = (stage.step)(&world, world.now()).await;
            }
        });
        let is_over = self.befall(fault, &mut stepping).await;
        if !is_over && !fault.is_some_and(Fault::ends_the_process) {
            self.disk.release_syncs();
            stepping.await;
        } else {
            drop(stepping);
        }
        drop(world);
        self.heal(fault).await;
    }

    /// What a topic holds beyond what was read before, partition by partition.
    pub async fn read_on(&self, topic: &'static str, reached: &mut Reached) -> Result<Vec<(u16, Entry)>, String> {
        let log = &self.world().log;
        let mut entries = Vec::new();
        for partition in 0..log.partitions(topic).await.map_err(|error| error.to_string())? {
            let (_, end) = log.bounds(topic, partition).await.map_err(|error| error.to_string())?;
            let next = reached.entry((topic, partition)).or_default();
            if end < *next {
                return Err(format!("{topic}/{partition} ended at {next} and now ends at {end}"));
            }
            while *next < end {
                let batch = log.read(topic, partition, *next, 1 << 20).await.map_err(|error| error.to_string())?;
                entries.extend(batch.entries.into_iter().map(|entry| (partition, entry)));
                *next = batch.next;
            }
        }
        Ok(entries)
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
            None | Some(Fault::Impatience | Fault::LostConnections | Fault::Killed(_)) => {}
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
            Some(Fault::FailingIndex(operations)) => self.seen_disk.fail(operations.clone()),
            Some(Fault::IndexPowerFailure(operations)) => self.seen_disk.power_off_after(*operations),
            Some(Fault::DatabaseAway) => self.postgres().go_away().await,
        }
    }

    /// Goes on with `doing` until it is done, or until what befalls the machine in the middle has held it up long enough. Tells
    /// whether it is done.
    async fn befall(&self, fault: Option<&Fault>, doing: &mut (impl Future + Unpin)) -> bool {
        match fault {
            Some(Fault::SlowLog | Fault::Impatience | Fault::Killed(_)) => {
                let count = if let Some(Fault::Killed(count)) = fault { *count } else { POLLS };
                tokio::select! {
                    biased;
                    _ = doing => true,
                    () = polls(count) => false,
                }
            }
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
        self.seen_disk.fail(0..0);
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

    /// As `open`, when a server was there before. One that has ended has no locks; here they may outlive it for a moment: a start that
    /// failed goes on, or a process that another test is starting has them until it is a program of its own.
    async fn open_again(&mut self) -> Result<(), String> {
        let mut opened = self.open().await;
        for _ in 0..OPENINGS_MAX {
            if !opened.as_ref().is_err_and(|error| error.contains("another deputy process")) {
                break;
            }
            std::thread::yield_now();
            opened = self.open().await;
        }
        opened
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
