//! An installation of Deputy on a loopback port, with a data folder or a PostgreSQL database of its own.
//!
//! Time stands until a test moves it. Background stages run only when a test steps them.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use deputy::{
    config::Settings,
    domain::time::Timestamp,
    log::disk::{Disk, RealDisk, simulated::SimulatedDisk},
    outbound::{Outbound, OutboundPolicy, SimulatedWeb},
    sandbox::Sandbox,
    server::{STAGES, Server, Stage},
    storage::{Database, MIGRATIONS, Storage},
    world::{
        FACTS, Progress, World,
        clock::SimulatedClock,
        entropy::SystemEntropy,
        open::{Outside, log_path},
    },
};
use reqwest::header::{HeaderMap, HeaderName};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::SemaphorePermit};

use super::{Answer, RESOURCE, agent::Agent, person::Person, postgres::PrivateDatabase};

/// When tests begin: 2027-01-15T08:00:00Z.
const START: Timestamp = Timestamp(1_800_000_000_000);

/// Deputy, running.
pub struct Installation {
    pub clock: Arc<SimulatedClock>,
    /// What outgoing calls meet.
    pub web: SimulatedWeb,
    /// The issuer, or the address of another node.
    pub issuer: String,
    pub http: reqwest::Client,
    server: Option<Server>,
    settings: Settings,
    outbound: Outbound,
    /// Where the log is, if not in the data folder.
    log_disk: Option<SimulatedDisk>,
    // Kept as long as the installation.
    _folder: TempDir,
    /// PostgreSQL, if it is not the embedded engine. Another node has none of its own.
    database: Option<PrivateDatabase>,
}

/// Runs a story once on each engine.
pub async fn each_engine(story: impl AsyncFn(Installation)) {
    each_engine_with("", story).await;
}

/// Runs a story once on each engine, with these lines of `deputy.toml`.
pub async fn each_engine_with(configuration: &str, story: impl AsyncFn(Installation)) {
    story(Installation::start_with(configuration).await).await;
    story(Installation::start_on_postgres(configuration).await).await;
}

/// What sends requests as they are, and follows nothing by itself.
fn client() -> reqwest::ClientBuilder {
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy()
}

/// Runs a story once on each engine, with these lines of `deputy.toml` and the network of this machine.
pub async fn each_engine_calling_out(configuration: &str, story: impl AsyncFn(Installation)) {
    story(Installation::open(configuration, None, Network::Real, None).await).await;
    story(Installation::open(configuration, Some(migrated_database().await), Network::Real, None).await).await;
}

/// What outgoing calls meet.
enum Network {
    Simulated,
    Real,
}

/// A PostgreSQL database with every migration.
pub async fn migrated_database() -> PrivateDatabase {
    let migrate = async |url| {
        let database = Database::Postgres { url, connections_max: 2 };
        Storage::open(&database, MIGRATIONS).await.expect("the template migrates").close().await;
    };
    PrivateDatabase::like("deputy_template", migrate).await
}

/// Asks the server at `issuer` about a token, as the resource of this registration.
pub async fn introspect(http: &reqwest::Client, issuer: &str, resource: &Value, token: &str) -> Answer {
    let (id, secret) = (resource["resource_id"].as_str().expect("text"), resource["secret"].as_str());
    Answer::of(http.post(format!("{issuer}/introspect")).basic_auth(id, secret).form(&[("token", token)])).await
}

/// Whether an introspection answer tells of a live token.
#[track_caller]
pub fn is_active(told: &Answer) -> bool {
    let is_active = told.json()["active"] == true;
    assert!(is_active || told.body == r#"{"active":false}"#, "a dead token tells nothing: {told:?}");
    is_active
}

impl Installation {
    /// On embedded storage, with the defaults.
    pub async fn start() -> Installation {
        Installation::start_with("").await
    }

    /// On embedded storage, with these lines of `deputy.toml`.
    pub async fn start_with(configuration: &str) -> Installation {
        Installation::open(configuration, None, Network::Simulated, None).await
    }

    /// On embedded storage, with the log on this disk.
    pub async fn start_on_disk(disk: &SimulatedDisk) -> Installation {
        Installation::open("", None, Network::Simulated, Some(disk.clone())).await
    }

    /// On a PostgreSQL database of its own.
    pub async fn start_on_postgres(configuration: &str) -> Installation {
        Installation::open(configuration, Some(migrated_database().await), Network::Simulated, None).await
    }

    async fn open(
        configuration: &str,
        database: Option<PrivateDatabase>,
        network: Network,
        log_disk: Option<SimulatedDisk>,
    ) -> Installation {
        let (folder, listener, address) = Installation::place().await;
        let mut lines = format!("listen = \"{address}\"\ndata_dir = {:?}\n", folder.path());
        if !configuration.contains("issuer") {
            lines += &format!("issuer = \"http://{address}\"\n");
        }
        if let Some(database) = &database {
            lines += &format!("database = {:?}\ndatabase_connections_max = 8\n", database.url());
        }
        let settings = Settings::parse("the test's configuration", &(lines + configuration)).expect("the configuration is good");
        // The server's own web: nothing leaves the process.
        let policy = if settings.issuer.is_loopback() { OutboundPolicy::AllowLoopback } else { OutboundPolicy::PublicOnly };
        let (simulated, web) = Outbound::simulated(policy);
        let outbound = match network {
            Network::Simulated => simulated,
            Network::Real => Outbound::new(policy),
        };
        let http = client().build().expect("a client");
        let mut installation = Installation {
            clock: Arc::new(SimulatedClock::at(START)),
            web,
            issuer: settings.issuer.as_str().to_owned(),
            http,
            server: None,
            settings,
            outbound,
            log_disk,
            _folder: folder,
            database,
        };
        installation.serve(listener, &[]).await;
        installation
    }

    /// Where an installation may be.
    async fn place() -> (TempDir, TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        (TempDir::new().expect("a folder for the data"), listener, address)
    }

    async fn serve(&mut self, listener: TcpListener, stages: &'static [Stage]) {
        let disk: Arc<dyn Disk> = match &self.log_disk {
            Some(disk) => Arc::new(disk.clone()),
            None => Arc::new(RealDisk::create(&log_path(&self.settings)).expect("the log's folder")),
        };
        let seen_disk = RealDisk::create(&self.settings.data_dir.join("seen")).expect("the index's folder");
        let outside = Outside {
            clock: self.clock.clone(),
            entropy: Arc::new(SystemEntropy),
            disk,
            seen_disk: Arc::new(seen_disk),
            outbound: self.outbound.clone(),
            sandbox: Sandbox::new(env!("CARGO_BIN_EXE_deputy").into()),
        };
        let world = World::open_with(self.settings.clone(), outside).await.expect("the world opens");
        self.server = Some(Server::serve(world, listener, stages).await.expect("the server starts"));
    }

    /// Stops as SIGTERM does and starts again on the same data and port.
    pub async fn restart(&mut self) {
        self.server.take().expect("it runs").stop().await;
        self.listen_again(&[]).await;
    }

    /// Stops, lets something happen to the data folder, and starts again.
    pub async fn restart_after(&mut self, happens: impl FnOnce(&Path)) {
        self.server.take().expect("it runs").stop().await;
        happens(&self.settings.data_dir);
        self.listen_again(&[]).await;
    }

    /// Stops and starts again with the background stages running by themselves, as they do outside of tests. From then on nothing
    /// may be stepped by hand: what is to happen is waited for.
    pub async fn restart_with_stages(&mut self) {
        self.server.take().expect("it runs").stop().await;
        self.listen_again(STAGES).await;
    }

    /// Loses the process as `kill -9` does and starts again on the same data and port.
    pub async fn crash(&mut self) {
        let server = self.server.take().expect("it runs");
        server.world.storage.crash().await;
        server.stop().await;
        self.listen_again(&[]).await;
    }

    async fn listen_again(&mut self, stages: &'static [Stage]) {
        let listener = TcpListener::bind(self.settings.listen).await.expect("the port is free again");
        self.serve(listener, stages).await;
    }

    pub fn world(&self) -> &Arc<World> {
        &self.server.as_ref().expect("it runs").world
    }

    /// The PostgreSQL database, of an installation that has one.
    pub fn database(&self) -> &PrivateDatabase {
        self.database.as_ref().expect("this installation is on PostgreSQL")
    }

    /// Where it listens, whatever its issuer says.
    pub fn address(&self) -> SocketAddr {
        self.settings.listen
    }

    /// Lets everybody come from this address from now on. The installation has to trust a proxy on this machine, as with
    /// `trusted_proxies = ["127.0.0.1"]`.
    pub fn everybody_comes_from(&mut self, address: &str) {
        let headers =
            HeaderMap::from_iter([(HeaderName::from_static("x-forwarded-for"), address.parse().expect("a header value"))]);
        self.http = client().default_headers(headers).build().expect("a client");
    }

    /// Lets time pass.
    pub fn later(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// Runs every background stage until it rests.
    pub async fn settle(&self) {
        self.settle_but("").await;
    }

    /// Runs every background stage but one until it rests.
    pub async fn settle_but(&self, left_out: &str) {
        let world = self.world();
        let mut is_moving = true;
        // What a later stage writes may be for an earlier one.
        while std::mem::take(&mut is_moving) {
            for stage in STAGES.iter().filter(|stage| stage.name != left_out) {
                let step =
                    || async { (stage.step)(world, world.now()).await.unwrap_or_else(|error| panic!("{}: {error}", stage.name)) };
                while step().await != Progress::Idle {
                    is_moving = true;
                }
            }
        }
    }

    /// Does something while nothing can be committed: the disk is full, or the database away.
    pub async fn without_storage<T>(&self, doing: impl Future<Output = T>) -> T {
        let Some(database) = &self.database else {
            self.world().storage.faults().fail_commits(u32::MAX);
            let done = doing.await;
            self.world().storage.faults().fail_commits(0);
            return done;
        };
        database.go_away().await;
        let done = doing.await;
        database.come_back().await;
        // Each connection of the pool is found broken once.
        for _ in 0..self.settings.database_connections_max {
            let _ = self.world().storage.ping().await;
        }
        done
    }

    /// As many passwords as are ever hashed, and as many as may wait for it, until this is dropped.
    pub fn all_password_places(&self) -> SemaphorePermit<'_> {
        let places = &self.world().memory.password_places;
        let count = u32::try_from(places.available_permits()).expect("some dozens");
        places.try_acquire_many(count).expect("nobody else asks")
    }

    /// Another node: a process with a data folder of its own that shares PostgreSQL database, keys, clock and network with this one.
    pub async fn beside(&self) -> Installation {
        let (folder, listener, address) = Installation::place().await;
        let settings = Settings { listen: address, data_dir: folder.path().to_owned(), ..self.settings.clone() };
        for (from, to) in [
            (self.settings.master_key_path(), settings.master_key_path()),
            (self.settings.operator_token_path(), settings.operator_token_path()),
        ] {
            std::fs::copy(from, to).expect("the first start wrote it");
        }
        let mut node = Installation {
            clock: self.clock.clone(),
            web: self.web.clone(),
            issuer: format!("http://{address}"),
            http: self.http.clone(),
            server: None,
            settings,
            outbound: self.outbound.clone(),
            log_disk: None,
            _folder: folder,
            database: None,
        };
        node.serve(listener, &[]).await;
        node
    }

    /// Every fact on record, the oldest first.
    pub async fn facts(&self) -> Vec<Value> {
        self.settle().await;
        self.topic(FACTS).await
    }

    /// Everything that the topic holds now, partition by partition.
    pub async fn topic(&self, name: &str) -> Vec<Value> {
        let log = &self.world().log;
        let mut facts = Vec::new();
        for partition in 0..log.partitions(name).await.expect("the log answers") {
            let (mut next, end) = log.bounds(name, partition).await.expect("the partition exists");
            while next < end {
                let batch = log.read(name, partition, next, 1 << 20).await.expect("the log is whole");
                next = batch.next;
                let payloads = batch.entries.into_iter().map(|entry| entry.payload);
                facts.extend(payloads.map(|payload| serde_json::from_slice::<Value>(&payload).expect("facts are JSON")));
            }
        }
        facts
    }

    /// The data of every fact of this type.
    pub async fn facts_of(&self, name: &str) -> Vec<Value> {
        let facts = self.facts().await;
        facts.into_iter().filter(|fact| fact["type"] == name).map(|fact| fact["data"].clone()).collect()
    }

    /// The reason of the last refusal on record: what the answer itself never tells.
    pub async fn last_reason(&self) -> String {
        let facts = self.facts().await;
        let last = facts.iter().rfind(|fact| fact["data"]["reason"].is_string());
        last.map_or_else(
            || panic!("no refusal on record: {facts:?}"),
            |fact| fact["data"]["reason"].as_str().unwrap_or_default().to_owned(),
        )
    }

    pub async fn get(&self, path: &str) -> Answer {
        Answer::of(self.http.get(format!("{}{path}", self.issuer))).await
    }

    /// Posts a form.
    pub async fn post(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        Answer::of(self.http.post(format!("{}{path}", self.issuer)).form(form)).await
    }

    /// How often a refusal was counted: also those that are not on record, because they are trouble that passes. The process
    /// counts for all its servers, so compare before and after.
    pub async fn refusals_counted(&self, reason: &str) -> u64 {
        let line = format!("deputy_refusals_total{{reason=\"{reason}\"}} ");
        let page = self.get("/metrics").await.ok().body;
        page.lines().find_map(|text| text.strip_prefix(&line)).map_or(0, |count| count.parse().expect("a count"))
    }

    /// The token that the first start wrote.
    pub fn operator_token(&self) -> String {
        let text = std::fs::read_to_string(self.settings.operator_token_path()).expect("the first start wrote a token");
        text.trim().to_owned()
    }

    /// Asks the admin API.
    pub async fn operate(&self, method: &str, path: &str, body: Value) -> Answer {
        let method = method.parse().expect("a method");
        let request = self.http.request(method, format!("{}/admin/v1{path}", self.issuer)).bearer_auth(self.operator_token());
        Answer::of(if body.is_null() { request } else { request.json(&body) }).await
    }

    /// What is told of a token to the resource of this registration.
    pub async fn introspect(&self, resource: &Value, token: &str) -> Answer {
        introspect(&self.http, &self.issuer, resource, token).await
    }

    /// Whether a token is alive, as the resource of this registration asks. One that is not tells nothing more.
    pub async fn is_active(&self, resource: &Value, token: &str) -> bool {
        is_active(&self.introspect(resource, token).await.ok())
    }

    /// Registers the usual resource: it has `notes:read` and `notes:write`, and `notes:admin` includes both.
    pub async fn resource(&self) -> Value {
        self.resource_at(RESOURCE).await
    }

    pub async fn resource_at(&self, identifier: &str) -> Value {
        let scopes = json!([
            {"name": "notes:read", "description": "Read your notes"},
            {"name": "notes:write", "description": "Write and change your notes"},
            {"name": "notes:admin", "description": "Do everything with your notes", "implies": ["notes:read", "notes:write"]},
        ]);
        self.operate("POST", "/resources", json!({"identifier": identifier, "name": "Notes", "scopes": scopes})).await.ok().json()
    }

    /// A person with an account, not signed in yet.
    pub async fn person(&self, login: &str) -> Person<'_> {
        let password = format!("a long password of {login}");
        self.operate("POST", "/people", json!({"login": login, "display_name": login, "password": password})).await.ok();
        Person::new(self, login, &password)
    }

    /// Somebody who has signed in and has nothing here yet; the same person each time, in another browser.
    pub async fn visitor(&self) -> Person<'_> {
        let (login, password) = ("visitor@example.com", "a long password of a visitor");
        // There already, from the second time on.
        self.operate("POST", "/people", json!({"login": login, "display_name": "Visitor", "password": password})).await;
        let visitor = Person::new(self, login, password);
        visitor.sign_in().await.ok();
        visitor
    }

    /// A public client that registered itself with `CALLBACK`.
    pub async fn agent(&self) -> Agent<'_> {
        Agent::register(self, json!({"client_name": "Notes agent", "grant_types": ["authorization_code", "refresh_token"]})).await
    }

    /// A source of customer events, with its write key.
    pub async fn source(&self, request: Value) -> Value {
        let mut named = json!({"name": "A source"});
        for (member, value) in request.as_object().expect("an object") {
            named[member] = value.clone();
        }
        self.operate("POST", "/sources", named).await.ok().json()
    }

    /// A confidential client that an operator made, which may act for itself.
    pub async fn service(&self, scope: &str) -> Agent<'_> {
        let request = json!({"client_name": "A service", "grant_types": ["client_credentials"], "scope": scope,
            "token_endpoint_auth_method": "client_secret_basic"});
        Agent::made_by_operator(self, request).await
    }
}
