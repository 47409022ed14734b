-- Terminate the session that a lost connection may have left running, and wait; no row once it is gone.
SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity
WHERE pid = %(pid)s AND application_name = %(application_name)s
