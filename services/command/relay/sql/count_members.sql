-- How many processes publish a shard or stand by for it.
SELECT count(*) FROM pg_locks
WHERE locktype = 'advisory' AND granted AND objsubid = 2 AND classid = %(lock)s AND objid = %(key)s
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
