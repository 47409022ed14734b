-- Record a new topic. It is complete if none of its events has been published yet.
INSERT INTO topic_incarnations AS t (topic, incarnation, topic_id, start_offsets, complete)
VALUES (%(topic)s, %(incarnation)s, %(topic_id)s, %(start_offsets)s, NOT EXISTS (
    SELECT FROM events e WHERE e.category = %(topic)s
    AND NOT EXISTS (SELECT FROM outbox o WHERE o.position = e.position)
))
ON CONFLICT (topic) DO UPDATE SET incarnation = excluded.incarnation, topic_id = excluded.topic_id,
    start_offsets = excluded.start_offsets, complete = excluded.complete, since = now()
