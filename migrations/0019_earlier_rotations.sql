-- When a refresh family rotated the time before the last: the token of two rotations ago has a grace of its own, which a quick
-- rotation after it does not take away. Absent until a family rotates again, and then that token has none.

ALTER TABLE grants ADD COLUMN refresh_rotated_before_at INTEGER;
