-- What was last seen under each topic's name.
SELECT topic, incarnation, topic_id, start_offsets, complete FROM topic_incarnations
WHERE topic = ANY (%(topics)s)
