-- Delete some of the keys that are older than the promised 24 hours.
DELETE FROM idempotency_keys WHERE (user_id, key) IN (
    SELECT user_id, key FROM idempotency_keys
    WHERE created_at < now() - interval '25 hours' ORDER BY created_at LIMIT 1000
)
