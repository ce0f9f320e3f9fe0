//! What is asked at every request, kept in memory where this process is the only one that writes: clients, resources, sources,
//! the grants by which clients act for themselves, and the set of revoked nodes.
//!
//! The memory is exact, but not complete. A transaction that changes a row forgets it here after its commit and before it is
//! answered; a reader that was under way keeps what it read only if nothing was forgotten meanwhile. On PostgreSQL others write too,
//! so nothing is kept and every question goes to the database.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use super::{
    Backend, Storage, StorageError, Tx, clients, columns::to_json, grants, resources, revocations, sources, sources::Sources,
};
use crate::domain::{
    client::{Client, ClientId, Origin},
    grant::Grant,
    id::{Id, ResourceKind},
    resource::{Resource, ResourceIdentifier},
    scope::Scopes,
    time::Timestamp,
};

/// Entries of one kind that are kept at most; when there are more, all are forgotten and read again as they are asked for.
const ENTRIES_MAX: usize = 10_000;

/// A client that says more of itself is not kept: whoever comes may register one, and all of them together stay within some megabytes.
const CLIENT_BYTES_MAX: usize = 4 * 1024;

/// The memory of one process.
#[derive(Default)]
pub(super) struct Directory {
    clients: Kept<ClientId, Arc<Client>>,
    resources: Kept<(), Arc<Resources>>,
    sources: Kept<(), Arc<Sources>>,
    own_grants: Kept<(ClientId, ResourceIdentifier), Arc<Grant>>,
    /// `None` until it was read: then the database is asked.
    revocations: RwLock<Option<HashMap<String, Timestamp>>>,
}

/// All registered resources.
#[derive(Debug, Default)]
pub struct Resources(Vec<Arc<Resource>>, HashMap<String, usize>);

impl Resources {
    fn new(all: Vec<Resource>) -> Resources {
        let by_name = all.iter().enumerate().map(|(place, resource)| (resource.identifier.canonical(), place)).collect();
        Resources(all.into_iter().map(Arc::new).collect(), by_name)
    }

    /// The resource of this identifier, in whatever spelling.
    pub fn find(&self, identifier: &ResourceIdentifier) -> Option<&Arc<Resource>> {
        self.1.get(&identifier.canonical()).map(|place| &self.0[*place])
    }

    /// The resource that spells its identifier exactly so.
    pub fn find_spelled(&self, identifier: &str) -> Option<&Arc<Resource>> {
        self.0.iter().find(|resource| resource.identifier.as_str() == identifier)
    }

    pub fn find_by_id(&self, id: Id<ResourceKind>) -> Option<&Arc<Resource>> {
        self.0.iter().find(|resource| resource.id == id)
    }

    pub fn all(&self) -> &[Arc<Resource>] {
        &self.0
    }
}

impl Storage {
    /// Reads into memory what must be there before the first request.
    pub async fn load(&self) -> Result<(), StorageError> {
        let Some(directory) = self.directory() else { return Ok(()) };
        let all = self.read(|tx| Box::pin(async move { revocations::all(tx).await })).await?;
        *write(&directory.revocations) = Some(all.into_iter().collect());
        Ok(())
    }

    /// The client of this identifier, disabled or not.
    pub async fn client(&self, id: &ClientId) -> Result<Option<Arc<Client>>, StorageError> {
        let ask = |id: ClientId| self.read(move |tx| Box::pin(async move { clients::find(tx, &id).await }));
        let Some(directory) = self.directory() else { return Ok(ask(id.clone()).await?.map(Arc::new)) };
        let generation = match directory.clients.get(id, |_| true) {
            Ok(kept) => return Ok(Some(kept)),
            Err(generation) => generation,
        };
        let found = ask(id.clone()).await?.map(Arc::new);
        if let Some(found) = &found
            && (found.origin == Origin::Operator || to_json(&found.metadata).len() <= CLIENT_BYTES_MAX)
        {
            directory.clients.keep(generation, id.clone(), Arc::clone(found));
        }
        Ok(found)
    }

    /// All registered resources.
    pub async fn resources(&self) -> Result<Arc<Resources>, StorageError> {
        let ask = || self.read(|tx| Box::pin(async move { resources::list(tx).await }));
        let Some(directory) = self.directory() else { return Ok(Arc::new(Resources::new(ask().await?))) };
        let generation = match directory.resources.get(&(), |_| true) {
            Ok(kept) => return Ok(kept),
            Err(generation) => generation,
        };
        let found = Arc::new(Resources::new(ask().await?));
        directory.resources.keep(generation, (), Arc::clone(&found));
        Ok(found)
    }

    /// All sources.
    pub async fn sources(&self) -> Result<Arc<Sources>, StorageError> {
        let ask = || self.read(|tx| Box::pin(async move { sources::list(tx).await }));
        let Some(directory) = self.directory() else { return Ok(Arc::new(Sources::new(ask().await?))) };
        let generation = match directory.sources.get(&(), |_| true) {
            Ok(kept) => return Ok(kept),
            Err(generation) => generation,
        };
        let found = Arc::new(Sources::new(ask().await?));
        directory.sources.keep(generation, (), Arc::clone(&found));
        Ok(found)
    }

    /// The grant of exactly these scopes by which a client acts for itself at a resource, if it has not ended and lasts until
    /// `lasts_until`.
    pub async fn own_grant(
        &self,
        client: &ClientId,
        resource: &ResourceIdentifier,
        scopes: &Scopes,
        lasts_until: Timestamp,
    ) -> Result<Option<Arc<Grant>>, StorageError> {
        let ask = || {
            let (client, resource, scopes) = (client.clone(), resource.clone(), scopes.clone());
            self.read(move |tx| Box::pin(async move { grants::find_own(tx, &client, &resource, &scopes, lasts_until).await }))
        };
        let Some(directory) = self.directory() else { return Ok(ask().await?.map(Arc::new)) };
        let key = (client.clone(), resource.clone());
        let still_does = |kept: &Arc<Grant>| kept.scopes == *scopes && kept.expires_at >= lasts_until;
        let generation = match directory.own_grants.get(&key, still_does) {
            Ok(kept) => return Ok(Some(kept)),
            Err(generation) => generation,
        };
        let found = ask().await?.map(Arc::new);
        if let Some(found) = &found {
            directory.own_grants.keep(generation, key, Arc::clone(found));
        }
        Ok(found)
    }

    /// Whether any of these nodes was revoked for what was issued at `issued_at`.
    pub async fn is_any_revoked(&self, nodes: [&str; 4], issued_at: Timestamp) -> Result<bool, StorageError> {
        if let Some(directory) = self.directory()
            && let Some(revoked) = read(&directory.revocations).as_ref()
        {
            return Ok(nodes.iter().any(|node| revoked.get(*node).is_some_and(|until| *until >= issued_at)));
        }
        let nodes = nodes.map(str::to_owned);
        self.read(move |tx| {
            Box::pin(async move { revocations::is_any_revoked(tx, nodes.each_ref().map(String::as_str), issued_at).await })
        })
        .await
    }

    fn directory(&self) -> Option<&Arc<Directory>> {
        match &*self.0 {
            Backend::Sqlite(sqlite) => Some(&sqlite.directory),
            Backend::Postgres(_) => None,
        }
    }
}

impl Tx {
    pub(super) fn forget_client(&mut self, id: &ClientId) {
        let id = id.clone();
        self.in_directory(move |directory| directory.clients.forget(&id));
    }

    pub(super) fn forget_resources(&mut self) {
        self.in_directory(|directory| directory.resources.forget(&()));
    }

    pub(super) fn forget_sources(&mut self) {
        self.in_directory(|directory| directory.sources.forget(&()));
    }

    pub(super) fn forget_own_grants(&mut self, client: &ClientId) {
        let client = client.clone();
        self.in_directory(move |directory| directory.own_grants.forget_where(|(holder, _)| *holder == client));
    }

    pub(super) fn remember_revocation(&mut self, node: &str, issued_until: Timestamp) {
        let node = node.to_owned();
        self.in_directory(move |directory| {
            if let Some(revoked) = write(&directory.revocations).as_mut() {
                let kept = revoked.entry(node).or_insert(issued_until);
                *kept = (*kept).max(issued_until);
            }
        });
    }

    pub(super) fn replace_revocation(&mut self, node: &str, issued_until: Timestamp) {
        let node = node.to_owned();
        self.in_directory(move |directory| {
            if let Some(kept) = write(&directory.revocations).as_mut().and_then(|revoked| revoked.get_mut(&node)) {
                *kept = issued_until;
            }
        });
    }

    pub(super) fn forget_revocation(&mut self, node: &str) {
        let node = node.to_owned();
        self.in_directory(move |directory| {
            if let Some(revoked) = write(&directory.revocations).as_mut() {
                revoked.remove(&node);
            }
        });
    }

    fn in_directory(&mut self, effect: impl FnOnce(&Directory) + Send + 'static) {
        if let Some(directory) = self.directory.clone() {
            self.after_commit(move || effect(&directory));
        }
    }
}

/// Values by key, and how often something was forgotten.
struct Kept<K, V>(RwLock<(u64, HashMap<K, V>)>);

impl<K, V> Default for Kept<K, V> {
    fn default() -> Kept<K, V> {
        Kept(RwLock::new((0, HashMap::new())))
    }
}

impl<K: Hash + Eq, V: Clone> Kept<K, V> {
    /// The value if it still does, or the generation with which a freshly read one may be kept.
    fn get(&self, key: &K, still_does: impl Fn(&V) -> bool) -> Result<V, u64> {
        let kept = read(&self.0);
        kept.1.get(key).filter(|value| still_does(value)).cloned().ok_or(kept.0)
    }

    fn keep(&self, generation: u64, key: K, value: V) {
        let mut kept = write(&self.0);
        if kept.0 != generation {
            return;
        }
        if kept.1.len() >= ENTRIES_MAX {
            kept.1.clear();
        }
        kept.1.insert(key, value);
    }

    fn forget(&self, key: &K) {
        let mut kept = write(&self.0);
        kept.0 += 1;
        kept.1.remove(key);
    }

    fn forget_where(&self, matches: impl Fn(&K) -> bool) {
        let mut kept = write(&self.0);
        kept.0 += 1;
        kept.1.retain(|key, _| !matches(key));
    }
}

/// Nothing panics while it holds these locks, so a poisoned one is still whole.
fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
