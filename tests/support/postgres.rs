//! A PostgreSQL of the tests' own: started from Debian's binaries at first use, in a temporary folder, on a free port of the loopback
//! address, and gone with the process, however that ends.
//!
//! A shell watches over the server. It reads from a pipe that only we hold: when we are gone it stops the server and removes the folder.

use std::collections::BTreeSet;
use std::fs::DirBuilder;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

/// A database that nobody else uses, dropped some time after this value is.
pub struct PrivateDatabase {
    name: String,
}

static CLUSTER: OnceLock<Cluster> = OnceLock::new();
static CREATED: AtomicU32 = AtomicU32::new(0);
static TEMPLATES: tokio::sync::Mutex<BTreeSet<&str>> = tokio::sync::Mutex::const_new(BTreeSet::new());
static FORSAKEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl PrivateDatabase {
    /// A database without a table.
    pub async fn empty() -> Self {
        Self::copy_of("template1").await
    }

    /// A copy of the database `template`, which `prepare` fills once per process, given its URL; it closes its connections.
    pub async fn like(template: &'static str, prepare: impl AsyncFnOnce(String)) -> Self {
        let mut templates = TEMPLATES.lock().await;
        if !templates.contains(template) {
            run(format!("CREATE DATABASE {template}")).await;
            prepare(cluster().url(template)).await;
            templates.insert(template);
        }
        drop(templates);
        Self::copy_of(template).await
    }

    /// For `Database::Postgres`.
    pub fn url(&self) -> String {
        cluster().url(&self.name)
    }

    /// Ends every session in this database, as a restart of the server would.
    pub async fn break_connections(&self) {
        let sessions = format!("FROM pg_stat_activity WHERE datname = '{}'", self.name);
        // All are told before one is waited for, which takes a tenth of a second each.
        run(format!("SELECT pg_terminate_backend(pid) {sessions}; SELECT pg_terminate_backend(pid, 10000) {sessions}")).await;
    }

    /// Changes rows in a transaction that stays open, so that whoever else would change them waits.
    pub async fn hold_rows(&self, sql: &'static str) -> HeldRows {
        let mut holder = PgConnection::connect(&self.url()).await.expect("the private PostgreSQL answers");
        holder.execute("BEGIN").await.expect("a transaction begins");
        holder.execute(sql).await.expect("the rows are there");
        HeldRows(holder)
    }

    /// Returns when so many transactions wait for what others hold.
    pub async fn until_waiting(&self, count: i64) {
        let mut watcher = PgConnection::connect(&self.url()).await.expect("the private PostgreSQL answers");
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        for _ in 0..10_000 {
            let waiting: i64 = sqlx::query_scalar(sql).fetch_one(&mut watcher).await.expect("it tells who waits");
            if waiting >= count {
                watcher.close().await.expect("the connection ends");
                return;
            }
        }
        panic!("nobody waits");
    }

    /// Takes the database away from whoever uses it, until `come_back`.
    pub async fn go_away(&self) {
        // Nobody is to come back between the one and the other.
        run(format!("ALTER DATABASE {} ALLOW_CONNECTIONS false", self.name)).await;
        self.break_connections().await;
        run(format!("ALTER DATABASE {0} RENAME TO {0}_away", self.name)).await;
    }

    pub async fn come_back(&self) {
        run(format!("ALTER DATABASE {0}_away RENAME TO {0}", self.name)).await;
        run(format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", self.name)).await;
    }

    async fn copy_of(template: &str) -> Self {
        let forsaken = std::mem::take(&mut *FORSAKEN.lock().expect("nobody panics while holding the list"));
        for name in forsaken {
            run(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
        }
        let name = format!("test_{}", CREATED.fetch_add(1, Ordering::Relaxed));
        // Copying files is quicker than logging their pages, where nothing is synced.
        run(format!("CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")).await;
        Self { name }
    }
}

/// Rows that one open transaction has changed.
pub struct HeldRows(PgConnection);

impl HeldRows {
    /// Undoes the change and lets the others go on.
    pub async fn release(mut self) {
        self.0.execute("ROLLBACK").await.expect("the transaction ends");
        self.0.close().await.expect("the connection ends");
    }
}

impl Drop for PrivateDatabase {
    fn drop(&mut self) {
        let name = std::mem::take(&mut self.name);
        FORSAKEN.lock().expect("nobody panics while holding the list").push(name);
    }
}

async fn run(sql: String) {
    let url = cluster().url("postgres");
    let mut connection = PgConnection::connect(&url).await.expect("the private PostgreSQL accepts connections");
    connection.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.expect("the statement is right");
    connection.close().await.expect("the private PostgreSQL is there");
}

fn cluster() -> &'static Cluster {
    CLUSTER.get_or_init(Cluster::start)
}

struct Cluster {
    port: u16,
    password: String,
    /// Holds the pipe that keeps the server running.
    _watcher: Child,
}

/// Arguments: the binaries' folder, our folder, the port. The first line of input is the password; its end is the end. Nothing is
/// synced: the machine that loses its power loses the tests too.
const WATCHER: &str = r#"
umask 077; cd "$2" || exit 1
IFS= read -r password; printf '%s\n' "$password" > password
"$1/initdb" -D data -U deputy -E UTF8 --locale=C --locale-provider=icu --icu-locale=en --no-sync \
    --auth-local=trust --auth-host=password --pwfile=password > log 2>&1 &&
"$1/pg_ctl" -D data -l log -w start >> log 2>&1 -o "-p $3 -k $2 -c listen_addresses=127.0.0.1 -c fsync=off -c shared_buffers=16MB \
    -c max_connections=300 -c wal_level=minimal -c max_wal_senders=0 -c jit=off -c deadlock_timeout=50ms" &&
echo ready || cat log
read -r _
"$1/pg_ctl" -D data -m immediate stop >> log 2>&1
cd /; rm -rf "$2"
"#;

impl Cluster {
    fn start() -> Self {
        let folder = std::env::temp_dir().join(format!("deputy-postgres-{}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&folder).expect("the temporary folder is writable");
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port is free");
        let password = random_hex();

        let mut watcher = shell(&folder)
            .args(["-c", WATCHER, "sh"])
            .arg(binaries())
            .arg(&folder)
            .arg(free.port().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Not in the terminal's group: an interrupt there must reach it only through the pipe.
            .process_group(0)
            .spawn()
            .expect("a shell starts");
        writeln!(watcher.stdin.as_mut().expect("it is piped"), "{password}").expect("the shell reads it");
        let mut output = BufReader::new(watcher.stdout.take().expect("it is piped"));
        let mut answer = String::new();
        output.read_line(&mut answer).expect("the shell writes text");
        if answer != "ready\n" {
            drop(watcher.stdin.take());
            output.read_to_string(&mut answer).expect("the shell writes text");
            panic!("the private PostgreSQL did not start:\n{answer}");
        }
        Self { port: free.port(), password, _watcher: watcher }
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://deputy:{}@127.0.0.1:{}/{database}", self.password, self.port)
    }
}

/// PostgreSQL refuses to run as root; then it runs as the user that Debian's package made for it.
fn shell(folder: &Path) -> Command {
    if folder.metadata().expect("it was just made").uid() != 0 {
        return Command::new("sh");
    }
    let users = std::fs::read_to_string("/etc/passwd").expect("there is a list of users");
    let user = users.lines().find_map(|line| line.strip_prefix("postgres:x:")).expect("Debian's package made the user `postgres`");
    let mut ids = user.split(':').map(|id| id.parse().expect("ids are numbers"));
    chown(folder, ids.next(), ids.next()).expect("root may give a folder away");
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--", "sh"]);
    command
}

/// The folder of the newest version that is installed.
fn binaries() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    versions
        .map(|version| version.path())
        .filter(|path| path.join("bin/initdb").exists())
        .max_by_key(|path| path.file_name().and_then(|version| version.to_str()?.parse::<u32>().ok()))
        .expect("PostgreSQL's binaries are missing: apt-get install postgresql")
        .join("bin")
}

fn random_hex() -> String {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut bytes)).expect("there is randomness");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
