//! Administration: what operators may do through `/admin/v1`, and what the server does by itself to stay tidy.
//!
//! This API is ours; no specification describes it. Every change is one transaction with the event that says who did it. A secret is
//! told once, when it is made, and never again. An operator authenticates with a bearer token
//! ([RFC 6750 §2.1](https://www.rfc-editor.org/rfc/rfc6750#section-2.1)) that we know by its digest only.

pub mod paging;
pub mod clients;
pub mod people;
pub mod resources;
pub mod sources;
pub mod webhooks;
pub mod transformations;
pub mod tracking_plans;
pub mod grants;
pub mod keys;
pub mod tokens;
pub mod facts;
pub mod upkeep;

use std::{io, os::unix::fs::PermissionsExt as _, path::Path, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        event::{Actor, Fact},
        id::{Id, OperatorKind},
        refusal::{ADMIN_VALUE, OAuthError, OPERATOR_TOKEN},
        secret::Secret,
        time::Timestamp,
    },
    keys::secrets::Purpose,
    storage::{StorageError, operators, outbox},
    world::{World, open::write_private},
};

const FIRST_OPERATOR: &str = "first";
const NAME_CHARS_MAX: usize = 200;
/// A token of ours has 43 characters; one that was put there by hand must not be easier to guess.
const TOKEN_CHARS_MIN: usize = 43;

/// An operator to be added.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOperator {
    /// Says in lists and files who this is; not a login.
    name: String,
}

/// An operator who was added, with the token that is told only now.
#[derive(Serialize, utoipa::ToSchema)]
pub struct OperatorCreated {
    #[schema(value_type = String)]
    operator_id: Id<OperatorKind>,
    name: String,
    token: String,
    /// RFC 3339.
    created_at: String,
}

/// Why the first operator could not be made. Each is one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum FirstOperatorError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("the operator's token cannot be kept in {}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{} holds no operator token; remove the file, and the next start writes one", path.display())]
    NotAToken { path: PathBuf },
}

/// The operator whose token this is.
pub async fn authenticate(world: &World, authorization: Option<&[u8]>) -> Result<Id<OperatorKind>, OAuthError> {
    let known = match authorization.and_then(super::bearer) {
        Some(token) => {
            let digest = world.secrets.digest(Purpose::OperatorToken, &token);
            world.storage.read(move |tx| Box::pin(async move { operators::find_by_digest(tx, &digest).await })).await?
        }
        None => None,
    };
    known.ok_or(OPERATOR_TOKEN)
}

/// Adds an operator.
pub async fn create_operator(
    world: &World,
    operator: Id<OperatorKind>,
    new: NewOperator,
    now: Timestamp,
) -> Result<OperatorCreated, OAuthError> {
    let name = plain_text("name", new.name)?;
    let token = world.secret();
    let id = insert_operator(world, Actor::Operator(operator), &name, &token, now).await?;
    Ok(OperatorCreated { operator_id: id, name, token: token.reveal().clone(), created_at: now.to_rfc3339() })
}

/// Makes the first operator where there is none, and writes their token to `operator.token` in the data folder.
///
/// The file is complete and durable before the operator exists. After a crash in between, its token becomes the operator's: so none
/// is lost, and none is left that nobody knows.
pub async fn first_operator(world: &World) -> Result<(), FirstOperatorError> {
    let path = world.settings.operator_token_path();
    if world.storage.read(|tx| Box::pin(async move { operators::is_any(tx).await })).await? {
        if !path.exists() {
            tracing::info!(path = %path.display(), "there is no operator token in the data folder; whoever keeps one must name it");
        }
        return Ok(());
    }
    let token = match read_token(&path)? {
        Some(token) => token,
        None => {
            let token = world.secret();
            write_token(&path, &token).map_err(|source| FirstOperatorError::File { path, source })?;
            token
        }
    };
    insert_operator(world, Actor::Deputy, FIRST_OPERATOR, &token, world.now()).await?;
    Ok(())
}

async fn insert_operator(
    world: &World,
    actor: Actor,
    name: &str,
    token: &Secret<String>,
    now: Timestamp,
) -> Result<Id<OperatorKind>, StorageError> {
    let id: Id<OperatorKind> = world.id(now);
    let digest = world.secrets.digest(Purpose::OperatorToken, token.reveal());
    let event = world.event(now, actor, Fact::OperatorCreated { operator: id, name: name.to_owned() });
    let name = name.to_owned();
    let insert = world.storage.write(move |tx| {
        Box::pin(async move {
            operators::insert(tx, id, &name, &digest, now).await?;
            outbox::put(tx, &event).await
        })
    });
    insert.await?;
    Ok(id)
}

/// The token that an earlier start left, if one did.
fn read_token(path: &Path) -> Result<Option<Secret<String>>, FirstOperatorError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => Secret::new(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(FirstOperatorError::File { path: path.to_owned(), source }),
    };
    let token = text.reveal().trim();
    let is_token =
        token.len() >= TOKEN_CHARS_MIN && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if !is_token {
        return Err(FirstOperatorError::NotAToken { path: path.to_owned() });
    }
    let private = std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600));
    private.map_err(|source| FirstOperatorError::File { path: path.to_owned(), source })?;
    Ok(Some(Secret::new(token.to_owned())))
}

/// Under another name first, so that the file is there whole or not at all.
fn write_token(path: &Path, token: &Secret<String>) -> io::Result<()> {
    let draft = path.with_extension("draft");
    match std::fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => write_private(&draft, token.reveal())?,
    }
    std::fs::rename(&draft, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::File::open(folder)?.sync_all()
}

/// Text that people read in lists and on pages: not empty, not long, without control characters.
fn plain_text(field: &str, text: String) -> Result<String, OAuthError> {
    let is_plain = !text.trim().is_empty() && text.chars().count() <= NAME_CHARS_MAX && !text.chars().any(char::is_control);
    if is_plain {
        return Ok(text);
    }
    Err(ADMIN_VALUE.because(format!("{field} must have 1 to {NAME_CHARS_MAX} characters and no control characters.")))
}

/// Until when what was issued to a node stays dead once the node may act again. Tokens tell whole seconds, so `now` itself would
/// also kill what is issued next.
fn dead_until(off_since: Timestamp, now: Timestamp) -> Timestamp {
    off_since.max(Timestamp(Timestamp::from_seconds(now.seconds()).0.saturating_sub(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_issued_while_a_node_was_off_stays_dead_and_what_comes_next_lives() {
        let issued_at = |moment: Timestamp| Timestamp::from_seconds(moment.seconds());
        for (off_since, now, next) in [(900_200, 1_000_500, 1_000_700), (1_000_000, 1_001_000, 1_001_000)] {
            let until = dead_until(Timestamp(off_since), Timestamp(now));
            assert!(issued_at(Timestamp(off_since)) <= until && issued_at(Timestamp(next)) > until, "{off_since} {now}");
        }
        // Off and on within one second: what is dead cannot be told from what comes next.
        assert_eq!(dead_until(Timestamp(1_000_200), Timestamp(1_000_500)), Timestamp(1_000_200));
    }
}
