"""Folds a batch of records of one partition, in memory, into what has to be written."""
