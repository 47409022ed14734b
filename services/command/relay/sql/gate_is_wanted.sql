-- Whether a republish is waiting for the gate.
SELECT EXISTS (
    SELECT FROM pg_locks
    WHERE locktype = 'advisory' AND NOT granted AND mode = 'ExclusiveLock' AND objsubid = 1
        AND classid = 0 AND objid = %(lock)s
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
)
