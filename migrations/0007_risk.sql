-- How dangerous each agent looks, by what it was seen to do. A state is one commit with the cursor of the consumer that read the
-- events, so that each event counts once.

CREATE TABLE risk_states (
    agent TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    -- When the last signal was; none since an operator has let the agent act again, or ever.
    signalled_at INTEGER
) WITHOUT ROWID;

-- What is done about it; no row, nothing.
CREATE TABLE risk_rules (
    id INTEGER PRIMARY KEY,
    settings TEXT NOT NULL
);
