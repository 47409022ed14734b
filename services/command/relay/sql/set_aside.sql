-- Set a stream aside from its first unpublishable event on.
INSERT INTO set_aside AS s (stream_id, first_position, error)
VALUES (%(stream_id)s, %(position)s, %(error)s)
ON CONFLICT (stream_id) DO UPDATE SET first_position = excluded.first_position, error = excluded.error
    WHERE s.first_position > excluded.first_position
