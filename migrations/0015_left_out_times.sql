-- What came in before a request to be forgotten, and was published only after it, is left out too: by when it came in.

-- From when on, and until when, what came in is left out, wherever in the log it stands. Of the spans that there are already nobody knows
-- it: they go by offsets alone.
ALTER TABLE left_out ADD COLUMN since_at INTEGER NOT NULL DEFAULT 0;
-- Absent while the span is open.
ALTER TABLE left_out ADD COLUMN until_at INTEGER;
