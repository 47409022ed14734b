-- A stream's state at some version, so that a long stream loads like a short one. Can be thrown away.
CREATE TABLE snapshots (
    stream_id text PRIMARY KEY,
    version integer NOT NULL,
    shape integer NOT NULL,
    state jsonb NOT NULL,
    occurred_at timestamptz NOT NULL
);
