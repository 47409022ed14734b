-- A page of published events: those in the outbox or set aside are for the relay to publish first.
-- The bounds apply to the outbox, too; otherwise a plan may read all of it for each page.
SELECT position, event_id::text, category, subject, version, type, schema_version, data::text,
    metadata ->> 'actor', metadata ->> 'traceparent', metadata ->> 'receivedAt',
    to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
    to_char(recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
FROM events e
WHERE position > %(after)s AND position <= %(upto)s AND category = ANY (%(topics)s)
    AND NOT EXISTS (
        SELECT FROM outbox o
        WHERE o.position = e.position AND o.position > %(after)s AND o.position <= %(upto)s
    )
    AND NOT EXISTS (
        SELECT FROM set_aside s WHERE s.stream_id = e.stream_id AND s.first_position <= e.position
    )
ORDER BY position
LIMIT %(limit)s
