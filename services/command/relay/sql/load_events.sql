-- Events by position, in order, as the topics need them.
SELECT position, event_id::text, category, subject, version, type, schema_version, data::text,
    metadata ->> 'actor', metadata ->> 'traceparent', metadata ->> 'receivedAt',
    to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
    to_char(recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
FROM events
WHERE position = ANY (%(positions)s::bigint[])
ORDER BY position
