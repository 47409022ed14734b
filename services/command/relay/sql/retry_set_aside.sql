-- Retry streams that were set aside: put their events back into the outbox.
WITH retried AS (
    DELETE FROM set_aside WHERE split_part(stream_id, '/', 1) = ANY (%(topics)s)
    RETURNING stream_id, first_position
)
INSERT INTO outbox (position, stream_id, shard_hash)
SELECT e.position, e.stream_id, hashtext(e.stream_id) & 2147483647
FROM events e JOIN retried r ON r.stream_id = e.stream_id AND r.first_position <= e.position
ON CONFLICT (position) DO NOTHING
