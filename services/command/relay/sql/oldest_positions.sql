-- The to-do list of a shard, oldest first.
SELECT ARRAY(
    SELECT position FROM outbox
    WHERE shard_hash %% %(shards)s = %(shard)s
    ORDER BY position
    LIMIT %(limit)s
)
