-- The streams that are set aside, and from which position on.
SELECT stream_id, first_position FROM set_aside
