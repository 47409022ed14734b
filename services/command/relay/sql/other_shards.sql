-- Whether any publisher uses a different number of shards: the upper half of its lock's id.
SELECT EXISTS (
    SELECT FROM pg_locks
    WHERE locktype = 'advisory' AND granted AND objsubid = 2
        AND classid = %(lock)s AND objid::bigint >> 16 <> %(shards)s
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
)
