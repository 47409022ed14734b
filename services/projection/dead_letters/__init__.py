"""The dead letters, seen and redriven from the command line."""
