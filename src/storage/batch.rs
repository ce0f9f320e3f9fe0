//! One statement for many rows. The engines share no way to hand over a list, so the rows are written out as `VALUES`, in three sizes:
//! few texts to prepare, and few statements for any number of rows.
//!
//! PostgreSQL wants its placeholders numbered. SQLite looks a number up among all that a statement has, which is quadratic in the rows;
//! a `?` it need not look up.

use std::fmt::Write as _;

use super::{Row, StorageError, Tx, Value};

/// The largest first. The product with the columns stays far below the least limit on placeholders, which is SQLite's 32,766.
const SIZES: [usize; 3] = [128, 16, 1];

/// A statement with a list of rows in the middle, in all sizes.
pub(super) struct Batch {
    columns: usize,
    numbered: [String; SIZES.len()],
    placed: [String; SIZES.len()],
}

/// How an engine's statements say where a value goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Placeholders {
    /// `$1`
    Numbered,
    /// `?`
    Placed,
}

impl Batch {
    /// `before` and `after` are what stands around the rows `($1, $2), ($3, $4)`, without placeholders of their own.
    pub(super) fn new(before: &str, columns: usize, after: &str) -> Self {
        let texts = |placeholders| SIZES.map(|rows| text(before, rows, columns, after, placeholders));
        Self { columns, numbered: texts(Placeholders::Numbered), placed: texts(Placeholders::Placed) }
    }

    /// The texts to run for these values, row after row, each with its share of them.
    fn statements<'v, 'a>(
        &'static self,
        placeholders: Placeholders,
        mut values: &'v [Value<'a>],
    ) -> Vec<(&'static str, &'v [Value<'a>])> {
        assert!(values.len().is_multiple_of(self.columns), "rows are whole");
        let texts = match placeholders {
            Placeholders::Numbered => &self.numbered,
            Placeholders::Placed => &self.placed,
        };
        let mut statements = Vec::new();
        for (size, text) in SIZES.iter().zip(texts) {
            while values.len() >= size * self.columns {
                let (share, rest) = values.split_at(size * self.columns);
                statements.push((text.as_str(), share));
                values = rest;
            }
        }
        statements
    }
}

fn text(before: &str, rows: usize, columns: usize, after: &str, placeholders: Placeholders) -> String {
    let mut text = before.to_owned();
    for number in 1..=rows * columns {
        let edge = match (number % columns == 1 || columns == 1, number) {
            (true, 1) => "(",
            (true, _) => "), (",
            (false, _) => ", ",
        };
        text.push_str(edge);
        match placeholders {
            Placeholders::Numbered => write!(text, "${number}").expect("a String takes everything"),
            Placeholders::Placed => text.push('?'),
        }
    }
    text + ")" + after
}

impl Tx {
    /// Runs the statement for all rows of `values`; tells how many it changed.
    pub(super) async fn exec_batch(&mut self, batch: &'static Batch, values: &[Value<'_>]) -> Result<u64, StorageError> {
        let mut changed = 0;
        for (sql, share) in batch.statements(self.placeholders(), values) {
            changed += self.exec(sql, share).await?;
        }
        Ok(changed)
    }

    /// All that the statement answers for all rows of `values`.
    pub(super) async fn rows_batch<T>(
        &mut self,
        batch: &'static Batch,
        values: &[Value<'_>],
        mut read: impl FnMut(&Row<'_>) -> Result<T, StorageError>,
    ) -> Result<Vec<T>, StorageError> {
        let mut found = Vec::new();
        for (sql, share) in batch.statements(self.placeholders(), values) {
            found.extend(self.rows(sql, share, &mut read).await?);
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_written_out() {
        let numbered = |before, rows, columns, after| text(before, rows, columns, after, Placeholders::Numbered);
        assert_eq!(numbered("IN (VALUES ", 2, 2, ") x"), "IN (VALUES ($1, $2), ($3, $4)) x");
        assert_eq!(numbered("IN (VALUES ", 3, 1, ")"), "IN (VALUES ($1), ($2), ($3))");
        assert_eq!(numbered("", 1, 3, ""), "($1, $2, $3)");
        assert_eq!(text("", 2, 2, "", Placeholders::Placed), "(?, ?), (?, ?)");
    }

    #[test]
    fn every_row_is_in_one_statement() {
        static BATCH: std::sync::LazyLock<Batch> = std::sync::LazyLock::new(|| Batch::new("", 2, ""));
        for rows in [0, 1, 15, 16, 17, 128, 300] {
            let values = vec![Value::Int(0); rows * 2];
            let shares: Vec<usize> = BATCH.statements(Placeholders::Placed, &values).iter().map(|(_, share)| share.len()).collect();
            assert_eq!(shares.iter().sum::<usize>(), values.len());
        }
    }
}
