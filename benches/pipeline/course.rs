//! The course of the benchmark: taking in, beside the limit; then all stages under load, and until nothing is on its way.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::Options;
use super::deputy_server::{Invitation, Progress};
use super::events::{self, BATCH};
use super::servers::{
    Failure,
    load::{Load, Pace},
    process::Process,
};

const ROUNDS: usize = 3;
/// Connections that stay open, each with one batch under way.
const CONNECTIONS: usize = 32;
/// What the limit and Deputy answer.
const ANSWER: &str = r#"{"success":true}"#;
/// Deputy's share of the limit where it only takes in.
const INTAKE_AIM: f64 = 0.6;
/// Events per second through all stages.
const PIPELINE_AIM: f64 = 40_000.0;
/// How long the stages may take for what is on its way when the load is over.
const PATIENCE: Duration = Duration::from_secs(600);

/// What a round came to.
#[derive(Clone, Copy)]
struct Figures {
    events_per_cpu_s: f64,
    events_per_s: f64,
    p99_ms: f64,
}

/// Runs the whole course and prints what came of it.
pub fn run(options: &Options) -> Result<(), Failure> {
    // One thread makes the load, so that it never needs more than one of the cores.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let folder = TempDir::new()?;
        let round = if options.quick { Duration::from_secs(2) } else { Duration::from_secs(10) };
        intake(folder.path(), options.people, round).await?;
        let minute = if options.quick { Duration::from_secs(10) } else { Duration::from_secs(60) };
        pipeline(folder.path(), options, minute).await
    })
}

/// Deputy without its stages, in turn with the limit.
async fn intake(folder: &Path, people: u64, round: Duration) -> Result<(), Failure> {
    println!("\nIngest: batches of {BATCH} events over {CONNECTIONS} connections, durable before the answer\n");
    let mut servers = [start("Deputy", "intake", folder, people)?, start("limit: parse, append, sync", "limit", folder, people)?];
    let mut rounds = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for ((process, load), figures) in servers.iter_mut().zip(&mut rounds) {
            figures.push(measure(process, load, round).await?);
        }
    }
    println!("{:29}{:>15}{:>13}{:>11}", "", "events/CPU-s", "events/s", "p99 ms");
    let medians = rounds.map(median);
    for ((process, _), Figures { events_per_cpu_s, events_per_s, p99_ms }) in servers.iter().zip(&medians) {
        println!("  {:27}{events_per_cpu_s:>15.0}{events_per_s:>13.0}{p99_ms:>11.2}", process.name);
    }
    let share = medians[0].events_per_cpu_s / medians[1].events_per_cpu_s;
    judge(share >= INTAKE_AIM, &format!("{share:.2} of the limit, at least {INTAKE_AIM}"));
    for (process, _) in servers {
        process.stop()?;
    }
    Ok(())
}

/// All stages at once. What was taken in counts when profiles and risk have it.
async fn pipeline(folder: &Path, options: &Options, minute: Duration) -> Result<(), Failure> {
    println!("\nThe whole pipeline: taken in, told from repeats, resolved, made part of profiles, weighed\n");
    let (mut process, mut load) = start("Deputy", "deputy", folder, options.people)?;
    println!("{:>8}{:>14}{:>14}{:>14}{:>12}{:>12}", "second", "taken in/s", "profiled/s", "events/CPU-s", "lag", "MB resident");
    let begun = Instant::now();
    let first: Progress = process.ask()?;
    let mut before = (first, process.usage()?, Instant::now());
    for _ in 0..options.minutes.max(1) {
        let tally = load.run(CONNECTIONS, minute, Pace::Saturating).await?;
        load.begin += tally.requests() + CONNECTIONS as u64;
        before = line(&mut process, before, begun)?;
    }
    let loaded: Progress = before.0;
    let drained = async {
        loop {
            let progress: Progress = process.ask()?;
            if progress.is_done() {
                return Ok::<_, Failure>(progress);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let done = tokio::time::timeout(PATIENCE, drained).await??;
    let took = begun.elapsed();
    let usage = process.usage()?;
    let events = (done.received - first.received) as f64;
    println!(
        "  {} were on their way when the load was over, and all were done {:.1} s after its begin",
        loaded.lag(),
        took.as_secs_f64()
    );
    println!("  {:.1} us of the processor for each event", usage.cpu_s * 1e6 / events);
    let rate = events / took.as_secs_f64();
    judge(rate >= PIPELINE_AIM, &format!("{rate:.0} events/s from request to profile, at least {PIPELINE_AIM:.0}"));
    process.stop()
}

/// Tells of the time since `before`.
fn line(
    process: &mut Process<Invitation>,
    before: (Progress, super::servers::process::Usage, Instant),
    begun: Instant,
) -> Result<(Progress, super::servers::process::Usage, Instant), Failure> {
    let (progress, usage, now): (Progress, _, _) = (process.ask()?, process.usage()?, Instant::now());
    let took_s = (now - before.2).as_secs_f64();
    let profiled = (progress.profiled.min(progress.weighed) - before.0.profiled.min(before.0.weighed)) as f64;
    println!(
        "{:>8.0}{:>14.0}{:>14.0}{:>14.0}{:>12}{:>12.0}",
        begun.elapsed().as_secs_f64(),
        (progress.received - before.0.received) as f64 / took_s,
        profiled / took_s,
        profiled / (usage.cpu_s - before.1.cpu_s),
        progress.lag(),
        usage.resident_bytes as f64 / 1e6,
    );
    Ok((progress, usage, now))
}

fn start(name: &str, role: &str, folder: &Path, people: u64) -> Result<(Process<Invitation>, Load), Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    let process: Process<Invitation> = Process::start(name, command.arg(role).arg(folder.join(role)))?;
    let Invitation { address, authorization } = process.invitation.clone();
    let load = Load::new(&address, vec![events::batch(&address, &authorization, people)], ANSWER);
    Ok((process, load))
}

async fn measure(process: &mut Process<Invitation>, load: &mut Load, duration: Duration) -> Result<Figures, Failure> {
    let before = process.usage()?;
    let tally = load.run(CONNECTIONS, duration, Pace::Saturating).await.map_err(|error| format!("{}: {error}", process.name))?;
    load.begin += tally.requests() + CONNECTIONS as u64;
    let cpu_s = process.usage()?.cpu_s - before.cpu_s;
    let batch = BATCH as f64;
    Ok(Figures {
        events_per_cpu_s: tally.requests() as f64 * batch / cpu_s,
        events_per_s: tally.requests_per_s() * batch,
        p99_ms: tally.latency_ms(0.99),
    })
}

/// Of each figure the median.
fn median(rounds: Vec<Figures>) -> Figures {
    let median = |figure: fn(&Figures) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(figure).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Figures {
        events_per_cpu_s: median(|figures| figures.events_per_cpu_s),
        events_per_s: median(|figures| figures.events_per_s),
        p99_ms: median(|figures| figures.p99_ms),
    }
}

fn judge(is_reached: bool, what: &str) {
    println!("  {what}: {}", if is_reached { "reached" } else { "missed" });
}
