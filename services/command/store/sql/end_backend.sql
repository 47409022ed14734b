-- End the session that a lost connection may have left working; a row as long as it is there.
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE pid = %(pid)s AND application_name = %(application_name)s
