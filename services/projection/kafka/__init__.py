"""Reading the topics, and writing the dead letters."""
