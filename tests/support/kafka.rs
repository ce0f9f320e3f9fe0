//! An Apache Kafka of the tests' own: one broker in KRaft mode, started from its Maven artifacts at first use, in a temporary folder, on
//! free ports of the loopback address, and gone with the process, however that ends.
//!
//! A shell watches over it. It reads from a pipe that only we hold: when we are gone it kills the broker and removes the folder. A test
//! that ends the broker, or sets it otherwise, has one of its own.

use std::fs::{self, DirBuilder};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

static BROKER: OnceLock<Broker> = OnceLock::new();
static FOLDERS: AtomicU32 = AtomicU32::new(0);
static PREFIXES: AtomicU32 = AtomicU32::new(0);

/// Where the broker is that tests share: `host:port`.
pub fn brokers() -> String {
    BROKER.get_or_init(Broker::start).address()
}

/// What names begin with that no other test uses.
pub fn prefix() -> String {
    format!("test-{}", PREFIXES.fetch_add(1, Ordering::Relaxed))
}

pub struct Broker {
    port: u16,
    /// Holds the pipe that keeps the broker running.
    watcher: Child,
    answers: BufReader<ChildStdout>,
}

/// Arguments: the folder of jars, our folder, the port. The end of input is the end.
const WATCHER: &str = r#"
set -f; umask 077; cd "$2" || exit 1
java="java -Xms256m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp $1/* -Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
start() {
    $java -Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info kafka.Kafka properties > log 2>&1 < /dev/null &
    broker=$!
    tries=0
    until grep -q 'Kafka Server started' log; do
        tries=$((tries + 1))
        if ! kill -0 $broker 2> /dev/null || [ $tries -gt 600 ]; then cat log; return; fi
        sleep 0.1
    done
    echo ready
}
stop() { { kill -9 $broker; wait $broker; } 2> /dev/null; }
$java kafka.tools.StorageTool format --standalone -t ZGVwdXR5LXRlc3RzLWFsbA -c properties > log 2>&1 || { cat log; exit 1; }
start
while read -r order; do
    case $order in
        stop) stop; echo stopped ;;
        start) start ;;
    esac
done
stop
cd /; rm -rf "$2"
"#;

impl Broker {
    /// One that nobody else uses.
    pub fn start() -> Broker {
        let jars = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/libs");
        assert!(jars.is_dir(), "Kafka's jars are missing: run tests/setup.sh, which installs them");
        let folder =
            std::env::temp_dir().join(format!("deputy-kafka-{}-{}", std::process::id(), FOLDERS.fetch_add(1, Ordering::Relaxed)));
        DirBuilder::new().mode(0o700).create(&folder).expect("the temporary folder is writable");
        let free = || TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let (clients, controller) = (free(), free());
        let port = |listener: &TcpListener| listener.local_addr().expect("it is bound").port();
        let (port, controller_port) = (port(&clients), port(&controller));
        fs::write(folder.join("properties"), properties(&folder, port, controller_port)).expect("the folder is writable");
        drop((clients, controller));

        let mut watcher = Command::new("sh")
            .args(["-c", WATCHER, "sh"])
            .arg(&jars)
            .arg(&folder)
            .arg(port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Not in the terminal's group: an interrupt there must reach it only through the pipe.
            .process_group(0)
            .spawn()
            .expect("a shell starts");
        let answers = BufReader::new(watcher.stdout.take().expect("it is piped"));
        let mut broker = Broker { port, watcher, answers };
        broker.hear("ready");
        broker
    }

    /// Where it is: `host:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Ends it as a crash does, until `start_again`.
    pub fn stop(&mut self) {
        self.order("stop", "stopped");
    }

    /// Starts it on what it had, at the same place.
    pub fn start_again(&mut self) {
        self.order("start", "ready");
    }

    fn order(&mut self, order: &str, answer: &str) {
        writeln!(self.watcher.stdin.as_mut().expect("it is piped"), "{order}").expect("the shell reads it");
        self.hear(answer);
    }

    fn hear(&mut self, expected: &str) {
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("the shell writes text");
        if answer.trim_end() != expected {
            drop(self.watcher.stdin.take());
            self.answers.read_to_string(&mut answer).expect("the shell writes text");
            panic!("the private Kafka is not {expected}:\n{answer}");
        }
    }
}

fn properties(folder: &Path, port: u16, controller_port: u16) -> String {
    let listeners = format!("PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}");
    let lines = [
        "process.roles=broker,controller",
        "node.id=1",
        &format!("controller.quorum.bootstrap.servers=127.0.0.1:{controller_port}"),
        &format!("listeners={listeners}"),
        &format!("advertised.listeners={listeners}"),
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name=PLAINTEXT",
        "controller.listener.names=CONTROLLER",
        &format!("log.dirs={}", folder.join("data").display()),
        "broker.session.timeout.ms=2000",
        "broker.heartbeat.interval.ms=500",
        "group.initial.rebalance.delay.ms=0",
        "auto.create.topics.enable=false",
        "offsets.topic.replication.factor=1",
        "offsets.topic.num.partitions=4",
        "transaction.state.log.replication.factor=1",
        "transaction.state.log.min.isr=1",
        "transaction.state.log.num.partitions=4",
        "share.coordinator.state.topic.replication.factor=1",
        "share.coordinator.state.topic.min.isr=1",
    ];
    lines.join("\n") + "\n"
}
