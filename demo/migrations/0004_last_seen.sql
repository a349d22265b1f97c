-- When somebody was seen last, and by which write that is known: an older one that comes late changes
-- nothing.
ALTER TABLE accounts ADD COLUMN last_seen_at TEXT;
ALTER TABLE accounts ADD COLUMN last_seen_write INTEGER NOT NULL DEFAULT 0;
