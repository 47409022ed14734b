-- How many events wait, and for how many seconds the oldest has.
SELECT o.waiting, coalesce(extract(epoch FROM clock_timestamp() - e.recorded_at), 0)::float
FROM (
    SELECT count(*) AS waiting, min(position) AS oldest
    FROM outbox WHERE shard_hash %% %(shards)s = %(shard)s
) AS o
LEFT JOIN events e ON e.position = o.oldest
