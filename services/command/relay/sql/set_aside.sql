-- Take a stream out of the way.
INSERT INTO set_aside (stream_id, first_position, error)
VALUES (%(stream_id)s, %(position)s, %(error)s)
ON CONFLICT (stream_id) DO NOTHING
