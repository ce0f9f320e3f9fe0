//! The whole server under a seed: its requests, its misfortunes and its time follow from one number, and after every move the
//! promises 1 to 7, 11 and 12 of the house are held against what it said.
//!
//! A failure prints its seed and its moves. `DEPUTY_SIMULATION_SEED` repeats one seed, `DEPUTY_SIMULATION_SEEDS` asks for more of
//! them. Threads that write to disks are real, so how requests fall together into commits may differ between two runs of a seed;
//! what was asked, and in which order, does not. PostgreSQL is a process of its own, and who wins a race there decides what is asked
//! next: a seed of its has the same misfortunes again, and not every move.

/// Choices that follow from a seed.
mod random;
/// A request that can be sent again.
mod request;
/// What befalls a machine.
mod faults;
/// The server, and what befalls it.
mod machine;
/// A person's browser.
mod browser;
/// What was promised to whom.
mod model;
/// Everything that was logged.
mod lines;
/// The state of a simulation.
mod course;
/// Clients and codes that come.
mod arrivals;
/// Requests side by side.
mod plan;
mod redeem;
mod refresh;
mod own;
mod revoke;
mod operator;
/// Customer events, and the stages.
mod pipeline;
/// What must hold after every move.
mod checks;
/// A thousand at once, over real HTTP, on both engines.
mod races;

use std::{ops::Range, panic::AssertUnwindSafe, time::Duration};

use futures_util::{FutureExt as _, future::LocalBoxFuture};

use course::Simulation;
use faults::Fault;
use machine::Engine;
use model::{Checked, Kind};
use own::Assert;
use plan::Plan;
use redeem::Redeem;
use refresh::Refresh;

/// Seeds that every run of the tests tries, beside those that were kept.
const SEEDS: u64 = 24;
/// A seed takes longer there.
const SEEDS_ON_POSTGRES: u64 = 6;
const MOVES: usize = 150;
const RACERS: usize = 1000;
/// As many as find a connection before they are told to come again; `races` has more of them, who do.
const RACERS_ON_POSTGRES: usize = 60;
/// Seeds that once found something, and what.
const KEPT: [(Engine, u64, &str); 1] =
    [(Engine::Sqlite, 4, "a grant in its last second yielded tokens that were dead when they left")];

#[test]
fn the_promises_hold_under_every_seed() {
    seeds(SEEDS).for_each(|seed| simulate(Engine::Sqlite, seed));
}

#[test]
fn the_promises_hold_under_seeds_on_postgres() {
    seeds(SEEDS_ON_POSTGRES).for_each(|seed| simulate(Engine::Postgres, seed));
}

#[test]
fn seeds_that_found_something_stay_quiet() {
    for (engine, seed, _) in KEPT {
        simulate(engine, seed);
    }
}

/// Nobody wins twice, whatever befalls the machine in the middle of a race.
#[test]
fn a_thousand_race_under_every_fault() {
    let on_any =
        [None, Some(Fault::CrashBeforeCommit), Some(Fault::CrashAfterCommit), Some(Fault::FullStorage(3)), Some(Fault::Impatience)];
    let on_postgres = [Some(Fault::LostConnections), Some(Fault::DatabaseAway)];
    for (seed, fault) in on_any.clone().into_iter().enumerate() {
        told(Engine::Sqlite, seed as u64, |moves| Box::pin(race(Engine::Sqlite, seed as u64, fault, moves)));
    }
    for (seed, fault) in on_any.into_iter().chain(on_postgres).enumerate() {
        // Even: with several connections.
        let seed = 2 * seed as u64;
        told(Engine::Postgres, seed, |moves| Box::pin(race(Engine::Postgres, seed, fault, moves)));
    }
}

async fn race(engine: Engine, seed: u64, fault: Option<Fault>, moves: &mut Vec<String>) -> Checked {
    let mut simulation = Simulation::start(engine, seed).await?;
    let racers = if engine == Engine::Sqlite { RACERS } else { RACERS_ON_POSTGRES };
    while simulation.model.codes.is_empty() {
        simulation.authorize().await?;
    }
    let plans = [
        Plan::Redeem(Redeem::race(0, racers / 2)),
        Plan::Assert(Assert::race(&mut simulation, racers / 2).ok_or("no client signs")?),
    ];
    let done = simulation.serve_plans(&plans, fault.clone()).await;
    moves.append(&mut simulation.moves);
    done?;
    if let Some(grant) = simulation
        .model
        .grants
        .iter()
        .position(|grant| !grant.has_ended && grant.family.as_ref().is_some_and(|family| !family.tokens.is_empty()))
    {
        let plan = Refresh::race(&simulation, grant, 100).ok_or("a grant without a family")?;
        simulation.serve_plans(&[Plan::Refresh(plan)], fault).await?;
    }
    simulation.check_all().await
}

#[expect(clippy::disallowed_methods, reason = "a wish of whoever runs the tests, no setting of Deputy")]
fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("it is a number"))
}

fn seeds(usual: u64) -> Range<u64> {
    match variable("DEPUTY_SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..variable("DEPUTY_SIMULATION_SEEDS").unwrap_or(usual),
    }
}

fn simulate(engine: Engine, seed: u64) {
    told(engine, seed, |moves| Box::pin(run(engine, seed, moves)));
}

/// Runs a simulation, and tells all about it if it fails.
fn told(engine: Engine, seed: u64, run: impl for<'m> FnOnce(&'m mut Vec<String>) -> LocalBoxFuture<'m, Checked>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut moves = Vec::new();
    let outcome = runtime.block_on(AssertUnwindSafe(run(&mut moves)).catch_unwind());
    let broken = match outcome {
        Ok(Ok(())) => return,
        Ok(Err(sentence)) => sentence,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
            format!("panicked: {}", text.unwrap_or("without a word"))
        }
    };
    let told: Vec<_> = moves.iter().enumerate().map(|(number, told)| format!("{number:4} {told}")).collect();
    panic!(
        "{}\n\nseed {seed} on {engine:?} breaks a promise: {broken}\nRepeat it: DEPUTY_SIMULATION_SEED={seed} cargo test the_promises_hold\n",
        told.join("\n")
    );
}

async fn run(engine: Engine, seed: u64, moves: &mut Vec<String>) -> Checked {
    let mut simulation = Simulation::start(engine, seed).await?;
    for _ in 0..MOVES {
        let done = AssertUnwindSafe(one_move(&mut simulation)).catch_unwind().await;
        moves.append(&mut simulation.moves);
        match done {
            Ok(done) => done?,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
    simulation.check_all().await
}

/// One move, and one of the pipeline beside it.
async fn one_move(simulation: &mut Simulation) -> Checked {
    server_move(simulation).await?;
    simulation.pipeline_move().await
}

async fn server_move(simulation: &mut Simulation) -> Checked {
    match simulation.random.weighted(&[(60, 0), (14, 1), (2, 2), (10, 3), (3, 4), (2, 5), (2, 6), (4, 7), (3, 8), (3, 9)]) {
        0 => simulation.serve_batch().await?,
        1 => simulation.authorize().await?,
        2 => simulation.add_client(Kind::Public).await?,
        3 => pass_time(simulation),
        4 => {
            simulation.moves.push("crash".to_owned());
            simulation.machine.crash().await;
        }
        5 => {
            let operations = simulation.random.within(0..8);
            simulation.moves.push(format!("crash, and again after {operations} operations of the log's disk"));
            simulation.machine.crash_twice(operations).await;
        }
        6 => {
            simulation.moves.push("restart".to_owned());
            simulation.machine.restart().await;
        }
        7 => {
            let fault = simulation.machine.fault(&mut simulation.random);
            simulation.moves.push(format!("step the stages, {fault:?}"));
            simulation.machine.step(fault.as_ref()).await;
        }
        8 => simulation.end_app().await?,
        _ => {
            simulation.moves.push("settle".to_owned());
            simulation.check_settled().await?;
        }
    }
    simulation.check_move().await
}

/// Time passes, often until something is about to expire or has just done so; or the clock is set back.
fn pass_time(simulation: &mut Simulation) {
    let now = simulation.machine.now();
    let edges = simulation.model.edges(now);
    let random = &mut simulation.random;
    let edge = if random.chance(35) { random.pick(&edges).copied() } else { None };
    let later = match (edge, random.within(0..20)) {
        (Some(edge), 0..10) => edge.minus(Duration::from_millis(2)).plus(Duration::from_millis(random.within(0..4))).max(now),
        (Some(edge), _) => edge.minus(Duration::from_secs(random.within(1..300))).max(now),
        (None, 0..10) => now.plus(Duration::from_secs(random.within(1..20))),
        (None, 10..15) => now.plus(Duration::from_secs(random.within(20..70))),
        (None, 15..18) => now.plus(Duration::from_secs(random.within(60..900))),
        (None, 18) => now.plus(Duration::from_secs(random.within(3600..3 * 3600))),
        (None, _) => now.minus(Duration::from_secs(random.within(1..900))),
    };
    simulation.moves.push(format!("{} ms pass", later.0 - now.0));
    simulation.machine.clock.set(later);
}
