//! The course of the benchmark: taking in, beside the limit; then all stages under load, and until nothing is on its way.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::Options;
use super::deputy_server::{Invitation, Progress};
use super::events::{self, BATCH};
use super::profile_api;
use super::servers::{
    Failure,
    load::{Load, Pace, Tally},
    process::{Process, Usage},
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
/// The contract is 100.
const QUESTIONS_PER_S: f64 = 90.0;
const PROFILE_P95_AIM_MS: f64 = 20.0;
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
        pipeline(folder.path(), options, minute).await?;
        let profiles = if options.quick { options.profiles / 10 } else { options.profiles };
        ask_for_profiles(&folder.path().join("profiles"), profiles, 2 * round).await
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

/// All stages at once: as much as comes in for a while, until all of it is in the profiles; then as much as is aimed at, for long.
async fn pipeline(folder: &Path, options: &Options, minute: Duration) -> Result<(), Failure> {
    println!("\nThe whole pipeline: taken in, told from repeats, resolved, made part of profiles, weighed\n");
    let (mut process, mut load) = start("Deputy", "deputy", folder, options.people)?;
    let (first, begun) = (Sample::take(&mut process)?, Instant::now());
    let burst = if options.quick { Duration::from_secs(5) } else { Duration::from_secs(15) };
    put_on(&mut load, burst, Pace::Saturating).await?;
    let loaded = Sample::take(&mut process)?;
    let done = drained(&mut process).await?;
    let events = (done.progress.received - first.progress.received) as f64;
    println!(
        "  {:.0} events/s were taken in, {} of them were on their way when no more came",
        events / burst.as_secs_f64(),
        loaded.progress.lag()
    );
    println!("  {:.0} profile updates/s from then on", done.profiled_since(&loaded) / done.seconds_since(&loaded));
    println!("  {:.1} us of the processor for each event", (done.usage.cpu_s - first.usage.cpu_s) * 1e6 / events);
    let rate = events / begun.elapsed().as_secs_f64();
    judge(rate >= PIPELINE_AIM, &format!("{rate:.0} events/s from request to profile, at least {PIPELINE_AIM:.0}"));

    println!("\nThe same with {PIPELINE_AIM:.0} events/s coming in\n");
    println!("{:>8}{:>14}{:>14}{:>14}{:>12}{:>14}", "second", "taken in/s", "profiled/s", "us of CPU", "lag", "MB resident");
    let begun = done.at;
    let mut before = done;
    let requests_per_s = PIPELINE_AIM / BATCH as f64;
    for _ in 0..options.minutes.max(1) {
        put_on(&mut load, minute, Pace::Steady { requests_per_s }).await?;
        let now = Sample::take(&mut process)?;
        let (took_s, profiled) = (now.seconds_since(&before), now.profiled_since(&before));
        let taken_in = (now.progress.received - before.progress.received) as f64 / took_s;
        let cpu_us = (now.usage.cpu_s - before.usage.cpu_s) * 1e6 / profiled;
        let (second, lag, resident_mb) =
            ((now.at - begun).as_secs_f64(), now.progress.lag(), now.usage.resident_bytes as f64 / 1e6);
        println!("{second:>8.0}{taken_in:>14.0}{:>14.0}{cpu_us:>14.1}{lag:>12}{resident_mb:>14.0}", profiled / took_s);
        before = now;
    }
    process.stop()
}

/// As many questions as the Profile API answers by its contract; then the same while events come in.
async fn ask_for_profiles(folder: &Path, profiles: u64, duration: Duration) -> Result<(), Failure> {
    println!("\nThe Profile API: the traits of people in no order, of {profiles}, {QUESTIONS_PER_S} questions/s\n");
    let filled = Command::new(std::env::current_exe()?).arg("fill").arg(folder).arg(profiles.to_string()).status()?;
    if !filled.success() {
        return Err("the database could not be filled".into());
    }
    let mut command = Command::new(std::env::current_exe()?);
    let process: Process<Invitation> = Process::start("Deputy", command.arg("deputy").arg(folder))?;
    let Invitation { address, authorization, profiles_authorization } = &process.invitation;
    let questions = Load::new(address, profile_api::questions(address, profiles_authorization, profiles), profile_api::ANSWER);
    let mut events = Load::new(address, vec![events::batch(address, authorization, profiles)], ANSWER);
    let ask = || questions.run(CONNECTIONS, duration, Pace::Steady { requests_per_s: QUESTIONS_PER_S });
    tell("with nothing else to do", &ask().await?);
    let pace = Pace::Steady { requests_per_s: PIPELINE_AIM / 4.0 / BATCH as f64 };
    let (asked, put) = tokio::join!(ask(), put_on(&mut events, duration, pace));
    put?;
    tell("with a quarter of the events of above coming in", &asked?);
    process.stop()
}

fn tell(when: &str, tally: &Tally) {
    let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|share| tally.latency_ms(share));
    judge(
        p95 < PROFILE_P95_AIM_MS,
        &format!("{p50:.2} ms p50, {p95:.2} ms p95, {p99:.2} ms p99 {when}; p95 below {PROFILE_P95_AIM_MS}"),
    );
}

/// Waits until nothing is on its way.
async fn drained(process: &mut Process<Invitation>) -> Result<Sample, Failure> {
    let waiting = async {
        loop {
            let sample = Sample::take(process)?;
            if sample.progress.is_done() {
                return Ok(sample);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await?
}

/// Where a server is at a time.
struct Sample {
    progress: Progress,
    usage: Usage,
    at: Instant,
}

impl Sample {
    fn take(process: &mut Process<Invitation>) -> Result<Sample, Failure> {
        Ok(Sample { progress: process.ask()?, usage: process.usage()?, at: Instant::now() })
    }

    fn seconds_since(&self, earlier: &Sample) -> f64 {
        (self.at - earlier.at).as_secs_f64()
    }

    /// Events that have become part of profiles, and that risk and who is who have seen.
    fn profiled_since(&self, earlier: &Sample) -> f64 {
        (self.progress.done() - earlier.progress.done()) as f64
    }
}

/// Puts a load on; the next one's numbers go on behind it.
async fn put_on(load: &mut Load, duration: Duration, pace: Pace) -> Result<Tally, Failure> {
    let tally = load.run(CONNECTIONS, duration, pace).await?;
    // The connections took turns with the numbers, and some took a few more.
    load.begin += tally.requests() * 2;
    Ok(tally)
}

fn start(name: &str, role: &str, folder: &Path, people: u64) -> Result<(Process<Invitation>, Load), Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    let process: Process<Invitation> = Process::start(name, command.arg(role).arg(folder.join(role)))?;
    let Invitation { address, authorization, .. } = process.invitation.clone();
    let load = Load::new(&address, vec![events::batch(&address, &authorization, people)], ANSWER);
    Ok((process, load))
}

async fn measure(process: &mut Process<Invitation>, load: &mut Load, duration: Duration) -> Result<Figures, Failure> {
    let before = process.usage()?;
    let tally = put_on(load, duration, Pace::Saturating).await.map_err(|error| format!("{}: {error}", process.name))?;
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
