//! Reading from an organisation's own PostgreSQL: one bounded page of a query's rows, in the order of two columns, behind a position
//! ([keyset pagination](https://use-the-index-luke.com/no-offset)).
//!
//! The operator's query stands in ours as it is: which rows come next, and how many, is never the query's to say. PostgreSQL itself
//! turns each row into JSON, so that every type of column has the form that its own makers gave it. Nothing is ever changed there: one
//! statement in a read-only transaction, with a timeout that the server keeps and one that we keep.
//!
//! Unlike `Outbound`, this cannot pin a name to the addresses that were judged. So whoever calls it has made sure that the host is one
//! that was written into the configuration of this process.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use sqlx::{
    AssertSqlSafe, Column as _, ConnectOptions as _, Connection as _, Executor as _, Row as _, SqlSafeStr as _, Statement as _,
    TypeInfo as _,
    postgres::{PgArguments, PgConnectOptions, PgConnection, PgSslMode},
};

use crate::domain::warehouse::{ConnectionUrl, KeyColumn, KeyType, Position, Question, Row, Tls};

/// For one page: name look-up, connection, TLS, the query, and its last row.
pub const PAGE_TIMEOUT: Duration = Duration::from_secs(15);
/// What each session is to guarantee, whatever the server's settings are: nothing is written, and nothing is kept waiting for long.
/// The server gives up before we do, so that its reason is heard.
const SESSION: &str = "START TRANSACTION READ ONLY; SET LOCAL statement_timeout = '10s'; SET LOCAL lock_timeout = '2s'; \
    SET LOCAL idle_in_transaction_session_timeout = '20s'";
/// Of what another server says, so many characters are told.
const TOLD_CHARS_MAX: usize = 300;

/// What one page may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimits {
    pub rows_max: u32,
    /// Of all rows together; the row that exceeds it is the last.
    pub bytes_max: usize,
    /// A longer row comes without its columns.
    pub row_bytes_max: usize,
}

/// Some rows, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub rows: Vec<Row>,
    /// Whether a limit ended the page, so that there may be more.
    pub is_full: bool,
}

/// Why there are no rows. The texts are for operators: they hold no password, and no value of a row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WarehouseError {
    #[error("the warehouse cannot be reached: {0}")]
    Unavailable(String),
    #[error("the warehouse did not answer within {} s; an index over cursor and tie breaker makes it quick", .0.as_secs())]
    TimedOut(Duration),
    /// The server refuses the query, or us.
    #[error("the warehouse refuses: {0}")]
    Refused(String),
    #[error("{0}")]
    Columns(String),
}

/// The types of the two columns, by which an operator's query is to be read.
///
/// # Errors
/// Also when the server does not take the query, or one of the columns cannot say a position.
pub async fn key_types(
    url: &ConnectionUrl,
    query: &str,
    cursor_column: &str,
    tie_breaker_column: &str,
) -> Result<(KeyType, KeyType), WarehouseError> {
    let (cursor, tie_breaker) = (quoted(cursor_column), quoted(tie_breaker_column));
    let sql = format!("SELECT q.{cursor}, q.{tie_breaker} FROM (\n{}\n) AS q", statement(query));
    let ask = async {
        let mut connection = begin(url).await?;
        let prepared = connection.prepare(AssertSqlSafe(sql).into_sql_str()).await?;
        let types: Vec<_> = prepared.columns().iter().map(|column| column.type_info().name().to_owned()).collect();
        connection.close_hard().await?;
        Ok(types)
    };
    let types = bounded(ask).await?;
    let kind = |place: usize, column: &str| {
        let name = types.get(place).map_or("nothing", String::as_str);
        key_type(name).ok_or_else(|| {
            WarehouseError::Columns(format!("The column {column} is of the type {name}, which cannot say a position."))
        })
    };
    let (cursor, tie_breaker) = (kind(0, cursor_column)?, kind(1, tie_breaker_column)?);
    if !cursor.may_be_cursor() {
        let told = format!("The column {cursor_column} cannot be the cursor: it must be a timestamp or an integer, which grows.");
        return Err(WarehouseError::Columns(told));
    }
    Ok((cursor, tie_breaker))
}

/// Whether the warehouse can read a text as a value of this column.
///
/// # Errors
/// See [`WarehouseError`].
pub async fn is_value(url: &ConnectionUrl, column: &KeyColumn, text: &str) -> Result<bool, WarehouseError> {
    let sql = format!("SELECT CAST(CAST($1 AS text) AS {})", column.kind.as_str());
    let ask = async {
        let mut connection = begin(url).await?;
        let read = connection.execute(sqlx::query(AssertSqlSafe(sql)).bind(text).persistent(false)).await;
        connection.close_hard().await?;
        Ok(read)
    };
    match bounded(ask).await? {
        Ok(_) => Ok(true),
        // A data exception.
        Err(sqlx::Error::Database(error)) if error.code().is_some_and(|code| code.starts_with("22")) => Ok(false),
        Err(error) => Err(failure(error)),
    }
}

/// The rows behind a position, the first ones if there is none.
///
/// # Errors
/// See [`WarehouseError`].
pub async fn read(
    url: &ConnectionUrl,
    question: &Question,
    after: Option<&Position>,
    limits: PageLimits,
) -> Result<Page, WarehouseError> {
    let sql = page_sql(question, after, limits);
    let mut arguments = PgArguments::default();
    let texts = after.into_iter().flat_map(|after| std::iter::once(&after.cursor).chain(&after.tie_breaker));
    for text in texts {
        sqlx::Arguments::add(&mut arguments, text).map_err(|error| WarehouseError::Columns(error.to_string()))?;
    }
    let ask = async {
        let mut connection = begin(url).await?;
        let mut page = Page { rows: Vec::new(), is_full: false };
        let mut bytes = 0;
        {
            let mut rows = connection.fetch(sqlx::query_with(AssertSqlSafe(sql), arguments).persistent(false));
            while let Some(row) = rows.try_next().await? {
                let columns: String = row.try_get(2)?;
                bytes += columns.len();
                let position = Position { cursor: row.try_get(0)?, tie_breaker: Some(row.try_get(1)?) };
                page.rows.push(Row { position, columns: Some(columns).filter(|columns| columns.len() <= limits.row_bytes_max) });
                if bytes >= limits.bytes_max {
                    break;
                }
            }
        }
        page.is_full = bytes >= limits.bytes_max || page.rows.len() >= limits.rows_max as usize;
        // Without waiting for the rows that are still on their way.
        connection.close_hard().await?;
        Ok(page)
    };
    bounded(ask).await
}

/// The page's statement: `(cursor, tie breaker) > ($1, $2)` in that order, which an index over both serves.
fn page_sql(question: &Question, after: Option<&Position>, limits: PageLimits) -> String {
    let (cursor, tie_breaker) = (quoted(&question.cursor.name), quoted(&question.tie_breaker.name));
    let value = |place: usize, column: &KeyColumn| format!("CAST(CAST(${place} AS text) AS {})", column.kind.as_str());
    let behind = match after {
        None => format!("q.{cursor} IS NOT NULL AND q.{tie_breaker} IS NOT NULL"),
        Some(Position { tie_breaker: None, .. }) => format!("q.{cursor} > {}", value(1, &question.cursor)),
        Some(_) => {
            format!("(q.{cursor}, q.{tie_breaker}) > ({}, {})", value(1, &question.cursor), value(2, &question.tie_breaker))
        }
    };
    let now = match question.cursor.kind {
        KeyType::Timestamptz => Some("now()"),
        KeyType::Timestamp => Some("timezone('UTC', now())"),
        _ => None,
    };
    let settled = now.map_or(String::new(), |now| format!(" AND q.{cursor} <= {now} - interval '{} seconds'", question.settle_s));
    // One character more than may be taken shows that a row is too long, whatever its length is.
    let chars = limits.row_bytes_max + 1;
    format!(
        "SELECT CAST(q.{cursor} AS text), CAST(q.{tie_breaker} AS text), left(CAST(row_to_json(q) AS text), {chars}) \
         FROM (\n{}\n) AS q WHERE {behind}{settled} AND q.{tie_breaker} IS NOT NULL \
         ORDER BY q.{cursor}, q.{tie_breaker} LIMIT {}",
        statement(&question.query),
        limits.rows_max
    )
}

/// A connection with its read-only transaction.
async fn begin(url: &ConnectionUrl) -> Result<PgConnection, sqlx::Error> {
    let options = PgConnectOptions::new_without_pgpass()
        .host(&url.host.to_string().replace(['[', ']'], ""))
        .port(url.port)
        .username(&url.user)
        // Also when it is empty: the one of our environment is not for other people's hosts.
        .password(url.password.reveal())
        .database(&url.database)
        .application_name("deputy")
        .ssl_mode(match url.tls {
            Tls::Disable => PgSslMode::Disable,
            Tls::Require => PgSslMode::Require,
            Tls::VerifyAuthority => PgSslMode::VerifyCa,
            Tls::VerifyFull => PgSslMode::VerifyFull,
        })
        .disable_statement_logging();
    let mut connection = PgConnection::connect_with(&options).await?;
    connection.execute(sqlx::raw_sql(SESSION)).await?;
    Ok(connection)
}

async fn bounded<T>(ask: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, WarehouseError> {
    match tokio::time::timeout(PAGE_TIMEOUT, ask).await {
        Ok(answer) => answer.map_err(failure),
        Err(_) => Err(WarehouseError::TimedOut(PAGE_TIMEOUT)),
    }
}

fn failure(error: sqlx::Error) -> WarehouseError {
    let told = |text: String| text.chars().filter(|char| !char.is_control()).take(TOLD_CHARS_MAX).collect::<String>();
    match error {
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            match (&*code, code.get(..2)) {
                ("57014", _) => WarehouseError::TimedOut(Duration::from_secs(10)),
                (_, Some("08" | "53" | "57")) => WarehouseError::Unavailable(told(error.message().to_owned())),
                // What these say quotes rows.
                (_, Some("22" | "23" | "P0")) => WarehouseError::Refused(format!("the query failed at a row (SQLSTATE {code})")),
                _ => WarehouseError::Refused(told(error.message().to_owned())),
            }
        }
        sqlx::Error::ColumnDecode { .. } => WarehouseError::Columns("A row's columns cannot be read.".to_owned()),
        error => WarehouseError::Unavailable(told(error.to_string())),
    }
}

/// The query as it may stand in parentheses: a comment at its end would swallow what follows, but for the line's end after it.
fn statement(query: &str) -> &str {
    query.trim().trim_end_matches(';')
}

fn quoted(column: &str) -> String {
    format!("\"{}\"", column.replace('"', "\"\""))
}

fn key_type(name: &str) -> Option<KeyType> {
    Some(match name {
        "INT2" => KeyType::Smallint,
        "INT4" => KeyType::Integer,
        "INT8" => KeyType::Bigint,
        "TIMESTAMP" => KeyType::Timestamp,
        "TIMESTAMPTZ" => KeyType::Timestamptz,
        "TEXT" | "VARCHAR" => KeyType::Text,
        "UUID" => KeyType::Uuid,
        _ => return None,
    })
}
