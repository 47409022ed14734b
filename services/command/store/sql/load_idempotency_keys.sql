-- The answers to the earlier requests with these keys.
SELECT i.user_id, i.key, i.fingerprint, i.status, i.body, i.location
FROM unnest(%(users)s::text[], %(keys)s::text[]) AS k (user_id, key)
JOIN idempotency_keys i ON i.user_id = k.user_id AND i.key = k.key
