//! Who and what must exist before the story begins: a person with a password, and the MCP server as a resource.
//!
//! Both are made through the admin API, as an operator would, and kept: a later run finds them again.

use std::path::PathBuf;

use deputy::config::Settings;
use deputy::domain::secret::{Secret, secret_text};
use deputy::keys::secrets::random;
use deputy::world::open::write_private;
use serde_json::{Value, json};

use super::super::Failure;
use super::super::admin::Admin;

/// The scopes of the example MCP server, in the words of the consent page.
const SCOPES: [(&str, &str); 2] = [("notes:read", "Read your notes"), ("notes:write", "Write new notes")];
const LOGIN: &str = "demo";

pub(super) struct Cast {
    pub(super) login: String,
    pub(super) password: Secret<String>,
    /// The file with both.
    pub(super) person_file: PathBuf,
    /// With what the MCP server asks about tokens.
    pub(super) resource_id: String,
    pub(super) resource_secret: Secret<String>,
}

pub(super) async fn gather(settings: &Settings, resource: &str) -> Result<Cast, Failure> {
    let admin = Admin::of_this_machine(settings)?;
    let person_file = settings.data_dir.join("demo.person");
    let (login, password) = match std::fs::read_to_string(&person_file) {
        Ok(text) => known_person(&admin, &person_file, &text).await?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => new_person(&admin, &person_file).await?,
        Err(error) => return Err(Failure::because(format!("{} cannot be read", person_file.display()), &error)),
    };
    let (resource_id, resource_secret) = protect(&admin, resource).await?;
    Ok(Cast { login, password, person_file, resource_id, resource_secret })
}

/// The person of an earlier run. The file was written first, so the account may be missing.
async fn known_person(admin: &Admin, file: &std::path::Path, text: &str) -> Result<(String, Secret<String>), Failure> {
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let (Some(login), Some(password)) = (value("login"), value("password")) else {
        let shown = file.display();
        return Err(Failure(format!("{shown} does not hold a login and a password; delete it, and there will be a new person")));
    };
    if find_person(admin, login).await?.is_none() {
        create_person(admin, login, password).await?;
    }
    Ok((login.to_owned(), Secret::new(password.to_owned())))
}

async fn new_person(admin: &Admin, file: &std::path::Path) -> Result<(String, Secret<String>), Failure> {
    // Somebody has that login whose password we do not know: an earlier demo's person whose file was deleted, or a real one.
    let login = match find_person(admin, LOGIN).await? {
        Some(_) => format!("{LOGIN}-{}", u32::from_be_bytes(random())),
        None => LOGIN.to_owned(),
    };
    let password = secret_text(random());
    let text = Secret::new(format!("login: {login}\npassword: {}", password.reveal()));
    write_private(file, text.reveal())
        .map_err(|error| Failure::because(format!("{} cannot be written", file.display()), &error))?;
    create_person(admin, &login, password.reveal()).await?;
    Ok((login, password))
}

async fn find_person(admin: &Admin, login: &str) -> Result<Option<Value>, Failure> {
    admin.find(&["people"], |person| person["login"] == login).await
}

async fn create_person(admin: &Admin, login: &str, password: &str) -> Result<(), Failure> {
    let account = json!({"login": login, "display_name": "Demo person", "password": password});
    admin.post(&["people"], &account).await.map(|_| ())
}

/// Registers the MCP server, or gives the registered one a new secret: the one before is nowhere written down.
async fn protect(admin: &Admin, identifier: &str) -> Result<(String, Secret<String>), Failure> {
    let known = admin.find(&["resources"], |resource| resource["identifier"] == identifier).await?;
    let resource = match known {
        None => {
            let scopes: Vec<Value> =
                SCOPES.iter().map(|(name, description)| json!({"name": name, "description": description})).collect();
            admin.post(&["resources"], &json!({"identifier": identifier, "name": "Notes", "scopes": scopes})).await?
        }
        Some(known) => {
            let id = known["resource_id"].as_str().unwrap_or_default();
            let has = |scope: &str| known["scopes"].as_array().into_iter().flatten().any(|known| known["name"] == scope);
            if let Some((scope, _)) = SCOPES.iter().find(|(scope, _)| !has(scope)) {
                let mend = format!("delete it (`deputy resources delete {id}`) and start again");
                return Err(Failure(format!("the resource {identifier} is registered without the scope {scope}; {mend}")));
            }
            admin.post(&["resources", id, "secret"], &json!({})).await?
        }
    };
    let member = |name: &str| resource[name].as_str().map(str::to_owned);
    let (id, secret) =
        member("resource_id").zip(member("secret")).ok_or_else(|| Failure("the admin API told no secret".to_owned()))?;
    Ok((id, Secret::new(secret)))
}
