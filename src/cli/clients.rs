//! `deputy clients`: the software that asks for tokens.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use deputy::config::Settings;
use serde_json::{Map, Value, json};

use super::Failure;
use super::admin::{Admin, AdminArgs, PageArgs, list};
use super::output::Column;

#[derive(Debug, Subcommand)]
pub(crate) enum ClientsCommand {
    /// List the clients, however they came to us
    List(PageArgs),
    /// Show all that is known of a client
    Show(OneClient),
    /// Register a client; its secret, if it gets one, is shown once
    Create(CreateArgs),
    /// Give a client a new secret, shown once; the one before is dead at once
    Secret(OneClient),
    /// Refuse a client everything, until it is enabled again
    Disable(OneClient),
    /// Let a disabled client ask again
    Enable(OneClient),
    /// Forget a client and end all that was granted to it
    Delete(OneClient),
    /// Make a token that lets its holder register clients for a week, for `registration = "token"`
    InitialAccessToken(AdminArgs),
}

#[derive(Debug, Args)]
pub(crate) struct OneClient {
    /// Its client_id
    client_id: String,
    #[command(flatten)]
    admin: AdminArgs,
}

/// What is not given is left to the server, which decides as for clients that register themselves (RFC 7591).
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  A program of its own, with a secret:
    deputy clients create 'Nightly report' --grant-type client_credentials --scope reports:read
  An app that people sign in to, with PKCE and no secret:
    deputy clients create Notes --auth-method none --redirect-uri http://127.0.0.1/callback")]
pub(crate) struct CreateArgs {
    /// What people read on the consent page
    name: String,
    /// Where people are sent back to; the port of a loopback address may differ
    #[arg(long, value_name = "URI")]
    redirect_uri: Vec<String>,
    /// How it may get tokens
    #[arg(long, value_name = "GRANT", value_parser = ["authorization_code", "refresh_token", "client_credentials"])]
    grant_type: Vec<String>,
    /// How it proves to be itself at the token endpoint
    #[arg(long, value_name = "METHOD", value_parser = ["none", "client_secret_basic", "client_secret_post", "private_key_jwt"])]
    auth_method: Option<String>,
    /// Whether it runs on a person's machine or on a server
    #[arg(long, value_name = "TYPE", value_parser = ["native", "web"])]
    application_type: Option<String>,
    /// A scope that it may ask for; without any, every scope
    #[arg(long)]
    scope: Vec<String>,
    /// A resource that it may ask for; without any, every resource
    #[arg(long, value_name = "IDENTIFIER")]
    resource: Vec<String>,
    /// Where its public keys are, for private_key_jwt
    #[arg(long, value_name = "URL", conflicts_with = "jwks")]
    jwks_uri: Option<String>,
    /// A file of its public keys, for private_key_jwt
    #[arg(long, value_name = "FILE")]
    jwks: Option<PathBuf>,
    #[command(flatten)]
    admin: AdminArgs,
}

const COLUMNS: &[Column] = &[
    ("CLIENT", "client_id"),
    ("NAME", "client_name"),
    ("ORIGIN", "origin"),
    ("AUTHENTICATION", "token_endpoint_auth_method"),
    ("SINCE", "created_at"),
    ("DISABLED", "disabled_at"),
];

pub(crate) async fn run(command: ClientsCommand, settings: &Settings) -> Result<(), Failure> {
    match command {
        ClientsCommand::List(args) => list(&["clients"], &args, COLUMNS, settings).await,
        ClientsCommand::Create(args) => {
            let admin = Admin::open(&args.admin, settings)?;
            admin.show(&admin.post(&["clients"], &metadata(&args)?).await?)
        }
        ClientsCommand::InitialAccessToken(args) => {
            let admin = Admin::open(&args, settings)?;
            admin.show(&admin.post(&["initial-access-tokens"], &json!({})).await?)
        }
        ClientsCommand::Show(OneClient { client_id, admin }) => {
            let admin = Admin::open(&admin, settings)?;
            admin.show(&admin.get(&["clients", &client_id]).await?)
        }
        ClientsCommand::Secret(OneClient { client_id, admin }) => {
            let admin = Admin::open(&admin, settings)?;
            admin.show(&admin.post(&["clients", &client_id, "secret"], &json!({})).await?)
        }
        ClientsCommand::Disable(OneClient { client_id, admin }) => {
            let admin = Admin::open(&admin, settings)?;
            let answer = admin.patch(&["clients", &client_id], &json!({"disabled": true})).await?;
            admin.done(&format!("{client_id} is disabled."), &answer)
        }
        ClientsCommand::Enable(OneClient { client_id, admin }) => {
            let admin = Admin::open(&admin, settings)?;
            let answer = admin.patch(&["clients", &client_id], &json!({"disabled": false})).await?;
            admin.done(&format!("{client_id} is enabled."), &answer)
        }
        ClientsCommand::Delete(OneClient { client_id, admin }) => {
            let admin = Admin::open(&admin, settings)?;
            let answer = admin.delete(&["clients", &client_id]).await?;
            admin.done(&format!("{client_id} is deleted."), &answer)
        }
    }
}

/// The client's metadata in the words of [RFC 7591 §2](https://www.rfc-editor.org/rfc/rfc7591#section-2), only what was given.
fn metadata(args: &CreateArgs) -> Result<Value, Failure> {
    let jwks = args.jwks.as_ref().map(|path| {
        let text = std::fs::read(path).map_err(|error| Failure::because(format!("cannot read {}", path.display()), &error))?;
        serde_json::from_slice(&text).map_err(|error| Failure::because(format!("{} is not a JWK Set", path.display()), &error))
    });
    let some = |words: &[String]| (!words.is_empty()).then(|| json!(words));
    let fields: [(&str, Option<Value>); 9] = [
        ("client_name", Some(json!(args.name))),
        ("redirect_uris", some(&args.redirect_uri)),
        ("grant_types", some(&args.grant_type)),
        ("token_endpoint_auth_method", args.auth_method.as_ref().map(|method| json!(method))),
        ("application_type", args.application_type.as_ref().map(|kind| json!(kind))),
        ("scope", some(&args.scope).map(|_| json!(args.scope.join(" ")))),
        ("resources", some(&args.resource)),
        ("jwks_uri", args.jwks_uri.as_ref().map(|uri| json!(uri))),
        ("jwks", jwks.transpose()?),
    ];
    let given = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Ok(Value::Object(given.collect::<Map<String, Value>>()))
}
