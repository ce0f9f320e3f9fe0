-- What operators do to the consumers of the log: they pause one, and have one read again what it has read. Both hold on every node and
-- survive a restart, so they stand here.

-- A consumer that stands still until it is resumed. Its cursor stays where it is; what comes meanwhile waits in the log.
CREATE TABLE consumer_pauses (
    consumer TEXT PRIMARY KEY,
    paused_at INTEGER NOT NULL,
    -- The operator.
    paused_by TEXT NOT NULL
) WITHOUT ROWID;

-- The part of its input that a consumer reads again: from the first offset up to but without the second, where it stood before.
ALTER TABLE consumers ADD COLUMN replay_from INTEGER;
ALTER TABLE consumers ADD COLUMN replay_until INTEGER;

-- The offset from which on a definition counts all events; none until the first batch that it is held against. Of the definitions that
-- there are already nobody knows where they began: they count as complete.
ALTER TABLE definitions ADD COLUMN counted_from INTEGER;
UPDATE definitions SET counted_from = 0;
