"""Reads the documents. Only these modules of the query service use the MongoDB driver."""
