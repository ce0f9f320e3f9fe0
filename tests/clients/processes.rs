//! Processes that end with the test that started them, whatever becomes of it; and what they need of this machine.

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader},
    process::{Child, Command},
    task::JoinHandle,
    time::timeout,
};

/// How long a server may take until it serves.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a program may run that comes to an end; more than the scripts allow themselves.
const RUN_TIMEOUT: Duration = Duration::from_secs(200);

/// A server in a process of its own; killed when dropped.
pub struct Process {
    /// The line that told that it serves.
    pub announcement: String,
    // Killed when it is dropped.
    _child: Child,
    // Reads on, so that the process never waits for us.
    _reader: JoinHandle<()>,
}

/// Where a server tells that it serves.
pub enum Announces {
    OnOutput,
    OnError,
}

impl Process {
    /// Starts a server and waits for the line that holds `sign`.
    pub async fn start(mut command: Command, announces: Announces, sign: &str) -> Process {
        let program = command.as_std().get_program().to_owned();
        command.stdin(Stdio::null()).kill_on_drop(true);
        match announces {
            Announces::OnOutput => command.stdout(Stdio::piped()),
            Announces::OnError => command.stderr(Stdio::piped()),
        };
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{} does not start: {error}", program.display()));
        let mut pipe: Box<dyn AsyncRead + Send + Unpin> = match announces {
            Announces::OnOutput => Box::new(child.stdout.take().expect("it is piped")),
            Announces::OnError => Box::new(child.stderr.take().expect("it is piped")),
        };
        let announcement = timeout(START_TIMEOUT, wait_for(&mut pipe, sign)).await;
        let announcement = announcement.unwrap_or_else(|_| panic!("{} does not say {sign:?} in time", program.display()));
        let reader = tokio::spawn(async move {
            let _ = tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await;
        });
        Process { announcement, _child: child, _reader: reader }
    }
}

/// The first line that holds `sign`.
async fn wait_for(pipe: &mut (dyn AsyncRead + Send + Unpin), sign: &str) -> String {
    let mut lines = BufReader::new(pipe).lines();
    let mut before = String::new();
    while let Some(line) = lines.next_line().await.expect("its lines are text") {
        if line.contains(sign) {
            return line;
        }
        before = before + &line + "\n";
    }
    panic!("it ended before it said {sign:?}:\n{before}")
}

/// Runs a program to its end, with this on its standard input, and returns what it printed. Fails unless its exit code is 0.
pub async fn run(mut command: Command, input: &str) -> String {
    let name = format!("{:?}", command.as_std());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}"));
    let mut stdin = child.stdin.take().expect("it is piped");
    // A program that reads nothing may be gone already.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let ended = timeout(RUN_TIMEOUT, child.wait_with_output()).await.unwrap_or_else(|_| panic!("{name} does not end"));
    let Output { status, stdout, stderr } = ended.expect("its output can be read");
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{name} ended with {status}:\n{stdout}\n{stderr}");
    stdout.into_owned()
}

/// The program that runs a script beside this file, by the ending of its name.
pub fn script(name: &str) -> Command {
    let folder = scripts();
    let interpreter = if Path::new(name).extension().is_some_and(|ending| ending == "py") { python() } else { node() };
    let mut command = Command::new(interpreter);
    command.arg(folder.join(name)).current_dir(folder).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Debian's Chromium, or the one that `CHROMIUM` names.
pub fn chromium() -> PathBuf {
    let browser = std::env::var_os("CHROMIUM").map_or_else(|| PathBuf::from("/usr/bin/chromium"), PathBuf::from);
    present(browser, "Debian's package chromium")
}

/// A program of this package, as Cargo built it beside this test.
pub fn deputy() -> Command {
    Command::new(env!("CARGO_BIN_EXE_deputy"))
}

/// The example of that name; `cargo test` builds all of them.
pub fn example(name: &str) -> Command {
    let folder = Path::new(env!("CARGO_BIN_EXE_deputy")).with_file_name("examples");
    Command::new(present(folder.join(name), "it with cargo build --examples"))
}

/// Node.js at an exact version, which comes with the scripts' packages: some of them need a newer one than Debian has.
fn node() -> PathBuf {
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    present(scripts().join(format!("node_modules/node-linux-{architecture}/bin/node")), "the clients with tests/setup.sh")
}

fn python() -> PathBuf {
    let home = std::env::var_os("DEPUTY_TEST_VENV").map_or_else(|| scripts().join(".venv"), PathBuf::from);
    present(home.join("bin/python"), "the clients with tests/setup.sh")
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

fn present(path: PathBuf, remedy: &str) -> PathBuf {
    assert!(path.exists(), "{} is missing: install {remedy}", path.display());
    path
}
