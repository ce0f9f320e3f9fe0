-- When an operator let an agent act again: what is read only afterwards of what it did before takes nothing away that it got since.

ALTER TABLE clients ADD COLUMN enabled_at INTEGER;
