"""The contracts between the services: events, envelope, topics, documents; and what two of them need of
auth, errors and telemetry."""
