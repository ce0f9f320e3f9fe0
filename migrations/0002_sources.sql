-- Sources: whatever sends customer events to us, each known by the digest of its write key.

CREATE TABLE sources (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    producer TEXT NOT NULL,
    write_key_digest BLOB NOT NULL,
    -- The client whose access tokens write to this source; absent, any client's do.
    client TEXT,
    -- 1 if the write key alone is not enough.
    requires_token INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    disabled_at INTEGER,
    CONSTRAINT sources_write_key_digest UNIQUE (write_key_digest)
);
