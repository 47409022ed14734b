"""The contracts between the services (events, envelope, topics, documents), and the auth, error handling and
telemetry they share."""
