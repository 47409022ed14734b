-- now() is taken before the snapshot: every event committed by then is in the snapshot or already published.
SELECT now(), min(position), max(position) FROM outbox WHERE shard_hash %% %(shards)s = %(shard)s
