"""Folds a batch of one partition's records, in memory, into the changes to be written."""
