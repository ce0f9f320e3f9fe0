-- How dangerous what is done in each person's name looks, beside what is known of the agents that do it.

CREATE TABLE risk_people (
    person TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    -- When the last signal was; none since the person has approved, or ever.
    signalled_at INTEGER
) WITHOUT ROWID;

-- Why a consent counts for nothing until the person consents again; null while it counts. The release before this one does not look
-- at it, and replaces consents without it, so nothing is in doubt there.
ALTER TABLE consents ADD COLUMN doubt TEXT;
