-- Where the history ends for now.
SELECT coalesce(max(position), 0) FROM events
