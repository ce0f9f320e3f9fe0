//! The signing keys as operators see and rotate them; also the rotation that the schedule asks for.

use super::paging::{Page, PageRequest, Window};
use crate::{
    domain::{
        event::{Actor, Fact},
        id::{Id, OperatorKind},
        refusal::{ADMIN_CONFLICT, INTERNAL, OAuthError},
        time::Timestamp,
    },
    keys::{KeyError, KeyStatus},
    protocol::witness::Witness,
    storage::StorageError,
    world::World,
};

/// The keys: the one that signs, the one to come, and those whose tokens are still valid.
pub async fn list(world: &World, request: PageRequest, now: Timestamp) -> Result<Page<KeyStatus>, OAuthError> {
    let window = Window::read(world, "keys".to_owned(), &request, now)?;
    let rows = world.keys.status().into_iter().filter(|key| key.kid > window.after).collect();
    Ok(window.page(world, rows, |key: &KeyStatus| key.kid.clone(), |key| key, now))
}

/// Signs with the next key from now on. Answers that key.
///
/// # Errors
/// `admin.conflict` if the next key has not been published for long enough.
pub async fn rotate(world: &World, operator: Id<OperatorKind>, now: Timestamp) -> Result<KeyStatus, OAuthError> {
    let rotated = advance(world, Actor::Operator(operator), now).await;
    rotated.map_err(|error| match error {
        KeyError::Storage(error) => error.into(),
        KeyError::TooSoon | KeyError::Raced => ADMIN_CONFLICT.because(sentence(&error)),
        KeyError::WrongMasterKey => {
            tracing::error!(%error, "the keys cannot be rotated");
            INTERNAL
        }
    })?;
    world.keys.status().into_iter().find(|key| key.state == "active").ok_or(INTERNAL)
}

/// One rotation and its event in one commit; then the keys are read anew.
pub(super) async fn advance(world: &World, actor: Actor, now: Timestamp) -> Result<(), KeyError> {
    // Whoever rotated last, here or elsewhere, may have gone before the keys were read anew.
    world.keys.reload(&world.storage, now).await?;
    let rotation = world.keys.plan_rotation(now)?;
    let witness = Witness::new(world, actor, now);
    let write = world.storage.write(move |tx| {
        Box::pin(async move {
            let is_first = rotation.write(tx).await?;
            if is_first {
                witness.record(tx, Fact::KeyRotated { active: rotation.activate, next: rotation.publish.id }).await?;
            }
            Ok::<_, StorageError>(is_first)
        })
    });
    let is_first = write.await?;
    world.keys.reload(&world.storage, now).await?;
    if is_first { Ok(()) } else { Err(KeyError::Raced) }
}

/// An error's text as a sentence of its own.
fn sentence(error: &KeyError) -> String {
    let text = error.to_string();
    let (first, rest) = text.split_at(text.chars().next().map_or(0, char::len_utf8));
    format!("{}{rest}.", first.to_uppercase())
}
