//! The child's side: `deputy sandbox` reads requests from its parent, answers each, and ends with it.

use std::{
    collections::HashMap,
    io::{self, BufReader, BufWriter, Write as _},
};

use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};

use super::{
    MEMORY_BYTES_MAX, frame,
    frame::{Reply, Request},
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
    frame::write_here(&mut replies, &mut written, &Reply::Ready)?;
    replies.flush()?;
    while frame::read_here(&mut requests, &mut read)? {
        let reply = answer(&mut programs, serde_json::from_slice(&read)?);
        frame::write_here(&mut replies, &mut written, &reply)?;
        // What was answered is said before anything can happen at the next request.
        replies.flush()?;
    }
    Ok(())
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
