-- The last position of the history so far.
SELECT coalesce(max(position), 0) FROM events
