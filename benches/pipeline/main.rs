//! How many customer events a second are taken in, and how many become part of profiles, beside the least that must be done.
//!
//! `make bench-pipeline`, or `cargo bench --bench pipeline -- --quick`; `-- --minutes 30` keeps the whole pipeline under load for so
//! long and tells of every minute. Events come as SDKs send them: 100 in a request, 700 bytes each, of a hundred thousand people. The
//! unit is events per second of the server's own processor time, which hardly changes on a busy machine, and on the wall's clock.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that somebody starts in a terminal")]

/// What is sent.
mod events;
/// Deputy as it is served, which tells how far its stages are.
mod deputy_server;
/// Many profiles, and who asks for them.
mod profile_api;
/// The least that a server which takes events in must do.
mod limit;
/// What is measured, and in which order.
mod course;
/// Servers as processes, and the load on them.
#[path = "../servers/mod.rs"]
#[expect(dead_code, reason = "another benchmark uses the rest of it")]
mod servers;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;

/// The one that `deputy` has.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Customer events per second: taken in, and all the way into profiles.
#[derive(Parser)]
struct Options {
    /// Measure for seconds rather than for minutes
    #[arg(long)]
    quick: bool,
    /// Keep the whole pipeline under load for so many minutes
    #[arg(long, default_value_t = 1)]
    minutes: u32,
    /// How many people the events are of
    #[arg(long, default_value_t = 100_000)]
    people: u64,
    /// How many profiles there are when the Profile API is asked
    #[arg(long, default_value_t = 1_000_000)]
    profiles: u64,
    /// Said by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
    #[command(subcommand)]
    role: Option<Role>,
}

/// What a process of the benchmark is when it is not the one that measures.
#[derive(Subcommand)]
enum Role {
    /// Serves Deputy from a data folder, and lets all stages run
    #[command(hide = true)]
    Deputy { folder: PathBuf },
    /// Serves Deputy, and only takes in
    #[command(hide = true)]
    Intake { folder: PathBuf },
    /// Makes a data folder with so many profiles
    #[command(hide = true)]
    Fill { folder: PathBuf, profiles: u64 },
    /// Takes in with as little work as possible
    #[command(hide = true)]
    Limit { folder: PathBuf },
}

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match &options.role {
        Some(Role::Deputy { folder }) => deputy_server::serve(folder, deputy::server::stages::STAGES),
        Some(Role::Intake { folder }) => deputy_server::serve(folder, &[]),
        Some(Role::Fill { folder, profiles }) => profile_api::fill(folder, *profiles),
        Some(Role::Limit { folder }) => limit::serve(folder),
        None => course::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pipeline: {error}");
            ExitCode::FAILURE
        }
    }
}
