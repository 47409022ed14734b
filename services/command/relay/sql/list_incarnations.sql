-- The topics as last seen.
SELECT topic, incarnation, topic_id, start_offsets, complete FROM topic_incarnations
WHERE topic = ANY (%(topics)s)
