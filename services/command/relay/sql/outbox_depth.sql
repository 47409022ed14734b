-- How many of the oldest rows of all shards are the shard's, and for how many seconds its oldest has waited.
SELECT
    (
        SELECT count(*)
        FROM (SELECT shard_hash FROM outbox ORDER BY position LIMIT %(counted)s) AS o
        WHERE shard_hash %% %(shards)s = %(shard)s
    ),
    coalesce((
        SELECT extract(epoch FROM clock_timestamp() - recorded_at) FROM events
        WHERE position = (SELECT min(position) FROM outbox WHERE shard_hash %% %(shards)s = %(shard)s)
    ), 0)::float
