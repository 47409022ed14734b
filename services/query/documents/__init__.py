"""Reads the documents; the only modules of the query service that know the driver of MongoDB."""
