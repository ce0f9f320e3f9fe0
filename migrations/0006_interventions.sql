-- What is done to profiles besides what events do: merges taken back, ids taken away, people deleted and suppressed. The order is the
-- log's here too: a fact in it names the row, and the stage that makes profiles carries it out where it meets the fact. So a replay
-- comes to the same profiles.

CREATE TABLE interventions (
    id TEXT PRIMARY KEY,
    -- `regulation` for what privacy asks for, else `correction`.
    kind TEXT NOT NULL,
    -- What is asked for, as JSON; empty once nobody may be named any longer.
    detail TEXT NOT NULL,
    -- The profile that it is about, if it is one.
    profile TEXT,
    status TEXT NOT NULL,
    -- How many of those whom it names are done with.
    done INTEGER NOT NULL,
    error TEXT,
    created_at INTEGER NOT NULL,
    ended_at INTEGER
);
CREATE INDEX interventions_profile ON interventions (profile) WHERE profile IS NOT NULL;

-- Which events are left out: those that carry this id, from one offset up to but without another. Ids are known by their digests: what
-- was deleted is named nowhere.
CREATE TABLE left_out (
    digest BLOB NOT NULL,
    since_offset INTEGER NOT NULL,
    until_offset INTEGER NOT NULL,
    PRIMARY KEY (digest, since_offset)
) WITHOUT ROWID;

-- Who may ask the Profile API.
CREATE TABLE profile_tokens (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    digest BLOB NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    CONSTRAINT profile_tokens_digest UNIQUE (digest)
);
