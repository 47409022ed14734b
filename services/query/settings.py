"""What the service is told by its environment."""
