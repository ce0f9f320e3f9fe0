//! `deputy events`: the facts on record, from the files of a data folder, beside a running server and without one; and, through a
//! running server, the stages that read them.

mod consumers;
pub(crate) mod facts;
mod place;
mod story;
mod watch;
pub(crate) mod words;

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use deputy::config::Settings;
use deputy::domain::time::Timestamp;

use self::facts::{Facts, Place, Recorded};
use self::place::Beginning;
use super::Failure;
use super::output::{self, Reader};
use super::terminal::{Terminal, Tone};

#[derive(Debug, Subcommand)]
pub(crate) enum EventsCommand {
    /// Print the newest facts, and then each one as it is recorded
    Tail(TailArgs),
    /// Print one fact in full, or every fact about a grant, a client, a person or another subject
    Show(ShowArgs),
    /// Print what a source sends and what becomes of it, as it happens
    Watch(watch::WatchArgs),
    /// Show who reads the log, how far they have come, and which stand still
    Consumers(consumers::ConsumersArgs),
    /// Have a consumer stand still, on all nodes, until it is resumed
    Pause(consumers::OneConsumer),
    /// Let a consumer go on from where it stands
    Resume(consumers::OneConsumer),
    /// Have a consumer read again what it has read
    Replay(consumers::ReplayArgs),
}

#[derive(Debug, Args)]
pub(crate) struct TailArgs {
    /// Begin here: an offset (1200), a moment in UTC (2026-11-23T16:05), or how long ago (15m, 2h, 3d)
    #[arg(long, value_name = "PLACE", value_parser = place::from, conflicts_with = "last")]
    from: Option<Beginning>,
    /// Begin with so many of the newest facts
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    last: u64,
    /// Stop when all is printed that is there
    #[arg(long)]
    no_follow: bool,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// An event, grant, client, person, session, resource, token or key, by its identifier; gra_…4e6g8h is enough
    subject: String,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
struct Format {
    /// Print the events as they are stored, one JSON object a line
    #[arg(long)]
    json: bool,
}

/// How often the files are looked at for something new.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

pub(crate) async fn run(command: EventsCommand, settings: &Settings) -> Result<(), Failure> {
    match command {
        EventsCommand::Tail(args) => tokio::select! {
            outcome = tail(&args, settings) => outcome,
            _ = tokio::signal::ctrl_c() => Ok(()),
        },
        EventsCommand::Watch(args) => tokio::select! {
            outcome = watch::run(&args, settings) => outcome,
            _ = tokio::signal::ctrl_c() => Ok(()),
        },
        EventsCommand::Consumers(args) => consumers::list(&args, settings).await,
        EventsCommand::Pause(args) => consumers::pause(&args, settings).await,
        EventsCommand::Resume(args) => consumers::resume(&args, settings).await,
        EventsCommand::Replay(args) => consumers::replay(&args, now(), settings).await,
        EventsCommand::Show(args) => story::show(&args.subject, args.format.reader(), settings).await,
    }
}

impl Format {
    fn reader(&self) -> Reader {
        if self.json { Reader::Program } else { Reader::Person }
    }
}

async fn tail(args: &TailArgs, settings: &Settings) -> Result<(), Failure> {
    let place = args.from.map_or(Place::BeforeEnd(args.last), |from| from.place(now()));
    let mut facts = Facts::open(settings, place).await?;
    let mut printer = Printer::new(args.format.reader());
    let mut newest = VecDeque::new();
    loop {
        let read = facts.read().await?;
        if read.is_empty() {
            break;
        }
        newest.extend(read);
        // Where there are several partitions, each has given its last ones.
        while args.from.is_none() && newest.len() as u64 > args.last {
            newest.pop_front();
        }
        if args.from.is_some() {
            newest.drain(..).try_for_each(|fact| printer.print(&fact))?;
        }
    }
    newest.iter().try_for_each(|fact| printer.print(fact))?;
    if args.no_follow {
        return printer.end();
    }
    printer.wait()?;
    follow(&mut facts, |fact| printer.print(fact)).await
}

/// Hands over each fact as it is recorded, for ever.
pub(crate) async fn follow(facts: &mut Facts, mut hear: impl FnMut(&Recorded) -> Result<(), Failure>) -> Result<(), Failure> {
    loop {
        let read = facts.read().await?;
        read.iter().try_for_each(&mut hear)?;
        if read.is_empty() {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }
}

/// Prints facts one after another: lines with a date above each day's first for people, JSON lines for programs.
struct Printer {
    reader: Reader,
    terminal: Terminal,
    /// The date of the line before.
    date: Option<String>,
}

impl Printer {
    fn new(reader: Reader) -> Printer {
        Printer { reader, terminal: Terminal::of_stdout(), date: None }
    }

    fn print(&mut self, fact: &Recorded) -> Result<(), Failure> {
        if self.reader == Reader::Program {
            return output::print(&format!("{}\n", String::from_utf8_lossy(&fact.payload)));
        }
        let date = words::date(fact.at);
        if self.date.as_ref() != Some(&date) {
            let heading = format!("{date} UTC, from offset {}", fact.offset);
            output::print(&format!("{}\n", self.terminal.paint(Tone::Faint, &heading)))?;
            self.date = Some(date);
        }
        output::print(&words::line(fact, 0, self.terminal))
    }

    /// Says that there will be more, where nothing has been printed.
    fn wait(&self) -> Result<(), Failure> {
        if self.date.is_some() || self.reader == Reader::Program {
            return Ok(());
        }
        output::print("There are no facts here yet. New ones appear as they are recorded; stop with Ctrl-C.\n")
    }

    fn end(&self) -> Result<(), Failure> {
        if self.date.is_some() || self.reader == Reader::Program { Ok(()) } else { output::print("There are no facts here.\n") }
    }
}

#[expect(clippy::disallowed_methods, reason = "there is no World here; the machine's clock says what two hours ago means")]
fn now() -> Timestamp {
    Timestamp(0).plus(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}
