//! The child's side: `deputy sandbox` reads requests from its parent, answers each, and ends with it.

use std::{
    collections::HashMap,
    io::{self, BufReader, BufWriter, Write as _},
};

use rustix::{
    process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit},
    time::{ClockId, Timespec, clock_gettime},
};

use super::{
    MEMORY_BYTES_MAX, frame,
    frame::{Answer, Reply, Request},
    program::Compiled,
};

/// The word on the command line that makes a process a child of the sandbox.
pub const COMMAND: &str = "sandbox";

/// Serves the parent until it closes the pipe.
///
/// An error before the first answer means that the operating system does not set the bounds: then nothing is run.
pub fn run() -> io::Result<()> {
    confine()?;
    let (mut requests, mut replies) = (BufReader::new(io::stdin().lock()), BufWriter::new(io::stdout().lock()));
    let (mut read, mut written) = (Vec::new(), Vec::new());
    let mut programs = HashMap::new();
    frame::write_here(&mut replies, &mut written, &Answer { reply: Reply::Ready, took_us: 0 })?;
    replies.flush()?;
    while frame::read_here(&mut requests, &mut read)? {
        let begun_us = time_used_us();
        let reply = answer(&mut programs, serde_json::from_slice(&read)?);
        let took_us = time_used_us().saturating_sub(begun_us);
        frame::write_here(&mut replies, &mut written, &Answer { reply, took_us })?;
        // What was answered is said before anything can happen at the next request.
        replies.flush()?;
    }
    Ok(())
}

/// The processor time of this thread so far. What else the machine has to do is held against no program.
fn time_used_us() -> u64 {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::ThreadCPUTime);
    tv_sec.unsigned_abs() * 1_000_000 + tv_nsec.unsigned_abs() / 1_000
}

fn answer(programs: &mut HashMap<u32, Result<Compiled, Reply>>, request: Request<'_>) -> Reply {
    match request {
        Request::Load { program, purpose, text } => match Compiled::new(purpose, &text) {
            Ok(compiled) => {
                programs.insert(program, Ok(compiled));
                Reply::Ready
            }
            Err(mistakes) => {
                let told = super::Mistake::told(&mistakes);
                programs.insert(program, Err(Reply::Failed(told)));
                Reply::Mistakes(mistakes)
            }
        },
        Request::Run { program, event } => match programs.get_mut(&program) {
            Some(Ok(compiled)) => compiled.run(event),
            Some(Err(Reply::Failed(told))) => Reply::Failed(told.clone()),
            Some(Err(_)) | None => Reply::Failed("this program was not loaded".to_owned()),
        },
    }
}

/// Gives up all that a program needs not: memory beyond the bound, files, sockets, other processes, and a life after the parent's.
fn confine() -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    for (resource, bound) in [
        (Resource::As, MEMORY_BYTES_MAX),
        // Events are people's: they must not lie about in a core file.
        (Resource::Core, 0),
        (Resource::Fsize, 0),
        // The pipes are open; nothing else can be opened, so there is no file and no network.
        (Resource::Nofile, 0),
        (Resource::Nproc, 0),
    ] {
        setrlimit(resource, Rlimit { current: Some(bound), maximum: Some(bound) })?;
    }
    Ok(())
}
