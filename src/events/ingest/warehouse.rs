//! Rows of warehouses: polled, and taken in as they are. What they mean, the source's transformation says later, or the names of their
//! columns.
//!
//! First the rows are durable in the log, then the position behind them is stored. A crash in between reads the same rows again, under
//! the same message ids, and dedup drops them. Of several nodes one polls a warehouse at a time; one that comes to the end of its turn
//! when that is over stores nothing. A warehouse that does not answer is asked again after longer and longer, and keeps no other waiting
//! for more than one timeout.

use std::time::Duration;

use futures_util::future::join_all;

use super::{
    RECORD_BYTES, append,
    message::{MESSAGE_BYTES_MAX, Unfit},
    soundness,
};
use crate::{
    domain::{
        event::{Actor, Event, Fact},
        id::{EventKind, Id},
        sighting::Sighting,
        time::Timestamp,
        warehouse::{ConnectionUrl, Row, Warehouse, message_of},
    },
    events::turns,
    keys::secrets::Purpose,
    log::{APPEND_BYTES_MAX, Record},
    outbound::warehouse::{self, Page, PageLimits, WarehouseError},
    storage::{
        StorageError,
        warehouses::{self, Turn},
    },
    world::{Progress, StageError, World, record},
};

/// Warehouses that are polled at the same time; those that are due then come next.
const AT_ONCE_MAX: u32 = 8;
/// Also with what is put around each row, a page fits one append.
const PAGE: PageLimits =
    PageLimits { rows_max: 1_000, bytes_max: APPEND_BYTES_MAX / 4, row_bytes_max: MESSAGE_BYTES_MAX - ROW_BYTES };
/// What a message says beside its row.
const ROW_BYTES: usize = 512;
/// Polls the warehouses that are due.
pub async fn step(world: &World, now: Timestamp) -> Result<Progress, StageError> {
    if !world.storage.read(move |tx| Box::pin(async move { warehouses::any_due(tx, now).await })).await? {
        return Ok(Progress::Idle);
    }
    let node = world.node.clone();
    let claim = world
        .storage
        .write(move |tx| Box::pin(async move { warehouses::claim_due(tx, &node, now, now.plus(turns::CLAIM), AT_ONCE_MAX).await }));
    let turns = join_all(claim.await?.iter().map(|warehouse| take_turn(world, warehouse, now))).await;
    let turns: Vec<Progress> = turns.into_iter().collect::<Result<_, _>>()?;
    Ok(if turns.contains(&Progress::Advanced) { Progress::Advanced } else { Progress::Idle })
}

async fn take_turn(world: &World, warehouse: &Warehouse, now: Timestamp) -> Result<Progress, StageError> {
    let (turn, next_at) = match poll(world, warehouse, now).await {
        Ok(page) => {
            let up_to = page.rows.last().map(|row| row.position.clone());
            let records = records(world, warehouse, &page, now);
            let (rows, fit) = (count(page.rows.len()), count(records.len()));
            append(world, records, warehouse.source, now).await?;
            let pause = if page.is_full { Duration::ZERO } else { World::seconds(warehouse.interval_s) };
            (Turn::Read { up_to, rows, rows_unfit: rows - fit }, now.plus(pause))
        }
        Err(failure) => {
            // What it says is for the operator who asks; it may tell of the organisation's network.
            tracing::warn!(source = %warehouse.source, "a warehouse could not be read, and is asked again later");
            (Turn::Failed(failure.to_string()), now.plus(turns::wait(warehouse.status.failures)))
        }
    };
    let (read, outcome) = match &turn {
        Turn::Read { rows, .. } => (*rows, "read"),
        Turn::Failed(_) => (0, "failed"),
    };
    metrics::counter!("deputy_warehouse_polls_total", "outcome" => outcome).increment(1);
    let warehouse = warehouse.clone();
    let end = world.storage.write(move |tx| {
        Box::pin(async move { warehouses::end_turn(tx, &warehouse, &turn, now, next_at).await.map_err(StorageError::into) })
    });
    let is_ours: Result<bool, StageError> = end.await;
    Ok(if is_ours? && read > 0 { Progress::Advanced } else { Progress::Idle })
}

async fn poll(world: &World, warehouse: &Warehouse, now: Timestamp) -> Result<Page, WarehouseError> {
    let unusable = |told: &str| WarehouseError::Unavailable(told.to_owned());
    let context = warehouse.source.to_string();
    let opened = world.secrets.open::<String>(Purpose::WarehouseConnection, &context, now, &warehouse.sealed_connection);
    let url = opened.and_then(|text| ConnectionUrl::parse(&text).ok());
    let url = url.ok_or_else(|| unusable("its connection was sealed under another master key; set it again"))?;
    if !world.settings.is_internal(&url.host) {
        return Err(unusable("its host is no longer in the setting internal_hosts"));
    }
    warehouse::read(&url, &warehouse.question, warehouse.read.as_ref(), PAGE).await
}

/// The records of all rows that can be messages; the others are counted, and shown to who looks on.
fn records(world: &World, warehouse: &Warehouse, page: &Page, now: Timestamp) -> Vec<Record> {
    let mut records = Vec::with_capacity(page.rows.len());
    for row in &page.rows {
        match message(world, warehouse, row, now) {
            Ok(record) => records.push(record),
            Err(unfit) => {
                metrics::counter!("deputy_messages_unfit_total", "reason" => unfit.as_str()).increment(1);
                if let Some(watched) = world.memory.viewers.of(warehouse.source) {
                    let which = || format!("the row whose {} is {}", warehouse.question.cursor.name, row.position.cursor);
                    watched.show(now, || Some(Sighting::unfit(now, which(), unfit.as_str())));
                }
            }
        }
    }
    records
}

/// A row as the log carries it.
fn message(world: &World, warehouse: &Warehouse, row: &Row, now: Timestamp) -> Result<Record, Unfit> {
    let (message_id, message) = message_of(row, warehouse.question.cursor.kind, now).ok_or(Unfit::TooLarge)?;
    if !soundness::is_plain(message.as_str()) && !soundness::is_readable(message.as_str().as_bytes()) {
        return Err(Unfit::Unreadable);
    }
    let id: Id<EventKind> = world.id(now);
    let fact = Fact::EventReceived { source: warehouse.source, message_id, message };
    Ok(record(&Event { id, at: now, actor: Actor::Source(warehouse.source), fact }))
}

fn count(rows: usize) -> u32 {
    u32::try_from(rows).unwrap_or(u32::MAX)
}

const _: () = assert!(PAGE.rows_max as usize * (ROW_BYTES + RECORD_BYTES + super::EVENT_BYTES) + PAGE.bytes_max < APPEND_BYTES_MAX);
