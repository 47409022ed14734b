-- Of an erased customer's requests nothing is kept that its name could be guessed at with. The erasure cuts
-- the fingerprints it sees; here are those of commands that were under way beside it.
UPDATE idempotency_keys i SET fingerprint = substr(i.fingerprint, 1, 16)
FROM customers_lookup c
WHERE i.stream_id LIKE 'customers/%' AND i.stream_id = 'customers/' || c.customer_id AND NOT c.registered
    AND i.created_at > now() - interval '1 hour' AND length(i.fingerprint) > 16
