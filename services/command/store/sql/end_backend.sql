-- End the session that a lost connection may have left working, and see it gone; no row once it is.
SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity
WHERE pid = %(pid)s AND application_name = %(application_name)s
