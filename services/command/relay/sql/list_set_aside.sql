-- The streams that were set aside, and from which position on.
SELECT stream_id, first_position FROM set_aside
