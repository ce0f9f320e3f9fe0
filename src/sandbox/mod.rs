//! The sandbox: programs of operators run on people's events, in a process of their own, bounded in steps, time and memory.
//!
//! The language is VRL ([reference](https://vrl.dev)): it has no unbounded loops and no recursion, yet a program of sixty lines can
//! double a string sixty times, and one call can take minutes. Nothing inside a process stops either for certain, so programs are
//! compiled and run in a child: this same executable as `deputy sandbox`, spoken to over pipes. The operating system bounds its
//! memory (`MEMORY_BYTES_MAX`) and lets it open no file, socket or process; a count bounds its steps; and we kill it when an
//! answer takes longer than `ANSWER_TIMEOUT`. A crash costs the event at which it happened, after a second try alone, and no
//! other: the next event, of whatever program, runs in a new child. All programs share one child, one after the other; so that none
//! has most of its time, each may use so much of it in a period (`TIME_MAX`) and rests then. Many events are nobody's fault: what
//! an answer takes up to `ANSWER_FREE` does not count.
//!
//! 2026-11: a child instead of an engine for WebAssembly or JavaScript in our own process. Those bound memory too, but each is a
//! compiler or an interpreter of many megabytes inside the process that holds the keys, and VRL's checker, which finds most
//! mistakes when a program is saved, has no twin there. What the child costs is measured in microseconds for an event.
//!
//! What is never done: nothing of a program or an event is compiled or read by VRL outside of the child, and no program sees the
//! clock, randomness, the environment, files or the network. The same program and event give the same result each time.

/// The child's side: read, run, answer.
pub mod worker;

mod child;
mod frame;
mod program;

use std::{
    collections::HashMap,
    io,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::value::RawValue;
use tokio::sync::Semaphore;

use crate::domain::{
    id::{Id, TransformationKind},
    time::Timestamp,
    transformation::{Purpose, Transformation},
};
use child::{Child, Lost};
use frame::{Reply, Request};

pub use frame::Mistake;

/// How long one answer may take. Steps are counted too; this is for a single call that takes long.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// The address space of a child, its own code included.
pub const MEMORY_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// The events that a program may make of one.
pub const EVENTS_OF_ONE_MAX: usize = 100;
/// How often a program may be stopped in a period; then it rests until the period is over. Each time costs everybody up to two
/// answers' time.
const STRIKES_MAX: u64 = 3;
const STRIKES_PERIOD: Duration = Duration::from_secs(60);
/// The processor time that a program may use in a period beyond what is free; then it rests until the period is over.
const TIME_MAX: Duration = Duration::from_secs(2);
const TIME_PERIOD: Duration = Duration::from_secs(10);
/// What each answer may take without counting: ten times what a usual one takes.
const ANSWER_FREE: Duration = Duration::from_millis(1);
/// Programs that operators try at once; each is a process.
const TRIALS_MAX: usize = 2;
/// Programs that one child keeps compiled; then it is replaced by a new one.
const PROGRAMS_MAX: usize = 256;
/// Programs of which it is remembered what they did.
const CONDUCTS_MAX: usize = 1_024;

/// A program of a transformation, as it was at one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    transformation: Id<TransformationKind>,
    version: u32,
    purpose: Purpose,
    text: std::sync::Arc<str>,
}

/// A program's name for one child and for what it did.
type Key = (Id<TransformationKind>, u32);

impl Program {
    pub fn of(transformation: &Transformation) -> Program {
        Program {
            transformation: transformation.id,
            version: transformation.version,
            purpose: transformation.purpose,
            text: transformation.program.clone(),
        }
    }

    fn key(&self) -> Key {
        (self.transformation, self.version)
    }
}

/// What a program said about an event.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The events that it made of it, each a JSON value; none if it dropped it.
    Events(Vec<Box<RawValue>>),
    /// Whether it goes on.
    Passes(bool),
    /// The program ended in an error of its own, told in its words. May quote the event.
    Failed(String),
    /// It was stopped at a bound.
    Stopped(Stop),
}

/// Why a program was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// An answer took longer than `ANSWER_TIMEOUT`.
    Time,
    /// It brought its process down: it wanted more memory than there is, or met a fault of the language's library.
    Crash,
    /// It was stopped too often just now, and rests.
    Resting,
    /// It has used its time, and rests.
    Spent,
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Stop::Time => write!(f, "the program took longer than {} ms", ANSWER_TIMEOUT.as_millis()),
            Stop::Crash => write!(f, "the program wanted more than {} MiB of memory, or crashed", MEMORY_BYTES_MAX >> 20),
            Stop::Resting => write!(f, "the program was stopped {STRIKES_MAX} times within a minute and rests"),
            Stop::Spent => {
                let (time, period) = (TIME_MAX.as_secs(), TIME_PERIOD.as_secs());
                write!(f, "the program took more than {time} s of processor time within {period} s and rests")
            }
        }
    }
}

/// What an operator learns of a program before it is saved.
#[derive(Debug, Clone)]
pub enum Trial {
    /// It does not compile: what is wrong, and where.
    Mistakes(Vec<Mistake>),
    /// It compiles, and said this about the sample.
    Ran(Outcome),
    /// It compiles, and there was no sample.
    Sound,
}

/// There is no child to ask now: the operating system refused one, or it did not begin.
#[derive(Debug, thiserror::Error)]
#[error("the sandbox cannot be started: {0}")]
pub struct SandboxError(#[from] io::Error);

/// Runs programs. One child serves the pipeline as long as it behaves; each trial has its own.
pub struct Sandbox {
    /// Our own executable.
    executable: PathBuf,
    pipeline: tokio::sync::Mutex<Option<Child>>,
    conducts: Mutex<HashMap<Key, Conduct>>,
    trials: Semaphore,
}

/// What a program did of late.
#[derive(Debug, Clone, Copy, Default)]
struct Conduct {
    strikes: Tally,
    spent_us: Tally,
}

/// A count of what happens in a period.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    count: u64,
    /// When it is forgotten.
    until: Timestamp,
}

impl Tally {
    fn add(&mut self, count: u64, period: Duration, now: Timestamp) {
        if now >= self.until {
            *self = Tally { count: 0, until: now.plus(period) };
        }
        self.count += count;
    }

    fn is_full(&self, count_max: u64, now: Timestamp) -> bool {
        self.count >= count_max && now < self.until
    }
}

impl Conduct {
    /// Why the program rests, if it does.
    fn rest(&self, now: Timestamp) -> Option<Stop> {
        if self.strikes.is_full(STRIKES_MAX, now) {
            return Some(Stop::Resting);
        }
        self.spent_us.is_full(micros(TIME_MAX), now).then_some(Stop::Spent)
    }
}

impl Sandbox {
    /// A sandbox whose children are this executable, told to be one. Nothing is started before there is something to run.
    pub fn new(executable: PathBuf) -> Sandbox {
        Sandbox {
            executable,
            pipeline: tokio::sync::Mutex::new(None),
            conducts: Mutex::default(),
            trials: Semaphore::new(TRIALS_MAX),
        }
    }

    /// Compiles a program, and runs it on a sample if there is one, in a child of its own. Changes nothing.
    pub async fn try_out(&self, purpose: Purpose, program: &str, sample: Option<&RawValue>) -> Result<Trial, SandboxError> {
        let _permit = self.trials.acquire().await.expect("the semaphore is never closed");
        let mut child = Child::start(&self.executable).await?;
        let load = Request::Load { program: 0, purpose, text: program.into() };
        let requests: Vec<_> = std::iter::once(load).chain(sample.map(|event| Request::Run { program: 0, event })).collect();
        let mut replies = Vec::new();
        let lost = child.exchange(&requests, &mut replies, |_, _| false).await.err();
        let mut replies = replies.into_iter();
        let stop = lost.and_then(stop).unwrap_or(Stop::Crash);
        Ok(match (replies.next(), replies.next()) {
            (Some(Reply::Mistakes(mistakes)), _) => Trial::Mistakes(mistakes),
            // A program that cannot even be compiled inside the bounds.
            (None, _) => Trial::Mistakes(vec![Mistake { line: 1, column: 1, message: stop.to_string() }]),
            (Some(_), Some(reply)) => Trial::Ran(outcome(reply)),
            (Some(_), None) if sample.is_some() => Trial::Ran(Outcome::Stopped(stop)),
            (Some(_), None) => Trial::Sound,
        })
    }

    /// Runs each program on its event, for the pipeline. The outcomes are in the order of the jobs.
    ///
    /// An error says that nothing can be run now; it is nobody's fault, so come again with the same jobs.
    pub async fn run(&self, jobs: &[(&Program, &RawValue)], now: Timestamp) -> Result<Vec<Outcome>, SandboxError> {
        let mut pipeline = self.pipeline.lock().await;
        let mut outcomes: Vec<Outcome> = Vec::with_capacity(jobs.len());
        while outcomes.len() < jobs.len() {
            let rest = &jobs[outcomes.len()..];
            if let Some(stop) = self.rest_of(rest[0].0.key(), now) {
                outcomes.push(Outcome::Stopped(stop));
                continue;
            }
            // Up to the next program that rests.
            let end = rest.iter().position(|(program, _)| self.rest_of(program.key(), now).is_some()).unwrap_or(rest.len());
            if self.run_together(&mut pipeline, &rest[..end], &mut outcomes, now).await?.is_none() {
                continue;
            }
            // Perhaps not this event's fault: a second time, alone, in a new child.
            let alone = &jobs[outcomes.len()..=outcomes.len()];
            if let Some(stop) = self.run_together(&mut pipeline, alone, &mut outcomes, now).await? {
                self.strike(alone[0].0.key(), now);
                outcomes.push(Outcome::Stopped(stop));
            }
        }
        Ok(outcomes)
    }

    /// Appends the outcomes until all jobs are done, a program has used its time, or the child was stopped; then it is gone, and the
    /// job after the last outcome is the one at which it happened.
    async fn run_together(
        &self,
        pipeline: &mut Option<Child>,
        jobs: &[(&Program, &RawValue)],
        outcomes: &mut Vec<Outcome>,
        now: Timestamp,
    ) -> Result<Option<Stop>, SandboxError> {
        let mut child = match pipeline.take() {
            Some(child) if child.programs.len() + jobs.len() <= PROGRAMS_MAX || knows_all(&child, jobs) => child,
            _ => Child::start(&self.executable).await?,
        };
        let (mut requests, mut keys) = (Vec::with_capacity(jobs.len()), Vec::with_capacity(jobs.len()));
        for (program, event) in jobs {
            let next = u32::try_from(child.programs.len()).unwrap_or(u32::MAX);
            let number = *child.programs.entry(program.key()).or_insert_with(|| {
                requests.push(Request::Load { program: next, purpose: program.purpose, text: (&*program.text).into() });
                // Whoever shares a child with a program that is stopped has to be compiled again, which is not their doing.
                keys.push(None);
                next
            });
            requests.push(Request::Run { program: number, event });
            keys.push(Some(program.key()));
        }
        let mut replies = Vec::with_capacity(requests.len());
        let is_enough = |place: usize, took| keys[place].is_some_and(|key| self.has_spent(key, took, now));
        let exchanged = child.exchange(&requests, &mut replies, is_enough).await;
        // What a load says was heard when the program was saved; if it is bad now, each of its runs says so.
        let answers = requests.iter().zip(replies).filter(|(request, _)| matches!(request, Request::Run { .. }));
        outcomes.extend(answers.map(|(_, reply)| outcome(reply)));
        match exchanged {
            Ok(()) => {
                *pipeline = Some(child);
                Ok(None)
            }
            Err(lost) => Ok(stop(lost)),
        }
    }

    /// Why the program rests, if it does.
    fn rest_of(&self, key: Key, now: Timestamp) -> Option<Stop> {
        self.conducts().get(&key).and_then(|conduct| conduct.rest(now))
    }

    fn strike(&self, key: Key, now: Timestamp) {
        conduct(&mut self.conducts(), key).strikes.add(1, STRIKES_PERIOD, now);
    }

    /// Counts what an answer took; whether the program has used its time with it.
    fn has_spent(&self, key: Key, took: Duration, now: Timestamp) -> bool {
        let beyond = took.saturating_sub(ANSWER_FREE);
        if beyond.is_zero() {
            return false;
        }
        let mut conducts = self.conducts();
        let spent_us = &mut conduct(&mut conducts, key).spent_us;
        spent_us.add(micros(beyond), TIME_PERIOD, now);
        spent_us.is_full(micros(TIME_MAX), now)
    }

    fn conducts(&self) -> MutexGuard<'_, HashMap<Key, Conduct>> {
        // Nothing panics while it is held.
        self.conducts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn conduct(conducts: &mut HashMap<Key, Conduct>, key: Key) -> &mut Conduct {
    if conducts.len() >= CONDUCTS_MAX && !conducts.contains_key(&key) {
        conducts.clear();
    }
    conducts.entry(key).or_default()
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn knows_all(child: &Child, jobs: &[(&Program, &RawValue)]) -> bool {
    jobs.iter().all(|(program, _)| child.programs.contains_key(&program.key()))
}

fn outcome(reply: Reply) -> Outcome {
    match reply {
        Reply::Events(events) => Outcome::Events(events),
        Reply::Passes(passes) => Outcome::Passes(passes),
        Reply::Failed(message) => Outcome::Failed(message),
        Reply::Mistakes(mistakes) => Outcome::Failed(Mistake::told(&mistakes)),
        Reply::Ready => Outcome::Failed("the sandbox answered something else than it was asked".to_owned()),
    }
}

/// What it was stopped for, if that was for something that it did.
fn stop(lost: Lost) -> Option<Stop> {
    match lost {
        Lost::TimedOut => Some(Stop::Time),
        Lost::Ended => Some(Stop::Crash),
        Lost::LeftOff => None,
    }
}
