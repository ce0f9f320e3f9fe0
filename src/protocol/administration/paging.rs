//! Pages of a list, in the order of identifiers.
//!
//! A cursor is sealed for its list and its filters, so one that was made up, altered or taken from another list is refused before it
//! comes near a query.

use serde::{Deserialize, Serialize};
use std::time::Duration;

use crate::{
    domain::{
        refusal::{ADMIN_CURSOR, ADMIN_VALUE, OAuthError},
        time::Timestamp,
    },
    keys::secrets::Purpose,
    world::World,
};

const LIMIT_DEFAULT: u32 = 100;
const LIMIT_MAX: u32 = 500;
const CURSOR_TTL: Duration = Duration::from_secs(86_400);

/// Which part of a list is asked for.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageRequest {
    /// How many items at most: 1 to 500, 100 if absent.
    pub limit: Option<u32>,
    /// `next_cursor` of the page before; good for a day.
    pub cursor: Option<String>,
}

/// A part of a list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Where the next page begins, if there is one.
    pub next_cursor: Option<String>,
}

/// What a request means: `limit` rows after an identifier.
pub(super) struct Window {
    /// The list and its filters.
    list: String,
    /// Empty for the first page.
    pub(super) after: String,
    limit: usize,
}

impl Window {
    /// Reads a request for a list; `list` names it together with its filters.
    pub(super) fn read(world: &World, list: String, request: &PageRequest, now: Timestamp) -> Result<Window, OAuthError> {
        let limit = limit(request.limit)?;
        let after = match &request.cursor {
            Some(cursor) => world.secrets.open(Purpose::Cursor, &list, now, cursor).ok_or(ADMIN_CURSOR)?,
            None => String::new(),
        };
        Ok(Window { list, after, limit })
    }

    /// How many rows to load: one more than the page has, to see whether another follows.
    pub(super) fn rows_max(&self) -> i64 {
        i64::try_from(self.limit).unwrap_or(i64::MAX).saturating_add(1)
    }

    /// The page of rows that were loaded in the order of `key`.
    pub(super) fn page<R, T>(
        self,
        world: &World,
        mut rows: Vec<R>,
        key: impl Fn(&R) -> String,
        record: impl FnMut(R) -> T,
        now: Timestamp,
    ) -> Page<T> {
        let is_more = rows.len() > self.limit;
        rows.truncate(self.limit);
        let last = rows.last().filter(|_| is_more).map(key);
        let seal = |last: String| world.secrets.seal(Purpose::Cursor, &self.list, now.plus(CURSOR_TTL), &last);
        Page { next_cursor: last.map(seal), items: rows.into_iter().map(record).collect() }
    }
}

/// The number of items that a request asks for, if it is one that is answered.
pub(super) fn limit(requested: Option<u32>) -> Result<usize, OAuthError> {
    let limit = requested.unwrap_or(LIMIT_DEFAULT);
    if (1..=LIMIT_MAX).contains(&limit) {
        return Ok(usize::try_from(limit).unwrap_or(usize::MAX));
    }
    Err(ADMIN_VALUE.because(format!("limit must be 1 to {LIMIT_MAX}.")))
}
