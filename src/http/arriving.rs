//! Bodies that are waited for: whoever sends slowly has a part of the places only, so that the others find one.

use std::{
    error::Error,
    fmt,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    BoxError,
    body::{Body, Bytes, HttpBody},
};
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::domain::network::subscriber_network;

/// Requests whose body is waited for may be this part of all that are worked on.
const PART: usize = 2;
/// Those of one network may be this part of all.
const PART_OF_NETWORK: usize = 4;
/// Networks whose share is counted, at some hundred bytes each. One that is forgotten has its whole share again.
const NETWORKS_MAX: u64 = 10_000;

/// The places of requests whose body is waited for.
pub(super) struct Arrivals {
    all: Arc<Semaphore>,
    of_network: moka::sync::Cache<IpAddr, Arc<Semaphore>>,
    share: usize,
}

/// No place is left to wait for a body.
#[derive(Debug)]
pub(super) struct Crowded;

impl fmt::Display for Crowded {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("too many requests are waited for")
    }
}

impl Error for Crowded {}

impl Arrivals {
    /// For so many requests at once, whether they are waited for or not.
    pub(super) fn new(requests_max: usize) -> Arrivals {
        Arrivals {
            all: Arc::new(Semaphore::new((requests_max / PART).max(1))),
            of_network: moka::sync::Cache::new(NETWORKS_MAX),
            share: (requests_max / PART_OF_NETWORK).max(1),
        }
    }

    /// A body that takes a place once it has to be waited for, until it is dropped; it breaks off as `Crowded` if there is none.
    pub(super) fn counted(self: &Arc<Self>, body: Body, address: IpAddr) -> Body {
        if body.is_end_stream() { body } else { Body::new(Arriving { body, arrivals: Arc::clone(self), address, place: None }) }
    }

    fn place(&self, address: IpAddr) -> Option<Place> {
        let of_network = match subscriber_network(address) {
            Some(network) => {
                let counted = self.of_network.get_with(network, || Arc::new(Semaphore::new(self.share)));
                Some(counted.try_acquire_owned().ok()?)
            }
            None => None,
        };
        Some(Place { _of_all: Arc::clone(&self.all).try_acquire_owned().ok()?, _of_network: of_network })
    }
}

struct Place {
    _of_all: OwnedSemaphorePermit,
    _of_network: Option<OwnedSemaphorePermit>,
}

struct Arriving {
    body: Body,
    arrivals: Arc<Arrivals>,
    address: IpAddr,
    /// From when it was first waited for.
    place: Option<Place>,
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Pending if self.place.is_none() => {
                self.place = self.arrivals.place(self.address);
                if self.place.is_some() { Poll::Pending } else { Poll::Ready(Some(Err(Crowded.into()))) }
            }
            polled => polled.map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
