//! The guard and the limits over real sockets on loopback, and the simulated twin beside them.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;

const LIMITS: Limits = Limits { timeout: Duration::from_secs(20), body_bytes_max: 64 };
const SHORT: Limits = Limits { timeout: Duration::from_millis(50), ..LIMITS };
const PRIVATE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A resolver whose answers are used up one by one, then repeat the last.
struct Script {
    answers: Mutex<Vec<Vec<IpAddr>>>,
    lookups: AtomicUsize,
}

impl Script {
    fn new(answers: &[&[IpAddr]]) -> Arc<Self> {
        let answers = answers.iter().rev().map(|answer| answer.to_vec()).collect();
        Arc::new(Self { answers: Mutex::new(answers), lookups: AtomicUsize::new(0) })
    }
}

impl Resolve for Script {
    fn resolve(&self, _name: Name) -> Resolving {
        self.lookups.fetch_add(1, Ordering::Relaxed);
        let mut answers = self.answers.lock().expect("no test panics with the script in hand");
        let next = if answers.len() > 1 { answers.pop() } else { answers.last().cloned() };
        let found: Vec<SocketAddr> = next.unwrap_or_default().into_iter().map(|ip| SocketAddr::new(ip, 0)).collect();
        Box::pin(async move { Ok(Box::new(found.into_iter()) as Addrs) })
    }
}

/// Serves `answer` to every connection; counts them.
struct Origin {
    port: u16,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Origin {
    async fn start(answer: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("a bound socket").port();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::Relaxed);
                let mut request = vec![0; 4096];
                let read = socket.read(&mut request).await;
                let written = socket.write_all(answer).await;
                assert!(read.is_ok() && written.is_ok(), "loopback sockets work");
                // Held open, so that only the client's own limits can end an exchange.
                tokio::spawn(async move {
                    let mut rest = Vec::new();
                    socket.read_to_end(&mut rest).await
                });
            }
        });
        Self { port, connections, task }
    }

    fn url(&self, host: &str) -> Url {
        Url::parse(&format!("http://{host}:{}/document", self.port)).expect("a test URL")
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";

#[tokio::test]
async fn a_complete_answer_arrives_with_status_headers_and_body() {
    let origin = Origin::start(OK).await;
    let fetched = Outbound::new(OutboundPolicy::AllowLoopback).get(&origin.url("127.0.0.1"), LIMITS).await.expect("an answer");
    assert_eq!((fetched.status, fetched.body.as_slice()), (StatusCode::OK, b"{}".as_slice()));
    assert_eq!(fetched.headers[CONTENT_TYPE], "application/json");
}

#[tokio::test]
async fn loopback_is_never_connected_to_under_the_public_policy() {
    let origin = Origin::start(OK).await;
    let names = Script::new(&[&[LOOPBACK]]);
    let outbound = Outbound::resolving_with(names, OutboundPolicy::PublicOnly);
    for host in ["127.0.0.1", "internal.example"] {
        let mut url = origin.url(host);
        url.set_scheme("https").expect("both schemes are special");
        let refused = outbound.get(&url, LIMITS).await;
        assert!(matches!(refused, Err(OutboundError::Refused(Refusal::SpecialUse("loopback")))), "{host}: {refused:?}");
    }
    assert_eq!(origin.connections(), 0);
}

/// Control and attack in one: the first answer is used, and the rebound one never.
#[tokio::test]
async fn dns_rebinding_meets_the_address_that_was_checked() {
    let origin = Origin::start(OK).await;
    let names = Script::new(&[&[LOOPBACK], &[PRIVATE]]);
    let outbound = Outbound::resolving_with(Arc::clone(&names) as Arc<dyn Resolve>, OutboundPolicy::AllowLoopback);
    let url = origin.url("rebind.localhost");

    outbound.get(&url, LIMITS).await.expect("the first answer was good, and was the one connected to");
    assert_eq!((names.lookups.load(Ordering::Relaxed), origin.connections()), (1, 1));

    let rebound = outbound.get(&url, LIMITS).await;
    assert!(matches!(rebound, Err(OutboundError::Refused(Refusal::SpecialUse(_)))), "{rebound:?}");
    assert_eq!((names.lookups.load(Ordering::Relaxed), origin.connections()), (2, 1));
}

#[tokio::test]
async fn of_a_mixed_answer_only_the_allowed_address_is_tried() {
    let origin = Origin::start(OK).await;
    let outbound = Outbound::resolving_with(Script::new(&[&[PRIVATE, LOOPBACK]]), OutboundPolicy::AllowLoopback);
    outbound.get(&origin.url("mixed.localhost"), LIMITS).await.expect("the loopback address answers");
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_goes_no_further() {
    let origin = Origin::start(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n").await;
    let fetched = Outbound::new(OutboundPolicy::AllowLoopback).get(&origin.url("localhost"), LIMITS).await.expect("an answer");
    assert_eq!((fetched.status, origin.connections()), (StatusCode::FOUND, 1));
}

#[tokio::test]
async fn a_body_over_the_limit_is_cut_off_announced_or_not() {
    let announced: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 65\r\n\r\n";
    let endless: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
        28\r\n0123456789012345678901234567890123456789\r\n28\r\n0123456789012345678901234567890123456789\r\n";
    for answer in [announced, endless] {
        let origin = Origin::start(answer).await;
        let cut = Outbound::new(OutboundPolicy::AllowLoopback).get(&origin.url("127.0.0.1"), LIMITS).await;
        assert!(matches!(cut, Err(OutboundError::TooLarge { body_bytes_max: 64 })), "{cut:?}");
    }
}

#[tokio::test]
async fn the_deadline_covers_the_body() {
    let origin = Origin::start(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{").await;
    let late = Outbound::new(OutboundPolicy::AllowLoopback).get(&origin.url("127.0.0.1"), SHORT).await;
    assert!(matches!(late, Err(OutboundError::TimedOut { .. })), "{late:?}");
}

#[tokio::test]
async fn a_closed_port_is_unavailable_and_its_error_hides_the_query() {
    let free = TcpListener::bind("127.0.0.1:0").await.and_then(|listener| listener.local_addr()).expect("a free port");
    let url = Url::parse(&format!("http://{free}/?token=hush")).expect("a test URL");
    let failed = Outbound::new(OutboundPolicy::AllowLoopback).get(&url, LIMITS).await.expect_err("nobody listens");
    assert!(matches!(failed, OutboundError::Unavailable(_)));
    assert!(!format!("{failed:?}").contains("hush"));
}

#[tokio::test]
async fn the_simulated_web_answers_fails_and_refuses_like_the_real_one() {
    let (outbound, web) = Outbound::simulated(OutboundPolicy::PublicOnly);
    let url = |text: &str| Url::parse(text).expect("a test URL");
    let document = url("https://agent.example/client.json");

    web.answer(&document, Answer::json(&serde_json::json!({"client_id": "x"})));
    assert_eq!(outbound.get(&document, LIMITS).await.expect("an answer").body, br#"{"client_id":"x"}"#);
    assert_eq!(outbound.get(&url("https://agent.example/other"), LIMITS).await.expect("an answer").status, StatusCode::NOT_FOUND);

    web.answer(&document, Answer::Endless);
    assert!(matches!(outbound.get(&document, LIMITS).await, Err(OutboundError::TooLarge { .. })));
    web.answer(&document, Answer::Silent);
    assert!(matches!(outbound.get(&document, SHORT).await, Err(OutboundError::TimedOut { .. })));
    web.answer(&document, Answer::Unreachable);
    assert!(matches!(outbound.get(&document, LIMITS).await, Err(OutboundError::Unavailable(_))));

    let heard = web.calls().len();
    web.name("agent.example", &[PRIVATE]);
    assert!(matches!(outbound.get(&document, LIMITS).await, Err(OutboundError::Refused(_))));
    assert!(matches!(outbound.get(&url("https://localhost/"), LIMITS).await, Err(OutboundError::Refused(_))));
    assert_eq!(web.calls().len(), heard);
}
