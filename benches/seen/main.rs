//! How many ids a second the index of seen ids takes, and what it costs, beside the least that anything of the kind must do.
//!
//! `make bench-seen`, or `cargo bench --bench seen -- --keys 5000000`. A window of log time is filled with keys, and then goes on for
//! a quarter of itself, so that as many expire as come: that rate counts. One in 160 is a repeat. Everything is written to a folder
//! that is deleted at the end.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that somebody starts in a terminal")]

/// The least that must be done: a set in memory, and a file that could restore it.
mod limit;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use deputy::{
    domain::time::Timestamp,
    log::{
        disk::RealDisk,
        seen::{Candidate, Fingerprints, Key, Seen, SeenError, Settings, Verdict},
    },
};

/// What can go wrong here; whoever runs a benchmark only wants to read it.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How many are asked for at once.
const BATCH: u64 = 1000;
/// One in so many was there before.
const REPEATS: u64 = 160;
const INSERTS_PER_S_AIM: f64 = 1e6;
const DISK_BYTES_AIM: f64 = 24.0;
const STALL_AIM: Duration = Duration::from_millis(50);

/// Inserts and look-ups per second of the index of seen ids.
#[derive(Parser)]
struct Options {
    /// How many keys the window holds
    #[arg(long, default_value_t = 100_000_000)]
    keys: u64,
    /// Said by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("seen: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let settings = Settings::default();
    let fingerprints = Fingerprints::new([1; 32]);
    let open = || {
        Seen::open(Arc::new(RealDisk::create(&folder.path().join("seen"))?), settings.clone(), &fingerprints).map_err(Failure::from)
    };
    let keys = options.keys.max(100 * BATCH);
    let pace = Pace { window: settings.window, keys };

    let mut seen = open()?;
    let mut gauge = Gauge::default();
    let filling = insert(&mut seen, 0..keys, &pace, &mut gauge)?;
    println!("{:>12.0} inserts/s while the window fills with {keys} keys", filling);
    let before = processor_time()?;
    let inserts_per_s = insert(&mut seen, keys..keys + keys / 4, &pace, &mut gauge)?;
    judge(
        inserts_per_s >= INSERTS_PER_S_AIM,
        &format!("{inserts_per_s:>12.0} inserts/s with all of them there, at least {INSERTS_PER_S_AIM:.0}"),
    );
    let after = processor_time()?;
    let each_us = |before: Duration, after: Duration| (after - before).as_secs_f64() * 1e6 / (keys / 4) as f64;
    let (asked, behind) = (each_us(before.0, after.0), each_us(before.1, after.1));
    println!("{asked:>12.2} us of processor time a key where it is asked, and {behind:.2} us behind");
    judge(gauge.longest < STALL_AIM, &format!("{:>12.1?} was the longest batch of {BATCH}, below {STALL_AIM:?}", gauge.longest));
    println!("{:>12.1?} in all waited for runs to be written", gauge.waited);

    let standing = seen.standing();
    let each = |bytes: u64| bytes as f64 / standing.keys as f64;
    let disk_bytes = each(standing.disk_bytes);
    judge(
        disk_bytes <= DISK_BYTES_AIM,
        &format!("{disk_bytes:>12.2} bytes a key on disk, filters included, at most {DISK_BYTES_AIM}"),
    );
    println!("{:>12.2} bytes a key in memory, {} runs, {} keys", each(standing.memory_bytes as u64), standing.runs, standing.keys);

    let last = keys + keys / 4;
    let lookups = (keys / 10).max(BATCH);
    println!("{:>12.0} look-ups/s of keys that are not there", look_up(&mut seen, last..last + lookups, Verdict::First)?);
    let misses = seen.standing().filter_misses - standing.filter_misses;
    println!("{:>12.4} reads for each of them", misses as f64 / lookups as f64);
    println!("{:>12.0} look-ups/s of keys that are", look_up(&mut seen, last - lookups..last, Verdict::Again)?);

    let began = Instant::now();
    seen.close()?;
    println!("{:>12.1?} to close", began.elapsed());
    let began = Instant::now();
    drop(open()?);
    println!("{:>12.1?} to open", began.elapsed());

    let (limit, longest) = limit::insert(&folder.path().join("limit"), keys)?;
    println!(
        "{:>12.2} of the limit, {limit:.0} inserts/s: a set in memory, 26 bytes a key, and a file; longest batch {longest:.1?}",
        inserts_per_s / limit
    );
    Ok(())
}

/// How log time goes by with the keys.
struct Pace {
    window: Duration,
    keys: u64,
}

#[derive(Default)]
struct Gauge {
    longest: Duration,
    waited: Duration,
}

/// Probes and adds the keys of these numbers, and repeats between them. Says how many a second.
fn insert(seen: &mut Seen, numbers: std::ops::Range<u64>, pace: &Pace, gauge: &mut Gauge) -> Result<f64, Failure> {
    let began = Instant::now();
    let keys = numbers.end - numbers.start;
    for start in numbers.step_by(BATCH as usize) {
        let batch: Vec<Candidate> = (start..start + BATCH)
            .map(|number| {
                let is_repeat = number > 0 && number.is_multiple_of(REPEATS);
                let at = pace.window.as_millis() as u64 * (number / BATCH) / (pace.keys / BATCH);
                candidate(if is_repeat { number - 1 - mix(number) % number.min(pace.keys / 2) } else { number }, at)
            })
            .collect();
        let batch_began = Instant::now();
        let verdicts = loop {
            match seen.probe(&batch) {
                Err(SeenError::Behind) => std::thread::park_timeout(Duration::from_millis(1)),
                outcome => break outcome?,
            }
        };
        let probed = batch_began.elapsed();
        let firsts: Vec<Candidate> =
            batch.iter().zip(verdicts).filter(|(_, verdict)| *verdict == Verdict::First).map(|(one, _)| *one).collect();
        seen.add(&firsts, &BTreeMap::from([(0, start + BATCH)]));
        gauge.longest = gauge.longest.max(batch_began.elapsed());
        if probed > Duration::from_millis(10) {
            gauge.waited += probed;
        }
    }
    Ok(keys as f64 / began.elapsed().as_secs_f64())
}

fn look_up(seen: &mut Seen, numbers: std::ops::Range<u64>, expected: Verdict) -> Result<f64, Failure> {
    let began = Instant::now();
    let lookups = numbers.end - numbers.start;
    for start in numbers.step_by(BATCH as usize) {
        // Multiples of `REPEATS` were repeats of others, and never there.
        let batch: Vec<Candidate> =
            (start..start + BATCH).filter(|number| !number.is_multiple_of(REPEATS)).map(|number| candidate(number, 0)).collect();
        if seen.probe(&batch)?.iter().any(|verdict| *verdict != expected) {
            return Err("a verdict is wrong".into());
        }
    }
    Ok(lookups as f64 / began.elapsed().as_secs_f64())
}

fn candidate(number: u64, at: u64) -> Candidate {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&mix(number).to_be_bytes());
    bytes[8..].copy_from_slice(&mix(!number).to_be_bytes());
    Candidate { key: Key::from_bytes(bytes), print: number, at: Timestamp(at as i64) }
}

/// SplitMix64.
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// What this thread has used, and what all others have.
fn processor_time() -> Result<(Duration, Duration), Failure> {
    let used = |file: std::path::PathBuf| -> Result<Duration, Failure> {
        let text = std::fs::read_to_string(file)?;
        Ok(Duration::from_nanos(text.split(' ').next().unwrap_or_default().parse()?))
    };
    let own = used("/proc/thread-self/schedstat".into())?;
    let mut all = Duration::ZERO;
    for thread in std::fs::read_dir("/proc/self/task")? {
        all += used(thread?.path().join("schedstat"))?;
    }
    Ok((own, all.saturating_sub(own)))
}

fn judge(is_reached: bool, what: &str) {
    println!("{what}: {}", if is_reached { "reached" } else { "missed" });
}
