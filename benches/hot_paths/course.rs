//! The course of a benchmark: servers up, tokens made, rounds in turn, half load, memory, report.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use deputy::log::{disk::RealDisk, embedded::reader::Reader};
use deputy::world::FACTS;
use serde::Deserialize;
use tempfile::TempDir;

use super::invitation::{Invitation, Question};
use super::limit::Answers;
use super::report::{Contest, Figures, HalfLoad, Memory, Report};
use super::servers::Failure;
use super::servers::load::{Load, Pace, Request};
use super::servers::process::Process;

/// How long and how often is measured.
pub struct Course {
    /// Before each round, and not counted.
    warm_up: Duration,
    round: Duration,
    half_load: Duration,
}

/// The one whose figures are published.
pub const FULL: Course =
    Course { warm_up: Duration::from_secs(1), round: Duration::from_secs(5), half_load: Duration::from_secs(10) };
/// The one for somebody who waits.
pub const QUICK: Course =
    Course { warm_up: Duration::from_millis(200), round: Duration::from_secs(1), half_load: Duration::from_secs(2) };

const ROUNDS: usize = 3;
/// Connections that stay open, each with one request under way.
const CONNECTIONS: usize = 32;
/// Live grants in the database that Deputy serves from.
const GRANTS: u32 = 100_000;
/// Live tokens whose introspection is asked for in turn.
const TOKENS: usize = 1_000;

const TOKEN_ANSWER: &str = r#"{"access_token":""#;
const INTROSPECTION_ANSWER: &str = r#"{"active":true"#;

/// A server with what is asked of it.
struct Runner {
    process: Process<Invitation>,
    token: Load,
    introspection: Load,
}

/// Runs the whole course and prints what came of it.
pub fn run(course: &Course) -> Result<(), Failure> {
    // One thread makes the load, so that it never needs more than one of the cores.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let folder = TempDir::new()?;
        let (deputy, answers) = start_deputy(&folder.path().join("deputy")).await?;
        let limit = start_limit(folder.path(), &answers)?;
        let peer = start_peer().await?;
        let runners: Vec<Runner> = [Some(deputy), Some(limit), peer].into_iter().flatten().collect();

        eprintln!("Measuring: {ROUNDS} rounds of {:?} for each server and path", course.round);
        let token =
            course.contest("/token: client_credentials, ES256, the event durable before the answer", &runners, |r| &r.token);
        let token = token.await?;
        let introspection = course.contest("/introspect: a resource server asks about live tokens", &runners, |r| &r.introspection);
        let introspection = introspection.await?;
        let memory = Memory { grants: GRANTS, resident_bytes: runners[0].process.usage()?.resident_bytes };
        for runner in runners {
            runner.process.stop()?;
        }
        print!("{}", Report { token, introspection, memory });
        Ok(())
    })
}

impl Course {
    /// All servers in turn, round after round; then Deputy, and the limit beside it, at half of what Deputy bore.
    async fn contest(&self, title: &'static str, runners: &[Runner], path: impl Fn(&Runner) -> &Load) -> Result<Contest, Failure> {
        let mut rounds: Vec<Vec<Figures>> = runners.iter().map(|_| Vec::new()).collect();
        for _ in 0..ROUNDS {
            for (runner, figures) in runners.iter().zip(&mut rounds) {
                path(runner).run(CONNECTIONS, self.warm_up, Pace::Saturating).await?;
                figures.push(measure(runner, path(runner), self.round, Pace::Saturating).await?);
            }
        }
        let results: Vec<_> =
            runners.iter().zip(&rounds).map(|(runner, rounds)| (runner.process.name.clone(), Figures::median(rounds))).collect();
        let requests_per_s = results[0].1.requests_per_s / 2.0;
        let mut half_load = Vec::new();
        for runner in &runners[..2] {
            half_load.push(measure(runner, path(runner), self.half_load, Pace::Steady { requests_per_s }).await?);
        }
        Ok(Contest { title, results, half_load: HalfLoad { requests_per_s, ours: half_load[0], limit: half_load[1] } })
    }
}

async fn measure(runner: &Runner, load: &Load, duration: Duration, pace: Pace) -> Result<Figures, Failure> {
    let before = runner.process.usage()?;
    let tally = load.run(CONNECTIONS, duration, pace).await.map_err(|error| format!("{}: {error}", runner.process.name))?;
    let cpu_s = runner.process.usage()?.cpu_s - before.cpu_s;
    Ok(Figures {
        requests_per_cpu_s: tally.requests() as f64 / cpu_s,
        requests_per_s: tally.requests_per_s(),
        p50_ms: tally.latency_ms(0.5),
        p99_ms: tally.latency_ms(0.99),
    })
}

/// Deputy over many grants, and what it answers, so that the limit can answer the same.
async fn start_deputy(folder: &Path) -> Result<(Runner, Answers), Failure> {
    eprintln!("Filling a database with {GRANTS} live grants");
    let filled = this_program()?.arg("fill").arg(folder).arg(GRANTS.to_string()).status()?;
    if !filled.success() {
        return Err("the database could not be filled".into());
    }
    let process = Process::start("Deputy", this_program()?.arg("deputy").arg(folder))?;
    let (runner, tokens) = prepare(process).await?;
    let told = runner.introspection.ask_each().await?;
    let token = runner.token.ask_each().await?.swap_remove(0);
    let invitation = runner.process.invitation.clone();
    let answers =
        Answers { invitation, token, event_bytes: event_bytes(folder)?, introspections: tokens.into_iter().zip(told).collect() };
    Ok((runner, answers))
}

fn start_limit(folder: &Path, answers: &Answers) -> Result<Runner, Failure> {
    let file = folder.join("answers.json");
    fs::write(&file, serde_json::to_vec(answers)?)?;
    let process = Process::start("limit: axum alone", this_program()?.arg("limit").arg(folder.join("limit")).arg(file))?;
    let tokens: Vec<String> = answers.introspections.iter().map(|(token, _)| token.clone()).collect();
    Ok(Runner::new(process, &tokens))
}

/// node-oidc-provider, where `benches/peers` is installed.
async fn start_peer() -> Result<Option<Runner>, Failure> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers"));
    #[derive(Deserialize)]
    struct Package {
        version: String,
    }
    let Ok(package) = fs::read(folder.join("node_modules/oidc-provider/package.json")) else {
        eprintln!("node-oidc-provider is left out: `npm ci --prefix benches/peers` installs it, and `make bench` does that");
        return Ok(None);
    };
    let Package { version } = serde_json::from_slice(&package)?;
    // The Node.js that it supports; where there is no build of that for this machine, the one that is there.
    let node = Some(folder.join("node_modules/.bin/node")).filter(|node| node.exists()).unwrap_or_else(|| "node".into());
    let process =
        Process::start(&format!("node-oidc-provider {version}"), Command::new(node).arg(folder.join("oidc_provider.mjs")))?;
    Ok(Some(prepare(process).await?.0))
}

/// Has tokens made, to be introspected later.
async fn prepare(process: Process<Invitation>) -> Result<(Runner, Vec<String>), Failure> {
    #[derive(Deserialize)]
    struct Token {
        access_token: String,
    }
    let invitation = &process.invitation;
    let request = invitation.ask(&invitation.introspected_token);
    let answers = Load::new(&invitation.address, vec![request; TOKENS], TOKEN_ANSWER).ask_each().await?;
    let read = |answer: &String| serde_json::from_str(answer).map(|token: Token| token.access_token);
    let tokens: Vec<String> = answers.iter().map(read).collect::<Result<_, _>>()?;
    Ok((Runner::new(process, &tokens), tokens))
}

impl Runner {
    fn new(process: Process<Invitation>, tokens: &[String]) -> Runner {
        let invitation = &process.invitation;
        let about = |token: &String| Question { body: format!("token={token}"), ..invitation.introspection.clone() };
        let requests: Vec<Request> = tokens.iter().map(|token| invitation.ask(&about(token))).collect();
        let token = Load::new(&invitation.address, vec![invitation.ask(&invitation.token)], TOKEN_ANSWER);
        let introspection = Load::new(&invitation.address, requests, INTROSPECTION_ANSWER);
        Runner { process, token, introspection }
    }
}

/// How long the last record of an issued token is.
fn event_bytes(folder: &Path) -> Result<usize, Failure> {
    const LOOKED_AT: u64 = 50;
    let log = Reader::open(Arc::new(RealDisk::create(&folder.join("log"))?))?;
    let (start, end) = log.bounds(FACTS, 0)?;
    let records = log.read(FACTS, 0, start.max(end.saturating_sub(LOOKED_AT)), 1 << 20)?.entries;
    let is_issuance = |payload: &[u8]| payload.windows(15).any(|text| text == b"token.issued.v1");
    let issuance = records.iter().rfind(|record| is_issuance(&record.payload));
    Ok(issuance.ok_or("no issued token is on record")?.payload.len())
}

fn this_program() -> Result<Command, Failure> {
    Ok(Command::new(std::env::current_exe()?))
}
