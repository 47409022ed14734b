-- A to-do list, not a cursor: a row comes with its event and goes once Kafka acknowledged it.
CREATE TABLE outbox (
    position bigint PRIMARY KEY,
    stream_id text NOT NULL,
    shard_hash integer NOT NULL
) WITH (
    -- rows live for milliseconds: clean up after them often, a little at a time
    autovacuum_vacuum_scale_factor = 0.0,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_scale_factor = 0.0,
    autovacuum_vacuum_insert_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0.0,
    autovacuum_analyze_threshold = 100000
);
