//! `deputy serve` in a process of its own: to be killed and started again.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, ChildStderr, Command, Stdio},
};

use serde_json::Value;

use super::{Answer, RESOURCE, installation};

/// The binary, told to serve these data at this address.
pub fn serve(data: &Path, address: SocketAddr) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deputy"));
    command.arg("serve").env_clear().current_dir(data.parent().unwrap_or(data)).stderr(Stdio::piped());
    command
        .env("DEPUTY_DATA_DIR", data)
        .env("DEPUTY_LISTEN", address.to_string())
        .env("DEPUTY_ISSUER", format!("http://{address}"));
    command
}

/// An address that was free just now.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

/// A server that runs; killed when it is dropped.
pub struct Running {
    pub child: Child,
    pub lines: BufReader<ChildStderr>,
    pub issuer: String,
}

impl Running {
    pub fn start(data: &Path, address: SocketAddr) -> Running {
        Running::of(serve(data, address), address)
    }

    /// Starts it, and waits until it serves.
    pub fn of(mut command: Command, address: SocketAddr) -> Running {
        let mut child = command.spawn().expect("the binary runs");
        let mut lines = BufReader::new(child.stderr.take().expect("it was asked for"));
        let mut line = String::new();
        while !line.contains("serving") {
            line.clear();
            assert!(lines.read_line(&mut line).expect("its lines are text") > 0, "it ended before it served");
        }
        Running { child, lines, issuer: format!("http://{address}") }
    }

    pub fn kill(mut self) {
        self.child.kill().expect("it is ours to kill");
        self.child.wait().expect("it was ours");
    }

    /// Asks it to finish, and waits until it has.
    pub fn stop(mut self) {
        signal("-TERM", self.child.id());
        let mut said = String::new();
        self.lines.read_to_string(&mut said).expect("its lines are text");
        let status = self.child.wait().expect("it was ours");
        assert!(status.success(), "{status}: {said}");
    }

    pub async fn operate(&self, data: &Path, path: &str, body: Value) -> Value {
        let token = std::fs::read_to_string(data.join("operator.token")).expect("the first start wrote a token");
        let request = http().post(format!("{}/admin/v1{path}", self.issuer)).bearer_auth(token.trim()).json(&body);
        Answer::of(request).await.ok().json()
    }

    pub async fn token(&self, client: &Value) -> Answer {
        let (id, secret) = (client["client_id"].as_str().expect("text"), client["client_secret"].as_str());
        let form = [("grant_type", "client_credentials"), ("resource", RESOURCE)];
        Answer::of(http().post(format!("{}/token", self.issuer)).basic_auth(id, secret).form(&form)).await
    }

    pub async fn is_active(&self, resource: &Value, token: &str) -> bool {
        installation::is_active(&installation::introspect(&http(), &self.issuer, resource, token).await.ok())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already gone, if the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal by the command that every Unix has.
pub fn signal(name: &str, pid: u32) {
    let status = Command::new("kill").args([name, &pid.to_string()]).status().expect("kill runs");
    assert!(status.success(), "there is such a process");
}

pub fn http() -> reqwest::Client {
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().expect("a client")
}
