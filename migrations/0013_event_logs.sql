-- Which log the offsets in this database are of. Another log begins at 0 once more: behind the offsets of the one before, it is counted
-- from a base on, so that an offset names one event for ever.

CREATE TABLE event_logs (
    -- The number that a log keeps under its own name.
    log INTEGER PRIMARY KEY,
    -- The log of the last turn is the one that is read.
    turn INTEGER NOT NULL,
    -- What its offsets are counted from here.
    base INTEGER NOT NULL,
    -- Where it is, as the configuration says it: for operators.
    place TEXT NOT NULL,
    adopted_at INTEGER NOT NULL,
    CONSTRAINT event_logs_turn UNIQUE (turn)
);

-- How far each consumer was in a log when another one took its place, in the log's own offsets: should it come back.
CREATE TABLE event_log_cursors (
    log INTEGER NOT NULL,
    name TEXT NOT NULL,
    input TEXT NOT NULL,
    next INTEGER NOT NULL,
    PRIMARY KEY (log, name, input)
);
