-- How many events there are from a position on, and the position of the last.
SELECT count(*), coalesce(max(position), 0) FROM events
WHERE position > %(after)s AND category = ANY (%(topics)s)
