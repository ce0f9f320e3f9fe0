//! `deputy migrate`: bring the database to this version's schema before a server starts on it.

use deputy::config::Settings;
use deputy::storage::{Database, MIGRATIONS, Storage};

use super::Failure;
use super::output;

pub(crate) async fn run(settings: &Settings) -> Result<(), Failure> {
    let applied = Storage::migrate(&Database::of(settings), MIGRATIONS).await;
    let applied = applied.map_err(|error| Failure::because("the database was not migrated", &error))?;
    let lines: String = applied.iter().map(|migration| format!("Applied {:04} {}.\n", migration.number, migration.name)).collect();
    output::print(&format!("{lines}The database has the schema of this version.\n"))
}
