"""The service's data in MongoDB: documents, feed, checkpoints, marks, heartbeats and generations."""
