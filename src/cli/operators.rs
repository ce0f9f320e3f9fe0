//! `deputy operators`: who may use the admin API.

use clap::{Args, Subcommand};
use deputy::config::Settings;
use serde_json::json;

use super::Failure;
use super::admin::{Admin, AdminArgs, PageArgs, list};
use super::output::Column;

#[derive(Debug, Subcommand)]
pub(crate) enum OperatorsCommand {
    /// List the operators
    List(PageArgs),
    /// Add an operator; their token is shown only now
    Create(CreateArgs),
    /// Remove an operator, whose token is dead at once; the last one stays
    Remove(RemoveArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Says in lists who this is; not a login
    name: String,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// The operator's identifier
    operator: String,
    #[command(flatten)]
    admin: AdminArgs,
}

const COLUMNS: &[Column] = &[("OPERATOR", "operator_id"), ("NAME", "name"), ("SINCE", "created_at")];

pub(crate) async fn run(command: OperatorsCommand, settings: &Settings) -> Result<(), Failure> {
    match command {
        OperatorsCommand::List(args) => list(&["operators"], &args, COLUMNS, settings).await,
        OperatorsCommand::Create(args) => {
            let admin = Admin::open(&args.admin, settings)?;
            admin.show(&admin.post(&["operators"], &json!({"name": args.name})).await?)
        }
        OperatorsCommand::Remove(args) => {
            let admin = Admin::open(&args.admin, settings)?;
            let answer = admin.delete(&["operators", &args.operator]).await?;
            admin.done(&format!("{} is removed.", args.operator), &answer)
        }
    }
}
