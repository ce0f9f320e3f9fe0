//! `deputy resources`: the servers that accept our tokens.

use clap::{Args, Subcommand};
use deputy::config::Settings;
use serde_json::{Value, json};

use super::Failure;
use super::admin::{Admin, AdminArgs, PageArgs, list};
use super::output::Column;

#[derive(Debug, Subcommand)]
pub(crate) enum ResourcesCommand {
    /// List the resources
    List(PageArgs),
    /// Show all that is known of a resource
    Show(OneResource),
    /// Register a resource; the secret with which it may introspect tokens is shown once
    Create(CreateArgs),
    /// Forget a resource; no token is issued for it any more
    Delete(OneResource),
}

#[derive(Debug, Args)]
pub(crate) struct OneResource {
    /// Its identifier or its resource_id
    resource: String,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  deputy resources create https://mcp.example/mcp --name Notes \\
    --scope 'notes:read=Read your notes' --scope 'notes:write=Write and change your notes' \\
    --implies notes:write=notes:read")]
pub(crate) struct CreateArgs {
    /// Its identifier: the URL that clients use, spelled as its own metadata spells it
    identifier: String,
    /// What people read on the consent page
    #[arg(long)]
    name: String,
    /// A scope, and what people read of it
    #[arg(long, value_name = "SCOPE=DESCRIPTION", value_parser = pair, required = true)]
    scope: Vec<(String, String)>,
    /// A scope that includes another of the same resource
    #[arg(long, value_name = "SCOPE=SCOPE", value_parser = pair)]
    implies: Vec<(String, String)>,
    /// How long its access tokens are valid, in seconds [default: access_token_ttl_s of the configuration]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(60..=3600))]
    access_token_ttl_s: Option<u32>,
    #[command(flatten)]
    admin: AdminArgs,
}

const COLUMNS: &[Column] = &[
    ("RESOURCE", "resource_id"),
    ("IDENTIFIER", "identifier"),
    ("NAME", "name"),
    ("SCOPES", "scopes"),
    ("TOKEN SECONDS", "access_token_ttl_s"),
];

pub(crate) async fn run(command: ResourcesCommand, settings: &Settings) -> Result<(), Failure> {
    match command {
        ResourcesCommand::List(args) => list(&["resources"], &args, COLUMNS, settings).await,
        ResourcesCommand::Show(args) => {
            let admin = Admin::open(&args.admin, settings)?;
            admin.show(&find(&admin, &args.resource).await?)
        }
        ResourcesCommand::Create(args) => {
            let admin = Admin::open(&args.admin, settings)?;
            admin.show(&admin.post(&["resources"], &definition(&args)?).await?)
        }
        ResourcesCommand::Delete(args) => {
            let admin = Admin::open(&args.admin, settings)?;
            let found = find(&admin, &args.resource).await?;
            let id = found["resource_id"].as_str().ok_or_else(|| Failure("the server's list names no resource_id".to_owned()))?;
            let answer = admin.delete(&["resources", id]).await?;
            admin.done(&format!("{} is deleted.", args.resource), &answer)
        }
    }
}

/// Two words around the first `=`.
fn pair(text: &str) -> Result<(String, String), String> {
    let (scope, rest) = text.split_once('=').ok_or("write it as SCOPE=..., such as 'notes:read=Read your notes'")?;
    if scope.is_empty() || rest.trim().is_empty() {
        Err("neither side of = may be empty".to_owned())
    } else {
        Ok((scope.to_owned(), rest.trim().to_owned()))
    }
}

fn definition(args: &CreateArgs) -> Result<Value, Failure> {
    let mut scopes: Vec<Value> =
        args.scope.iter().map(|(name, description)| json!({"name": name, "description": description, "implies": []})).collect();
    for (wider, narrower) in &args.implies {
        let scope = scopes.iter_mut().find(|scope| scope["name"] == wider.as_str());
        let scope = scope.ok_or_else(|| Failure(format!("--implies {wider}={narrower} needs a --scope {wider}=...")))?;
        scope["implies"].as_array_mut().expect("it was made an array above").push(json!(narrower));
    }
    let mut definition = json!({"identifier": args.identifier, "name": args.name, "scopes": scopes});
    if let Some(ttl_s) = args.access_token_ttl_s {
        definition["access_token_ttl_s"] = json!(ttl_s);
    }
    Ok(definition)
}

async fn find(admin: &Admin, resource: &str) -> Result<Value, Failure> {
    let found = admin.find(&["resources"], |item| item["resource_id"] == resource || item["identifier"] == resource).await?;
    found.ok_or_else(|| Failure(format!("there is no resource {resource}")))
}
