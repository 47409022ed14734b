-- now() is taken before the statement's snapshot: whatever was committed by then is in it, or was published.
SELECT now(), min(position), max(position) FROM outbox WHERE shard_hash %% %(shards)s = %(shard)s
