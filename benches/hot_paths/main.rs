//! How fast the two hottest paths are, beside the most that an axum server could do and beside another authorization server.
//!
//! `make bench`, or `cargo bench --bench hot_paths -- --quick`. The unit is requests per second of the server's own processor time:
//! it hardly changes when the machine is busy with other things, as requests per second do. Of everything measured the median of
//! three rounds counts, in which the servers take turns. Each server is a process of its own, on loopback; this program, started
//! anew with the name of a role, is some of them.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that somebody starts in a terminal")]

/// Deputy as it is served, and a data folder with many grants.
mod deputy_server;
/// The least that a server of the same answers must do.
mod limit;
/// Where a server is, and how it is asked.
mod invitation;
/// What is measured, and in which order.
mod course;
/// What was measured, as a person reads it.
mod report;
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

/// Requests per second of the server's processor time: Deputy, the limit, and node-oidc-provider.
#[derive(Parser)]
struct Options {
    /// Measure for seconds rather than for minutes
    #[arg(long)]
    quick: bool,
    /// Said by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
    #[command(subcommand)]
    role: Option<Role>,
}

/// What a process of the benchmark is when it is not the one that measures.
#[derive(Subcommand)]
enum Role {
    /// Makes a data folder with so many live grants
    #[command(hide = true)]
    Fill { folder: PathBuf, grants: u32 },
    /// Serves Deputy from a data folder
    #[command(hide = true)]
    Deputy { folder: PathBuf },
    /// Serves the answers of a file with as little work as possible
    #[command(hide = true)]
    Limit { folder: PathBuf, answers: PathBuf },
}

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match &options.role {
        Some(Role::Fill { folder, grants }) => deputy_server::fill(folder, *grants),
        Some(Role::Deputy { folder }) => deputy_server::serve(folder),
        Some(Role::Limit { folder, answers }) => limit::serve(folder, answers),
        None => course::run(if options.quick { &course::QUICK } else { &course::FULL }),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hot_paths: {error}");
            ExitCode::FAILURE
        }
    }
}
