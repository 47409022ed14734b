-- Which topic it is that stands under a name: a new incarnation whenever it was made anew or emptied.
-- topic_id is Kafka's own; start_offsets tells an emptied topic. complete: it holds its history from the beginning.
CREATE TABLE topic_incarnations (
    topic text PRIMARY KEY,
    incarnation text NOT NULL,
    topic_id text NOT NULL,
    start_offsets bigint[] NOT NULL,
    complete boolean NOT NULL,
    since timestamptz NOT NULL DEFAULT now()
);
