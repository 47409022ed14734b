-- The oldest events in a shard's outbox, except `known`, which are in flight: NOT IN hashes them.
SELECT position, event_id::text, category, subject, version, type, schema_version, data::text,
    metadata ->> 'actor', metadata ->> 'traceparent', metadata ->> 'receivedAt',
    to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
    to_char(recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
FROM events
WHERE position = ANY (ARRAY(
    SELECT position FROM outbox
    WHERE shard_hash %% %(shards)s = %(shard)s AND position NOT IN (SELECT unnest(%(known)s::bigint[]))
    ORDER BY position
    LIMIT %(limit)s
))
ORDER BY position
