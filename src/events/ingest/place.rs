//! Room for what is taken in at once: counted as bytes arrive, so that whoever only promises them holds nothing, and shared among
//! networks, so that no single caller takes all of it.

use std::{net::IpAddr, sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::{
    domain::refusal::{OAuthError, TRACKING_BUSY},
    world::World,
};

/// How long a request waits for others to become durable before it is told to come again.
const PLACE_TIMEOUT: Duration = Duration::from_secs(1);

/// What one request has of the room; given back when it is dropped.
pub struct Place<'w> {
    world: &'w World,
    network: Option<Arc<Semaphore>>,
    of_all: Option<SemaphorePermit<'w>>,
    of_network: Option<OwnedSemaphorePermit>,
}

impl<'w> Place<'w> {
    /// No room yet, for a request from this address.
    pub fn new(world: &'w World, address: IpAddr) -> Place<'w> {
        Place { world, network: world.memory.ingest_share(address), of_all: None, of_network: None }
    }

    /// Takes room for so many bytes more.
    ///
    /// # Errors
    /// `tracking.busy` if there is none in time.
    pub async fn widen(&mut self, bytes: usize) -> Result<(), OAuthError> {
        let bytes = u32::try_from(bytes).map_err(|_| TRACKING_BUSY)?;
        let taking = async {
            if let Some(network) = &self.network {
                let more = Arc::clone(network).acquire_many_owned(bytes).await.map_err(|_| TRACKING_BUSY)?;
                match &mut self.of_network {
                    Some(held) => held.merge(more),
                    None => self.of_network = Some(more),
                }
            }
            let more = self.world.memory.ingest_bytes.acquire_many(bytes).await.map_err(|_| TRACKING_BUSY)?;
            match &mut self.of_all {
                Some(held) => held.merge(more),
                None => self.of_all = Some(more),
            }
            Ok(())
        };
        tokio::time::timeout(PLACE_TIMEOUT, taking).await.unwrap_or(Err(TRACKING_BUSY))
    }
}
