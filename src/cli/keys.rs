//! `deputy keys`: the keys that sign tokens.

use clap::Subcommand;
use deputy::config::Settings;
use serde_json::json;

use super::Failure;
use super::admin::{Admin, AdminArgs, PageArgs, list};
use super::output::Column;

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// List the keys: the one that signs, those to come, and those whose tokens are still valid
    List(PageArgs),
    /// Sign with a new key from now on; tokens signed before stay valid
    Rotate {
        #[command(flatten)]
        admin: AdminArgs,
    },
}

const COLUMNS: &[Column] = &[("KEY", "kid"), ("ALGORITHM", "algorithm"), ("STATE", "state"), ("MADE", "created_at")];

pub(crate) async fn run(command: KeysCommand, settings: &Settings) -> Result<(), Failure> {
    match command {
        KeysCommand::List(args) => list(&["keys"], &args, COLUMNS, settings).await,
        KeysCommand::Rotate { admin } => {
            let admin = Admin::open(&admin, settings)?;
            let key = admin.post(&["keys", "rotate"], &json!({})).await?;
            admin.show(&key)
        }
    }
}
