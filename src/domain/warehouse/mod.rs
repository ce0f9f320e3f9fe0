//! Warehouses: tables of an organisation's own, in a PostgreSQL that is not ours, of which each new row is a message.
//!
//! What is new is what comes after the last row that was read, by two columns: a cursor that only ever grows (when the row was
//! changed, or its number), and a tie breaker that tells rows of one cursor apart. Both together are the position; reading goes on
//! behind it, so that rows of one cursor may be cut apart anywhere and none of them is passed over.

/// Where the warehouse is, and who we are there.
mod connection;
/// What becomes of a row.
mod row;

pub use self::{
    connection::{ConnectionUrl, Malformed, Tls},
    row::{Row, mapped, message_of},
};

use super::{
    id::{Id, SourceKind},
    time::Timestamp,
};

/// The type of a column of the position. Only types whose text says the value exactly, and whose order has no end that nothing comes
/// behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyType {
    Smallint,
    Integer,
    Bigint,
    /// Without a zone; it is taken as UTC.
    Timestamp,
    Timestamptz,
    Text,
    Uuid,
}

impl KeyType {
    const ALL: [KeyType; 7] = [
        KeyType::Smallint,
        KeyType::Integer,
        KeyType::Bigint,
        KeyType::Timestamp,
        KeyType::Timestamptz,
        KeyType::Text,
        KeyType::Uuid,
    ];

    /// The word in storage, which is the type's name in SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            KeyType::Smallint => "smallint",
            KeyType::Integer => "integer",
            KeyType::Bigint => "bigint",
            KeyType::Timestamp => "timestamp",
            KeyType::Timestamptz => "timestamptz",
            KeyType::Text => "text",
            KeyType::Uuid => "uuid",
        }
    }

    /// The type of this word.
    pub fn parse(word: &str) -> Option<KeyType> {
        KeyType::ALL.into_iter().find(|known| known.as_str() == word)
    }

    /// Whether it may tell what is new: a text or a random number grows with nothing.
    pub fn may_be_cursor(self) -> bool {
        !matches!(self, KeyType::Text | KeyType::Uuid)
    }

    pub fn is_time(self) -> bool {
        matches!(self, KeyType::Timestamp | KeyType::Timestamptz)
    }
}

/// A column, and its type in the query's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyColumn {
    pub name: String,
    pub kind: KeyType,
}

/// A row's place in the order of reading, in PostgreSQL's own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    pub cursor: String,
    /// Absent where an operator named only a cursor: behind all rows that have it.
    pub tie_breaker: Option<String>,
}

/// What is asked of a warehouse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// One statement that answers rows.
    pub query: String,
    pub cursor: KeyColumn,
    pub tie_breaker: KeyColumn,
    /// How old a row must be by its cursor, where that is a time: a transaction that is still open then may yet add rows before those
    /// that can be seen.
    pub settle_s: u32,
}

/// A warehouse as storage knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warehouse {
    pub source: Id<SourceKind>,
    /// Sealed under the installation's master key.
    pub sealed_connection: String,
    pub question: Question,
    pub interval_s: u32,
    /// Up to where it was read.
    pub read: Option<Position>,
    pub status: Status,
    /// Counts the turns of polling and the changes: what was begun before the last of them no longer counts.
    pub turn: i64,
}

/// How the polling goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    pub rows_read: u64,
    /// Rows that could be no message, because of their size or form.
    pub rows_unfit: u64,
    pub polled_at: Option<Timestamp>,
    pub next_at: Timestamp,
    /// How often in a row it went wrong.
    pub failures: u32,
    pub failing_since: Option<Timestamp>,
    /// What went wrong last, for operators.
    pub failure: Option<String>,
}
