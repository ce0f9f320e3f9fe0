//! `deputy actors`: who is who.

use clap::{Args, Subcommand, builder::PossibleValuesParser};
use deputy::{config::Settings, domain::actor::ActorKind};
use serde_json::json;

use super::Failure;
use super::admin::{Admin, AdminArgs, PageArgs, list_where};
use super::output::Column;

#[derive(Debug, Subcommand)]
pub(crate) enum ActorsCommand {
    /// List the actors of a kind
    List(ListArgs),
    /// Show an actor, with the evidence that led to its kind
    Show(OneActor),
    /// Say what an actor is, whatever was seen of it; a rogue gets no tokens
    Set(SetArgs),
    /// Take that back: what was seen counts again
    Lift(OneActor),
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Who it is taken for
    #[arg(value_parser = PossibleValuesParser::new(ActorKind::ALL.map(ActorKind::as_str)))]
    kind: String,
    #[command(flatten)]
    page: PageArgs,
}

#[derive(Debug, Args)]
pub(crate) struct OneActor {
    /// client_id:..., user_id:... or anonymous_id:...
    actor: String,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  deputy actors set client_id:https://agent.example/client.json rogue --note 'Sends mail in the night'")]
pub(crate) struct SetArgs {
    /// client_id:..., user_id:... or anonymous_id:...
    actor: String,
    /// Agents: trusted_agent, unknown_agent or rogue; people: person or bot_posing_as_person
    #[arg(value_parser = PossibleValuesParser::new(ActorKind::ALL.map(ActorKind::as_str)))]
    kind: String,
    /// Why, for whoever reads it later
    #[arg(long)]
    note: String,
    #[command(flatten)]
    admin: AdminArgs,
}

const COLUMNS: &[Column] = &[("ACTOR", "actor_id"), ("KIND", "kind"), ("SINCE", "since")];
const HISTORY: &[Column] = &[("AT", "at"), ("EVIDENCE", "evidence"), ("EVENT", "event_id"), ("KIND", "kind")];

pub(crate) async fn run(command: ActorsCommand, settings: &Settings) -> Result<(), Failure> {
    match command {
        ActorsCommand::List(args) => list_where(&["actors"], &[("kind", args.kind.as_str())], &args.page, COLUMNS, settings).await,
        ActorsCommand::Show(args) => {
            let admin = Admin::open(&args.admin, settings)?;
            admin.show_with_list(&admin.get(&["actors", &args.actor]).await?, "history", HISTORY)
        }
        ActorsCommand::Set(args) => {
            let admin = Admin::open(&args.admin, settings)?;
            let word = json!({"kind": args.kind, "note": args.note});
            let answer = admin.put(&["actors", &args.actor, "kind"], &word).await?;
            admin.done(&format!("{} is {} from now on.", args.actor, args.kind), &answer)
        }
        ActorsCommand::Lift(args) => {
            let admin = Admin::open(&args.admin, settings)?;
            let answer = admin.delete(&["actors", &args.actor, "kind"]).await?;
            let kind = answer["kind"].as_str().unwrap_or_default();
            admin.done(&format!("{} is {kind}, by what was seen.", args.actor), &answer)
        }
    }
}
