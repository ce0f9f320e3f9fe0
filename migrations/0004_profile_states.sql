-- What is known of profiles: what their events add up to, which events those were, and who has to do with whom. All of it belongs to a
-- profile as it was created, and is put together when it is read: so a merge moves nothing, and can be taken back.

CREATE TABLE profile_states (
    profile TEXT PRIMARY KEY,
    state TEXT NOT NULL
) WITHOUT ROWID;

-- The events of a profile: where in the log each one is.
CREATE TABLE profile_events (
    profile TEXT NOT NULL,
    event_offset INTEGER NOT NULL,
    part INTEGER NOT NULL,
    PRIMARY KEY (profile, event_offset, part)
) WITHOUT ROWID;

-- Which agent acts for whom, and who belongs to which account; a row for each direction.
CREATE TABLE profile_links (
    profile TEXT NOT NULL,
    other TEXT NOT NULL,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    PRIMARY KEY (profile, other)
) WITHOUT ROWID;

-- The audiences of the profile that stands for its component, and when to look again because a day leaves a window.
CREATE TABLE profile_audiences (
    profile TEXT PRIMARY KEY,
    memberships TEXT NOT NULL,
    changes_at INTEGER
);
CREATE INDEX profile_audiences_changes_at ON profile_audiences (changes_at) WHERE changes_at IS NOT NULL;

-- What operators ask to be computed. `kind` tells computed traits from audiences; their keys share one space.
CREATE TABLE definitions (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    definition TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    CONSTRAINT definitions_key UNIQUE (key)
);

-- The rules of identity; no row, the default.
CREATE TABLE identity_rules (
    id INTEGER PRIMARY KEY,
    settings TEXT NOT NULL
);
