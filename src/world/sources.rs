//! The sources as the ingest asks for them at every request: exact where this process alone writes to the database, else some
//! seconds old at most; and when the database is away, as they were last known.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::World;
use crate::{
    domain::{secret::Digest, source::Source, time::Timestamp},
    storage::{StorageError, sources::Sources},
};

/// How old what we know may be where others write too.
const AGE_MAX: Duration = Duration::from_secs(2);
/// How old it may be when a write key is not in it: the key may have been made this moment, on another node. Whoever asks with keys
/// that do not exist has us ask the database so often and no oftener.
const AGE_MAX_UNKNOWN: Duration = Duration::from_millis(200);

/// What was read last, and when. Empty where storage's own memory is exact.
#[derive(Default)]
pub struct KnownSources(Mutex<Option<(Timestamp, Arc<Sources>)>>);

impl World {
    /// All sources.
    pub async fn sources(&self, now: Timestamp) -> Result<Arc<Sources>, StorageError> {
        self.sources_at_most(AGE_MAX, now).await
    }

    /// The source of this write key.
    pub async fn source(&self, write_key: &Digest, now: Timestamp) -> Result<Option<Arc<Source>>, StorageError> {
        if let Some(found) = self.sources(now).await?.find(write_key) {
            return Ok(Some(Arc::clone(found)));
        }
        Ok(self.sources_at_most(AGE_MAX_UNKNOWN, now).await?.find(write_key).cloned())
    }

    /// To be called when a source was changed: the next request sees it.
    pub fn forget_sources(&self) {
        *self.memory.sources.lock() = None;
    }

    async fn sources_at_most(&self, age_max: Duration, now: Timestamp) -> Result<Arc<Sources>, StorageError> {
        if self.storage.is_exclusive() {
            return self.storage.sources().await;
        }
        let stale = {
            let mut known = self.memory.sources.lock();
            match known.as_mut() {
                Some((read_at, sources)) if now.since(*read_at) < age_max => return Ok(Arc::clone(sources)),
                // Whoever comes while we ask goes on with what is known.
                Some((read_at, sources)) => {
                    *read_at = now;
                    Some(Arc::clone(sources))
                }
                None => None,
            }
        };
        match (self.storage.sources().await, stale) {
            (Ok(sources), _) => {
                *self.memory.sources.lock() = Some((now, Arc::clone(&sources)));
                Ok(sources)
            }
            (Err(error), Some(stale)) => {
                tracing::warn!(%error, "the sources could not be read again; those known before are used");
                Ok(stale)
            }
            (Err(error), None) => Err(error),
        }
    }
}

impl KnownSources {
    /// Nothing panics while it holds the lock, so a poisoned one is still whole.
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(Timestamp, Arc<Sources>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
