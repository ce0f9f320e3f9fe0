-- What becomes of a source's events: operators' programs (transformations and filters), and tracking plans.

CREATE TABLE transformations (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    purpose TEXT NOT NULL,
    language TEXT NOT NULL,
    program TEXT NOT NULL,
    version INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    disabled_at INTEGER
);

-- A source has at most one program of each purpose.
CREATE TABLE transformation_sources (
    source TEXT NOT NULL REFERENCES sources (id) ON DELETE CASCADE,
    purpose TEXT NOT NULL,
    transformation TEXT NOT NULL REFERENCES transformations (id) ON DELETE CASCADE,
    PRIMARY KEY (source, purpose)
);
CREATE INDEX transformation_sources_transformation ON transformation_sources (transformation);

CREATE TABLE tracking_plans (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    rules TEXT NOT NULL,
    on_violation TEXT NOT NULL,
    on_unplanned TEXT NOT NULL,
    version INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL
);

-- A source has at most one plan.
CREATE TABLE tracking_plan_sources (
    source TEXT PRIMARY KEY REFERENCES sources (id) ON DELETE CASCADE,
    plan TEXT NOT NULL REFERENCES tracking_plans (id) ON DELETE CASCADE
);
CREATE INDEX tracking_plan_sources_plan ON tracking_plan_sources (plan);

-- Counts the changes of what the pipeline keeps in memory, so that each node sees cheaply whether to read it again.
CREATE TABLE revisions (
    name TEXT PRIMARY KEY,
    revision INTEGER NOT NULL
);
INSERT INTO revisions (name, revision) VALUES ('shapes', 0);

-- How the calls of another service are checked, for sources that are webhooks.
CREATE TABLE webhooks (
    source TEXT PRIMARY KEY REFERENCES sources (id) ON DELETE CASCADE,
    scheme TEXT NOT NULL,
    header TEXT,
    id_header TEXT,
    -- Sealed under the installation's master key, for this source.
    secret TEXT,
    changed_at INTEGER NOT NULL
);
