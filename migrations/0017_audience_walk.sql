-- Who belongs to an audience is looked at again for all profiles when what is defined over them changes: a share at a time, and this tells
-- how far that has come. And the latest links of a profile are found without reading all that it has.

-- A row at most, while such a walk is under way.
CREATE TABLE audience_walk (
    id INTEGER PRIMARY KEY,
    -- Counts how often it was begun anew before it came to its end.
    number INTEGER NOT NULL,
    -- The profile that was looked at last; empty before the first.
    after TEXT NOT NULL
);

CREATE INDEX profile_links_last_at ON profile_links (profile, last_at, other);
