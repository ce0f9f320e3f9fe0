//! `deputy sources`: whatever sends customer events.

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

fn definition(args: &CreateArgs) -> Value {
    let kind = match args.kind {
        SourceKind::Server => "server",
        SourceKind::Browser => "browser",
    };
    let mut definition = json!({"name": args.name, "kind": kind, "requires_token": args.require_token});
    if let Some(client) = &args.client {
        definition["client_id"] = json!(client);
    }
    definition
}
