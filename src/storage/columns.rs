//! How domain types stand in columns: times and durations as integers, identifiers as text, structures as JSON.

use serde::{Serialize, de::DeserializeOwned};

use super::{Row, StorageError, Value};
use crate::domain::{
    client::ClientId,
    id::{Id, Kind},
    resource::ResourceIdentifier,
    scope::Scopes,
    secret::Digest,
    time::Timestamp,
};

impl Row<'_> {
    pub(super) fn timestamp(&self, column: usize) -> Result<Timestamp, StorageError> {
        self.int(column).map(Timestamp)
    }

    pub(super) fn timestamp_or_null(&self, column: usize) -> Result<Option<Timestamp>, StorageError> {
        Ok(self.int_or_null(column)?.map(Timestamp))
    }

    pub(super) fn id<K: Kind>(&self, column: usize) -> Result<Id<K>, StorageError> {
        let text = self.text(column)?;
        text.parse().map_err(|_| unreadable(&text))
    }

    pub(super) fn id_or_null<K: Kind>(&self, column: usize) -> Result<Option<Id<K>>, StorageError> {
        self.text_or_null(column)?.map(|text| text.parse().map_err(|_| unreadable(&text))).transpose()
    }

    pub(super) fn client_id(&self, column: usize) -> Result<ClientId, StorageError> {
        let text = self.text(column)?;
        ClientId::parse(&text).ok_or_else(|| unreadable(&text))
    }

    pub(super) fn resource_identifier_or_null(&self, column: usize) -> Result<Option<ResourceIdentifier>, StorageError> {
        self.text_or_null(column)?.map(|text| ResourceIdentifier::parse(&text).map_err(|_| unreadable(&text))).transpose()
    }

    pub(super) fn scopes(&self, column: usize) -> Result<Scopes, StorageError> {
        let text = self.text(column)?;
        Scopes::parse(&text).map_err(|_| unreadable(&text))
    }

    pub(super) fn digest(&self, column: usize) -> Result<Digest, StorageError> {
        Digest::from_slice(&self.blob(column)?).ok_or_else(|| unreadable("a digest"))
    }

    pub(super) fn digest_or_null(&self, column: usize) -> Result<Option<Digest>, StorageError> {
        self.blob_or_null(column)?.map(|bytes| Digest::from_slice(&bytes).ok_or_else(|| unreadable("a digest"))).transpose()
    }

    pub(super) fn u32_or_null(&self, column: usize) -> Result<Option<u32>, StorageError> {
        self.int_or_null(column)?.map(|value| u32::try_from(value).map_err(|_| unreadable("a count"))).transpose()
    }

    pub(super) fn json<T: DeserializeOwned>(&self, column: usize) -> Result<T, StorageError> {
        serde_json::from_str(&self.text(column)?).map_err(|error| unreadable(&error.to_string()))
    }

    pub(super) fn json_or_null<T: DeserializeOwned>(&self, column: usize) -> Result<Option<T>, StorageError> {
        let text = self.text_or_null(column)?;
        text.map(|text| serde_json::from_str(&text).map_err(|error| unreadable(&error.to_string()))).transpose()
    }
}

/// Identifiers as text; to be kept as long as their `values` are used.
pub(super) fn texts<'i, T: ToString + 'i>(ids: impl IntoIterator<Item = &'i T>) -> Vec<String> {
    ids.into_iter().map(ToString::to_string).collect()
}

/// Texts as the one column of a batch's rows.
pub(super) fn values(texts: &[String]) -> Vec<Value<'_>> {
    texts.iter().map(Value::from).collect()
}

/// A structure as JSON text. Our own types always serialise.
pub(super) fn to_json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("our own types serialise to JSON")
}

/// A row does not hold what this version writes: it was edited by hand, or is damaged.
pub(super) fn unreadable(what: &str) -> StorageError {
    StorageError::Corrupt(format!("a row holds a value that this version cannot read: {what}"))
}
