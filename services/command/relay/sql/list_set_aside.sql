-- The streams that were set aside.
SELECT stream_id FROM set_aside
