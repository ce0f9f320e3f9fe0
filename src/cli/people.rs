//! `deputy people`: the accounts of people.

use std::io::IsTerminal;

use clap::{Args, Subcommand};
use deputy::config::Settings;
use serde_json::{Value, json};

use super::Failure;
use super::admin::{Admin, AdminArgs, PageArgs, list};
use super::output::Column;

#[derive(Debug, Subcommand)]
pub(crate) enum PeopleCommand {
    /// List the people who have an account
    List(PageArgs),
    /// Make an account
    Create(CreateArgs),
    /// Make a link with which a person makes their account and chooses a password; send it to them yourself
    Invite(InviteArgs),
    /// Make a link with which a person chooses a new password; send it to them yourself
    ResetPassword(OnePerson),
    /// Keep a person from signing in and their agents from getting tokens, until they are unlocked
    Lock(OnePerson),
    /// Let a locked person sign in again
    Unlock(OnePerson),
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// What the person types to sign in: an e-mail address or a name
    login: String,
    /// The person's name
    #[arg(long, value_name = "NAME")]
    display_name: Option<String>,
    /// Read the password from the first line of standard input; without this, the server decides how the person gets one
    #[arg(long)]
    password_stdin: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Debug, Args)]
pub(crate) struct InviteArgs {
    /// What the person will type to sign in: an e-mail address or a name
    login: String,
    /// The person's name
    #[arg(long, value_name = "NAME")]
    display_name: Option<String>,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Debug, Args)]
pub(crate) struct OnePerson {
    /// The person's login or identifier
    person: String,
    #[command(flatten)]
    admin: AdminArgs,
}

const COLUMNS: &[Column] =
    &[("PERSON", "person_id"), ("LOGIN", "login"), ("NAME", "display_name"), ("SINCE", "created_at"), ("LOCKED", "locked_at")];

pub(crate) async fn run(command: PeopleCommand, settings: &Settings) -> Result<(), Failure> {
    match command {
        PeopleCommand::List(args) => list(&["people"], &args, COLUMNS, settings).await,
        PeopleCommand::Create(args) => {
            let admin = Admin::open(&args.admin, settings)?;
            let mut account = account(&args.login, args.display_name.as_deref());
            if args.password_stdin {
                account["password"] = json!(read_password()?);
            }
            admin.show(&admin.post(&["people"], &account).await?)
        }
        PeopleCommand::Invite(args) => {
            let admin = Admin::open(&args.admin, settings)?;
            let account = account(&args.login, args.display_name.as_deref());
            admin.show(&admin.post(&["invitations"], &account).await?)
        }
        PeopleCommand::ResetPassword(args) => {
            let admin = Admin::open(&args.admin, settings)?;
            let id = find(&admin, &args.person).await?;
            admin.show(&admin.post(&["people", &id, "password-reset"], &json!({})).await?)
        }
        PeopleCommand::Lock(args) => {
            let admin = Admin::open(&args.admin, settings)?;
            let id = find(&admin, &args.person).await?;
            let answer = admin.patch(&["people", &id], &json!({"locked": true})).await?;
            admin.done(&format!("{} is locked.", args.person), &answer)
        }
        PeopleCommand::Unlock(args) => {
            let admin = Admin::open(&args.admin, settings)?;
            let id = find(&admin, &args.person).await?;
            let answer = admin.patch(&["people", &id], &json!({"locked": false})).await?;
            admin.done(&format!("{} is unlocked.", args.person), &answer)
        }
    }
}

fn account(login: &str, display_name: Option<&str>) -> Value {
    let mut account = json!({"login": login});
    if let Some(name) = display_name {
        account["display_name"] = json!(name);
    }
    account
}

fn read_password() -> Result<String, Failure> {
    if std::io::stdin().is_terminal() {
        eprintln!("The password, which will be visible, and Enter:");
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(|error| Failure::because("cannot read the password", &error))?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() { Err(Failure("there is no password on standard input".to_owned())) } else { Ok(password.to_owned()) }
}

/// The identifier of the person who is meant by it or by their login.
async fn find(admin: &Admin, person: &str) -> Result<String, Failure> {
    if person.starts_with("per_") {
        return Ok(person.to_owned());
    }
    let login = person.to_lowercase();
    let found = admin.find(&["people"], |item| item["login"] == login.as_str()).await?;
    let id = found.as_ref().and_then(|found| found["person_id"].as_str());
    id.map(str::to_owned).ok_or_else(|| Failure(format!("there is no person with the login {person}")))
}
