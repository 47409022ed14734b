-- Events by position, in order, as the topics need them.
SELECT position, event_id::text, category, subject, version, type, schema_version, data::text,
    metadata ->> 'actor', metadata ->> 'traceparent', metadata ->> 'receivedAt', occurred_at, recorded_at
FROM events
WHERE position = ANY (%(positions)s)
ORDER BY position
