-- When a client that registers itself last asked for the registration that it has: one that is just being used is not forgotten as
-- unused, however old it is. Absent for clients that never asked again.

ALTER TABLE clients ADD COLUMN seen_at INTEGER;
