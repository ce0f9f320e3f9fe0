-- Who is who: every actor that was seen, with the evidence. A state is one commit with the cursor of the consumer that read the events.
-- A row is found by the digest of its id: by the same that says whose events are left out, so that whoever is forgotten is forgotten here.

CREATE TABLE actors (
    digest BLOB PRIMARY KEY,
    -- Its id, such as `client_id:…`.
    actor TEXT NOT NULL,
    kind TEXT NOT NULL,
    -- Since when it is of this kind.
    since INTEGER NOT NULL,
    -- The evidence, and what an operator says, as JSON.
    state TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX actors_kind ON actors (kind, actor);

-- From where the consumer reads again to know how fast everybody is.
CREATE TABLE actor_paces (
    input TEXT PRIMARY KEY,
    since_offset INTEGER NOT NULL
) WITHOUT ROWID;

-- Who is forgotten by an event is looked for by its offset.
CREATE INDEX left_out_until ON left_out (until_offset);

-- Whom a client is taken for; none, until it was seen.
ALTER TABLE clients ADD COLUMN actor_kind TEXT;
