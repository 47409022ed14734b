-- Which of these events are stored: a commit whose response was lost is looked up, not decided again.
SELECT event_id FROM events WHERE event_id = ANY (%(ids)s::uuid[])
