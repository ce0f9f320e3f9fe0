-- Traits that a model predicts: which profiles it is to be asked about, and how the asking goes.

CREATE TABLE prediction_models (
    predicted_trait TEXT PRIMARY KEY REFERENCES definitions (id) ON DELETE CASCADE,
    asked INTEGER NOT NULL,
    answered INTEGER NOT NULL,
    asked_at INTEGER,
    next_at INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    failing_since INTEGER,
    failure TEXT,
    -- Who asks, and until when nobody else does. Each turn has a number, so that one that comes to its end late changes nothing.
    turn INTEGER NOT NULL,
    claimed_by TEXT,
    claimed_until INTEGER
);

-- Profiles that have changed, and those that were asked about so lately that they wait should they change again.
CREATE TABLE predictions_due (
    predicted_trait TEXT NOT NULL REFERENCES definitions (id) ON DELETE CASCADE,
    profile TEXT NOT NULL,
    changed_at INTEGER NOT NULL,
    -- Before the first time, absent.
    asked_at INTEGER,
    due_at INTEGER NOT NULL,
    PRIMARY KEY (predicted_trait, profile)
);
CREATE INDEX predictions_due_due_at ON predictions_due (predicted_trait, due_at);
