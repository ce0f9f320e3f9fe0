-- Warehouses: sources whose events are the rows of a query, polled from somebody else's PostgreSQL.

CREATE TABLE warehouses (
    source TEXT PRIMARY KEY REFERENCES sources (id) ON DELETE CASCADE,
    -- Sealed under the installation's master key, for this source.
    connection TEXT NOT NULL,
    query TEXT NOT NULL,
    cursor_column TEXT NOT NULL,
    cursor_type TEXT NOT NULL,
    tie_breaker_column TEXT NOT NULL,
    tie_breaker_type TEXT NOT NULL,
    interval_s INTEGER NOT NULL,
    settle_s INTEGER NOT NULL,
    -- Up to where it was read, in PostgreSQL's own words; absent, nothing was. Without a tie breaker: all rows of that cursor.
    read_cursor TEXT,
    read_tie_breaker TEXT,
    rows_read INTEGER NOT NULL,
    rows_unfit INTEGER NOT NULL,
    polled_at INTEGER,
    next_at INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    failing_since INTEGER,
    failure TEXT,
    -- Who polls it, and until when nobody else does. Each turn has a number, so that one that comes to its end late changes nothing.
    turn INTEGER NOT NULL,
    claimed_by TEXT,
    claimed_until INTEGER,
    changed_at INTEGER NOT NULL
);
CREATE INDEX warehouses_next_at ON warehouses (next_at);
