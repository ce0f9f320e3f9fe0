//! A server as a process: started, asked where it is, watched by what the kernel knows of it, and stopped.
//!
//! Every server of a benchmark keeps one contract: its first line on standard output is an invitation, JSON that says where it is and
//! how it is asked; and it ends when its standard input does, so none outlives the process that measures.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde::de::DeserializeOwned;

use super::Failure;

/// The unit of processor time in `/proc`, which Linux never changes: a hundredth of a second.
const TICKS_PER_S: f64 = 100.0;

/// A server that runs.
pub struct Process<I> {
    pub name: String,
    pub invitation: I,
    child: Child,
    /// Where it answers; and who speaks to a closed pipe ends.
    output: BufReader<ChildStdout>,
}

/// What a server has used of the machine.
#[derive(Clone, Copy)]
pub struct Usage {
    /// Of the processor, by all its threads, in user and kernel mode.
    pub cpu_s: f64,
    /// Memory that is resident now.
    pub resident_bytes: u64,
}

impl<I: DeserializeOwned> Process<I> {
    /// Starts a server and waits until it serves.
    pub fn start(name: &str, command: &mut Command) -> Result<Process<I>, Failure> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(|error| format!("{name}: {error}"))?;
        let mut output = BufReader::new(child.stdout.take().ok_or("a child whose output was asked for has one")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let invitation = serde_json::from_str(&line).map_err(|error| {
            // Ended already, or it says what nobody understands: either way there is nothing to save.
            let _ = child.kill();
            format!("{name} did not start: {error}")
        })?;
        Ok(Process { name: name.to_owned(), invitation, child, output })
    }

    /// What it has used since its start.
    pub fn usage(&self) -> Result<Usage, Failure> {
        let folder = format!("/proc/{}", self.child.id());
        let stat = fs::read_to_string(Path::new(&folder).join("stat"))?;
        // The name of the program, in parentheses, may hold spaces; user and system time are the 12th and 13th field behind it.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let ticks: u64 = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>).sum::<Result<_, _>>()?;
        let status = fs::read_to_string(Path::new(&folder).join("status"))?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB"));
        let resident_kib: u64 = resident.ok_or("the kernel does not tell the resident memory")?.trim().parse()?;
        Ok(Usage { cpu_s: ticks as f64 / TICKS_PER_S, resident_bytes: resident_kib * 1024 })
    }

    /// Asks it about itself: a line to its standard input, whose answer is a line of JSON. For servers that [`answer`].
    pub fn ask<T: DeserializeOwned>(&mut self) -> Result<T, Failure> {
        let input = self.child.stdin.as_mut().ok_or("a child whose input was asked for has one")?;
        input.write_all(b"\n")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    }

    /// Lets it end.
    pub fn stop(mut self) -> Result<(), Failure> {
        drop(self.child.stdin.take());
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(format!("{} ended badly: {status}", self.name).into()) }
    }
}

impl<I> Drop for Process<I> {
    fn drop(&mut self) {
        // Whatever went wrong, no server stays behind; one that has ended is not harmed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Blocks until the process that measures lets this one end.
pub fn wait_for_end() -> io::Result<()> {
    io::stdin().read_to_end(&mut Vec::new()).map(|_| ())
}

/// As [`wait_for_end`], and answers what [`Process::ask`] asks.
pub fn answer(mut say: impl FnMut() -> Result<String, Failure>) -> Result<(), Failure> {
    for question in io::stdin().lines() {
        question?;
        let mut output = io::stdout();
        writeln!(output, "{}", say()?)?;
        output.flush()?;
    }
    Ok(())
}
