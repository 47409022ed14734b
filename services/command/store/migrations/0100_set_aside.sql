-- Streams with an event that Kafka refuses for good. Their outbox rows are taken out, from first_position on;
-- `republish` puts them back.
CREATE TABLE set_aside (
    stream_id text PRIMARY KEY,
    first_position bigint NOT NULL,
    error text NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);
