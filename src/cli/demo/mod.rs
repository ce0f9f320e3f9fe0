//! `deputy demo`: the server and an example MCP server, the main job shown step by step, and then both to try out.

mod agent;
mod browser;
mod cast;
mod exchange;
mod notes_server;
mod story;
mod walk;

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;

use clap::Args;
use deputy::config::Settings;
use deputy::domain::secret::Secret;
use deputy::server::{self, Server};
use deputy::telemetry::Telemetry;
use deputy::world::open::create_data_folder;
use url::Url;

use self::cast::Cast;
use self::notes_server::NotesServer;
use self::story::Story;
use super::Failure;
use super::events::facts::{Facts, Place};
use super::events::{follow, words};
use super::output::print;
use super::serve;
use super::terminal::Terminal;

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// The program of the example MCP server; `cargo build --example protected_mcp_server` makes it
    #[arg(long, value_name = "FILE")]
    mcp_server: PathBuf,
    /// Where the example MCP server listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9401")]
    mcp_address: SocketAddr,
    /// Stop when everything has been shown, instead of serving on
    #[arg(long)]
    once: bool,
}

/// Whether this is the first run in its data folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Data {
    New,
    Kept,
}

pub(crate) fn run(args: &DemoArgs, settings: Settings) -> Result<(), Failure> {
    check(args, &settings)?;
    // Dropped last: what the stop itself says is written too.
    let _telemetry = write_log_lines(&settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| Failure::because("cannot start", &error))?.block_on(demonstrate(args, settings))
}

/// What can be known to be wrong before anything is started.
fn check(args: &DemoArgs, settings: &Settings) -> Result<(), Failure> {
    let is_program = args.mcp_server.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
    if !is_program {
        return Err(Failure(format!(
            "{} is no program; `cargo build --example protected_mcp_server` makes it, and `make run` does all of this",
            args.mcp_server.display()
        )));
    }
    if !settings.issuer.is_loopback() {
        return Err(Failure(format!(
            "the demo plays on this machine, but the issuer is {}; unset it for the demo",
            settings.issuer
        )));
    }
    TcpListener::bind(args.mcp_address).map(drop).map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => Failure(format!(
            "{} is in use, and the example MCP server needs it: stop what runs there, perhaps another demo, or choose another with --mcp-address",
            args.mcp_address
        )),
        _ => Failure::because(format!("the example MCP server cannot listen at {}", args.mcp_address), &error),
    })
}

/// The terminal is for the story; what the server says of itself goes to a file.
fn write_log_lines(settings: &Settings) -> Result<Telemetry, Failure> {
    create_data_folder(&settings.data_dir).map_err(|error| Failure::because("cannot start", &error))?;
    let path = log_path(settings);
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
    let file = file.map_err(|error| Failure::because(format!("{} cannot be written", path.display()), &error))?;
    Telemetry::start_in_file(settings, file).map_err(|error| Failure::because("cannot start", &error))
}

fn log_path(settings: &Settings) -> PathBuf {
    settings.data_dir.join("demo.log")
}

async fn demonstrate(args: &DemoArgs, settings: Settings) -> Result<(), Failure> {
    let data = if settings.operator_token_path().exists() { Data::Kept } else { Data::New };
    let server = Server::start(settings.clone()).await.map_err(serve::failure)?;
    let mut notes = None;
    let outcome = tokio::select! {
        outcome = play(args, &settings, &server, data, &mut notes) => outcome,
        () = server::stop_signal() => print("\n"),
    };
    if let Some(notes) = notes {
        notes.stop().await;
    }
    server.stop().await;
    outcome?;
    if args.once { Ok(()) } else { print("Stopped. The data is kept; `make run` goes on with it.\n") }
}

/// The story, and then the newest facts for as long as both serve.
async fn play(
    args: &DemoArgs,
    settings: &Settings,
    server: &Server,
    data: Data,
    notes: &mut Option<NotesServer>,
) -> Result<(), Failure> {
    let story = Story { terminal: Terminal::of_stdout() };
    let started_at = server.world.now();
    let mcp = Url::parse(&format!("http://{}/mcp", args.mcp_address))
        .map_err(|error| Failure::because("the MCP server's address makes no URL", &error))?;
    let cast = cast::gather(settings, mcp.as_str()).await?;
    let credentials = Secret::new(format!("{}:{}", cast.resource_id, cast.resource_secret.reveal()));
    // A name without a slash would be looked for elsewhere.
    let program = args.mcp_server.canonicalize().map_err(|error| Failure::because("the example MCP server is gone", &error))?;
    let started = NotesServer::start(&program, args.mcp_address, settings.issuer.as_str(), &credentials).await?;
    let notes = notes.insert(started);
    prologue(&story, settings, &mcp, data)?;
    tokio::select! {
        walked = walk::walk(&story, &cast, mcp.clone(), settings, started_at) => walked?,
        ended = notes.ended() => return Err(ended),
    }
    if args.once {
        return Ok(());
    }
    epilogue(&story, settings, &cast, &mcp)?;
    let mut facts = Facts::open(settings, Place::End).await?;
    tokio::select! {
        outcome = follow(&mut facts, |fact| print(&words::line(fact, 2, story.terminal))) => outcome,
        ended = notes.ended() => Err(ended),
    }
}

fn prologue(story: &Story, settings: &Settings, mcp: &Url, data: Data) -> Result<(), Failure> {
    story.heading(&format!("Deputy {}: an agent acts for a person, as far as the person allows", env!("CARGO_PKG_VERSION")))?;
    let (issuer, folder) = (&settings.issuer, settings.data_dir.display());
    let age = match data {
        Data::New => "new",
        Data::Kept => "kept from earlier runs",
    };
    story.row("deputy", &format!("the authorization server: {issuer}"))?;
    story.row("", &format!("its data, {age}: {folder}"))?;
    story.row("notes", &format!("an MCP server that takes its tokens: {mcp}"))?;
    story.row("agent", "an MCP client that wants to read a person's notes")?;
    story.row("person", "somebody with a browser, who decides")
}

fn epilogue(story: &Story, settings: &Settings, cast: &Cast, mcp: &Url) -> Result<(), Failure> {
    let data = settings.data_dir.display();
    story.heading("Your turn: both servers keep running")?;
    story.row("connect", &format!("your own MCP client to {mcp} (streamable HTTP)"))?;
    story.row("", "npx @modelcontextprotocol/inspector")?;
    story.row("", &format!("claude mcp add --transport http notes {mcp}"))?;
    story.row("", &format!("{{\"mcpServers\": {{\"notes\": {{\"url\": \"{mcp}\"}}}}}}"))?;
    story.row("sign in", &format!("as {}, with the password in {}", cast.login, cast.person_file.display()))?;
    story.row("account", &format!("{}/account   what agents may do, and to end it", settings.issuer))?;
    if let Ok(program) = std::env::current_exe() {
        story.row("deputy", &format!("is {}", program.display()))?;
    }
    story.row("operate", &format!("deputy clients list, deputy people list; with {data}/operator.token"))?;
    story.row("look", "deputy events tail, deputy events show gra_…")?;
    story.row("", &format!("log lines: {}", log_path(settings).display()))?;
    story.row("stop", "Ctrl-C")?;
    story.heading("What is decided from now on")
}
