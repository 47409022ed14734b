-- A page of what was published before: what waits in the outbox or is set aside is the relay's to publish first.
-- The bounds stand at the outbox, too: else a plan may read all of it for each page.
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
