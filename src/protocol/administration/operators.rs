//! Operators: who they are, how they are recognised, and the first one. A token is told once, when its operator is added.

use std::{io, os::unix::fs::PermissionsExt as _, path::Path, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{
    paging::{Page, PageRequest, Window},
    plain_text,
};
use crate::{
    domain::{
        event::{Actor, Fact},
        id::{Id, OperatorKind},
        refusal::{ADMIN_CONFLICT, ADMIN_NOT_FOUND, OAuthError, OPERATOR_TOKEN},
        secret::Secret,
        time::Timestamp,
    },
    keys::secrets::Purpose,
    protocol::{bearer, witness::Witness},
    storage::{StorageError, operators},
    world::{World, open::write_private},
};

const FIRST_OPERATOR: &str = "first";
/// A token of ours has 43 characters; one that was put there by hand must not be easier to guess.
const TOKEN_CHARS_MIN: usize = 43;

/// An operator to be added.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOperator {
    /// Says in lists and files who this is; not a login.
    name: String,
}

/// An operator as others see them.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct OperatorRecord {
    #[schema(value_type = String)]
    operator_id: Id<OperatorKind>,
    name: String,
    /// RFC 3339.
    created_at: String,
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
    let known = match authorization.and_then(bearer) {
        Some(token) => {
            let digest = world.secrets.digest(Purpose::OperatorToken, &token);
            world.storage.read(move |tx| Box::pin(async move { operators::find_by_digest(tx, &digest).await })).await?
        }
        None => None,
    };
    known.ok_or(OPERATOR_TOKEN)
}

/// Whether an operator who was recognised a while ago still would be.
pub async fn is_known(world: &World, id: Id<OperatorKind>) -> Result<bool, OAuthError> {
    Ok(world.storage.read(move |tx| Box::pin(async move { operators::exists(tx, id).await })).await?)
}

/// A page of all operators.
pub async fn list(world: &World, request: PageRequest, now: Timestamp) -> Result<Page<OperatorRecord>, OAuthError> {
    let window = Window::read(world, "operators".to_owned(), &request, now)?;
    let (after, rows_max) = (window.after.clone(), window.rows_max());
    let rows = world.storage.read(move |tx| Box::pin(async move { operators::list(tx, &after, rows_max).await })).await?;
    let record =
        |(operator_id, name, since): (_, _, Timestamp)| OperatorRecord { operator_id, name, created_at: since.to_rfc3339() };
    Ok(window.page(world, rows, |(id, _, _)| id.to_string(), record, now))
}

/// Adds an operator.
pub async fn create(
    world: &World,
    operator: Id<OperatorKind>,
    new: NewOperator,
    now: Timestamp,
) -> Result<OperatorCreated, OAuthError> {
    let name = plain_text("name", new.name)?;
    let token = world.secret();
    let id = insert(world, Actor::Operator(operator), &name, &token, now).await?;
    Ok(OperatorCreated { operator_id: id, name, token: token.reveal().clone(), created_at: now.to_rfc3339() })
}

/// Removes an operator: their token is good for nothing more. The last one stays, or nobody could ever add another.
pub async fn remove(world: &World, operator: Id<OperatorKind>, id: Id<OperatorKind>, now: Timestamp) -> Result<(), OAuthError> {
    let witness = Witness::new(world, Actor::Operator(operator), now);
    let write = world.storage.write(move |tx| {
        Box::pin(async move {
            let known = operators::hold_all(tx).await?;
            if !known.contains(&id) {
                return Err(ADMIN_NOT_FOUND);
            }
            if known.len() == 1 {
                return Err(ADMIN_CONFLICT.because("This is the last operator; add another one first."));
            }
            operators::delete(tx, id).await?;
            Ok::<_, OAuthError>(witness.record(tx, Fact::OperatorRemoved { operator: id }).await?)
        })
    });
    write.await
}

/// Makes the first operator where there is none, and writes their token to `operator.token` in the data folder.
///
/// The file is complete and durable before the operator exists. After a crash in between, its token becomes the operator's: so none
/// is lost, and none is left that nobody knows.
pub async fn first(world: &World) -> Result<(), FirstOperatorError> {
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
    insert(world, Actor::Deputy, FIRST_OPERATOR, &token, world.now()).await?;
    Ok(())
}

async fn insert(
    world: &World,
    actor: Actor,
    name: &str,
    token: &Secret<String>,
    now: Timestamp,
) -> Result<Id<OperatorKind>, StorageError> {
    let id: Id<OperatorKind> = world.id(now);
    let digest = world.secrets.digest(Purpose::OperatorToken, token.reveal());
    let (witness, name) = (Witness::new(world, actor, now), name.to_owned());
    let insert = world.storage.write(move |tx| {
        Box::pin(async move {
            operators::insert(tx, id, &name, &digest, now).await?;
            witness.record(tx, Fact::OperatorCreated { operator: id, name }).await
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
