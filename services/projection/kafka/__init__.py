"""Reads the topics and writes the dead letters."""
