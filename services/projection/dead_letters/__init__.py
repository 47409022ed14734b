"""Inspects and redrives dead letters from the command line."""
