//! The limit: an axum handler that does what nobody can leave out who takes events in for good, and nothing else.
//!
//! The batch is parsed, so far that each event's message id is known; each event is one record of the same log as Deputy's, the bytes as
//! they came; and the answer waits for the sync. Nobody is authenticated, nothing is checked or brought into form.

use std::path::Path;
use std::sync::Arc;

use axum::{Router, body::Bytes, extract::State, http::StatusCode, response::IntoResponse, routing::post, serve::ListenerExt as _};
use deputy::{
    domain::time::Timestamp,
    log::{
        Log, Record,
        disk::RealDisk,
        embedded::{Embedded, Settings},
    },
    world::RECEIVED,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::net::TcpListener;

use super::deputy_server::Invitation;
use super::servers::{Failure, process::wait_for_end};

/// Serves until standard input ends. The log is written to the folder.
pub fn serve(folder: &Path) -> Result<(), Failure> {
    let log = Embedded::open(Arc::new(RealDisk::create(folder)?), Settings::default())?;
    let router = Router::new().route("/v1/batch", post(take_in)).with_state(Arc::new(log));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let invitation = Invitation { address: listener.local_addr()?.to_string(), authorization: String::new() };
        println!("{}", serde_json::to_string(&invitation)?);
        // A socket that waits to fill a packet is only slower.
        let listener = listener.tap_io(|stream| _ = stream.set_nodelay(true));
        let ended = async { _ = tokio::task::spawn_blocking(wait_for_end).await };
        tokio::select! {
            served = axum::serve(listener, router) => Ok(served?),
            () = ended => Ok(()),
        }
    })
}

#[derive(Deserialize)]
struct Batch<'b> {
    #[serde(borrow)]
    batch: Vec<&'b RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event<'b> {
    message_id: &'b str,
}

async fn take_in(State(log): State<Arc<Embedded>>, body: Bytes) -> Result<impl IntoResponse, StatusCode> {
    let batch: Batch<'_> = serde_json::from_slice(&body).map_err(|_| StatusCode::BAD_REQUEST)?;
    let mut records = Vec::with_capacity(batch.batch.len());
    for raw in batch.batch {
        let event: Event<'_> = serde_json::from_str(raw.get()).map_err(|_| StatusCode::BAD_REQUEST)?;
        records.push(Record::new(event.message_id.as_bytes(), raw.get().as_bytes().to_vec(), Timestamp(0)));
    }
    log.append(RECEIVED, records).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(([("content-type", "application/json")], r#"{"success":true}"#))
}
