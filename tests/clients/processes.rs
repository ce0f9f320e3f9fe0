//! Processes that end with the test that started them, whatever becomes of it; and what they need of this machine.

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

/// How long a server may take until it serves.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a program may run that comes to an end; more than the scripts allow themselves.
const RUN_TIMEOUT: Duration = Duration::from_secs(300);

/// A server in a process of its own; killed when dropped.
pub struct Process {
    /// The line that told that it serves.
    pub announcement: String,
    // Killed when it is dropped.
    _child: Child,
    said: Arc<Mutex<String>>,
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
        let pipe: Box<dyn AsyncRead + Send + Unpin> = match announces {
            Announces::OnOutput => Box::new(child.stdout.take().expect("it is piped")),
            Announces::OnError => Box::new(child.stderr.take().expect("it is piped")),
        };
        let mut lines = BufReader::new(pipe).lines();
        let said = Arc::new(Mutex::new(String::new()));
        let announcement = timeout(START_TIMEOUT, wait_for(&mut lines, sign, &said)).await;
        let announcement = announcement.unwrap_or_else(|_| panic!("{} does not say {sign:?} in time", program.display()));
        let heard = Arc::clone(&said);
        // Reads on, so that the process never waits for us.
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                note(&heard, &line);
            }
        });
        Process { announcement, _child: child, said }
    }

    /// All that it said so far.
    pub fn said(&self) -> String {
        self.said.lock().expect("nobody panics while holding it").clone()
    }
}

type Lines = tokio::io::Lines<BufReader<Box<dyn AsyncRead + Send + Unpin>>>;

/// The first line that holds `sign`.
async fn wait_for(lines: &mut Lines, sign: &str, said: &Mutex<String>) -> String {
    while let Some(line) = lines.next_line().await.expect("its lines are text") {
        note(said, &line);
        if line.contains(sign) {
            return line;
        }
    }
    panic!("it ended before it said {sign:?}:\n{}", said.lock().expect("nobody panics while holding it"))
}

fn note(said: &Mutex<String>, line: &str) {
    let mut said = said.lock().expect("nobody panics while holding it");
    said.push_str(line);
    said.push('\n');
}

/// Runs a program to its end, with this on its standard input, and returns what it printed; all that it said unless it succeeds.
pub async fn run(mut command: Command, input: &str) -> Result<String, String> {
    let name = format!("{:?}", command.as_std());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}"));
    let mut stdin = child.stdin.take().expect("it is piped");
    // A program that reads nothing may be gone already.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let ended = timeout(RUN_TIMEOUT, child.wait_with_output()).await.map_err(|_| format!("{name} does not end"))?;
    let Output { status, stdout, stderr } = ended.expect("its output can be read");
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    if status.success() { Ok(stdout.into_owned()) } else { Err(format!("{name} ended with {status}:\n{stdout}\n{stderr}")) }
}

/// The program that runs a script beside this file, by the ending of its name.
pub fn script(name: &str) -> Command {
    let folder = scripts();
    let interpreter = if Path::new(name).extension().is_some_and(|ending| ending == "py") { python() } else { node() };
    let mut command = Command::new(interpreter);
    command.arg(folder.join(name)).current_dir(folder).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// The client written in Rust, which is a program of its own.
pub fn rust_client() -> Command {
    Command::new(present(scripts().join(".rust/debug/segment-rust"), "the clients with tests/setup.sh"))
}

/// Debian's Chromium.
pub fn chromium() -> PathBuf {
    present(PathBuf::from("/usr/bin/chromium"), "Debian's package chromium")
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
    present(scripts().join(".venv/bin/python"), "the clients with tests/setup.sh")
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

fn present(path: PathBuf, remedy: &str) -> PathBuf {
    assert!(path.exists(), "{} is missing: install {remedy}", path.display());
    path
}
