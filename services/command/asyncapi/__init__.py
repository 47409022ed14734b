"""The AsyncAPI 3 document of the topics: drawn up through FastStream, completed here, committed as JSON."""
