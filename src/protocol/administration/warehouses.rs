//! What is asked of a warehouse, as operators say, try and watch it. Its connection is told to us and never told again.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    domain::{
        event::{Actor, Fact},
        id::{Id, OperatorKind, SourceKind},
        json::Json,
        refusal::{ADMIN_NOT_FOUND, ADMIN_VALUE, OAuthError},
        secret::Secret,
        source::{Producer, Source},
        time::Timestamp,
        transformation::Purpose as ProgramPurpose,
        warehouse::{ConnectionUrl, KeyColumn, Position, Question, Row, Warehouse, mapped, message_of},
    },
    keys::secrets::Purpose,
    outbound::warehouse::{PageLimits, WarehouseError, is_value, key_types, read},
    protocol::witness::Witness,
    sandbox::{Mistake, Outcome, Trial},
    storage::{sources, transformations, warehouses},
    world::World,
};

const QUERY_BYTES_MAX: usize = 16 * 1024;
/// As PostgreSQL has it.
const COLUMN_BYTES_MAX: usize = 63;
const POSITION_BYTES_MAX: usize = 64;
const INTERVALS_S: std::ops::RangeInclusive<u32> = 5..=86_400;
const SETTLE_S_MAX: u32 = 3_600;
/// Rows that a trial shows.
const SAMPLE: PageLimits = PageLimits { rows_max: 5, bytes_max: 128 * 1024, row_bytes_max: 32 * 1024 };
/// It is sealed for storage, where it stays until it is replaced.
const NEVER: Timestamp = Timestamp(i64::MAX);

/// What is asked of a warehouse.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWarehouse {
    /// `postgres://user:password@host:5432/database`, of a user who may only read. The host has to be one of the setting
    /// `internal_hosts`. `?sslmode=` may be `verify-full` (if absent), `verify-ca`, `require` or `disable`. If all of this is absent,
    /// the connection stays.
    #[schema(value_type = Option<String>)]
    connection: Option<Secret<String>>,
    /// One `SELECT`, without parameters, order or limit: which of its rows come next is not its to say.
    query: String,
    /// Tells what is new: a timestamp or an integer that grows with each change. Rows without one are never read. An index over it
    /// and the tie breaker makes each poll quick.
    cursor_column: String,
    /// Tells rows of one cursor apart: together, the two are in no two rows. An integer, a timestamp, a text or a UUID.
    tie_breaker_column: String,
    /// Seconds between two polls, from 5 to 86,400; 60 if absent.
    interval_s: Option<u32>,
    /// How many seconds old a row must be by its cursor, up to 3,600; 30 if absent. A transaction that takes longer than this from
    /// setting the cursor to its commit may have its rows passed over. Of no effect where the cursor is an integer: there, whoever
    /// writes in several transactions at once must see to it that they commit in its order.
    settle_s: Option<u32>,
    /// Only rows with a greater cursor are read, from now on. If absent, reading goes on where it was, or from the first row if the
    /// columns have changed. Rows that are read again within `dedup_window_s`, unchanged and by the same columns, are no new events.
    start_after: Option<String>,
}

/// What is asked of a warehouse and how it goes, without the password.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct WarehouseRecord {
    host: String,
    port: u16,
    database: String,
    user: String,
    query: String,
    cursor_column: String,
    tie_breaker_column: String,
    interval_s: u32,
    settle_s: u32,
    /// The cursor up to which all is read; `null` before the first row.
    read_up_to: Option<String>,
    rows_read: u64,
    /// Rows that were too large, or in a form that nobody could read: they are left out.
    rows_unfit: u64,
    /// RFC 3339.
    polled_at: Option<String>,
    /// RFC 3339.
    next_at: String,
    /// Since when it does not answer, RFC 3339; `null` if it did when it was asked last.
    failing_since: Option<String>,
    /// What was wrong then.
    failure: Option<String>,
}

/// The first rows, and what they would become.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct WarehouseTrial {
    rows: Vec<RowRecord>,
}

/// A row, and what becomes of it by the source's transformation, or without one by the names of its columns.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct RowRecord {
    /// `null` if it is too large.
    #[schema(value_type = Option<Object>)]
    row: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Object>>)]
    events: Option<Vec<Box<RawValue>>>,
    /// Why it becomes nothing and would be kept aside.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
}

/// A warehouse that was set, and what a first look at it found.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct WarehouseWithTrial {
    #[serde(flatten)]
    warehouse: WarehouseRecord,
    #[serde(flatten)]
    trial: WarehouseTrial,
}

/// What is asked of this source's warehouse, and how it goes.
pub async fn show(world: &World, source: Id<SourceKind>, now: Timestamp) -> Result<WarehouseRecord, OAuthError> {
    let warehouse = find(world, source).await?.ok_or(ADMIN_NOT_FOUND)?;
    let url = opened(world, &warehouse, now)?;
    Ok(record(warehouse, &url))
}

/// Reads the first rows, and shows what they would become. Changes nothing.
pub async fn try_out(
    world: &World,
    source: Id<SourceKind>,
    new: NewWarehouse,
    now: Timestamp,
) -> Result<WarehouseTrial, OAuthError> {
    let known = known(world, source).await?;
    let asked = Asked::of(world, new, known.as_ref(), now)?;
    let question = asked.question().await?;
    trial(world, source, &asked, &question, now).await
}

/// Sets what is asked of this source's warehouse, if its first rows can be read.
pub async fn put(
    world: &World,
    operator: Id<OperatorKind>,
    source: Id<SourceKind>,
    new: NewWarehouse,
    now: Timestamp,
) -> Result<WarehouseWithTrial, OAuthError> {
    let known = known(world, source).await?;
    let asked = Asked::of(world, new, known.as_ref(), now)?;
    let question = asked.question().await?;
    let trial = trial(world, source, &asked, &question, now).await?;
    let sealed_connection = world.secrets.seal(Purpose::WarehouseConnection, &source.to_string(), NEVER, asked.connection.reveal());
    let fact = Fact::SourceChanged { source, change: "warehouse".to_owned() };
    let (witness, start_after, interval_s) = (Witness::new(world, Actor::Operator(operator), now), asked.start(), asked.interval_s);
    let write = world.storage.write(move |tx| {
        Box::pin(async move {
            check(sources::hold(tx, source).await?)?;
            // Again, and now nobody else changes it: how far it was read is what the last turn of polling says.
            let known = warehouses::find(tx, source).await?;
            let is_same = known.as_ref().is_some_and(|known| {
                (&known.question.cursor, &known.question.tie_breaker) == (&question.cursor, &question.tie_breaker)
            });
            let read = start_after.or_else(|| known.filter(|_| is_same)?.read);
            let warehouse =
                Warehouse { source, sealed_connection, question, interval_s, read, status: Default::default(), turn: 0 };
            warehouses::put(tx, &warehouse, now).await?;
            witness.record(tx, fact).await?;
            warehouses::find(tx, source).await?.ok_or(ADMIN_NOT_FOUND)
        })
    });
    let warehouse: Result<Warehouse, OAuthError> = write.await;
    Ok(WarehouseWithTrial { warehouse: record(warehouse?, &asked.url), trial })
}

/// A request that was read, with the connection that it means.
struct Asked {
    connection: Secret<String>,
    url: ConnectionUrl,
    query: String,
    cursor_column: String,
    tie_breaker_column: String,
    interval_s: u32,
    settle_s: u32,
    start_after: Option<String>,
}

impl Asked {
    fn of(world: &World, new: NewWarehouse, known: Option<&Warehouse>, now: Timestamp) -> Result<Asked, OAuthError> {
        let connection = match (new.connection, known) {
            (Some(connection), _) => connection,
            (None, Some(known)) => sealed(world, known, now)?,
            (None, None) => return Err(ADMIN_VALUE.because("connection is missing; this source has none yet.")),
        };
        let url = ConnectionUrl::parse(connection.reveal())
            .map_err(|wrong| ADMIN_VALUE.because(format!("connection is wrong: {wrong}.")))?;
        if !world.settings.is_internal(&url.host) {
            let told =
                format!("The host {} is not in the setting internal_hosts; whoever runs this server adds it there.", url.host);
            return Err(ADMIN_VALUE.because(told));
        }
        let bounded = |field: &str, text: String, bytes_max: usize| match (1..=bytes_max).contains(&text.trim().len()) {
            true if !text.contains('\0') => Ok(text),
            _ => Err(ADMIN_VALUE.because(format!("{field} must have 1 to {bytes_max} bytes."))),
        };
        let interval_s = new.interval_s.unwrap_or(60);
        let settle_s = new.settle_s.unwrap_or(30);
        if !INTERVALS_S.contains(&interval_s) || settle_s > SETTLE_S_MAX {
            return Err(ADMIN_VALUE.because("interval_s must be from 5 to 86400, and settle_s at most 3600."));
        }
        Ok(Asked {
            connection,
            url,
            query: bounded("query", new.query, QUERY_BYTES_MAX)?,
            cursor_column: bounded("cursor_column", new.cursor_column, COLUMN_BYTES_MAX)?,
            tie_breaker_column: bounded("tie_breaker_column", new.tie_breaker_column, COLUMN_BYTES_MAX)?,
            interval_s,
            settle_s,
            start_after: new.start_after.map(|text| bounded("start_after", text, POSITION_BYTES_MAX)).transpose()?,
        })
    }

    /// What is to be asked, with the types that the warehouse says.
    async fn question(&self) -> Result<Question, OAuthError> {
        let types = key_types(&self.url, &self.query, &self.cursor_column, &self.tie_breaker_column);
        let (cursor, tie_breaker) = types.await.map_err(refusal)?;
        let cursor = KeyColumn { name: self.cursor_column.clone(), kind: cursor };
        if let Some(start) = &self.start_after
            && !is_value(&self.url, &cursor, start).await.map_err(refusal)?
        {
            let told = format!("start_after must be a value of {}, whose type is {}.", cursor.name, cursor.kind.as_str());
            return Err(ADMIN_VALUE.because(told));
        }
        Ok(Question {
            query: self.query.clone(),
            cursor,
            tie_breaker: KeyColumn { name: self.tie_breaker_column.clone(), kind: tie_breaker },
            settle_s: self.settle_s,
        })
    }

    fn start(&self) -> Option<Position> {
        self.start_after.clone().map(|cursor| Position { cursor, tie_breaker: None })
    }
}

async fn trial(
    world: &World,
    source: Id<SourceKind>,
    asked: &Asked,
    question: &Question,
    now: Timestamp,
) -> Result<WarehouseTrial, OAuthError> {
    let page = read(&asked.url, question, asked.start().as_ref(), SAMPLE).await.map_err(refusal)?;
    let all = world.storage.read(|tx| Box::pin(async move { transformations::list(tx).await })).await?;
    let program = all
        .into_iter()
        .find(|one| one.purpose == ProgramPurpose::Transform && one.disabled_at.is_none() && one.sources.contains(&source));
    let mut rows = Vec::with_capacity(page.rows.len());
    for row in &page.rows {
        let program = program.as_ref().map(|program| &*program.program);
        rows.push(become_of(world, row, question, program, now).await?);
    }
    Ok(WarehouseTrial { rows })
}

/// What a row becomes by this program, or without one by the names of its columns.
async fn become_of(
    world: &World,
    row: &Row,
    question: &Question,
    program: Option<&str>,
    now: Timestamp,
) -> Result<RowRecord, OAuthError> {
    let Some((_, raw)) = message_of(row, question.cursor.kind, now) else {
        return Ok(RowRecord { row: None, events: None, failure: Some("the row is too large".to_owned()) });
    };
    let made = match program {
        None => mapped(&raw).map(|message| vec![message.raw().to_owned()]),
        Some(program) => match world.sandbox.try_out(ProgramPurpose::Transform, program, Some(raw.raw())).await? {
            Trial::Ran(Outcome::Events(events)) => Ok(events),
            Trial::Ran(Outcome::Failed(failure)) => Err(failure),
            Trial::Ran(Outcome::Stopped(stop)) => Err(stop.to_string()),
            Trial::Mistakes(mistakes) => Err(Mistake::told(&mistakes)),
            Trial::Ran(Outcome::Passes(_)) | Trial::Sound => Err("the transformation made nothing of it".to_owned()),
        },
    };
    let (events, failure) = made.map_or_else(|failure| (None, Some(failure)), |events| (Some(events), None));
    Ok(RowRecord { row: row.columns.clone().and_then(Json::parse), events, failure })
}

/// The warehouse of a source that may have one.
async fn known(world: &World, source: Id<SourceKind>) -> Result<Option<Warehouse>, OAuthError> {
    let found = world.storage.read(move |tx| Box::pin(async move { sources::find(tx, source).await })).await?;
    check(found)?;
    find(world, source).await
}

async fn find(world: &World, source: Id<SourceKind>) -> Result<Option<Warehouse>, OAuthError> {
    Ok(world.storage.read(move |tx| Box::pin(async move { warehouses::find(tx, source).await })).await?)
}

fn check(source: Option<Source>) -> Result<(), OAuthError> {
    match source {
        None => Err(ADMIN_NOT_FOUND),
        Some(source) if source.producer == Producer::Warehouse => Ok(()),
        Some(_) => Err(ADMIN_VALUE.because("This source is no warehouse; make one of the kind warehouse.")),
    }
}

fn sealed(world: &World, warehouse: &Warehouse, now: Timestamp) -> Result<Secret<String>, OAuthError> {
    let opened = world.secrets.open(Purpose::WarehouseConnection, &warehouse.source.to_string(), now, &warehouse.sealed_connection);
    opened.map(Secret::new).ok_or_else(|| ADMIN_VALUE.because("The connection was sealed under another master key; give it again."))
}

fn opened(world: &World, warehouse: &Warehouse, now: Timestamp) -> Result<ConnectionUrl, OAuthError> {
    ConnectionUrl::parse(sealed(world, warehouse, now)?.reveal())
        .map_err(|wrong| ADMIN_VALUE.because(format!("connection is wrong: {wrong}.")))
}

/// What went wrong is the operator's to mend, and nothing of ours.
fn refusal(error: WarehouseError) -> OAuthError {
    ADMIN_VALUE.because(format!("{}.", error.to_string().trim_end_matches('.')))
}

fn record(warehouse: Warehouse, url: &ConnectionUrl) -> WarehouseRecord {
    let (question, status) = (warehouse.question, warehouse.status);
    WarehouseRecord {
        host: url.host.to_string(),
        port: url.port,
        database: url.database.clone(),
        user: url.user.clone(),
        query: question.query,
        cursor_column: question.cursor.name,
        tie_breaker_column: question.tie_breaker.name,
        interval_s: warehouse.interval_s,
        settle_s: question.settle_s,
        read_up_to: warehouse.read.map(|read| read.cursor),
        rows_read: status.rows_read,
        rows_unfit: status.rows_unfit,
        polled_at: status.polled_at.map(Timestamp::to_rfc3339),
        next_at: status.next_at.to_rfc3339(),
        failing_since: status.failing_since.map(Timestamp::to_rfc3339),
        failure: status.failure,
    }
}
