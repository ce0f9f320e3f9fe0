-- Which change of a profile a model was asked about: counted, for by the clock a change that is committed while the model answers
-- cannot be told from one that it was told of.

ALTER TABLE predictions_due ADD COLUMN changes INTEGER NOT NULL DEFAULT 1;
-- Before the first time, absent.
ALTER TABLE predictions_due ADD COLUMN asked_changes INTEGER;
UPDATE predictions_due SET asked_changes = 1 WHERE asked_at IS NOT NULL AND changed_at < asked_at;
