//! The example MCP server as a child process that never outlives us.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use deputy::domain::secret::Secret;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;

use super::super::Failure;

/// Runs the program until it ends or our end of the pipe closes, which it does however we end, killed included.
const WATCHER: &str = r#"
exec 3<&0
"$@" </dev/null 3<&- & server=$!
{ read -r _; kill "$server"; } <&3 >/dev/null 2>&1 3<&- & watch=$!
exec 3<&-
wait "$server" 2>/dev/null; status=$?
kill "$watch" 2>/dev/null
exit "$status"
"#;

pub(super) struct NotesServer {
    child: Child,
    /// Closing it ends the program.
    leash: ChildStdin,
    /// Kept open: a program that prints to nobody ends.
    _output: Lines<BufReader<ChildStdout>>,
    /// Reads what it complains about; the last line of it when it has ended.
    complaints: JoinHandle<Option<String>>,
}

impl NotesServer {
    /// Starts the program and waits until it serves. `credentials` are the resource's id and secret at the authorization server.
    pub(super) async fn start(
        program: &Path,
        address: SocketAddr,
        issuer: &str,
        credentials: &Secret<String>,
    ) -> Result<NotesServer, Failure> {
        let mut child = Command::new("sh")
            .args(["-c", WATCHER, "sh"])
            .arg(program)
            .args(["--address", &address.to_string(), "--issuer", issuer])
            .env("NOTES_CREDENTIALS", credentials.reveal())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C in the terminal is for us; we end the program when we have stopped.
            .process_group(0)
            .spawn()
            .map_err(|error| Failure::because("the example MCP server cannot be started", &error))?;
        let leash = child.stdin.take().expect("it is piped");
        let output = child.stdout.take().expect("it is piped");
        let errors = child.stderr.take().expect("it is piped");
        let complaints = tokio::spawn(async move {
            let (mut lines, mut last) = (BufReader::new(errors).lines(), None);
            while let Ok(Some(line)) = lines.next_line().await {
                tracing::warn!(line, "the example MCP server says");
                last = Some(line);
            }
            last
        });
        let mut output = BufReader::new(output).lines();
        // Its first line says that it serves; an end instead of a line says that it does not.
        let first = output.next_line().await;
        let mut server = NotesServer { child, leash, _output: output, complaints };
        match first {
            Ok(Some(_)) => Ok(server),
            _ => Err(server.ended().await),
        }
    }

    /// Resolves when it ends without having been asked to.
    pub(super) async fn ended(&mut self) -> Failure {
        let status = match self.child.wait().await {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        let said = (&mut self.complaints).await.ok().flatten();
        Failure(match said {
            Some(said) => format!("the example MCP server ended: {}", super::super::output::plain(&said)),
            None => format!("the example MCP server ended ({status})"),
        })
    }

    /// Ends it and waits until it has.
    pub(super) async fn stop(mut self) {
        drop(self.leash);
        if let Err(error) = self.child.wait().await {
            tracing::warn!(%error, "the example MCP server could not be waited for");
        }
    }
}
