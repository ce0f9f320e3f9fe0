//! The `deputy` command.

mod cli;

use mimalloc::MiMalloc;

/// Requests and events are made on one thread and dropped on another, which the system's allocator is slow at.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> std::process::ExitCode {
    cli::main()
}
