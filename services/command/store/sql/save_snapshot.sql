-- Save a snapshot, unless one of this shape is already at least as recent.
INSERT INTO snapshots AS s (stream_id, version, shape, state, occurred_at)
VALUES (%(stream_id)s, %(version)s, %(shape)s, %(state)s::jsonb, %(occurred_at)s)
ON CONFLICT (stream_id) DO UPDATE SET version = excluded.version, shape = excluded.shape,
    state = excluded.state, occurred_at = excluded.occurred_at
WHERE s.shape <> excluded.shape OR s.version < excluded.version
