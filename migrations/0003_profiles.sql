-- Who is who: external ids resolved into profiles, in the order of the log. Whatever an event changes here is one commit with the
-- cursor of the consumer that read it, so that each event has its effect once.

-- How far a consumer whose effects are in this database has come in a partition of a topic.
CREATE TABLE consumers (
    name TEXT NOT NULL,
    input TEXT NOT NULL,
    next INTEGER NOT NULL,
    PRIMARY KEY (name, input)
);

CREATE TABLE profiles (
    id TEXT PRIMARY KEY,
    collection TEXT NOT NULL,
    -- The profile that stands for this one: itself, or the one that it was merged into. A cache of the edges in force.
    canonical TEXT NOT NULL,
    created_offset INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX profiles_canonical ON profiles (canonical);

-- The home of an id is the profile that it stays with, whatever is merged and taken apart.
CREATE TABLE external_ids (
    collection TEXT NOT NULL,
    type TEXT NOT NULL,
    value TEXT NOT NULL,
    home TEXT NOT NULL,
    mapped_offset INTEGER NOT NULL,
    mapped_at INTEGER NOT NULL,
    -- The source and the message that it was first seen in.
    source TEXT NOT NULL,
    message_id TEXT NOT NULL,
    PRIMARY KEY (collection, type, value)
) WITHOUT ROWID;
-- With the time, so that a component is read from the index alone.
CREATE INDEX external_ids_home ON external_ids (home, mapped_at);

-- Why two ids are of one: append-only but for the tombstone. Of an id that was added the two homes are the same; where they are not,
-- the edge merged them.
CREATE TABLE identity_edges (
    event_offset INTEGER NOT NULL,
    collection TEXT NOT NULL,
    type TEXT NOT NULL,
    value TEXT NOT NULL,
    home TEXT NOT NULL,
    with_type TEXT NOT NULL,
    with_value TEXT NOT NULL,
    with_home TEXT NOT NULL,
    source TEXT NOT NULL,
    event_at INTEGER NOT NULL,
    -- The tombstone: where in the log an operator took it back.
    ended_offset INTEGER,
    PRIMARY KEY (event_offset, collection, type, value)
) WITHOUT ROWID;
CREATE INDEX identity_edges_merges ON identity_edges (home) WHERE home <> with_home;

-- What an operator has taken from a profile, so that no event brings it back: another profile, or an id as `type:value`.
CREATE TABLE identity_bars (
    profile TEXT NOT NULL,
    other TEXT NOT NULL,
    since_offset INTEGER NOT NULL,
    PRIMARY KEY (profile, other)
) WITHOUT ROWID;
