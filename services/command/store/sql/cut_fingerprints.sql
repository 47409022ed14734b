-- Keep nothing of an erased customer's requests from which its name could be guessed. The erasure truncates
-- the fingerprints it sees; this catches those of commands that ran concurrently.
UPDATE idempotency_keys i SET fingerprint = substr(i.fingerprint, 1, 16)
FROM customers_lookup c
WHERE i.stream_id LIKE 'customers/%' AND i.stream_id = 'customers/' || c.customer_id AND NOT c.registered
    AND i.created_at > now() - interval '1 hour' AND length(i.fingerprint) > 16
