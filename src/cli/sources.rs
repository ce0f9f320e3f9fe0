//! `deputy sources`: whatever sends customer events.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use deputy::config::Settings;
use serde_json::{Value, json};

use super::Failure;
use super::admin::{Admin, AdminArgs, PageArgs, list};
use super::output::Column;

#[derive(Debug, Subcommand)]
pub(crate) enum SourcesCommand {
    /// List the sources
    List(PageArgs),
    /// Show all that is known of a source
    Show(OneSource),
    /// Make a source; the write key with which it sends events is shown once
    Create(CreateArgs),
    /// Refuse all that a source sends, until it is enabled
    Disable(OneSource),
    /// Take from a source again
    Enable(OneSource),
    /// Give a source a new write key, shown once; the one before is dead at once
    RenewKey(OneSource),
    /// Say what is asked of a warehouse, and show what its first rows become
    SetWarehouse(WarehouseArgs),
    /// Show what is asked of a warehouse, and how it goes
    ShowWarehouse(OneSource),
    /// Forget a source; what it sent stays
    Delete(OneSource),
}

#[derive(Debug, Args)]
pub(crate) struct OneSource {
    /// Its source_id
    source: String,
    #[command(flatten)]
    admin: AdminArgs,
}

/// What kind of software sends.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum SourceKind {
    /// Software of your own, on machines of your own
    Server,
    /// A page or an app on a person's own device; its write key is no secret
    Browser,
    /// Another service that calls Deputy; a transformation says what its calls mean
    Webhook,
    /// A PostgreSQL database that Deputy asks for new rows; see set-warehouse
    Warehouse,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  deputy sources create 'The shop' --kind browser
  The write_key goes into the SDK of that source, the issuer's address into its setting for the host.")]
pub(crate) struct CreateArgs {
    /// Says in lists what this is
    name: String,
    #[arg(long, value_enum, default_value_t = SourceKind::Server)]
    kind: SourceKind,
    /// The client whose access tokens write to it, with or without the write key [default: any client's]
    #[arg(long, value_name = "CLIENT_ID")]
    client: Option<String>,
    /// Refuse the write key without an access token of scope tracking_api:write
    #[arg(long)]
    require_token: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  deputy sources set-warehouse <SOURCE> --query-file orders.sql --cursor-column updated_at --tie-breaker-column id \\
      --connection-stdin < connection.txt
  The connection is a URL such as postgres://reader:password@db.internal/shop, of a user who may only read; its host
  must be in the setting internal_hosts. Rows become events by the names of their columns (user_id, event, timestamp),
  or by a transformation of the source.")]
pub(crate) struct WarehouseArgs {
    /// Its source_id
    source: String,
    /// The file of the query: one SELECT without order or limit
    #[arg(long, value_name = "FILE")]
    query_file: PathBuf,
    /// The column that tells what is new: a timestamp or an integer that grows with each change
    #[arg(long, value_name = "COLUMN")]
    cursor_column: String,
    /// The column that tells rows of one cursor apart
    #[arg(long, value_name = "COLUMN")]
    tie_breaker_column: String,
    /// Seconds between two polls
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    interval_s: u32,
    /// How many seconds old a row must be by its cursor, so that slow transactions lose none
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    settle_s: u32,
    /// Read only rows with a greater cursor than this [default: go on where it was]
    #[arg(long, value_name = "CURSOR")]
    start_after: Option<String>,
    /// Read the connection from the first line of standard input; without this, it stays
    #[arg(long)]
    connection_stdin: bool,
    /// Only show what the first rows would become
    #[arg(long = "try")]
    is_trial: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

const COLUMNS: &[Column] = &[
    ("SOURCE", "source_id"),
    ("NAME", "name"),
    ("KIND", "kind"),
    ("CLIENT", "client_id"),
    ("TOKEN", "requires_token"),
    ("DISABLED", "disabled_at"),
];

pub(crate) async fn run(command: SourcesCommand, settings: &Settings) -> Result<(), Failure> {
    match command {
        SourcesCommand::List(args) => list(&["sources"], &args, COLUMNS, settings).await,
        SourcesCommand::Show(args) => {
            let admin = Admin::open(&args.admin, settings)?;
            admin.show(&admin.get(&["sources", &args.source]).await?)
        }
        SourcesCommand::Create(args) => {
            let admin = Admin::open(&args.admin, settings)?;
            admin.show(&admin.post(&["sources"], &definition(&args)).await?)
        }
        SourcesCommand::Disable(args) => switch(&args, "disabled", settings).await,
        SourcesCommand::Enable(args) => switch(&args, "enabled", settings).await,
        SourcesCommand::RenewKey(args) => {
            let admin = Admin::open(&args.admin, settings)?;
            admin.show(&admin.post(&["sources", &args.source, "write-key"], &json!({})).await?)
        }
        SourcesCommand::SetWarehouse(args) => set_warehouse(&args, settings).await,
        SourcesCommand::ShowWarehouse(args) => {
            let admin = Admin::open(&args.admin, settings)?;
            admin.show(&admin.get(&["sources", &args.source, "warehouse"]).await?)
        }
        SourcesCommand::Delete(args) => {
            let admin = Admin::open(&args.admin, settings)?;
            let answer = admin.delete(&["sources", &args.source]).await?;
            admin.done(&format!("{} is deleted.", args.source), &answer)
        }
    }
}

/// Brings a source into this state.
async fn switch(args: &OneSource, state: &str, settings: &Settings) -> Result<(), Failure> {
    let admin = Admin::open(&args.admin, settings)?;
    let answer = admin.patch(&["sources", &args.source], &json!({"disabled": state == "disabled"})).await?;
    admin.done(&format!("{} is {state}.", args.source), &answer)
}

/// Sets what is asked of a warehouse, or only tries it.
async fn set_warehouse(args: &WarehouseArgs, settings: &Settings) -> Result<(), Failure> {
    let admin = Admin::open(&args.admin, settings)?;
    let query = std::fs::read_to_string(&args.query_file)
        .map_err(|error| Failure::because(format!("cannot read {}", args.query_file.display()), &error))?;
    let mut definition = json!({"query": query, "cursor_column": args.cursor_column, "tie_breaker_column": args.tie_breaker_column,
        "interval_s": args.interval_s, "settle_s": args.settle_s, "start_after": args.start_after});
    if args.connection_stdin {
        definition["connection"] = json!(first_line()?);
    }
    let path = ["sources", &args.source, "warehouse"];
    let answer = match args.is_trial {
        true => admin.post(&[&path[..], &["test"]].concat(), &definition).await?,
        false => admin.put(&path, &definition).await?,
    };
    admin.show(&answer)
}

fn first_line() -> Result<String, Failure> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(|error| Failure::because("cannot read the connection", &error))?;
    match line.trim() {
        "" => Err(Failure("there is no connection on standard input".to_owned())),
        connection => Ok(connection.to_owned()),
    }
}

fn definition(args: &CreateArgs) -> Value {
    let kind = match args.kind {
        SourceKind::Server => "server",
        SourceKind::Browser => "browser",
        SourceKind::Webhook => "webhook",
        SourceKind::Warehouse => "warehouse",
    };
    let mut definition = json!({"name": args.name, "kind": kind, "requires_token": args.require_token});
    if let Some(client) = &args.client {
        definition["client_id"] = json!(client);
    }
    definition
}
