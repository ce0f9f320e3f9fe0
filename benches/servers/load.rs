//! The load: requests that were made ready before, over connections that stay open, every reply checked.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::Failure;

/// How long a server may take to finish what it was asked when the time is over.
const PATIENCE: Duration = Duration::from_secs(10);
/// A reply that is longer is not one of those that are measured.
const REPLY_BYTES_MAX: usize = 64 << 10;

/// One request as it goes over the wire.
#[derive(Clone)]
pub struct Request {
    bytes: Vec<u8>,
    /// Where each sending writes other digits.
    marks: Vec<Mark>,
}

/// Digits that stand in a request for a number: each mark of each request gets the next one, and when all below `among` have had their
/// turn, they come again.
#[derive(Clone, Copy)]
pub struct Mark {
    /// Of the first digit, in the body.
    pub at: usize,
    /// Not divisible by [`STRIDE`].
    pub among: u64,
}

/// What a [`Mark`] is written with.
pub const MARK_DIGITS: usize = 12;
/// A prime: numbers that follow each other in time are far from each other.
const STRIDE: u64 = 7_919_000_029;

/// What is sent to a server, over and over.
#[derive(Clone)]
pub struct Load {
    address: String,
    requests: Vec<Request>,
    /// How the body of every reply begins.
    expected: &'static str,
    /// The number of the first request; how many there were before.
    pub begin: u64,
}

/// When the next request is sent.
#[derive(Clone, Copy)]
pub enum Pace {
    /// At once.
    Saturating,
    /// When its time has come, so that so many are sent in a second by all connections together.
    Steady { requests_per_s: f64 },
}

/// What came of a load.
#[derive(Default)]
pub struct Tally {
    /// How long each reply took, in microseconds, the shortest first.
    latencies_us: Vec<u32>,
    pub took: Duration,
    statuses: BTreeMap<u16, u64>,
    /// The first reply that was not as it should be.
    wrong: Option<String>,
}

impl Load {
    /// Asks `requests` in turn.
    pub fn new(address: &str, requests: Vec<Request>, expected: &'static str) -> Load {
        Load { address: address.to_owned(), requests, expected, begin: 0 }
    }

    /// Asks each question once and gives the bodies of the replies.
    pub async fn ask_each(&self) -> Result<Vec<String>, Failure> {
        let mut connection = Connection::open(&self.address).await?;
        let mut bodies = Vec::with_capacity(self.requests.len());
        for request in &self.requests {
            let (status, body) = connection.exchange(&request.bytes).await?;
            let body = String::from_utf8(body.to_vec())?;
            if status != 200 || !body.starts_with(self.expected) {
                return Err(format!("{status} {body}").into());
            }
            bodies.push(body);
        }
        Ok(bodies)
    }

    /// Asks for so long over so many connections. An error if any reply is not 200 and as expected.
    pub async fn run(&self, connections: usize, duration: Duration, pace: Pace) -> Result<Tally, Failure> {
        let started = Instant::now();
        let mut drivers = JoinSet::new();
        for first in 0..connections {
            let load = self.clone();
            drivers.spawn(async move { load.drive(first, connections, started, started + duration, pace).await });
        }
        let mut tally = Tally::default();
        while let Some(driver) = tokio::time::timeout(duration + PATIENCE, drivers.join_next()).await? {
            tally.add(driver??);
        }
        tally.took = started.elapsed();
        tally.latencies_us.sort_unstable();
        match tally.wrong {
            Some(wrong) => {
                Err(format!("not every reply was as expected (by status: {:?}); one was {wrong}", tally.statuses).into())
            }
            None => Ok(tally),
        }
    }

    /// One connection's share: every `step`-th request.
    async fn drive(&self, first: usize, step: usize, started: Instant, end: Instant, pace: Pace) -> Result<Tally, Failure> {
        let mut connection = Connection::open(&self.address).await?;
        let mut tally = Tally::default();
        let mut requests = self.requests.clone();
        let mut number = first;
        loop {
            let asked = match pace {
                Pace::Saturating => Instant::now(),
                Pace::Steady { requests_per_s } => {
                    let due = started + Duration::from_secs_f64(number as f64 / requests_per_s);
                    // A reply that came too late for the next request counts against the server. That a timer of this
                    // program rings too late does not.
                    if Instant::now() < due {
                        tokio::time::sleep_until(due.into()).await;
                        Instant::now()
                    } else {
                        due
                    }
                }
            };
            if Instant::now() >= end {
                return Ok(tally);
            }
            let place = number % requests.len();
            let (status, body) = connection.exchange(requests[place].numbered(self.begin + number as u64)).await?;
            let is_right = status == 200 && body.starts_with(self.expected.as_bytes());
            if !is_right {
                tally.wrong.get_or_insert_with(|| format!("{status} {}", String::from_utf8_lossy(body)));
            }
            *tally.statuses.entry(status).or_default() += 1;
            tally.latencies_us.push(u32::try_from(asked.elapsed().as_micros()).unwrap_or(u32::MAX));
            number += step;
        }
    }
}

impl Request {
    /// A POST with one header of its own, and the media type of its body.
    pub fn post(address: &str, path: &str, authorization: &str, media_type: &str, body: &str) -> Request {
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\naccept: application/json\r\nauthorization: {authorization}\r\n\
             content-type: {media_type}\r\ncontent-length: {length}\r\n\r\n"
        );
        Request { bytes: (head + body).into_bytes(), marks: Vec::new() }
    }

    /// The same with digits to be written at these places of the body.
    pub fn with_marks(mut self, marks: &[Mark]) -> Request {
        let head = head_bytes(&self.bytes);
        self.marks = marks.iter().map(|mark| Mark { at: mark.at + head, ..*mark }).collect();
        self
    }

    /// As it is when it is the request of this number.
    fn numbered(&mut self, number: u64) -> &[u8] {
        for (place, mark) in (0..).zip(&self.marks) {
            let turn = u128::from(number) * self.marks.len() as u128 + place;
            let mut rest = (turn * u128::from(STRIDE) % u128::from(mark.among)) as u64;
            for digit in self.bytes[mark.at..mark.at + MARK_DIGITS].iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
        &self.bytes
    }
}

fn head_bytes(request: &[u8]) -> usize {
    const END: &[u8] = b"\r\n\r\n";
    request.windows(END.len()).position(|bytes| bytes == END).map_or(0, |place| place + END.len())
}

impl Tally {
    pub fn requests(&self) -> u64 {
        self.latencies_us.len() as u64
    }

    pub fn requests_per_s(&self) -> f64 {
        self.requests() as f64 / self.took.as_secs_f64()
    }

    /// How long the slowest reply of the fastest `share` took, in milliseconds.
    pub fn latency_ms(&self, share: f64) -> f64 {
        let place = (self.latencies_us.len() as f64 * share) as usize;
        let latency_us = self.latencies_us.get(place).or(self.latencies_us.last());
        latency_us.map_or(f64::NAN, |us| f64::from(*us) / 1000.0)
    }

    fn add(&mut self, other: Tally) {
        self.latencies_us.extend(other.latencies_us);
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        self.wrong = self.wrong.take().or(other.wrong);
    }
}

struct Connection {
    stream: TcpStream,
    reply: Vec<u8>,
}

impl Connection {
    async fn open(address: &str) -> Result<Connection, Failure> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, reply: Vec::with_capacity(4096) })
    }

    /// Sends a request; gives the status and the body of its reply.
    async fn exchange(&mut self, request: &[u8]) -> Result<(u16, &[u8]), Failure> {
        self.stream.write_all(request).await?;
        self.reply.clear();
        loop {
            if self.stream.read_buf(&mut self.reply).await? == 0 {
                return Err("the server closed the connection".into());
            }
            if let Some(head) = Head::read(&self.reply)?
                && self.reply.len() >= head.body + head.body_bytes
            {
                return Ok((head.status, &self.reply[head.body..]));
            }
            if self.reply.len() > REPLY_BYTES_MAX {
                return Err("the reply does not end".into());
            }
        }
    }
}

/// What must be known of a reply to find its end.
struct Head {
    status: u16,
    /// Where the body begins.
    body: usize,
    body_bytes: usize,
}

impl Head {
    /// `None` as long as it is not complete.
    fn read(reply: &[u8]) -> Result<Option<Head>, Failure> {
        let Some(end) = reply.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { return Ok(None) };
        let mut lines = std::str::from_utf8(&reply[..end])?.split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3));
        let length = lines.filter_map(|line| line.split_once(": ")).find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let (Some(status), Some((_, length))) = (status, length) else { return Err("a reply without status or length".into()) };
        Ok(Some(Head { status: status.parse()?, body: end + 4, body_bytes: length.parse()? }))
    }
}
