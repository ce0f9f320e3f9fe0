//! The command line: what can be asked of `deputy`, and how it answers.
//!
//! A command that fails says one sentence on standard error and exits with 1; one that was written wrongly, with 2. Commands about
//! clients, people, operators, resources, sources, actors, consumers and keys go through the running server's admin API, so that every
//! change has an author and an event.

#![expect(clippy::print_stderr, reason = "a person at a terminal reads what commands say")]

mod actors;
mod admin;
mod clients;
mod demo;
mod doctor;
mod events;
mod keys;
mod migrate;
mod operators;
mod output;
mod people;
mod resources;
mod sandbox;
mod serve;
mod sources;
mod terminal;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use deputy::config::Settings;

const EXAMPLES: &str = "\
Examples:
  deputy serve                                Serve at http://127.0.0.1:9400, data in ./deputy-data
  deputy doctor                               Check the configuration before the first start
  deputy people create ada@example.com        Make an account
  deputy resources create https://mcp.example/mcp --name Notes --scope 'notes:read=Read your notes'
                                              Protect an MCP server
  deputy sources create Shop                  Take customer events from an SDK of Segment
  deputy clients list                         See which agents there are
  deputy keys rotate                          Sign with a new key from now on
  deputy events tail                          See what is decided, as it is decided
  deputy events watch SOURCE                  See what a source sends, and what becomes of it

Settings are read from deputy.toml and from the environment (DEPUTY_ISSUER and so on);
`deputy doctor --reference` lists all of them.";

/// An OAuth 2.1 and OpenID Connect authorization server for AI agents: narrow tokens, human consent, every decision on record.
#[derive(Debug, Parser)]
#[command(name = "deputy", version, max_term_width = 110, after_help = EXAMPLES, disable_help_subcommand = true)]
struct Cli {
    /// The configuration file [default: deputy.toml, if there is one]
    #[arg(long, global = true, value_name = "FILE", env = "DEPUTY_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the authorization server until it is told to stop
    Serve,
    /// Run the server with an example MCP server, and show in the terminal what it is for
    Demo(demo::DemoArgs),
    /// Bring the database to this version's schema; `serve` does it too, unless several servers share the database
    Migrate,
    /// See and rotate the keys that sign tokens
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// See, make and end the clients: the software that asks for tokens
    #[command(subcommand)]
    Clients(clients::ClientsCommand),
    /// See, make and lock the accounts of people
    #[command(subcommand)]
    People(people::PeopleCommand),
    /// See, add and remove the operators: who may use the admin API
    #[command(subcommand)]
    Operators(operators::OperatorsCommand),
    /// See, make and end the resources: the servers that accept our tokens
    #[command(subcommand)]
    Resources(resources::ResourcesCommand),
    /// See, make and end the sources: whatever sends customer events
    #[command(subcommand)]
    Sources(sources::SourcesCommand),
    /// See who is who: people, agents, rogues and bots, and what led to it
    #[command(subcommand)]
    Actors(actors::ActorsCommand),
    /// Read the facts on record, and see to the stages that read them too
    #[command(subcommand)]
    Events(events::EventsCommand),
    /// Check the configuration and its surroundings; say what is wrong and how to mend it
    Doctor(doctor::DoctorArgs),
    /// Run operators' programs for the server that started this, and for nobody else
    #[command(hide = true, name = deputy::sandbox::worker::COMMAND)]
    Sandbox,
}

/// Why a command did not do what it was asked: one sentence without its full stop.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
struct Failure(String);

impl Failure {
    /// The failure of `what` with its cause and all causes behind it, as one sentence.
    fn because(what: impl std::fmt::Display, cause: &dyn std::error::Error) -> Failure {
        let causes = std::iter::successors(Some(cause), |cause| cause.source());
        Failure(causes.fold(what.to_string(), |sentence, cause| {
            let cause = cause.to_string();
            if sentence.contains(&cause) { sentence } else { format!("{sentence}: {cause}") }
        }))
    }
}

/// Reads the arguments, does what they say and tells how it went.
pub(crate) fn main() -> ExitCode {
    // Another dependency may bring a second set of algorithms; without this, the first signature would panic then. A refusal means
    // that the choice was made already.
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(Failure(sentence)) => {
            for line in sentence.lines() {
                eprintln!("deputy: {line}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    if let Command::Doctor(args) = cli.command {
        return doctor::run(&args, cli.config.as_deref(), environment());
    }
    if let Command::Sandbox = cli.command {
        return sandbox::run();
    }
    let settings = Settings::load(cli.config.as_deref(), environment()).map_err(|error| Failure(error.to_string()))?;
    match cli.command {
        Command::Serve => serve::run(settings),
        Command::Demo(args) => demo::run(&args, settings),
        Command::Migrate => wait_for(migrate::run(&settings)),
        Command::Keys(command) => wait_for(keys::run(command, &settings)),
        Command::Clients(command) => wait_for(clients::run(command, &settings)),
        Command::People(command) => wait_for(people::run(command, &settings)),
        Command::Operators(command) => wait_for(operators::run(command, &settings)),
        Command::Resources(command) => wait_for(resources::run(command, &settings)),
        Command::Sources(command) => wait_for(sources::run(command, &settings)),
        Command::Actors(command) => wait_for(actors::run(command, &settings)),
        Command::Events(command) => wait_for(events::run(command, &settings)),
        Command::Doctor(_) | Command::Sandbox => unreachable!("they were run above, since they must work without settings"),
    }?;
    Ok(ExitCode::SUCCESS)
}

/// The variables of this process; one that is not UTF-8 is read with replacement characters, and then refused by name.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
}

/// Runs a short command that waits for the network, on this thread.
fn wait_for<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::because("cannot start", &error))?.block_on(work)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// The help of the command at `path`, as a terminal of 100 columns shows it.
    fn help(path: &[&str]) -> String {
        let mut command = Cli::command().term_width(100);
        command.build();
        let command =
            path.iter().fold(&mut command, |command, name| command.find_subcommand_mut(name).expect("the command exists"));
        command.render_help().to_string()
    }

    #[test]
    fn the_help_reads_like_this() {
        insta::assert_snapshot!("help", help(&[]));
        for path in [
            ["clients", "create"],
            ["people", "create"],
            ["resources", "create"],
            ["clients", "list"],
            ["events", "tail"],
            ["events", "show"],
            ["events", "replay"],
            ["events", "watch"],
        ] {
            insta::assert_snapshot!(format!("help_{}", path.join("_")), help(&path));
        }
        insta::assert_snapshot!("help_demo", help(&["demo"]));
        insta::assert_snapshot!("help_doctor", help(&["doctor"]));
    }

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_failure_tells_each_cause_once() {
        let cause = std::io::Error::other("disk on fire");
        assert_eq!(Failure::because("cannot write", &cause), Failure("cannot write: disk on fire".to_owned()));
    }
}
