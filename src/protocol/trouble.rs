//! Trouble of our own making: storage, log and outgoing calls, told to a client without ever costing it its credentials
//! (promise 12).

use crate::{
    domain::refusal::{BUSY, INTERNAL, LOG_UNAVAILABLE, OAuthError, STORAGE_FULL, STORAGE_UNAVAILABLE},
    log::LogError,
    sandbox::SandboxError,
    storage::StorageError,
};

impl From<StorageError> for OAuthError {
    fn from(error: StorageError) -> OAuthError {
        match error {
            StorageError::Busy | StorageError::Serialization => BUSY,
            StorageError::Full => STORAGE_FULL,
            _ if error.is_transient() => STORAGE_UNAVAILABLE,
            _ => {
                tracing::error!(%error, "storage failed in a way that does not pass by itself");
                INTERNAL
            }
        }
    }
}

impl From<LogError> for OAuthError {
    fn from(error: LogError) -> OAuthError {
        match error {
            LogError::Busy => BUSY,
            LogError::Full => STORAGE_FULL,
            _ => {
                tracing::error!(%error, "the log of facts cannot be written");
                LOG_UNAVAILABLE
            }
        }
    }
}

impl From<SandboxError> for OAuthError {
    fn from(error: SandboxError) -> OAuthError {
        tracing::error!(%error, "no program can be tried");
        BUSY
    }
}
