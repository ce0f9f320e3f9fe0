//! A bad connection: a proxy that does to the first requests for the tracking API what networks and servers do, and passes all others on.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// How long it may take until something happens that will.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// 429 with a second to wait.
    TooMany,
    /// 503 with a second to wait.
    Unavailable,
    /// The connection ends without an answer, and the server never hears of it.
    Lost,
    /// The server answers, and the answer never arrives.
    AnswerLost,
    /// No answer comes for as long as the client waits.
    Silence,
    /// An operator ends the grant of its access token just before it arrives.
    GrantEnded,
}

/// The proxy, until it is dropped.
pub struct Proxy {
    faults: Arc<Mutex<VecDeque<Fault>>>,
    statuses: watch::Sender<Vec<u16>>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// Passes on what comes to `address`. `operator_token` is the file of the server's first operator.
    pub async fn start(address: SocketAddr, server: SocketAddr, operator_token: PathBuf) -> Proxy {
        let listener = TcpListener::bind(address).await.expect("the port is free");
        let (faults, statuses) = (Arc::<Mutex<VecDeque<_>>>::default(), watch::Sender::new(Vec::new()));
        let (planned, seen) = (Arc::clone(&faults), statuses.clone());
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let exchange = Exchange {
                    server,
                    operator_token: operator_token.clone(),
                    faults: Arc::clone(&planned),
                    statuses: seen.clone(),
                };
                // One that breaks is what this is for.
                tokio::spawn(async move { exchange.run(client).await.ok() });
            }
        });
        Proxy { faults, statuses, accepting }
    }

    /// From now on, this happens to the next requests for the tracking API, one after the other.
    pub fn plan(&self, faults: &[Fault]) {
        self.faults.lock().expect("nobody panics while holding it").extend(faults);
    }

    /// What is still to happen.
    pub fn left(&self) -> Vec<Fault> {
        self.faults.lock().expect("nobody panics while holding it").iter().copied().collect()
    }

    /// The statuses that the server itself answered at the tracking API.
    pub fn statuses(&self) -> Vec<u16> {
        self.statuses.borrow().clone()
    }

    /// Waits until the server itself has answered so.
    pub async fn answered(&self, status: u16) {
        let mut statuses = self.statuses.subscribe();
        let answered = statuses.wait_for(|statuses| statuses.contains(&status));
        tokio::time::timeout(PATIENCE, answered).await.expect("it comes to that").expect("the proxy is there");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// One request and its answer; the connection ends with it.
struct Exchange {
    server: SocketAddr,
    operator_token: PathBuf,
    faults: Arc<Mutex<VecDeque<Fault>>>,
    statuses: watch::Sender<Vec<u16>>,
}

impl Exchange {
    async fn run(self, mut client: TcpStream) -> std::io::Result<()> {
        let (head, request) = read_request(&mut client).await?;
        let is_tracking = head.starts_with("POST /v1/");
        let fault = if is_tracking { self.faults.lock().expect("nobody panics while holding it").pop_front() } else { None };
        let refusal = |status: &str| {
            format!(
                "HTTP/1.1 {status}\r\nRetry-After: 1\r\nAccess-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: Retry-After\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
        };
        match fault {
            Some(Fault::TooMany) => return client.write_all(refusal("429 Too Many Requests").as_bytes()).await,
            Some(Fault::Unavailable) => return client.write_all(refusal("503 Service Unavailable").as_bytes()).await,
            Some(Fault::Lost) => return Ok(()),
            Some(Fault::Silence) => return client.read(&mut [0]).await.map(|_| ()),
            Some(Fault::GrantEnded) => self.end_grant(&head).await,
            Some(Fault::AnswerLost) | None => {}
        }
        let answer = exchange(self.server, &request).await?;
        if is_tracking {
            let line = String::from_utf8_lossy(&answer[..answer.len().min(12)]).into_owned();
            let status = line.split(' ').nth(1).and_then(|text| text.parse::<u16>().ok());
            self.statuses.send_modify(|statuses| statuses.extend(status));
        }
        if fault == Some(Fault::AnswerLost) { Ok(()) } else { client.write_all(&hurried(&answer)).await }
    }

    /// Ends the grant of the access token that the request bears.
    async fn end_grant(&self, head: &str) {
        let token =
            head.lines().find_map(|line| line.to_ascii_lowercase().starts_with("authorization: bearer ").then(|| &line[22..]));
        let payload = token.and_then(|token| token.split('.').nth(1)).expect("the request bears an access token");
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).expect("base64url")).expect("JSON");
        let operator = std::fs::read_to_string(&self.operator_token).expect("the first start wrote a token");
        let request = format!(
            "DELETE /admin/v1/grants/{} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
            claims["gid"].as_str().expect("an access token names its grant"),
            operator.trim(),
        );
        let answer = exchange(self.server, request.as_bytes()).await.expect("the server answers");
        assert!(answer.starts_with(b"HTTP/1.1 204"), "{}", String::from_utf8_lossy(&answer));
    }
}

/// The answer as it is, but for the minutes that the server has everybody stay away: a second is enough for a test.
fn hurried(answer: &[u8]) -> Vec<u8> {
    const NAME: &[u8] = b"\r\nretry-after: ";
    let Some(place) = answer.windows(NAME.len()).position(|window| window == NAME) else { return answer.to_vec() };
    let (head, rest) = answer.split_at(place + NAME.len());
    let rest = rest.trim_ascii_start();
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    [head, b"1", &rest[digits..]].concat()
}

/// The head, and the whole request, told to be its connection's last.
async fn read_request(client: &mut TcpStream) -> std::io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let head_bytes = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if client.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_bytes]).into_owned();
    let is = |line: &&str, name: &str| line.to_ascii_lowercase().starts_with(name);
    let length = head.lines().find(|line| is(line, "content-length:")).and_then(|line| line[15..].trim().parse().ok()).unwrap_or(0);
    while bytes.len() < head_bytes + length {
        if client.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    let lines = head.lines().filter(|line| !line.is_empty() && !is(line, "connection:"));
    let mut request = lines.fold(String::new(), |text, line| text + line + "\r\n").into_bytes();
    request.extend_from_slice(b"Connection: close\r\n\r\n");
    request.extend_from_slice(&bytes[head_bytes..]);
    Ok((head, request))
}

async fn exchange(server: SocketAddr, request: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut upstream = TcpStream::connect(server).await?;
    upstream.write_all(request).await?;
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer).await?;
    Ok(answer)
}
