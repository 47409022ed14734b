-- For each stream: its snapshot in the shape we read, if any, and the events after it, oldest first.
SELECT w.stream_id, s.version AS snapshot_version, s.state, s.occurred_at AS snapshot_at,
    e.version, e.type, e.schema_version, e.data, e.occurred_at
FROM unnest(%(streams)s::text[], %(shapes)s::int[]) AS w (stream_id, shape)
LEFT JOIN snapshots s ON s.stream_id = w.stream_id AND s.shape = w.shape
LEFT JOIN LATERAL (
    SELECT events.version, events.type, events.schema_version, events.data, events.occurred_at
    FROM events
    WHERE events.stream_id = w.stream_id AND events.version > coalesce(s.version, 0)
    ORDER BY events.version
) AS e ON true
