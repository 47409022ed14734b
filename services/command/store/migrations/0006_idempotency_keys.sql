-- The answer that a key's first request was given. The fingerprint is 16 bytes for the route and 32 for the body;
-- of an erased customer's requests only the first part is kept, since a digest of a name can be guessed at.
CREATE TABLE idempotency_keys (
    user_id text NOT NULL,
    key text NOT NULL,
    stream_id text NOT NULL,
    fingerprint bytea NOT NULL,
    status integer NOT NULL,
    body bytea NOT NULL,
    location text,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, key)
);

CREATE INDEX idempotency_keys_created_at ON idempotency_keys (created_at);
CREATE INDEX idempotency_keys_customers ON idempotency_keys (stream_id) WHERE stream_id LIKE 'customers/%';
